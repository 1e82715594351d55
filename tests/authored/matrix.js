export const meta = {
  name: 'matrix',
  description: 'Every check on every folder',
  phases: [{ title: 'Check' }],
}

const folders = ['src', 'tests']
const checks = ['naming', 'errors', 'docs']
const cells = folders.flatMap((folder) => checks.map((check) => ({ folder, check })))
phase('Check')
const said = await parallel(cells.map(({ folder, check }) => () => agent(`Judge ${check} in ${folder}/ in three lines.`, { label: `${folder} ${check}` })))
return Object.groupBy(cells.map((cell, n) => ({ ...cell, said: said[n] })), (cell) => cell.folder)
