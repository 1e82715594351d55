export const meta = {
  name: 'try-catch',
  description: 'Goes on where an answer never fits',
  phases: [{ title: 'Read' }],
}

const STRICT = { type: 'object', properties: { port: { type: 'integer', minimum: 1, maximum: 65535 } }, required: ['port'] }
phase('Read')
const ports = []
for (const file of ['a.conf', 'b.conf']) {
  try {
    ports.push({ file, port: (await agent(`Which port does ${file} set?`, { label: file, schema: STRICT }))?.port ?? null })
  } catch (error) {
    log(`${file}: ${error.message}`)
    ports.push({ file, port: null })
  }
}
return ports
