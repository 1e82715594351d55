export const meta = {
  name: 'one-package',
  description: 'Looks at one package: its risks, then a verdict',
  phases: [{ title: 'Risks' }, { title: 'Verdict' }],
}

const RISKS = { type: 'object', properties: { risks: { type: 'array', items: { type: 'string' } } }, required: ['risks'] }

phase('Risks')
const found = await agent(`List what could break in the package ${args.name}.`, { label: `risks:${args.name}`, schema: RISKS })
const risks = found?.risks ?? []

phase('Verdict')
const verdict = await agent(`The package ${args.name} has these risks: ${risks.join('; ') || 'none known'}. One sentence on its state.`, {
  label: `verdict:${args.name}`,
})
return { verdict, risks: risks.length }
