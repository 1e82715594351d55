export const meta = {
  name: 'loop-until-dry',
  description: 'Looks for more until two rounds bring nothing new',
  phases: [{ title: 'Search' }],
}

const FOUND = { type: 'object', properties: { found: { type: 'array', items: { type: 'object', properties: { file: { type: 'string' }, line: { type: 'integer' }, what: { type: 'string' } }, required: ['file', 'what'] } } }, required: ['found'] }
const seen = new Map()
let dry = 0
for (let round = 1; round <= 8 && dry < 2; round++) {
  phase('Search')
  const answer = await agent(`Find flaky tests. Known already: ${[...seen.keys()].join(', ') || 'none'}`, { label: `round ${round}`, schema: FOUND })
  const fresh = (answer?.found ?? []).filter((each) => !seen.has(`${each.file}:${each.what}`))
  for (const each of fresh) seen.set(`${each.file}:${each.what}`, each)
  dry = fresh.length === 0 ? dry + 1 : 0
}
return [...seen.values()]
