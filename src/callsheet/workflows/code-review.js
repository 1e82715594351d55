export const meta = {
  name: 'code-review',
  description: 'Reviews a diff or a tree from several sides, has others try to refute each finding, and ranks what stands',
  whenToUse: 'Before a merge, or to look at code that nobody has looked at for long',
  phases: [
    { title: 'Scope', detail: 'what is to be reviewed' },
    { title: 'Find', detail: 'one agent a side and group of files' },
    { title: 'Verify', detail: 'two agents a finding, a third where they disagree' },
    { title: 'Report' },
  ],
}

// args: a git ref to compare with ("main"), a path ("src/payments"), or { base, paths, sides }. Nothing: the uncommitted
// changes, else the last commit.
const asked = typeof args === 'object' && args !== null ? args : typeof args === 'string' && args !== '' ? { target: args } : {}
const GROUP = 8 // files that one agent reads at a time

const SIDES = {
  correctness: 'logic that is wrong: conditions, boundaries, wrong results, states that cannot be left, data that is lost',
  security: 'what somebody who means harm could do: input that is trusted, secrets, injection, paths, permissions, races with effect',
  errors: 'what happens when something fails: errors that are swallowed, resources that stay open, half-done changes, silent fallbacks',
  interfaces: 'what callers rely on: broken contracts, changed meanings, names that say something else than the code does, missing migrations',
  tests: 'what no test would notice: changed behaviour without a test, tests that cannot fail, tests of the mock',
  simplicity: 'what is more than is needed: duplicates, dead code, a library or function of this repository that does it already',
}
const wanted = Array.isArray(asked.sides) ? asked.sides.filter(side => side in SIDES) : Object.keys(SIDES)
if (wanted.length === 0) throw new Error(`no such side: take some of ${Object.keys(SIDES).join(', ')}`)

const SCOPE = {
  type: 'object',
  properties: {
    mode: { type: 'string', enum: ['diff', 'tree'] },
    base: { type: 'string', description: 'what the diff is against; empty for a tree' },
    how: { type: 'string', description: 'the git command that shows the change of one file, FILE in its place; empty for a tree' },
    intent: { type: 'string', description: 'what the change is meant to do, or what this code is for, in two sentences' },
    files: { type: 'array', items: { type: 'string' }, description: 'paths from the root; no lock files, no generated or vendored ones' },
  },
  required: ['mode', 'base', 'how', 'intent', 'files'],
}
const FINDINGS = {
  type: 'object',
  properties: {
    findings: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          title: { type: 'string', description: 'the defect in one sentence, not the remedy' },
          file: { type: 'string' },
          line: { type: 'integer', minimum: 0 },
          severity: { type: 'string', enum: ['critical', 'high', 'medium', 'low'] },
          evidence: { type: 'string', description: 'the code that shows it, and an input or order of events that leads there' },
          remedy: { type: 'string' },
        },
        required: ['title', 'file', 'line', 'severity', 'evidence', 'remedy'],
      },
    },
  },
  required: ['findings'],
}
const VERDICT = {
  type: 'object',
  properties: {
    refuted: { type: 'boolean' },
    severity: { type: 'string', enum: ['critical', 'high', 'medium', 'low'], description: 'how grave it is if it stands' },
    reason: { type: 'string', description: 'what you read that settles it' },
  },
  required: ['refuted', 'severity', 'reason'],
}
const GRAVITY = ['critical', 'high', 'medium', 'low']

phase('Scope')
const told =
  asked.target !== undefined
    ? `“${asked.target}”: a git ref to compare the working tree with, or else a path whose files are reviewed as they are`
    : asked.base !== undefined
      ? `the changes of the working tree against ${asked.base}`
      : Array.isArray(asked.paths)
        ? `the files under ${asked.paths.join(', ')} as they are`
        : 'the uncommitted changes with new files; where there are none, the last commit'
const within = asked.base !== undefined && Array.isArray(asked.paths) ? ` Only under ${asked.paths.join(', ')}.` : ''
const scope = await agent(`Find out what is to be reviewed: ${told}.${within} Only look (git status, git diff, git log); change nothing.`, {
  label: 'scope',
  schema: SCOPE,
})
if (scope === null) throw new Error('what is to be reviewed could not be found out')
if (scope.files.length === 0) return { reviewed: 0, findings: [], refuted: [], report: 'There is nothing to review.' }
const files = [...new Set(scope.files)]
const groups = []
for (let at = 0; at < files.length; at += GROUP) groups.push(files.slice(at, at + GROUP))
const many = (number, noun) => `${number} ${noun}${number === 1 ? '' : 's'}`
log(`${many(files.length, 'file')} in ${many(groups.length, 'group')}, ${many(wanted.length, 'side')}: ${many(groups.length * wanted.length, 'reader')}`)

const looking =
  scope.mode === 'diff'
    ? `The change (${scope.base}) is shown by \`${scope.how}\`. Report only what the change brings about; read as much around it as you need.`
    : 'Read the files as they are.'
