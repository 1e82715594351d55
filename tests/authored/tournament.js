export const meta = {
  name: 'tournament',
  description: 'Pairs of drafts until one is left',
  phases: [{ title: 'Draft' }, { title: 'Match' }],
}

const PICK = { type: 'object', properties: { better: { type: 'string', enum: ['first', 'second'] } }, required: ['better'] }
phase('Draft')
let drafts = (await parallel([1, 2, 3, 4].map((n) => () => agent('Draft a release note for the changes since the last tag.', { label: `draft ${n}` })))).filter(Boolean)
phase('Match')
while (drafts.length > 1) {
  const pairs = []
  for (let i = 0; i + 1 < drafts.length; i += 2) pairs.push([drafts[i], drafts[i + 1]])
  const odd = drafts.length % 2 === 1 ? [drafts.at(-1)] : []
  const won = await parallel(pairs.map(([a, b], n) => () => agent(`Which is better?\nfirst: ${a}\nsecond: ${b}`, { label: `match ${n + 1}`, schema: PICK })))
  drafts = [...pairs.map(([a, b], n) => (won[n]?.better === 'second' ? b : a)), ...odd]
}
return drafts[0] ?? null
