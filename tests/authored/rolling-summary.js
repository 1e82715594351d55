export const meta = {
  name: 'rolling-summary',
  description: 'Carries one summary through a list, in order',
  phases: [{ title: 'Read' }],
}

let summary = 'nothing yet'
for (const chapter of ['one', 'two', 'three']) {
  phase('Read')
  summary = (await agent(`Known so far: ${summary}\nRead docs/${chapter}.md and say what is known now.`, { label: chapter })) ?? summary
}
return summary
