export const meta = {
  name: 'triage-then-work',
  description: 'Sorts first, then looks closer only where it pays',
  phases: [{ title: 'Triage' }, { title: 'Work' }],
}

const TRIAGE = { type: 'object', properties: { worth: { type: 'array', items: { type: 'string' } }, rest: { type: 'array', items: { type: 'string' } } }, required: ['worth', 'rest'] }
phase('Triage')
const sorted = await agent('Which modules in src/ have no tests? Those worth one go to worth.', { label: 'triage', schema: TRIAGE, model: 'haiku' })
const taken = (sorted?.worth ?? []).slice(0, 6)
const left = (sorted?.worth ?? []).slice(6)
if (left.length > 0) log(`left for another run: ${left.join(', ')}`)
phase('Work')
const done = await parallel(taken.map((module) => () => agent(`Say which tests ${module} needs most.`, { label: `tests ${module}` })))
return { done: taken.map((module, n) => ({ module, says: done[n] })), left, rest: sorted?.rest ?? [] }
