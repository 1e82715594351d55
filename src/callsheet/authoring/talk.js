export const meta = {
  name: 'talk',
  description: 'One turn of a session: the orchestrator answers what the person said',
  phases: [{ title: 'Talk', detail: 'one agent reads what it needs, changes nothing, and answers in words' }],
}

phase('Talk')
const said = await agent(args.prompt, {
  label: 'orchestrator',
  conversation: 'orchestrator',
  context: args.context,
  model: args.model,
  effort: args.effort,
  tools: ['read', 'glob', 'grep'],
  settle: true,
})
if (said.status !== 'ok') {
  throw new Error(`There is no answer: ${said.error ?? said.status}`)
}
return said.value
