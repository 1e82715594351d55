export const meta = {
  name: 'priorities',
  description: 'The most important first',
  phases: [{ title: 'Audit' }],
}

phase('Audit')
const jobs = [['login', 10], ['payment', 10], ['search', 1]]
const said = await parallel(jobs.map(([name, priority]) => () => agent(`Audit ${name}.`, { label: name, priority, maxTokens: 4000 })))
return jobs.map(([name], n) => ({ name, says: said[n] }))
