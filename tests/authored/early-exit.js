export const meta = {
  name: 'early-exit',
  description: 'Stops at the first that answers the question',
  phases: [{ title: 'Look' }],
}

const VERDICT = { type: 'object', properties: { holds: { type: 'boolean' }, why: { type: 'string' } }, required: ['holds', 'why'] }
phase('Look')
for (const place of ['the configuration', 'the code', 'the history']) {
  const answer = await agent(`Does ${place} say why the limit is 30?`, { label: place, schema: VERDICT })
  if (answer?.holds) return { place, why: answer.why }
}
return { place: null, why: 'none of three places says' }
