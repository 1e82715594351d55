export const meta = {
  name: 'judge-panel',
  description: 'Three proposals, three judges, the best one',
  phases: [{ title: 'Propose' }, { title: 'Judge' }],
}

const SCORE = { type: 'object', properties: { score: { type: 'integer', minimum: 0, maximum: 10 }, why: { type: 'string' } }, required: ['score', 'why'] }
phase('Propose')
const plans = (await parallel(['least change', 'fastest', 'clearest'].map((goal) => () => agent(`Plan the new cache; aim: ${goal}.`, { label: goal, agentType: 'Plan' })))).filter(Boolean)
phase('Judge')
const scores = await parallel(plans.map((plan, n) => async () => {
  const votes = await parallel([1, 2, 3].map((judge) => () => agent(`Score this plan:\n${plan}`, { label: `plan ${n + 1} judge ${judge}`, schema: SCORE })))
  return votes.filter(Boolean).reduce((sum, vote) => sum + vote.score, 0)
}))
const best = scores.indexOf(Math.max(...scores.map((score) => score ?? 0)))
return { plan: plans[best] ?? null, scores }
