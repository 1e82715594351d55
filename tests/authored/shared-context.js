export const meta = {
  name: 'shared-context',
  description: 'Many small questions about one long text',
  phases: [{ title: 'Ask' }],
}

const text = args?.text ?? 'The style guide: names say what a thing is, functions do one thing.'
const asked = await parallel(['names', 'length', 'errors'].map((what) => () => agent(`Which rules are about ${what}?`, { label: what, phase: 'Ask', context: text })))
return asked
