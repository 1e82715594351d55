export const meta = {
  name: 'tour',
  description: 'Walks through a repository: what is in it, how it is tested, and what a newcomer should read first',
  whenToUse: 'On your first day in a code base, or as a first look at what Callsheet does',
  phases: [
    { title: 'Look', detail: 'one agent for each question, side by side' },
    { title: 'Check', detail: 'a second agent reads what the first one found' },
    { title: 'Tell' },
  ],
}

// What to look at comes from the caller, or from this list: `callsheet run tour --args '["how errors are reported"]'`.
const questions = Array.isArray(args) && args.length > 0
  ? args
  : ['what the project is for (README)', 'how the tests are laid out (tests)', 'how the sandbox is confined (seccomp)', 'what the Makefile can do (make)']

const FINDING = {
  type: 'object',
  properties: {
    answer: { type: 'string', description: 'two or three sentences' },
    files: { type: 'array', items: { type: 'string' }, description: 'the files that show it' },
  },
  required: ['answer', 'files'],
}

const VERDICT = {
  type: 'object',
  properties: { holds: { type: 'boolean' }, why: { type: 'string', description: 'one sentence' } },
  required: ['holds', 'why'],
}

// Each question goes through both stages on its own: nobody waits for the slowest.
const tour = await pipeline(
  questions,
  question => agent(`Find out: ${question}. Search the repository, read what matters, name the files.`, {
    label: `look:${question}`, phase: 'Look', schema: FINDING,
  }),
  (finding, question) => agent(`Read ${finding.files.join(', ') || 'the repository'} and say whether this is right: ${finding.answer}`, {
    label: `check:${question}`, phase: 'Check', schema: VERDICT,
  }).then(verdict => ({ question, ...finding, verdict })),
)

const found = tour.filter(Boolean)
log(`${found.length} of ${questions.length} questions answered`)

phase('Tell')
const list = found.map(f => `- ${f.question}: ${f.answer} (${f.files.join(', ')})`).join('\n')
const summary = await agent(`Write five lines for a newcomer from these findings:\n${list}`, { label: 'tell' })

return `${summary}\n\nWhat was found, and what a second agent said of it:\n` +
  found.map(f => `- ${f.question}\n    ${f.answer}\n    files: ${f.files.join(', ')}\n    ${f.verdict.holds ? 'holds' : 'does not hold'}: ${f.verdict.why}`).join('\n')
