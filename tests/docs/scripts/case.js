export const meta = { name: 'case', description: 'Changes two files' }

await agent('Write a.', { label: 'a' })
await agent('Write b.', { label: 'b' })
