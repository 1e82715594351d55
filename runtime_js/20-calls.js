// What a script asks of its host, and what the host answers: a call becomes a message in a queue, a message becomes a
// settled promise. There is no host function in here; the worker empties the queue between jobs (DESIGN 2).
(function (rt) {
  const { Array, Error, EvalError, Map, Number, Object, Promise, RangeError, ReferenceError, Set, SyntaxError,
    TypeError, URIError, WeakMap, WeakSet } = globalThis
  const { defineProperty } = Reflect
  const { stringify } = JSON
  const { counts } = rt

  // The counts of CONTRACT L03, here for speed; the host has the same and enforces them.
  // `rt.counts` is how much of each the run has used.
  const MAX_LOG_LINES = 10_000
  const MAX_LOG_LINE_BYTES = 16 * 1024
  const MAX_TIMERS = 1_000
  const MAX_PHASES = 1_000
  const MAX_LABEL_CHARS = 200
  const MAX_PROMPT_BYTES = 4 * 1024 * 1024
  const MAX_CALLS = 20_000
  const MAX_RESULT_BYTES = 64 * 1024 * 1024
  const MAX_SCRIPT_BYTES = 512 * 1024
  const MAX_WAITING_BYTES = 256 * 1024 * 1024
  const MAX_UNKNOWN_OPTIONS = 32
  const MAX_FAULT_BYTES = 4 * 1024

  Object.assign(rt, { MAX_TIMERS, MAX_RESULT_BYTES })

  const OPTION_NAMES = [
    'label', 'phase', 'schema', 'model', 'effort', 'isolation', 'agentType', 'tools', 'disallowedTools', 'scope',
    'timeout', 'stallMs', 'maxTurns', 'maxTokens', 'maxCost', 'retries', 'priority', 'speed', 'context', 'cwd',
    'backend', 'settle', 'worktree', 'merge', 'conversation',
  ]

  // --- the queue ----------------------------------------------------------------------------------------------------

  const BATCH_MESSAGES = 500
  const BATCH_CHARS = 256 * 1024
  const BLOB_CHARS = 32 * 1024
  let queue = []
  let taken = 0
  let blobs = []

  const say = (...message) => { queue.push(message); return message }
  rt.say = say

  /** The next messages as one JSON text, '' when there are none. A long text is left out and fetched by its number. */
  rt.drain = () => {
    const batch = []
    let chars = 0
    blobs = []
    while (taken < queue.length && batch.length < BATCH_MESSAGES && chars < BATCH_CHARS) {
      const message = queue[taken]
      queue[taken++] = null
      if (message.length === 0) continue
      message.taken = true
      for (let i = 0; i < message.length; i++) {
        if (typeof message[i] !== 'string') continue
        chars += message[i].length
        if (message[i].length > BLOB_CHARS) message[i] = [blobs.push(message[i]) - 1]
      }
      batch.push(message)
    }
    if (taken === queue.length) {
      queue = []
      taken = 0
    }
    return batch.length === 0 ? '' : stringify(batch)
  }
  rt.blob = (number) => blobs[number]

  /** Says once in a run that something of a sort is over its count. */
  const drop = (sort, message) => {
    if (counts[sort + 'Told']) return
    counts[sort + 'Told'] = true
    say('dropped', sort, message)
  }

  rt.drop = drop

  /** Counts one more line that people will see; false when there are enough. */
  const isLineLeft = () => {
    if (counts.lines >= MAX_LOG_LINES) {
      drop('logs', `more than ${MAX_LOG_LINES} log lines: the rest of this run's is not kept`)
      return false
    }
    counts.lines += 1
    return true
  }

  rt.warn = (code, message, line, column) => {
    if (isLineLeft()) say('warned', code, rt.cutBytes(message, MAX_LOG_LINE_BYTES), line, column)
  }

  rt.slotFailed = (combinator, number, index, thrown) => {
    rt.checkMemory(thrown)
    if (counts.slots >= MAX_LOG_LINES) {
      drop('logs', `more than ${MAX_LOG_LINES} slots of parallel() and pipeline() failed: the rest is not kept`)
      return
    }
    counts.slots += 1
    const { name, message, line } = rt.describe(thrown)
    say('slot', combinator, number, index, name, message, line, isErrorOfCall(thrown) ? causes.get(thrown) : null)
  }

  /** Tells the worker of an error that may mean the heap is full; an exception of that sort can surface as null. */
  rt.checkMemory = (thrown) => {
    if (thrown === null || rt.isOutOfMemory(thrown)) say('memory', thrown !== null)
  }

  // --- log, phase ---------------------------------------------------------------------------------------------------

  rt.log = (level, values) => {
    if (!isLineLeft()) return
    let text = ''
    for (let i = 0; i < values.length; i++) text += (i === 0 ? '' : ' ') + rt.show(values[i])
    const line = rt.cutBytes(text, MAX_LOG_LINE_BYTES)
    if (line.length !== text.length) drop('text', `a log line over ${MAX_LOG_LINE_BYTES} bytes was cut`)
    say('log', level, line)
  }

  const phases = new Set()
  let phase = null

  const shorten = (text, what) => {
    const short = rt.cut(text.toWellFormed(), MAX_LABEL_CHARS)
    if (short.length !== text.length) drop('text', `a ${what} over ${MAX_LABEL_CHARS} characters was cut`)
    return short
  }

  // A title is new to the host when it is new to this context; one too many changes nothing.
  const admitPhase = (title) => {
    if (phases.has(title)) return true
    if (counts.phases >= MAX_PHASES) {
      drop('phases', `more than ${MAX_PHASES} phases: calls of the rest stay in the phase before`)
      return false
    }
    counts.phases += 1
    phases.add(title)
    return true
  }

  const api = {
    log(...values) { rt.log('info', values) },

    phase(title) {
      const text = shorten(rt.show(title), 'phase')
      if (title === undefined || title === null || text === '') {
        throw new TypeError('phase(title) needs a title: a non-empty string')
      }
      const isNew = !phases.has(text)
      if (!admitPhase(text)) return
      phase = text
      if (isNew) say('phase', text)
    },
  }

  // --- calls --------------------------------------------------------------------------------------------------------

  const pending = new Map()
  const causes = new WeakMap()
  let calls = 0

  const limitErrors = new WeakSet()
  /** Whether a limit of the run refused a call with this error. */
  rt.isLimitError = (thrown) => isErrorOfCall(thrown) && limitErrors.has(thrown)

  const isErrorOfCall = (thrown) => typeof thrown === 'object' && thrown !== null && causes.has(thrown)

  // Every call asks where it stands, so the trace stays as the engine wrote it until somebody reads it.
  const whereCalled = () => {
    const trace = rt.rawTrace(new Error())
    const { line, column } = rt.placeIn(trace)
    return { trace, line, column }
  }

  const refuse = (error, site) => {
    rt.sites.set(error, { line: site.line, column: site.column })
    return Promise.reject(error)
  }

  // Queues the message of a call and gives its promise. The call's number goes into the message's second place.
  const ask = (site, size, message) => {
    if (counts.calls >= MAX_CALLS) {
      drop('calls', `more than ${MAX_CALLS} calls in one run: the rest was refused`)
      return refuse(new RangeError(`a run takes at most ${MAX_CALLS} calls`), site)
    }
    if (counts.waiting + size > MAX_WAITING_BYTES) {
      drop('prompts', `more than ${MAX_WAITING_BYTES} bytes of prompts and options at a time: the rest was refused`)
      return refuse(new RangeError(
        `the calls under way hold more than ${MAX_WAITING_BYTES} bytes of prompts and options: await some first`), site)
    }
    counts.calls += 1
    counts.waiting += size
    message[1] = ++calls
    queue.push(message)
    const waiting = Promise.withResolvers()
    waiting.site = site
    waiting.size = size
    pending.set(calls, waiting)
    return waiting.promise
  }

  const isKnown = new Set(OPTION_NAMES)

  const hasNoJson = (value) =>
    typeof value === 'function' || typeof value === 'symbol' || (typeof value === 'number' && !Number.isFinite(value))

  // Options are read once, here: undefined is absent, and nothing of the script's objects is kept or changed.
  const readOptions = (options, skipped) => {
    const read = { json: '{}', fault: null, unknown: [] }
    if (options === undefined || options === null) return read
    if (typeof options !== 'object' || Array.isArray(options)) {
      read.fault = `options must be an object, not ${rt.typeName(options)}`
      return read
    }
    const given = { __proto__: null }
    try {
      for (const name in options) {
        const value = options[name]
        if (value === undefined || name === skipped) continue
        if (!isKnown.has(name)) {
          if (read.unknown.length < MAX_UNKNOWN_OPTIONS) read.unknown.push(rt.cut(name.toWellFormed(), MAX_LABEL_CHARS))
          continue
        }
        if (hasNoJson(value)) {
          read.fault = rt.cutBytes(`${name} is ${rt.show(value)}, which JSON cannot hold`, MAX_FAULT_BYTES)
          return read
        }
        given[name] = value
      }
      if (typeof given.label === 'string') given.label = shorten(given.label, 'label')
      if (typeof given.phase === 'string') {
        given.phase = shorten(given.phase, 'phase')
        if (!admitPhase(given.phase)) delete given.phase
      }
      read.json = rt.json(given, 'options')
    } catch (error) {
      rt.checkMemory(error)
      read.fault = rt.cutBytes(`options cannot be read: ${rt.summary(error)}`, MAX_FAULT_BYTES)
    }
    if (rt.isOver(read.json, MAX_PROMPT_BYTES)) {
      read.fault = `options over ${MAX_PROMPT_BYTES} bytes`
      read.json = '{}'
    }
    return read
  }

  // spawnAgent({prompt, ...opts}): everything in one object (CONTRACT A01).
  const splitPrompt = (first, options) => {
    if (typeof first !== 'object' || first === null || Array.isArray(first)) return { prompt: first, options }
    let prompt
    try {
      prompt = first.prompt
    } catch { /* stays undefined, and the host refuses it */ }
    return { prompt, options: first, skipped: 'prompt' }
  }

  const { agent } = {
    agent(prompt, options) {
      const site = whereCalled()
      const asked = splitPrompt(prompt, options)
      const text = typeof asked.prompt === 'string' ? asked.prompt.toWellFormed() : null
      if (text !== null && rt.isOver(text, MAX_PROMPT_BYTES)) {
        drop('prompts', `a prompt over ${MAX_PROMPT_BYTES} bytes was refused`)
        return refuse(new RangeError(`a prompt takes at most ${MAX_PROMPT_BYTES} bytes`), site)
      }
      const read = readOptions(asked.options, asked.skipped)
      return ask(site, (text ?? '').length + read.json.length, ['agent', 0, text, rt.typeName(asked.prompt), read.json,
        read.fault, read.unknown.length === 0 ? '[]' : stringify(read.unknown), phase, site.line])
    },
  }

  const readTarget = (target) => {
    const none = { name: null, path: null, script: null, fault: null }
    if (typeof target === 'string' && target !== '') return { ...none, name: target.toWellFormed() }
    try {
      const { scriptPath, script } = typeof target === 'object' && target !== null ? target : none
      const hasPath = typeof scriptPath === 'string' && scriptPath !== ''
      const hasScript = typeof script === 'string' && script !== ''
      if (hasPath && hasScript) return { ...none, fault: 'workflow() takes {scriptPath} or {script}, not both' }
      if (hasPath) return { ...none, path: scriptPath.toWellFormed() }
      if (hasScript) return { ...none, script: script.toWellFormed() }
    } catch { /* said below */ }
    return { ...none, fault: `workflow() needs a name, {scriptPath} or {script}, not ${rt.typeName(target)}` }
  }

  const { workflow } = {
    workflow(target, args) {
      const site = whereCalled()
      if (rt.context !== 0) {
        return refuse(new Error('workflow() goes one level deep: what it started cannot call it again'), site)
      }
      const { name, path, script, fault } = readTarget(target)
      if (script !== null && rt.isOver(script, MAX_SCRIPT_BYTES)) {
        return refuse(new RangeError(`workflow(): a script takes at most ${MAX_SCRIPT_BYTES} bytes`), site)
      }
      let json
      try {
        json = args === undefined ? undefined : rt.json(args, 'args')
      } catch (error) {
        return refuse(new TypeError(`workflow(): ${rt.summary(error)}`), site)
      }
      if ([name, path, json].some((text) => typeof text === 'string' && rt.isOver(text, MAX_RESULT_BYTES))) {
        return refuse(new RangeError(`workflow(): a name or args over ${MAX_RESULT_BYTES} bytes`), site)
      }
      return ask(site, (script ?? '').length + (json ?? '').length, ['workflow', 0, name, path, script, fault,
        json ?? null, phase, site.line])
    },
  }

  const take = (call) => {
    const waiting = pending.get(call)
    pending.delete(call)
    if (waiting) counts.waiting -= waiting.size
    return waiting
  }

  rt.forgetCalls = () => {
    for (const { size } of pending.values()) counts.waiting -= size
    pending.clear()
  }

  /** The host's answer to a call; a call that is not waiting is left alone. */
  rt.resolve = (call, json) => {
    const waiting = take(call)
    if (!waiting) return
    try {
      waiting.resolve(rt.parse(json))
    } catch (error) {
      if (rt.isOutOfMemory(error)) throw error
      waiting.reject(error) // nested too deeply for the engine
    }
  }

  const classes = { __proto__: null, Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError }
  const hidden = (value) => ({ value, writable: true, enumerable: false, configurable: true })

  rt.reject = (call, name, message) => {
    const waiting = take(call)
    if (!waiting) return
    const error = new (classes[name] ?? Error)(message)
    if (!(name in classes)) defineProperty(error, 'name', hidden(name))
    defineProperty(error, 'stack', hidden(rt.withoutOurs(waiting.site.trace)))
    rt.sites.set(error, { line: waiting.site.line, column: waiting.site.column })
    causes.set(error, call)
    if (name === 'AgentCapError' || name === 'BudgetExceededError') limitErrors.add(error)
    waiting.reject(error)
  }

  for (const [name, value] of Object.entries({ ...api, agent, workflow, spawnAgent: agent })) rt.expose(name, value)
})
