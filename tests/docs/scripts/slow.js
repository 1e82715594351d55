export const meta = { name: 'slow', description: 'Waits a moment, and reads' }

await new Promise(resolve => setTimeout(resolve, 1500))
return await agent('Read README.md and say in one sentence what it is about.', { label: 'read' })
