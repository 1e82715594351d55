export const meta = {
  name: 'settle-and-report',
  description: 'Says of each agent how it ended',
  phases: [{ title: 'Check' }],
}

phase('Check')
const ended = await parallel(['a.py', 'b.py'].map((file) => () => agent(`Check ${file}.`, { label: file, settle: true, timeout: 300 })))
return ended.map((each, n) => ({ n, status: each?.status ?? 'failed', error: each?.error ?? null }))
