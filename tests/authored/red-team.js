export const meta = {
  name: 'red-team',
  description: 'One attacks, one defends, one decides',
  phases: [{ title: 'Attack' }, { title: 'Defend' }, { title: 'Decide' }],
}

const VERDICT = { type: 'object', properties: { holds: { type: 'boolean' }, why: { type: 'string' } }, required: ['holds', 'why'] }
phase('Attack')
const attack = await agent('How could somebody read files outside the upload folder?', { label: 'attack' })
phase('Defend')
const defence = await agent(`Why would this not work?\n${attack ?? 'no attack was found'}`, { label: 'defend' })
phase('Decide')
const verdict = await agent(`Attack:\n${attack}\nDefence:\n${defence}\nDoes the attack hold?`, { label: 'decide', schema: VERDICT })
return { attack, defence, verdict }
