export const meta = {
  name: 'migration',
  description: 'Finds call sites, changes each, checks the whole',
  phases: [{ title: 'Find' }, { title: 'Change' }, { title: 'Check' }],
}

const FOUND = { type: 'object', properties: { found: { type: 'array', items: { type: 'object', properties: { file: { type: 'string' }, line: { type: 'integer' }, what: { type: 'string' } }, required: ['file', 'what'] } } }, required: ['found'] }
phase('Find')
const sites = await agent('Where is old_client() called?', { label: 'find', schema: FOUND, agentType: 'Explore' })
const files = [...new Set((sites?.found ?? []).map((site) => site.file))]
phase('Change')
const changed = []
for (const file of files) {
  changed.push({ file, says: await agent(`Use new_client() in ${file} in place of old_client().`, { label: `change ${file}`, scope: [file] }) })
}
phase('Check')
const check = await agent('Run the tests and say what fails.', { label: 'check' })
return { changed, check }
