// What a workflow script can use: its types, for editors, for type checkers and for models that write scripts.
//
// A script is one file. Its first statement is `export const meta = {…}`, a pure literal; the rest runs as the body
// of an async function in strict mode: `await` and `return` work at the top, and what it returns is the result.
//
//     /// <reference path="workflow.d.ts" />
//     export const meta = { name: 'review', description: 'Reviews a change', phases: [{ title: 'Find' }] }
//     phase('Find')
//     const found = await parallel(['bugs', 'style'].map((what) => () => agent(`Look for ${what}`, { label: what })))
//     return found.filter((text) => text !== null)
//
// There are no files, no network, no processes, no modules and no code from strings: agents do such work. Check
// scripts with `lib: ["ES2024"]`, without "DOM" and without Node's types. `Date.now()`, `new Date()` and
// `Math.random()` are the run's own: a resumed run sees the same values.

/** The literal that a script begins with. Further keys are kept and ignored. */
interface WorkflowMeta {
  /** What `run` and `workflow()` find the script by. */
  name: string
  description: string
  whenToUse?: string
  phases?: { title: string; detail?: string; model?: string }[]
  [key: string]: unknown
}

/** A value that JSON can hold. */
type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** A JSON Schema whose root is an object; `$ref` may only point into the schema itself. */
interface ObjectSchema {
  type: 'object'
  properties?: { [name: string]: unknown }
  required?: readonly string[]
  [key: string]: unknown
}

/** Options of one agent. One that is undefined counts as absent; unknown ones are ignored with a warning. */
interface AgentOptions {
  /** What people see; the prompt's first line if absent. At most 200 characters. */
  label?: string
  /** The group it is shown in; beats `phase()` for this call. */
  phase?: string
  /** Makes the agent answer with an object of this schema, validated, five attempts in all. */
  schema?: ObjectSchema
  /** An alias (`opus`, `sonnet`, `haiku`) or a full model id. */
  model?: string
  effort?: 'low' | 'medium' | 'high' | 'xhigh' | 'max'
  /** `'worktree'`: a git worktree of its own. */
  isolation?: 'worktree'
  /** A saved agent type, for instance `general-purpose`, `Explore` or `Plan`. */
  agentType?: string

  /**
   * The only tools it may use, out of those that it would have: `bash`, `read`, `write`, `edit`, `glob`, `grep`,
   * `web_fetch`, `web_search`, `skill`, or `mcp__server__tool`. The names of saved
   * agent types (`Read`, `WebFetch`) work too.
   */
  tools?: readonly string[]
  disallowedTools?: readonly string[]
  /** Globs of what it may read and write, relative to the workspace. */
  scope?: readonly string[] | { read?: readonly string[]; write?: readonly string[] }
  /** Seconds until it ends `timed_out`; no limit if absent. */
  timeout?: number
  /** Milliseconds without a sign of life before it is tried again; 180,000 if absent. */
  stallMs?: number
  /** Model requests at most; 200 if absent. */
  maxTurns?: number
  /** Output tokens at most. */
  maxTokens?: number
  /** US dollars at most. */
  maxCost?: number
  retries?: number
  /** Higher starts first; 0 if absent. */
  priority?: number
  speed?: 'fast' | 'standard'
  /** Text that many agents share; sent first, so that prompt caching serves it. */
  context?: string
  /** Folder inside the workspace. */
  cwd?: string
  backend?: string
  /** Resolve to an `AgentSettled`, never reject and never null. */
  settle?: boolean
  /** Calls with the same name share one worktree, one writer at a time. */
  worktree?: string
  /** Merge that worktree into the workspace when the call ended `ok`. */
  merge?: boolean
  /**
   * Calls of a script with the same name are turns of one conversation: each begins with all that was said in those
   * that ended `ok`. One at a time: await a turn before the next.
   */
  conversation?: string
}

interface AgentUsage {
  input_tokens: number
  output_tokens: number
  cache_read_tokens: number
  cache_write_tokens: number
  /** Null when a price is not known. */
  cost_usd: number | null
}

/** What a call with `settle: true` resolves to. */
interface AgentSettled<Value> {
  status: 'ok' | 'failed' | 'skipped' | 'cancelled' | 'timed_out' | 'over_budget' | 'conflict' | 'invalid'
  /** Null unless the status is `ok`. */
  value: Value | null
  /** Null when the status is `ok`. */
  error: string | null
  usage: AgentUsage
  agentId: string
  /** Of a command agent whose program ran. */
  exitStatus?: number
  /** Of a command agent: standard output; cut in the middle where it is long. */
  stdout?: string
  /** Of a command agent: standard error; cut in the middle where it is long. */
  stderr?: string
}

/**
 * Starts one agent; the promise is there at once.
 *
 * Resolves to the agent's final text, or with `schema` to a validated object. Resolves to null when the agent failed,
 * timed out, ran over a limit of its own, or was skipped: by a person, or because others of a higher `priority` need
 * what is left of the budget. Rejects when it was called wrongly, when its answers never met the schema
 * (`SchemaError`), and when the run has no more agents (`AgentCapError`), or it or the phase no more budget
 * (`BudgetExceededError`).
 */
