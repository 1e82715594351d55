export const meta = {
  name: 'nested',
  description: 'Runs another workflow for each package and compares what they say',
  whenToUse: 'When a workflow that works for one thing is wanted for several',
  phases: [{ title: 'Packages' }, { title: 'Compare' }],
}

const packages = Array.isArray(args) ? args : ['core', 'web']

phase('Packages')
// The other script has its own args, phases and globals; it shares this run's limits, budget and record.
const reports = await parallel(packages.map(name => () => workflow({ scriptPath: './one-package.js' }, { name })))

phase('Compare')
const known = packages.map((name, at) => ({ name, report: reports[at] })).filter(each => each.report !== null)
const comparison = await agent(
  `Which of these packages needs care first, and why?\n${known.map(each => `- ${each.name}: ${each.report.verdict} (${each.report.risks} risks)`).join('\n')}`,
  { label: 'compare' },
)
return { comparison, packages: known }
