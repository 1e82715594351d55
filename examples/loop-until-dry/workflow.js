export const meta = {
  name: 'loop-until-dry',
  description: 'Searches in rounds until two rounds in a row find nothing new',
  whenToUse: 'When nobody knows how much there is to find',
  phases: [{ title: 'Search' }],
}

const FOUND = {
  type: 'object',
  properties: {
    items: {
      type: 'array',
      items: { type: 'object', properties: { id: { type: 'string', description: 'file:line' }, what: { type: 'string' } }, required: ['id', 'what'] },
    },
  },
  required: ['items'],
}

const target = typeof args === 'string' ? args : 'places where an error is swallowed'
const MOST_ROUNDS = 10 // a loop that a model ends needs an end of its own
const DRY = 2

const known = new Map()
let dry = 0
let round = 0
phase('Search')
while (dry < DRY && round < MOST_ROUNDS) {
  round += 1
  const found = await agent(
    `Search the repository for ${target}. These are known, do not report them again: ${[...known.keys()].join(', ') || 'none yet'}.`,
    { label: `search:${round}`, schema: FOUND },
  )
  // A round that failed says nothing about how much is left: it is neither dry nor a find.
  if (found === null) continue
  const fresh = found.items.filter(item => !known.has(item.id))
  for (const item of fresh) known.set(item.id, item.what)
  dry = fresh.length === 0 ? dry + 1 : 0
  log(`round ${round}: ${fresh.length} new, ${known.size} in all`)
}
if (dry < DRY) log(`stopped after ${round} rounds; there may be more`)
return { rounds: round, complete: dry >= DRY, found: [...known].map(([id, what]) => ({ id, what })) }
