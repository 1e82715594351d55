export const meta = {
  name: 'one-question',
  description: 'Answers one question about the workspace',
  phases: [{ title: 'Answer' }],
}

phase('Answer')
return agent('Which commands build and test this project? Read its manifest and its documentation.', { label: 'answer', agentType: 'Explore' })
