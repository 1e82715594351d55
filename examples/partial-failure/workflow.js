export const meta = {
  name: 'partial-failure',
  description: 'Goes on when agents fail: a second try in other words, a gap that is named, and a result that says how whole it is',
  whenToUse: 'When nine of ten answers are worth having',
  phases: [{ title: 'Ask' }, { title: 'Ask again' }],
}

const topics = Array.isArray(args) ? args : ['limits', 'errors', 'logging']

// With `settle` a call never rejects and never gives null: it says how it ended, so that a script can tell cases apart.
const ask = (topic, words, stage) =>
  agent(`${words} ${topic}`, { label: `${stage === 'Ask' ? 'ask' : 'again'}:${topic}`, phase: stage, settle: true, timeout: 600 })

const outcomes = await pipeline(
  topics,
  topic => ask(topic, 'Describe how this project handles', 'Ask'),
  async (first, topic) => {
    if (first.status === 'ok') return { topic, text: first.value }
    // Out of budget is out of budget: asking again would only be refused again.
    if (first.status === 'over_budget' || first.status === 'skipped') return { topic, gap: first.status }
    const second = await ask(topic, 'In three sentences, from the README alone, describe how this project handles', 'Ask again')
    return second.status === 'ok' ? { topic, text: second.value } : { topic, gap: `${first.error}; then ${second.error}` }
  },
)
const gaps = outcomes.filter(each => each.gap !== undefined)
if (gaps.length > 0) log(`gaps: ${gaps.map(each => each.topic).join(', ')}`)
return { whole: gaps.length === 0, answers: outcomes }
