export const meta = {
  name: 'fan-out-files',
  description: 'Reviews each file for itself',
  phases: [{ title: 'Review' }],
}

const FOUND = { type: 'object', properties: { found: { type: 'array', items: { type: 'object', properties: { file: { type: 'string' }, line: { type: 'integer' }, what: { type: 'string' } }, required: ['file', 'what'] } } }, required: ['found'] }
const files = args?.files ?? ['src/a.py', 'src/b.py', 'src/c.py']
phase('Review')
const read = await parallel(files.map((file) => () => agent(`Look for bugs in ${file}.`, { label: `review ${file}`, schema: FOUND, agentType: 'Explore' })))
const missing = files.filter((_, n) => read[n] === null)
if (missing.length > 0) log(`not reviewed: ${missing.join(', ')}`)
return { found: read.filter(Boolean).flatMap((each) => each.found), missing }
