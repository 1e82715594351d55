export const meta = {
  name: 'worktrees',
  description: 'Two changes at once, each in a worktree of its own',
  phases: [{ title: 'Change' }],
}

phase('Change')
const [names, docs] = await parallel([
  () => agent('Give the functions of src/util.py better names.', { label: 'names', isolation: 'worktree' }),
  () => agent('Write docstrings for src/api.py.', { label: 'docstrings', isolation: 'worktree' }),
])
return { names, docs }
