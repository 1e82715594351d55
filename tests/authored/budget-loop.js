export const meta = {
  name: 'budget-loop',
  description: 'Goes deeper while the budget lasts',
  phases: [{ title: 'Dig' }],
}

const notes = []
for (let round = 1; round <= 10; round++) {
  if (budget.total !== null && budget.remaining() < 20_000) {
    log(`stopped after ${round - 1} rounds: the budget is used up`)
    break
  }
  phase('Dig')
  const note = await agent(`Name one more risk in src/, not these: ${notes.join('; ') || 'none'}`, { label: `risk ${round}` })
  if (note !== null) notes.push(note)
}
return notes