declare function agent(
  prompt: string,
  options: AgentOptions & { settle: true; schema: ObjectSchema },
): Promise<AgentSettled<any>>
declare function agent(prompt: string, options: AgentOptions & { settle: true }): Promise<AgentSettled<string>>
declare function agent(prompt: string, options: AgentOptions & { schema: ObjectSchema }): Promise<any>
declare function agent(prompt: string, options?: AgentOptions): Promise<string | null>
declare function agent(all: AgentOptions & { prompt: string }): Promise<any>

/** The same function as `agent`. */
declare const spawnAgent: typeof agent

/**
 * Runs functions at once and waits for all; results in their order. A function that throws gives null in its place and
 * a line in the log. Takes functions, not promises: `parallel(files.map((file) => () => agent(…)))`. At most 4,096.
 */
declare function parallel<Value>(thunks: readonly (() => Value | Promise<Value>)[]): Promise<(Value | null)[]>

/**
 * Takes each item through all stages on its own, without waiting for the others. A stage gets what the stage before
 * gave (the first one: the item), the item, and its index. A stage that throws or gives null ends its item: null. At
 * most 4,096 items.
 */
declare function pipeline<Item>(items: readonly (Item | Promise<Item>)[]): Promise<Item[]>
declare function pipeline<Item, A>(
  items: readonly (Item | Promise<Item>)[],
  first: (previous: Item, item: Item, index: number) => A | Promise<A>,
): Promise<(A | null)[]>
declare function pipeline<Item, A, B>(
  items: readonly (Item | Promise<Item>)[],
  first: (previous: Item, item: Item, index: number) => A | Promise<A>,
  second: (previous: NonNullable<A>, item: Item, index: number) => B | Promise<B>,
): Promise<(B | null)[]>
declare function pipeline<Item>(
  items: readonly (Item | Promise<Item>)[],
  ...stages: ((previous: any, item: Item, index: number) => unknown)[]
): Promise<any[]>

/**
 * Runs another workflow inside this run and resolves to its result. It has its own `args`, `phase` and globals and
 * shares this run's limits and budget. One level deep only.
 *
 * `{ script }` is the text of a script, and only here: runs that Callsheet itself opens for one (`callsheet do`, the
 * session) take it, in all others it is a TypeError. A person approves it first, and every workflow of such a run. A
 * no rejects with an error named `DeclinedError`: its message is `declined`, or `declined: ` and what the person said.
 */
declare function workflow(target: string | { scriptPath: string } | { script: string }, args?: Json): Promise<any>

/** Groups the calls that follow under a title. It calls nothing: a function that it is given is ignored. */
declare function phase(title: string): void

/** Writes a line to the run's log: strings as they are, everything else as JSON. */
declare function log(...values: unknown[]): void

/** The caller's value, verbatim; undefined when there is none. */
declare const args: any

/** The literal that the script begins with. */
declare const meta: WorkflowMeta

interface Ledger {
  /** Null when there is no limit. */
  readonly total: number | null
  spent(): number
  /** Infinity when there is no limit. */
  remaining(): number
}

/** Output tokens; `cost` in US dollars. */
declare const budget: Readonly<Ledger & { cost: Readonly<Ledger> }>

declare const console: Readonly<Record<'log' | 'info' | 'debug' | 'warn' | 'error', (...values: unknown[]) => void>>

/** Calls back after so many milliseconds of the run's clock. There is no `setInterval`. */
declare function setTimeout<Args extends unknown[]>(
  callback: (...args: Args) => void,
  ms?: number,
  ...args: Args
): number
declare function clearTimeout(timer: number | undefined): void
declare function queueMicrotask(callback: () => void): void
declare function structuredClone<Value>(value: Value): Value

/** As in the URL Standard. */
declare class URL {
  static canParse(url: string | URL, base?: string | URL): boolean
  static parse(url: string | URL, base?: string | URL): URL | null
  constructor(url: string | URL, base?: string | URL)
  href: string
  readonly origin: string
  protocol: string
  username: string
  password: string
  host: string
  hostname: string
  port: string
  pathname: string
  search: string
  readonly searchParams: URLSearchParams
  hash: string
  toString(): string
  toJSON(): string
}

/** As in the URL Standard. */
declare class URLSearchParams implements Iterable<[string, string]> {
  constructor(init?: string | Record<string, string> | Iterable<readonly [string, string]>)
  readonly size: number
  append(name: string, value: string): void
  delete(name: string, value?: string): void
  get(name: string): string | null
  getAll(name: string): string[]
  has(name: string, value?: string): boolean
  set(name: string, value: string): void
  sort(): void
  forEach(callback: (value: string, name: string, parent: URLSearchParams) => void, thisArgument?: unknown): void
  entries(): IterableIterator<[string, string]>
  keys(): IterableIterator<string>
  values(): IterableIterator<string>
  toString(): string
  [Symbol.iterator](): IterableIterator<[string, string]>
}
