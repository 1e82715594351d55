export const meta = {
  name: 'args-driven',
  description: 'Takes its question from the caller',
  phases: [{ title: 'Answer' }],
}

const question = typeof args === 'string' && args.trim() ? args : (args?.question ?? 'What does this project do?')
phase('Answer')
const views = await parallel(['a user', 'a maintainer'].map((who) => () => agent(`${question} Answer for ${who}.`, { label: who })))
return { question, views }
