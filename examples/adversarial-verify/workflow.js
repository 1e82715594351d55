export const meta = {
  name: 'adversarial-verify',
  description: 'Looks for defects, then has three agents try to refute each; what most of them cannot refute is kept',
  whenToUse: 'When a false alarm costs more than three cheap looks',
  phases: [{ title: 'Find' }, { title: 'Refute', detail: 'three agents a finding' }],
}

const DEFECTS = {
  type: 'object',
  properties: {
    defects: {
      type: 'array',
      items: {
        type: 'object',
        properties: { title: { type: 'string' }, file: { type: 'string' }, line: { type: 'integer' }, evidence: { type: 'string' } },
        required: ['title', 'file', 'evidence'],
      },
    },
  },
  required: ['defects'],
}
const VOTE = {
  type: 'object',
  properties: { refuted: { type: 'boolean' }, reason: { type: 'string' } },
  required: ['refuted', 'reason'],
}
// Three ways of doubting see more than one way three times.
const LENSES = ['can this line be reached at all?', 'does a caller rule this out?', 'what would have to be true for this to hurt a user?']

const where = typeof args === 'string' ? args : 'the sources'
const kinds = ['logic', 'error handling', 'concurrency']

const kept = await pipeline(
  kinds,
  kind => agent(`Look for defects of ${kind} in ${where}. Only what you can show in the code.`, { label: `find:${kind}`, phase: 'Find', schema: DEFECTS }),
  ({ defects }) =>
    parallel(
      defects.map(defect => async () => {
        const votes = await parallel(
          LENSES.map((lens, at) => () =>
            agent(
              `Claim: ${defect.title} (${defect.file}${defect.line ? `:${defect.line}` : ''}). Evidence: ${defect.evidence}\n` +
                `Try to refute it: ${lens} Read the code yourself; when in doubt it is refuted.`,
              { label: `refute:${defect.title}:${at + 1}`, phase: 'Refute', schema: VOTE },
            )),
        )
        // Who did not answer has not confirmed anything.
        const standing = votes.filter(vote => vote !== null && !vote.refuted).length
        return { ...defect, standing, asked: LENSES.length }
      }),
    ),
)

const all = kept.filter(Boolean).flat().filter(Boolean)
const confirmed = all.filter(defect => defect.standing * 2 > defect.asked).sort((a, b) => b.standing - a.standing)
log(`${confirmed.length} of ${all.length} findings stand`)
return confirmed
