export const meta = {
  name: 'tree-split',
  description: 'Splits a question, answers the parts, joins them',
  phases: [{ title: 'Split' }, { title: 'Answer' }, { title: 'Join' }],
}

const PARTS = { type: 'object', properties: { parts: { type: 'array', items: { type: 'string' }, maxItems: 6 } }, required: ['parts'] }
phase('Split')
const split = await agent('Split into at most six questions: how does a request travel through this service?', { label: 'split', schema: PARTS })
const parts = split?.parts ?? []
if (parts.length === 0) return { answer: null, note: 'the question was not split' }
phase('Answer')
const answers = await parallel(parts.map((part, n) => () => agent(part, { label: `part ${n + 1}`, agentType: 'Explore' })))
phase('Join')
return agent(parts.map((part, n) => `${part}\n${answers[n] ?? 'no answer'}`).join('\n\n'), { label: 'join' })
