export const meta = {
  name: 'review',
  description: 'Looks for bugs in each file, and has every find doubted by a second agent',
  phases: [{ title: 'Find' }, { title: 'Doubt' }],
}

const BUGS = {
  type: 'object',
  properties: { bugs: { type: 'array', items: { type: 'string' } } },
  required: ['bugs'],
}

const files = args?.files ?? ['README.md']

const reviewed = await pipeline(
  files,
  file => agent(`Read ${file} and list real bugs.`, { label: `find:${file}`, phase: 'Find', schema: BUGS }),
  (found, file) => parallel(found.bugs.map(bug => () =>
    agent(`Try to show that this is no bug in ${file}: ${bug}`, { label: `doubt:${file}`, phase: 'Doubt', effort: 'high' })
      .then(verdict => ({ file, bug, verdict })))),
)

return reviewed.flat().filter(Boolean)
