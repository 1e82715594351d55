export const meta = {
  name: 'merge-majority',
  description: 'Has each claim judged by three agents apart and takes what most say, with who said otherwise',
  whenToUse: 'When a claim is a matter of judgement and somebody will ask why this verdict was taken',
  phases: [{ title: 'Judge' }],
}

const claims = Array.isArray(args) ? args : ['Every file that is opened is closed again', 'No error is swallowed']
const VERDICTS = ['wrong', 'unclear', 'right'] // the most cautious first: it wins where votes are equal
const QUORUM = 2
const EYES = ['the code alone', 'the tests', 'how callers use it']
const VOTE = {
  type: 'object',
  properties: { verdict: { type: 'string', enum: VERDICTS }, why: { type: 'string', description: 'file and line' } },
  required: ['verdict', 'why'],
}

phase('Judge')
const voters = claims.flatMap((claim, n) => EYES.map(eye => ({ n, claim, eye, label: `claim ${n + 1}: ${eye}` })))
const votes = await parallel(
  voters.map(({ claim, eye, label }) => () =>
    agent(`Is this so? ${claim}\nJudge by ${eye}, and by nothing else.`, { label, schema: VOTE })),
)
const said = voters.map((voter, place) => ({ ...voter, vote: votes[place] }))

// Who did not answer has no vote: that counts for neither side, and is told.
const verdicts = claims.map((claim, n) => {
  const asked = said.filter(each => each.n === n)
  const cast = asked.filter(each => each.vote !== null)
  const missing = asked.filter(each => each.vote === null).map(each => each.label)
  const count = verdict => cast.filter(each => each.vote.verdict === verdict).length
  const [first, second] = VERDICTS.toSorted((a, b) => count(b) - count(a) || VERDICTS.indexOf(a) - VERDICTS.indexOf(b))
  const isTie = count(first) === count(second)
  const [taken, why] =
    cast.length < QUORUM
      ? [null, `${cast.length} of ${asked.length} voted, and ${QUORUM} are needed`]
      : [first, `${count(first)} of ${cast.length} votes${isTie ? `, as many as for ${second}: the more cautious one` : ''}`]
  return { claim, taken, why, missing, cast }
})

const conflicts = verdicts
  .filter(({ cast }) => new Set(cast.map(each => each.vote.verdict)).size > 1)
  .map(({ claim, taken, why, cast }) => ({
    about: claim,
    said: cast.map(each => ({ agent: each.label, what: each.vote.verdict, why: each.vote.why })),
    taken,
    why,
  }))
if (conflicts.length > 0) log(`${conflicts.length} of ${claims.length} claims are judged in more than one way`)
return { verdicts: verdicts.map(({ claim, taken, why, missing }) => ({ claim, taken, why, missing })), conflicts }
