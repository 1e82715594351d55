export const meta = {
  name: 'fix-loop',
  description: 'Changes code until its tests pass, three rounds at most',
  phases: [{ title: 'Fix' }, { title: 'Test' }],
}

const TESTED = { type: 'object', properties: { passes: { type: 'boolean' }, output: { type: 'string' } }, required: ['passes', 'output'] }
let last = 'not run yet'
for (let round = 1; round <= 3; round++) {
  phase('Fix')
  await agent(`Make the tests of src/parser pass. Last output: ${last}`, { label: `fix ${round}`, scope: ['src/parser/**'] })
  phase('Test')
  const tested = await agent('Run the tests of src/parser and say whether they pass.', { label: `test ${round}`, schema: TESTED })
  if (tested?.passes) return { passes: true, rounds: round }
  last = tested?.output ?? 'the tests could not be run'
}
return { passes: false, last }
