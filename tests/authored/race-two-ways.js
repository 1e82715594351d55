export const meta = {
  name: 'race-two-ways',
  description: 'Two ways to the same number, compared in the script',
  phases: [{ title: 'Count' }],
}

const COUNT = { type: 'object', properties: { count: { type: 'integer' }, how: { type: 'string' } }, required: ['count', 'how'] }
phase('Count')
const [first, second] = await parallel([
  () => agent('How many public functions has src/? Count by reading.', { label: 'read', schema: COUNT }),
  () => agent('How many public functions has src/? Count by searching.', { label: 'search', schema: COUNT }),
])
if (first?.count === second?.count) return { count: first?.count ?? null, agreed: true }
const third = await agent(`Two counts differ: ${JSON.stringify([first, second])}. Which is right?`, { label: 'settle', schema: COUNT })
return { count: third?.count ?? null, agreed: false, first, second }
