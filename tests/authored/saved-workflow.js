export const meta = {
  name: 'saved-workflow',
  description: 'Uses a saved workflow for the first half',
  phases: [{ title: 'Ask' }],
}

const found = await workflow('code-review')
phase('Ask')
return agent(`What follows from this for the release?\n${JSON.stringify(found)}`, { label: 'conclude' })
