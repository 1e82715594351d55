export const meta = {
  name: 'highest-confidence',
  description: 'Takes the answer that is surest',
  phases: [{ title: 'Ask' }],
}

const SURE = { type: 'object', properties: { answer: { type: 'string' }, confidence: { type: 'number', minimum: 0, maximum: 1 } }, required: ['answer', 'confidence'] }
phase('Ask')
const said = (await parallel(['the code', 'the tests', 'the documentation'].map((place) => () => agent(`From ${place} alone: what is the default time limit?`, { label: `ask ${place}`, schema: SURE })))).filter(Boolean)
const ranked = said.toSorted((a, b) => b.confidence - a.confidence)
return { taken: ranked[0] ?? null, others: ranked.slice(1) }
