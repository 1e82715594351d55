export const meta = {
  name: 'merge-findings',
  description: 'Asks several agents the same and makes one answer of theirs by rules, with what spoke against it',
  whenToUse: 'When agents may disagree and somebody will ask why this answer was taken',
  phases: [{ title: 'Ask' }],
}

const question = typeof args === 'string' ? args : 'Which Python version does this project need?'
const ANSWER = {
  type: 'object',
  properties: {
    answer: { type: 'string', description: 'as short as it can be' },
    confidence: { type: 'number', minimum: 0, maximum: 1 },
    source: { type: 'string', description: 'the file that says so' },
    as_of: { type: 'string', pattern: '^([0-9]{4}-[0-9]{2}-[0-9]{2})?$', description: 'the day of the source, YYYY-MM-DD; else empty' },
  },
  required: ['answer', 'confidence', 'source', 'as_of'],
}
const places = ['the manifest and lock files', 'the documentation', 'the configuration of continuous integration', 'the code itself']

phase('Ask')
const asked = await parallel(places.map(place => () => agent(`${question} Look only at ${place}.`, { label: `ask:${place}`, schema: ANSWER })))
const answers = places.flatMap((place, at) => (asked[at] === null ? [] : [{ agent: `ask:${place}`, ...asked[at] }]))
const missing = places.filter((_, at) => asked[at] === null)
if (answers.length === 0) return { answer: null, rule: 'nobody answered', missing, conflicts: [] }

// Three rules, one after the other; each is plain counting, so the same answers always merge to the same one.
const normal = text => text.trim().toLowerCase()
const groups = Object.values(Object.groupBy(answers, each => normal(each.answer)))
const best = (list, score) => {
  const top = list.map(score).reduce((a, b) => (a < b ? b : a))
  return list.filter(each => score(each) === top)
}
const confidence = group => Math.max(...group.map(each => each.confidence))
const latest = group => group.map(each => each.as_of).toSorted().at(-1) // such days compare as text

let rule = 'majority'
let left = best(groups, group => group.length)
if (left.length > 1) {
  rule = 'highest confidence'
  left = best(left, confidence)
}
if (left.length > 1) {
  rule = 'latest source'
  left = best(left, latest)
}
if (left.length > 1) rule = 'the place that is listed first' // groups are in the order of places
const [taken] = left
const against = groups.filter(group => group !== taken).flat()
if (against.length > 0) log(`${against.length} of ${answers.length} say something else; taken by ${rule}`)
const said = answers.map(({ agent: who, answer, confidence: sure, source, as_of }) => ({ agent: who, what: answer, confidence: sure, source, as_of }))
return {
  answer: taken[0].answer,
  rule,
  sources: taken.map(each => each.source),
  missing,
  conflicts: against.length === 0 ? [] : [{ about: question, said, taken: taken[0].answer, why: rule }],
}
