export const meta = {
  name: 'helper-functions',
  description: 'A script with functions of its own',
  phases: [{ title: 'Ask' }, { title: 'Check' }],
}

const VERDICT = { type: 'object', properties: { holds: { type: 'boolean' }, why: { type: 'string' } }, required: ['holds', 'why'] }
async function asked(question) {
  const answer = await agent(question, { label: question.slice(0, 40), phase: 'Ask' })
  if (answer === null) return null
  const verdict = await agent(`Is this so? ${answer}`, { label: `check ${question.slice(0, 30)}`, phase: 'Check', schema: VERDICT })
  return { question, answer, holds: verdict?.holds ?? null }
}
const questions = ['Where are secrets kept?', 'Who may deploy?']
return (await parallel(questions.map((question) => () => asked(question)))).filter(Boolean)
