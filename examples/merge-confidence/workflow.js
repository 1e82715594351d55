export const meta = {
  name: 'merge-confidence',
  description: 'Asks several agents the same questions and takes for each the answer that is surest, with what others said',
  whenToUse: 'When agents see unlike evidence, so that the one who saw most should count, not the number of agents',
  phases: [{ title: 'Ask' }],
}

const questions = Array.isArray(args) ? args : ['Which Python does this project need?', 'What is the default time limit?']
const PLACES = ['the code', 'the tests', 'the documentation'] // the most trusted first: it wins where all else is equal
const LEAST = 0.5
const ANSWERS = {
  type: 'object',
  properties: {
    answers: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          question: { type: 'integer', description: 'its number' },
          answer: { type: 'string', description: 'as short as it can be' },
          confidence: { type: 'number', minimum: 0, maximum: 1, description: '1: it stands there in words; 0.5: a guess' },
        },
        required: ['question', 'answer', 'confidence'],
      },
    },
  },
  required: ['answers'],
}

phase('Ask')
const numbered = questions.map((question, n) => `${n + 1}. ${question}`).join('\n')
const asked = await parallel(
  PLACES.map(place => () =>
    agent(`Answer these from ${place} alone. Leave out what you find nothing about.\n${numbered}`, {
      label: `ask ${place}`,
      schema: ANSWERS,
    })),
)
const lost = PLACES.filter((_, at) => asked[at] === null)

// Answers that are the same but for case and space are one, as sure as the surest who gives it.
const normal = text => text.trim().toLowerCase()
const settled = questions.map((question, n) => {
  const said = PLACES.flatMap((place, at) => {
    const own = asked[at]?.answers.find(each => each.question === n + 1)
    return own === undefined ? [] : [{ place, ...own }]
  })
  const silent = PLACES.filter(place => !said.some(each => each.place === place))
  const groups = Object.values(Object.groupBy(said, each => normal(each.answer)))
    .map(group => ({
      answer: group[0].answer.trim(),
      confidence: Math.max(...group.map(each => each.confidence)),
      votes: group.length,
      rank: PLACES.indexOf(group[0].place),
    }))
    .toSorted((a, b) => b.confidence - a.confidence || b.votes - a.votes || a.rank - b.rank)
  const [best, next] = groups
  if (best === undefined) return { question, taken: null, why: 'nobody found anything', silent, said, groups }
  if (best.confidence < LEAST) {
    return { question, taken: null, why: `nobody is surer than ${best.confidence}, and ${LEAST} is needed`, silent, said, groups }
  }
  let why = `the surest, at ${best.confidence}`
  if (next?.confidence === best.confidence) {
    why += best.votes > next.votes ? `, as "${next.answer}" is; more say so` : `, as "${next.answer}" is; ${PLACES[best.rank]} goes first`
  }
  return { question, taken: best.answer, why, silent, said, groups }
})

const conflicts = settled
  .filter(({ groups }) => groups.length > 1)
  .map(({ question, taken, why, said }) => ({
    about: question,
    said: said.map(each => ({ agent: `ask ${each.place}`, what: each.answer, confidence: each.confidence })),
    taken,
    why,
  }))
if (lost.length > 0) log(`no answer came from ${lost.join(', ')}`)
return { answers: settled.map(({ question, taken, why, silent }) => ({ question, taken, why, silent })), conflicts, lost }
