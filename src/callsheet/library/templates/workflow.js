// A workflow to begin from. Change what you like, then:
//
//   callsheet check                  finds mistakes, runs nothing
//   callsheet run new-workflow --backend offline     tries it without a model and without cost
//   callsheet run new-workflow "the src folder"      runs it; the words become `args`
//
// The first statement is `meta`, a plain literal: it is read without running the script.
export const meta = {
  name: 'new-workflow',
  description: 'Looks at something from several sides at once, doubts what it finds, and reports what holds',
  whenToUse: 'When one look is not enough',
  // The groups that progress is shown in. Name a group here and in `phase()` by the same words.
  phases: [{ title: 'Look' }, { title: 'Doubt' }, { title: 'Report' }],
}

// What the caller gave: text, or JSON. It is undefined when nothing was given.
const subject = typeof args === 'string' && args !== '' ? args : 'this repository'

// With a schema an agent answers with an object of that shape, checked, and not with text.
const FINDINGS = {
  type: 'object',
  properties: {
    findings: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          title: { type: 'string' },
          file: { type: 'string' },
          why: { type: 'string', description: 'The evidence: what is there, and what follows from it' },
        },
        required: ['title', 'why'],
      },
    },
  },
  required: ['findings'],
}
const VERDICT = {
  type: 'object',
  properties: { holds: { type: 'boolean' }, reason: { type: 'string' } },
  required: ['holds', 'reason'],
}

const SIDES = ['correctness', 'security', 'what a newcomer would stumble over']

// Each item goes through all stages on its own: what is found first is doubted first, nobody waits for the slowest.
const checked = await pipeline(
  SIDES,
  (side) =>
    agent(`Look at ${subject} with an eye to ${side}. Report only what you have seen in a file yourself.`, {
      label: `look:${side}`,
      phase: 'Look',
      schema: FINDINGS,
    }),
  (found) =>
    // All at once, and wait for all. It takes functions: `() => agent(…)`, not `agent(…)`.
    parallel(
      found.findings.map((finding) => async () => {
        const verdict = await agent(
          `Somebody claims: ${finding.title}. ${finding.why} Try to refute it; look at the files yourself.`,
          { label: `doubt:${finding.title}`, phase: 'Doubt', schema: VERDICT },
        )
        // An agent that failed gives null: never take that for a yes.
        return verdict !== null && verdict.holds ? finding : null
      }),
    ),
)

const held = checked
  .filter((findings) => findings !== null)
  .flat()
  .filter((finding) => finding !== null)
log(`${held.length} findings hold`)

phase('Report')
const report = await agent(
  `Write a short report on ${subject} for its maintainers, the gravest first. Findings that hold: ${JSON.stringify(held)}`,
  { label: 'report' },
)

// What the script returns is the result of the run.
return { findings: held, report }
