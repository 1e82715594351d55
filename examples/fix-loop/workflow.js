export const meta = {
  name: 'fix-loop',
  description: 'Runs the tests, has an agent mend what fails, and does so again until they pass or nothing gets better',
  whenToUse: 'After a change that broke something',
  phases: [{ title: 'Test' }, { title: 'Mend' }],
}

const command = typeof args === 'string' ? args : 'make test'
const MOST_ROUNDS = 6
const RESULT = {
  type: 'object',
  properties: {
    passed: { type: 'boolean' },
    failures: { type: 'array', items: { type: 'object', properties: { test: { type: 'string' }, message: { type: 'string' } }, required: ['test', 'message'] } },
  },
  required: ['passed', 'failures'],
}
const test = round => agent(`Run \`${command}\` once, change nothing, and report what failed.`, { label: `test:${round}`, phase: 'Test', schema: RESULT })

let state = await test(0)
let fewest = state === null ? Infinity : state.failures.length
let idle = 0
let round = 0
while (state !== null && !state.passed && round < MOST_ROUNDS && idle < 2) {
  round += 1
  await agent(
    `These tests fail:\n${state.failures.map(each => `- ${each.test}: ${each.message}`).join('\n')}\n` +
      'Mend the code, not the tests: never skip, delete or loosen one. Stop when you know why it failed and it is mended.',
    { label: `mend:${round}`, phase: 'Mend' },
  )
  // A second agent runs them: who mended is not who judges.
  state = await test(round)
  const failing = state === null ? Infinity : state.failures.length
  idle = failing < fewest ? 0 : idle + 1
  fewest = Math.min(fewest, failing)
}
if (state === null) return { passed: false, rounds: round, why: 'the tests could not be run' }
if (!state.passed) log(`not mended after ${round} rounds: ${state.failures.map(each => each.test).join(', ')}`)
return { passed: state.passed, rounds: round, failures: state.failures }
