export const meta = {
  name: 'author',
  description: 'Writes a workflow script for a task',
  phases: [{ title: 'Write', detail: 'one agent reads the workspace and hands in a script until it holds' }],
}

const SCRIPT = {
  type: 'object',
  properties: {
    script: {
      type: 'string',
      contentMediaType: 'text/javascript',
      description: 'The whole file, from `export const meta` to its last `return`.',
    },
    notes: {
      type: 'string',
      description: 'For the person who decides whether it runs, in a few sentences: how it goes about the task, what it leaves out, what it takes for granted.',
    },
  },
  required: ['script', 'notes'],
  additionalProperties: false,
}

phase('Write')
const written = await agent(args.prompt, {
  label: 'author',
  context: args.context,
  model: args.model,
  effort: args.effort,
  speed: args.speed,
  tools: ['read', 'glob', 'grep'],
  schema: SCRIPT,
  settle: true,
})
if (written.status !== 'ok') {
  throw new Error(`No script was written: ${written.error ?? written.status}`)
}
return written.value
