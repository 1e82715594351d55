export const meta = {
  name: 'batches',
  description: 'Many files in batches of four',
  phases: [{ title: 'Read' }],
}

const files = Array.from({ length: 14 }, (_, n) => `data/part-${n + 1}.csv`)
const batches = []
for (let i = 0; i < files.length; i += 4) batches.push(files.slice(i, i + 4))
phase('Read')
const read = await parallel(batches.map((batch, n) => () => agent(`Which columns do these have?\n${batch.join('\n')}`, { label: `batch ${n + 1}` })))
return batches.map((batch, n) => ({ batch, says: read[n] }))
