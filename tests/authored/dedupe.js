export const meta = {
  name: 'dedupe',
  description: 'Several searchers, one list without doubles',
  phases: [{ title: 'Search' }],
}

const FOUND = { type: 'object', properties: { found: { type: 'array', items: { type: 'object', properties: { file: { type: 'string' }, line: { type: 'integer' }, what: { type: 'string' } }, required: ['file', 'what'] } } }, required: ['found'] }
phase('Search')
const lists = await parallel(['by name', 'by import', 'by comment'].map((way) => () => agent(`Find dead code in src/, ${way}.`, { label: way, schema: FOUND })))
const unique = new Map()
for (const each of lists.filter(Boolean).flatMap((list) => list.found)) {
  const key = `${each.file}:${each.line ?? 0}`
  unique.set(key, { ...each, times: (unique.get(key)?.times ?? 0) + 1 })
}
return [...unique.values()].toSorted((a, b) => b.times - a.times)
