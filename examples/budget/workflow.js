export const meta = {
  name: 'budget',
  description: 'Works through a list, the most valuable first, for as long as the budget lasts, and says what it left',
  whenToUse: 'When there is always more to do than to spend',
  phases: [{ title: 'Rank' }, { title: 'Work' }],
}

const items = Array.isArray(args) ? args : ['the README', 'the error messages', 'the tests']
const RANKED = {
  type: 'object',
  properties: { order: { type: 'array', items: { type: 'integer', minimum: 0 }, description: 'positions in the list, the most valuable first' } },
  required: ['order'],
}

phase('Rank')
const ranking = await agent(`Rank by what a review of it would bring users:\n${items.map((item, at) => `${at}. ${item}`).join('\n')}`, { label: 'rank', schema: RANKED })
// Never trust an order to be one: each position once, and what was forgotten at the end.
const order = [...new Set([...(ranking?.order ?? []), ...items.keys()])].filter(at => at < items.length)

phase('Work')
const done = []
const left = []
let dearest = 0
for (const at of order) {
  // Begin nothing that could not be finished: the dearest one so far is the guess for the next.
  if (budget.remaining() < dearest) {
    left.push(items[at])
    continue
  }
  const before = budget.spent()
  const review = await agent(`Review ${items[at]} and name the one change that would help most.`, { label: `review:${items[at]}` })
  dearest = Math.max(dearest, budget.spent() - before)
  if (review !== null) done.push({ item: items[at], review })
}
if (left.length > 0) log(`the budget of ${budget.total} tokens did not reach ${left.join(', ')}`)
return { done, left }
