export const meta = {
  name: 'pipeline-verify',
  description: 'Finds problems and has each refuted before it is reported',
  phases: [{ title: 'Find' }, { title: 'Verify' }],
}

const FOUND = { type: 'object', properties: { found: { type: 'array', items: { type: 'object', properties: { file: { type: 'string' }, line: { type: 'integer' }, what: { type: 'string' } }, required: ['file', 'what'] } } }, required: ['found'] }
const VERDICT = { type: 'object', properties: { holds: { type: 'boolean' }, why: { type: 'string' } }, required: ['holds', 'why'] }
const areas = ['errors', 'limits', 'races']
const kept = await pipeline(
  areas,
  (area) => agent(`Find problems with ${area} in src/.`, { label: `find ${area}`, phase: 'Find', schema: FOUND }),
  async (answer, area) => {
    const votes = await parallel(answer.found.map((each) => () => agent(`Try to refute: ${JSON.stringify(each)}`, { label: `refute ${area}`, phase: 'Verify', schema: VERDICT })))
    return answer.found.filter((_, n) => votes[n]?.holds)
  },
)
return kept.filter(Boolean).flat()
