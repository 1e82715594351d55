export const meta = {
  name: 'merge-latest',
  description: 'Asks what each source says of the same facts and takes the newest, with what older ones say',
  whenToUse: 'When sources are of unlike age and what was true before may still stand somewhere',
  phases: [{ title: 'Read' }],
}

const facts = args?.facts ?? ['the newest version', 'the oldest Python that it runs on']
const SOURCES = args?.sources ?? ['CHANGELOG.md', 'README.md', 'pyproject.toml'] // of the same day the first counts
const SAID = {
  type: 'object',
  properties: {
    facts: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          fact: { type: 'integer', description: 'its number' },
          says: { type: 'string', description: 'as short as it can be' },
          as_of: { type: 'string', pattern: '^([0-9]{4}-[0-9]{2}-[0-9]{2})?$', description: 'YYYY-MM-DD; empty where no day is to be found' },
        },
        required: ['fact', 'says', 'as_of'],
      },
    },
  },
  required: ['facts'],
}

phase('Read')
const numbered = facts.map((fact, n) => `${n + 1}. ${fact}`).join('\n')
const read = await parallel(
  SOURCES.map(source => () =>
    agent(`What does ${source} say of these, and of which day is that? Leave out what it says nothing of.\n${numbered}`, {
      label: `read ${source}`,
      schema: SAID,
    })),
)
const unread = SOURCES.filter((_, at) => read[at] === null)

// Days that are written this way compare as text; what has no day is older than all that has one.
const normal = text => text.trim().toLowerCase()
const settled = facts.map((fact, n) => {
  const said = SOURCES.flatMap((source, at) => {
    const own = read[at]?.facts.find(each => each.fact === n + 1)
    return own === undefined ? [] : [{ source, says: own.says.trim(), as_of: own.as_of }]
  })
  const silent = SOURCES.filter(source => !said.some(each => each.source === source))
  // Sorting is stable: of the same day the source that is listed first stays first.
  const [newest, ...others] = said.toSorted((a, b) => (a.as_of < b.as_of) - (a.as_of > b.as_of))
  if (newest === undefined) return { fact, taken: null, why: 'no source says anything of it', silent, said }
  const rival = others.find(each => each.as_of === newest.as_of && normal(each.says) !== normal(newest.says))
  const day = newest.as_of === '' ? 'no source has a day' : `the newest, of ${newest.as_of}`
  const why = rival === undefined ? day : `${day}, as ${rival.source} is; ${newest.source} goes first`
  return { fact, taken: newest.says, source: newest.source, why, silent, said }
})

const conflicts = settled
  .filter(({ said }) => new Set(said.map(each => normal(each.says))).size > 1)
  .map(({ fact, taken, why, said }) => ({
    about: fact,
    said: said.map(each => ({ agent: `read ${each.source}`, what: each.says, as_of: each.as_of })),
    taken,
    why,
  }))
if (unread.length > 0) log(`not read: ${unread.join(', ')}`)
return { facts: settled.map(({ said, ...each }) => each), conflicts, unread }
