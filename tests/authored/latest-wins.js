export const meta = {
  name: 'latest-wins',
  description: 'Takes what the newest source says',
  phases: [{ title: 'Ask' }],
}

const DATED = { type: 'object', properties: { says: { type: 'string' }, as_of: { type: 'string', description: 'YYYY-MM-DD' } }, required: ['says', 'as_of'] }
phase('Ask')
const dated = (await parallel(['CHANGELOG.md', 'README.md'].map((file) => () => agent(`Which version does ${file} name, and of which day?`, { label: file, schema: DATED })))).filter(Boolean)
return dated.toSorted((a, b) => (a.as_of < b.as_of ? 1 : -1))
