export const meta = {
  name: 'judge-panel',
  description: 'Three drafts from three angles, scored by a panel; the best one is finished with what the others did better',
  whenToUse: 'When there is more than one good way to write something',
  phases: [{ title: 'Draft' }, { title: 'Judge' }, { title: 'Finish' }],
}

const task = typeof args === 'string' ? args : 'the text of the next release announcement'
const angles = ['as short as it can be', 'for somebody who upgrades tonight', 'for somebody who has never heard of the project']
const criteria = ['correct', 'clear', 'complete']

const SCORES = {
  type: 'object',
  properties: {
    scores: { type: 'array', items: { type: 'integer', minimum: 0, maximum: 10 }, minItems: 3, maxItems: 3 },
    best_part: { type: 'string', description: 'what the weaker drafts do better than the strongest' },
  },
  required: ['scores', 'best_part'],
}

phase('Draft')
const written = await parallel(angles.map((angle, at) => () => agent(`Write ${task}: ${angle}. Give the text alone.`, { label: `draft:${at + 1}` })))
const drafts = written.map((text, at) => ({ text, angle: angles[at] })).filter(draft => draft.text !== null)
if (drafts.length === 0) throw new Error('no draft was written')

phase('Judge')
const list = drafts.map((draft, at) => `Draft ${at + 1}:\n${draft.text}`).join('\n\n')
const panel = await parallel(
  criteria.map(criterion => () =>
    agent(`Score each draft from 0 to 10 for how ${criterion} it is, in their order; 0 for one that is not there.\n\n${list}`, {
      label: `judge:${criterion}`,
      schema: SCORES,
    })),
)

const judges = panel.filter(Boolean)
const total = at => judges.reduce((sum, judge) => sum + judge.scores[at], 0)
// Of equals the first one wins: the outcome must not hang on chance.
const order = drafts.map((_, at) => at).sort((a, b) => total(b) - total(a) || a - b)
const winner = order[0]
log(`draft ${winner + 1} wins with ${total(winner)} of ${judges.length * 10}`)

phase('Finish')
const final = await agent(
  `Finish this text; take in what the judges liked in others where it fits.\n\n${drafts[winner].text}\n\n${judges.map(judge => judge.best_part).join('\n')}`,
  { label: 'finish' },
)
return { final, winner: drafts[winner].angle, totals: drafts.map((_, at) => total(at)) }
