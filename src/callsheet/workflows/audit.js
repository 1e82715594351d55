export const meta = {
  name: 'audit',
  description: 'Holds a checklist against every module: each answer with evidence, each breach looked at again, one table at the end',
  whenToUse: 'For rules that must hold everywhere: licences, logging of personal data, time zones, accessibility, a house style',
  phases: [{ title: 'Plan', detail: 'the checklist and the modules' }, { title: 'Audit', detail: 'one agent a module' }, { title: 'Look again', detail: 'at every breach' }, { title: 'Report' }],
}

// args: the checklist as text or a list, or { checklist, modules }.
const asked = Array.isArray(args) ? { checklist: args } : typeof args === 'object' && args !== null ? args : { checklist: args }
const given = Array.isArray(asked.checklist) ? asked.checklist.map(String) : []
const theme = typeof asked.checklist === 'string' && asked.checklist !== '' ? asked.checklist : 'what a careful maintainer would want to hold in every module of this repository'
const MODULES = 200

const PLAN = {
  type: 'object',
  properties: {
    checklist: { type: 'array', items: { type: 'string', description: 'one rule that a module keeps or breaks' } },
    modules: {
      type: 'array',
      items: {
        type: 'object',
        properties: { name: { type: 'string' }, files: { type: 'array', items: { type: 'string' }, description: 'paths or globs' } },
        required: ['name', 'files'],
      },
    },
  },
  required: ['checklist', 'modules'],
}
const ANSWERS = {
  type: 'object',
  properties: {
    answers: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          rule: { type: 'integer', minimum: 1, description: 'its number in the checklist' },
          state: { type: 'string', enum: ['kept', 'broken', 'does not apply'] },
          evidence: { type: 'string', description: 'what you read' },
          place: { type: 'string', description: 'file:line of a breach, else empty' },
        },
        required: ['rule', 'state', 'evidence', 'place'],
      },
    },
  },
  required: ['answers'],
}
const SECOND = { type: 'object', properties: { broken: { type: 'boolean' }, reason: { type: 'string' } }, required: ['broken', 'reason'] }

phase('Plan')
const plan = await agent(
  `Plan an audit of this repository.\n${given.length > 0 ? `The checklist is given; return it as it is:\n${given.map(rule => `- ${rule}`).join('\n')}` : `Write a checklist for: ${theme}. Five to twelve rules, each of which a module can be seen to keep or break.`}\n` +
    `${Array.isArray(asked.modules) ? `The modules are given: ${asked.modules.join(', ')}; find their files.` : 'List its modules with their files: parts that one person could read in an hour.'} Only look.`,
  { label: 'plan', schema: PLAN },
)
if (plan === null) throw new Error('the audit could not be planned')
// What was asked for is what is checked, whatever the plan made of it.
const checklist = given.length > 0 ? given : plan.checklist
const modules = plan.modules.slice(0, MODULES)
if (checklist.length === 0 || modules.length === 0) throw new Error('there is nothing to audit: no rule, or no module')
if (plan.modules.length > MODULES) log(`only the first ${MODULES} of ${plan.modules.length} modules are audited`)
const numbered = checklist.map((rule, at) => `${at + 1}. ${rule}`).join('\n')
log(`${checklist.length} rules, ${modules.length} modules`)

const audited = await pipeline(
  modules,
  module =>
    agent(`Hold this checklist against the module ${module.name} (${module.files.join(', ')}). Answer every number once; read the code before you say that a rule is kept. Change nothing.\n\n${numbered}`, {
      label: `audit:${module.name}`,
      phase: 'Audit',
      schema: ANSWERS,
    }),
  async ({ answers }, module) => {
    const of = new Map(answers.filter(answer => answer.rule <= checklist.length).map(answer => [answer.rule, answer]))
    const rows = await parallel(
      checklist.map((rule, at) => async () => {
        const answer = of.get(at + 1)
        // A rule that nobody spoke of is not kept: it is unknown.
        if (answer === undefined) return { module: module.name, rule, state: 'unknown', evidence: 'no answer', place: '' }
        if (answer.state !== 'broken') return { module: module.name, rule, state: answer.state, evidence: answer.evidence, place: '' }
        const second = await agent(
          `Rule: ${rule}\nAn auditor says that ${module.name} breaks it at ${answer.place || 'a place not named'}: ${answer.evidence}\nRead the code. Is it broken there?`,
          { label: `again:${module.name}:${at + 1}`, phase: 'Look again', schema: SECOND },
        )
        const state = second === null ? 'unknown' : second.broken ? 'broken' : 'kept'
        return { module: module.name, rule, state, evidence: second === null ? answer.evidence : second.reason, place: answer.place }
      }),
    )
    return rows
  },
)
const missing = modules.filter((_, at) => audited[at] === null).map(module => module.name)
if (missing.length > 0) log(`not audited: ${missing.join(', ')}`)
const rows = audited.filter(Boolean).flat().filter(Boolean)
const count = (rule, state) => rows.filter(row => row.rule === rule && row.state === state).length
const table = checklist.map(rule => ({
  rule,
  kept: count(rule, 'kept'),
  broken: count(rule, 'broken'),
  unknown: count(rule, 'unknown') + missing.length,
  does_not_apply: count(rule, 'does not apply'),
}))
const breaches = rows.filter(row => row.state === 'broken').map(({ module, rule, place, evidence }) => ({ module, rule, place, evidence }))

phase('Report')
const report = await agent(
  `Write the report of an audit, the rule that is broken most first; name places; say what is unknown. Add nothing.\n\n` +
    `${table.map(row => `- ${row.rule}: kept ${row.kept}, broken ${row.broken}, unknown ${row.unknown}, does not apply ${row.does_not_apply}`).join('\n')}\n\n` +
    `Breaches:\n${breaches.map(each => `- ${each.module}, ${each.place}: ${each.rule} (${each.evidence})`).join('\n') || '- none'}`,
  { label: 'report' },
)
return { table, breaches, not_audited: missing, report }
