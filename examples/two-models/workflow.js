export const meta = {
  name: 'two-models',
  description: 'A small model sorts, a large one looks only at what is worth it',
  whenToUse: 'When most of a long list is harmless',
  phases: [{ title: 'Sort', model: 'haiku' }, { title: 'Look closely', model: 'opus' }],
}

const files = Array.isArray(args) ? args : ['README.md']
const RISK = {
  type: 'object',
  properties: { risk: { type: 'string', enum: ['none', 'low', 'high'] }, reason: { type: 'string' } },
  required: ['risk', 'reason'],
}

// All share this text. It is sent first and word for word the same, so the service's prompt cache serves it to all but one.
const context = 'You help with a security review. Untrusted input is whatever comes from the network, from files, and from other programs.'

const looked = await pipeline(
  files,
  file => agent(`How risky is ${file}?`, { label: `sort:${file}`, phase: 'Sort', model: 'haiku', effort: 'low', context, schema: RISK }),
  (sorted, file) =>
    sorted.risk === 'high'
      ? agent(`Look closely at ${file}: ${sorted.reason}`, { label: `look:${file}`, phase: 'Look closely', model: 'opus', effort: 'high', context })
      : `passed over: ${sorted.risk} risk`,
)
const unsorted = files.filter((_, at) => looked[at] === null)
if (unsorted.length > 0) log(`not looked at: ${unsorted.join(', ')}`)
return Object.fromEntries(files.map((file, at) => [file, looked[at]]))
