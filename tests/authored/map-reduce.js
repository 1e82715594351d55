export const meta = {
  name: 'map-reduce',
  description: 'Reads documents and puts one summary together',
  phases: [{ title: 'Read' }, { title: 'Merge' }],
}

const docs = ['README.md', 'docs/one.md', 'docs/two.md']
phase('Read')
const parts = await parallel(docs.map((doc) => () => agent(`Sum up ${doc} in five sentences.`, { label: `read ${doc}` })))
phase('Merge')
const known = docs.map((doc, n) => ({ doc, part: parts[n] })).filter((each) => each.part !== null)
return agent(`Put these summaries together; name the document of each point.\n${JSON.stringify(known)}`, { label: 'merge' })
