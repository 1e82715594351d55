export const meta = {
  name: 'two-models',
  description: 'A cheap model reads, a strong one judges',
  phases: [{ title: 'Read' }, { title: 'Judge' }],
}

phase('Read')
const facts = await parallel(['src', 'tests', 'docs'].map((folder) => () => agent(`List what ${folder}/ says of retries.`, { label: folder, model: 'haiku' })))
phase('Judge')
return agent(`Do these agree? Say where not, and which is right.\n${facts.filter(Boolean).join('\n---\n')}`, { label: 'judge', model: 'opus', effort: 'high' })
