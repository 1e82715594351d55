export const meta = {
  name: 'bug-hunt',
  description: 'Hunts for bugs in rounds, each with other eyes, tries to show every one of them, and ends when rounds stay dry',
  whenToUse: 'When you want the bugs that are there, however many, and not the first five',
  phases: [{ title: 'Map' }, { title: 'Hunt' }, { title: 'Show', detail: 'a bug counts once somebody has followed it through the code' }, { title: 'Report' }],
}

// args: where to look, as text, or { where, rounds, hunters }.
const asked = typeof args === 'object' && args !== null ? args : { where: args }
const where = typeof asked.where === 'string' && asked.where !== '' ? asked.where : 'the whole repository'
const whole = (value, fallback, most) => Math.min(most, Math.max(1, Math.trunc(Number(value)) || fallback))
const ROUNDS = whole(asked.rounds, 8, 30)
const HUNTERS = whole(asked.hunters, 4, 16)
const DRY = 2

const AREAS = {
  type: 'object',
  properties: {
    areas: {
      type: 'array',
      items: {
        type: 'object',
        properties: { name: { type: 'string' }, files: { type: 'array', items: { type: 'string' } }, risk: { type: 'string', description: 'what could be wrong here' } },
        required: ['name', 'files', 'risk'],
      },
    },
  },
  required: ['areas'],
}
const BUGS = {
  type: 'object',
  properties: {
    bugs: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          title: { type: 'string' },
          file: { type: 'string' },
          line: { type: 'integer', minimum: 0 },
          trigger: { type: 'string', description: 'the input or order of events that sets it off' },
          effect: { type: 'string', description: 'what then goes wrong, for whom' },
        },
        required: ['title', 'file', 'line', 'trigger', 'effect'],
      },
    },
  },
  required: ['bugs'],
}
const SHOWN = {
  type: 'object',
  properties: {
    real: { type: 'boolean' },
    severity: { type: 'string', enum: ['critical', 'high', 'medium', 'low'] },
    trace: { type: 'string', description: 'the steps through the code, with files and lines, or what stops them' },
    test: { type: 'string', description: 'a test that would fail today, in a few lines' },
  },
  required: ['real', 'severity', 'trace'],
}
const LENSES = [
  'boundaries: empty, one, very many, negative, zero, the last element, unusual characters',
  'order and time: what if this runs twice, at once with itself, is cancelled half way, or the clock jumps',
  'failure: what if the disk is full, the answer is cut, the file is gone, the process is killed here',
  'trust: who can put what in here, and where does it end up',
  'state: what is remembered from the call before, what is shared, what is never reset',
  'types and units: seconds and milliseconds, bytes and characters, none and empty, integer and float',
]
const GRAVITY = ['critical', 'high', 'medium', 'low']

phase('Map')
const map = await agent(`Map ${where}: the areas in which bugs would hurt most, each with its files. Ten areas at most; only look.`, { label: 'map', schema: AREAS })
const areas = map === null || map.areas.length === 0 ? [{ name: where, files: [], risk: 'unknown' }] : map.areas

// Within two lines of one that is known it is the same one.
const known = []
const isKnown = bug => known.some(each => each.file === bug.file && Math.abs(each.line - bug.line) <= 2)
const rounds = []
let dry = 0
let turn = 0
let why = 'rounds'

while (rounds.length < ROUNDS) {
  if (budget.total !== null && budget.remaining() < budget.total * 0.15) {
    why = 'budget'
    break
  }
  const round = rounds.length + 1
  // Each hunter has another area and other eyes than in the round before.
  const hunters = Array.from({ length: HUNTERS }, () => {
    const hunter = { area: areas[turn % areas.length], lens: LENSES[(turn + Math.floor(turn / areas.length)) % LENSES.length] }
    turn += 1
    return hunter
  })
  const told = known.map(bug => `- ${bug.file}:${bug.line} ${bug.title}`).slice(-60).join('\n') || '- none'
  const results = await pipeline(
    hunters,
    ({ area, lens }, _, at) =>
      agent(
        `Hunt for bugs in ${area.name}${area.files.length > 0 ? ` (${area.files.join(', ')})` : ''}. What could be wrong: ${area.risk}\n` +
          `Look with an eye to ${lens}.\nKnown already, do not report these again:\n${told}\n\n` +
          'Report only what you can give a trigger for. None is a good answer. Change nothing.',
        { label: `hunt:${round}.${at + 1}`, phase: 'Hunt', schema: BUGS },
      ),
    ({ bugs }) => {
      const fresh = bugs.filter(bug => {
        if (isKnown(bug)) return false
        known.push(bug)
        return true
      })
      return parallel(
        fresh.map(bug => async () => {
          const shown = await agent(
            `Claimed bug in ${bug.file}:${bug.line}: ${bug.title}\nTrigger: ${bug.trigger}\nEffect: ${bug.effect}\n\n` +
              'Follow the trigger through the code step by step, with files and lines. It is real only if nothing on the way stops it. Change nothing.',
            { label: `show:${bug.file}:${bug.line}`, phase: 'Show', schema: SHOWN },
          )
          return shown === null ? { ...bug, unknown: true } : { ...bug, ...shown }
        }),
      )
    },
  )
  const found = results.filter(Boolean).flat().filter(Boolean)
  rounds.push(found)
  const failed = results.filter(each => each === null).length
  const real = found.filter(bug => bug.real).length
  log(`round ${round}: ${found.length} new, ${real} real${failed > 0 ? `, ${failed} hunters failed` : ''}`)
  // A round in which nobody could hunt is no sign that there is nothing.
  if (failed === hunters.length) {
    why = 'failures'
    break
  }
  dry = real === 0 ? dry + 1 : 0
  if (dry >= DRY) {
    why = 'dry'
    break
  }
}

const all = rounds.flat()
const bugs = all
  .filter(bug => bug.real)
  .sort((a, b) => GRAVITY.indexOf(a.severity) - GRAVITY.indexOf(b.severity) || (a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line))
const ends = {
  dry: `${DRY} rounds in a row found nothing that is real`,
  rounds: `the limit of ${ROUNDS} rounds: there may be more`,
  budget: 'the budget: there may be more',
  failures: 'a round in which every hunter failed: there may be more',
}
log(`ended by ${ends[why]}`)

phase('Report')
const list = bugs.map((bug, at) => `${at + 1}. [${bug.severity}] ${bug.file}:${bug.line} ${bug.title}\n   ${bug.trigger} → ${bug.effect}\n   ${bug.trace}`)
const report = bugs.length === 0 ? 'No bug could be shown.' : await agent(`Write these up for the maintainers, in this order, each with file and line. Add nothing.\n\n${list.join('\n')}`, { label: 'report' })
return {
  bugs: bugs.map(({ title, file, line, severity, trigger, effect, trace, test }) => ({ title, file, line, severity, trigger, effect, trace, test: test ?? null })),
  not_shown: all.filter(bug => !bug.real).map(({ title, file, line, unknown }) => ({ title, file, line, checked: unknown !== true })),
  rounds: rounds.length,
  ended_by: why,
  report: report ?? list.join('\n'),
}
