export const meta = {
  name: 'fan-out',
  description: 'One agent for each file, all at once, and one that reads all they wrote',
  whenToUse: 'When the same question is asked of many files',
  phases: [{ title: 'Read', detail: 'one agent a file' }, { title: 'Sum up' }],
}

const files = Array.isArray(args?.files) ? args.files : ['README.md']
const question = args?.question ?? 'what does it promise to those who use it?'

phase('Read')
// `parallel` takes functions, so that it can decide when each begins. At most 16 agents work at a time; the rest wait.
const answers = await parallel(
  files.map(file => () => agent(`Read ${file}, all of it. Of this file: ${question} Answer in at most three sentences.`, { label: `read:${file}` })),
)

// An agent that failed leaves null in its place: keep the pairing with its file, and say what is missing.
const told = files.map((file, at) => ({ file, answer: answers[at] })).filter(each => each.answer !== null)
const missing = files.filter((_, at) => answers[at] === null)
if (missing.length > 0) log(`nothing is known of ${missing.join(', ')}`)

phase('Sum up')
const summary = await agent(
  `Question: ${question}\n\n${told.map(each => `${each.file}: ${each.answer}`).join('\n')}\n\n` +
    'Answer the question for all of them together. Name the file for each thing that you say.',
  { label: 'sum up' },
)
return { summary, read: told.length, missing }
