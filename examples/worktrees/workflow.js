export const meta = {
  name: 'worktrees',
  description: 'Changes many files at once, each agent in a git worktree of its own, and merges what came out well',
  whenToUse: 'When agents edit side by side and must not see each other half done',
  phases: [{ title: 'Change' }, { title: 'Check' }],
}

const files = Array.isArray(args?.files) ? args.files : []
const change = args?.change ?? 'add a docstring to every public function'
if (files.length === 0) throw new Error('give the files: --args \'{"files": ["a.py"], "change": "…"}\'')

const VERDICT = { type: 'object', properties: { good: { type: 'boolean' }, why: { type: 'string' } }, required: ['good', 'why'] }

const outcomes = await pipeline(
  files,
  // `worktree` names a worktree that several calls share: the second agent sees what the first one wrote.
  file => agent(`In ${file}: ${change}. Change no other file.`, { label: `change:${file}`, phase: 'Change', worktree: `tree-${file}`, settle: true }),
  async (written, file) => {
    if (written.status !== 'ok') return { file, status: written.status }
    // `merge` brings the worktree back into the workspace when this call ends well; a conflict stays on its branch.
    const checked = await agent(`Read ${file} and judge this change: ${change}. If it is not good, put it right.`, {
      label: `check:${file}`,
      phase: 'Check',
      worktree: `tree-${file}`,
      merge: true,
      schema: VERDICT,
      settle: true,
    })
    return { file, status: checked.status, why: checked.value?.why ?? checked.error }
  },
)
const merged = outcomes.filter(outcome => outcome?.status === 'ok')
log(`${merged.length} of ${files.length} files changed and merged`)
return outcomes
