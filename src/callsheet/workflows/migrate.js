export const meta = {
  name: 'migrate',
  description: 'Changes many places the same way: finds them, changes each group in a git worktree, tests, mends, and merges what passes',
  whenToUse: 'For an API that changes its shape, a library that is replaced, a pattern that must go, in tens or hundreds of files',
  phases: [{ title: 'Discover' }, { title: 'Transform', detail: 'a worktree for each group of files' }, { title: 'Test and fix' }, { title: 'Merge' }, { title: 'Sweep', detail: 'what is left, and the tests once more' }],
}

// args: the migration in words, or { task, test, paths, rounds }. `test` is the command that must pass.
const asked = typeof args === 'object' && args !== null ? args : { task: args }
const task = String(asked.task ?? '').trim()
if (task === '') throw new Error('say what is to be migrated: callsheet /migrate "replace request with fetch"')
const where = Array.isArray(asked.paths) ? ` Only under ${asked.paths.join(', ')}.` : ''
const ROUNDS = Math.min(6, Math.max(1, Math.trunc(Number(asked.rounds)) || 3))

const FOUND = {
  type: 'object',
  properties: {
    recipe: { type: 'string', description: 'how one place is changed, with a before and after, and what must not be changed' },
    test: { type: 'string', description: 'the command that runs the tests; empty where there is none' },
    groups: {
      type: 'array',
      items: {
        type: 'object',
        properties: { name: { type: 'string', description: 'short, letters and hyphens' }, files: { type: 'array', items: { type: 'string' } }, places: { type: 'integer', minimum: 0 } },
        required: ['name', 'files', 'places'],
      },
      description: 'files that belong together; no file in two groups',
    },
  },
  required: ['recipe', 'test', 'groups'],
}
const TESTED = {
  type: 'object',
  properties: { passed: { type: 'boolean' }, failures: { type: 'array', items: { type: 'string' }, description: 'test and message' } },
  required: ['passed', 'failures'],
}
const LEFT = { type: 'object', properties: { left: { type: 'array', items: { type: 'string', description: 'file:line and why it is left' } } }, required: ['left'] }

phase('Discover')
const plan = await agent(
  `A migration: ${task}.${where}\nFind every place that it touches, by search and by reading. Make groups of at most ten files that are changed together. ` +
    `Write the recipe so that somebody who knows nothing of this can follow it. Only look.${asked.test ? ` The tests are run by: ${asked.test}.` : ''}`,
  { label: 'discover', schema: FOUND },
)
if (plan === null) throw new Error('the places could not be found')
const test = asked.test ?? plan.test
// A file in two groups would be changed in two worktrees, and the second merge would be a conflict.
const taken = new Set()
const groups = plan.groups
  .map((group, at) => ({ ...group, tree: `migrate-${at + 1}`, files: group.files.filter(file => !taken.has(file) && taken.add(file)) }))
  .filter(group => group.files.length > 0)
if (groups.length === 0) return { merged: [], failed: [], left: [], note: 'there is no place to change' }
log(`files: ${taken.size}, groups: ${groups.length}; tests: ${test || 'none known'}`)

const outcomes = await pipeline(
  groups,
  group =>
    agent(`Migration: ${task}\n${plan.recipe}\n\nChange these files and no others: ${group.files.join(', ')}. Change every place in them.`, {
      label: `change:${group.name}`,
      phase: 'Transform',
      worktree: group.tree,
      settle: true,
    }),
  async (changed, group) => {
    if (changed.status !== 'ok') return { ...group, state: changed.status, why: changed.error }
    for (let round = 1; test && round <= ROUNDS; round += 1) {
      const tested = await agent(`Run \`${test}\` once and report what failed because of the change in ${group.files.join(', ')}. Change nothing.`, {
        label: `test:${group.name}:${round}`,
        phase: 'Test and fix',
        worktree: group.tree,
        schema: TESTED,
        settle: true,
      })
      if (tested.status !== 'ok') return { ...group, state: 'not tested', why: tested.error }
      if (tested.value.passed) break
      if (round === ROUNDS) return { ...group, state: 'tests fail', why: tested.value.failures.join('; ') }
      const mended = await agent(
        `Migration: ${task}\n${plan.recipe}\n\nThe change broke:\n${tested.value.failures.map(each => `- ${each}`).join('\n')}\nMend it in ${group.files.join(', ')}. Never skip, delete or loosen a test.`,
        { label: `mend:${group.name}:${round}`, phase: 'Test and fix', worktree: group.tree, settle: true },
      )
      if (mended.status !== 'ok') return { ...group, state: mended.status, why: mended.error }
    }
    // Only what has come this far is merged; everything else stays on its branch for a person.
    const merged = await agent(`Read the change in ${group.files.join(', ')} once more against this recipe: ${plan.recipe}\nPut right what was missed; leave the rest.`, {
      label: `merge:${group.name}`,
      phase: 'Merge',
      worktree: group.tree,
      merge: true,
      settle: true,
    })
    return { ...group, state: merged.status === 'ok' ? 'merged' : merged.status, why: merged.error }
  },
)
const merged = outcomes.filter(group => group?.state === 'merged')
const failed = groups.map((group, at) => outcomes[at] ?? { ...group, state: 'failed', why: 'its stage failed' }).filter(group => group.state !== 'merged')
log(`merged: ${merged.length} of ${groups.length} groups`)

phase('Sweep')
const sweep = await agent(`Migration: ${task}. Search the repository once more: which places are left?${where} Only look.`, { label: 'sweep', schema: LEFT })
const together = test && merged.length > 0 ? await agent(`Run \`${test}\` once on the workspace as it is now, and report what failed. Change nothing.`, { label: 'test:together', schema: TESTED }) : null
return {
  merged: merged.map(({ name, files }) => ({ name, files })),
  failed: failed.map(({ name, files, state, why }) => ({ name, files, state, why: why ?? null })),
  left: sweep?.left ?? null,
  tests: test ? (together === null ? 'not run' : together.passed ? 'passed' : together.failures) : 'none known',
  recipe: plan.recipe,
}
