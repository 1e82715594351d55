export const meta = {
  name: 'majority-vote',
  description: 'Asks five times and takes what most say',
  phases: [{ title: 'Ask' }],
}

const ANSWER = { type: 'object', properties: { answer: { type: 'string', enum: ['yes', 'no', 'unclear'] }, why: { type: 'string' } }, required: ['answer', 'why'] }
phase('Ask')
const votes = (await parallel(Array.from({ length: 5 }, (_, n) => () => agent('Is the parser in src/ safe against deep nesting?', { label: `vote ${n + 1}`, schema: ANSWER })))).filter(Boolean)
const counts = Object.groupBy(votes, (vote) => vote.answer)
const [taken] = Object.keys(counts).sort((a, b) => counts[b].length - counts[a].length || (a < b ? -1 : 1))
return { taken, of: votes.length, against: votes.filter((vote) => vote.answer !== taken) }