// Two sides that see a defect in the same place, give or take two lines, mean the same one.
const seen = []
const known = finding => seen.find(each => each.file === finding.file && Math.abs(each.line - finding.line) <= 2)

const verifier = (finding, turn) =>
  agent(
    `Another agent says of ${finding.file}:${finding.line}: ${finding.title}\nEvidence: ${finding.evidence}\n\n` +
      `${turn === 1 ? 'Try to refute it: read the code, its callers and its tests.' : 'Try to show that it happens: follow the input or the order of events through the code.'} ` +
      `${scope.mode === 'diff' ? `It is refuted too where the change did not bring it about (\`${scope.how}\`). ` : ''}` +
      'When you cannot show that it stands, it is refuted.',
    { label: `verify:${finding.file}:${finding.line}:${turn}`, phase: 'Verify', schema: VERDICT },
  )

async function verify(finding) {
  const first = await parallel([() => verifier(finding, 1), () => verifier(finding, 2)])
  let votes = first.filter(vote => vote !== null)
  if (votes.length < 2 || votes[0].refuted !== votes[1].refuted) {
    const third = await verifier(finding, 3)
    if (third !== null) votes = [...votes, third]
  }
  // Where nobody could look, nothing is refuted and nothing stands.
  if (votes.length === 0) return { ...finding, stands: false, unverified: true, reasons: [] }
  const standing = votes.filter(vote => !vote.refuted)
  const stands = standing.length * 2 > votes.length
  // The graver of two judgements would shout; the milder one of those who hold it true is taken.
  const severity = stands ? GRAVITY[Math.max(...standing.map(vote => GRAVITY.indexOf(vote.severity)))] : finding.severity
  return { ...finding, severity, stands, votes: `${standing.length} of ${votes.length}`, reasons: votes.map(vote => vote.reason) }
}

const jobs = groups.flatMap(group => wanted.map(side => ({ group, side })))
const checked = await pipeline(
  jobs,
  ({ group, side }, _, at) =>
    agent(
      `Review for ${side}: ${SIDES[side]}.\nWhat it is for: ${scope.intent}\nFiles:\n${group.map(file => `- ${file}`).join('\n')}\n\n${looking}\n` +
        'Report defects that you can show, not style. No finding is a good answer too.',
      { label: `find:${side}:${Math.floor(at / wanted.length) + 1}`, phase: 'Find', schema: FINDINGS },
    ),
  ({ findings }, { side }) => {
    const fresh = []
    for (const finding of findings) {
      const same = known(finding)
      if (same !== undefined) {
        if (!same.sides.includes(side)) same.sides.push(side)
        continue
      }
      const entry = { ...finding, sides: [side] }
      seen.push(entry)
      fresh.push(entry)
    }
    return parallel(fresh.map(finding => () => verify(finding)))
  },
)
const unread = jobs.filter((_, at) => checked[at] === null)
if (unread.length > 0) log(`not reviewed: ${unread.map(({ side, group }) => `${side} of ${group[0]} …`).join(', ')}`)

const all = checked.filter(Boolean).flat().filter(Boolean).map(finding => ({ ...finding, sides: known(finding).sides }))
const findings = all
  .filter(finding => finding.stands)
  .sort((a, b) => GRAVITY.indexOf(a.severity) - GRAVITY.indexOf(b.severity) || b.sides.length - a.sides.length || (a.file < b.file ? -1 : 1) || a.line - b.line)
const unverified = all.filter(finding => finding.unverified)
const refuted = all.filter(finding => !finding.stands && !finding.unverified)
log(`${many(findings.length, 'finding')} confirmed, ${refuted.length} refuted${unverified.length > 0 ? `, ${unverified.length} could not be verified` : ''}`)

phase('Report')
const lines = findings.map((each, at) => `${at + 1}. [${each.severity}] ${each.file}:${each.line} ${each.title}\n   ${each.evidence}\n   Remedy: ${each.remedy}`)
const report =
  findings.length === 0
    ? `No finding stands (${refuted.length} refuted).`
    : await agent(
        `Write the review for the author of the code. Keep the order, the numbers, files and lines; say first what must be mended before a merge. Add nothing.\n\n${lines.join('\n')}`,
        { label: 'report' },
      )
const shown = ({ title, file, line, severity, evidence, remedy, sides, votes }) => ({ title, file, line, severity, evidence, remedy, sides, votes })
return {
  reviewed: files.length,
  mode: scope.mode,
  findings: findings.map(shown),
  refuted: refuted.map(each => ({ title: each.title, file: each.file, line: each.line, reasons: each.reasons })),
  not_verified: unverified.map(({ title, file, line, severity, evidence }) => ({ title, file, line, severity, evidence })),
  not_reviewed: unread.map(({ side, group }) => ({ side, files: group })),
  report: report ?? lines.join('\n'),
}
