// One script in this context, from its start to its end: its timers, its budget, the errors that nobody takes.
(function (rt) {
  const { Infinity, Map, Math, Number, Promise, RangeError, TypeError } = globalThis
  const { apply, defineProperty } = Reflect
  const { counts } = rt

  const MAX_DELAY_MS = 2 ** 31 - 1

  const hidden = (value) => ({ value, writable: true, enumerable: false, configurable: true })

  // --- timers (CONTRACT D06): the clock is the host's ---------------------------------------------------------------

  const timers = new Map()
  let timerNumber = 0

  const { setTimeout, clearTimeout } = {
    setTimeout(callback, delay, ...args) {
      if (typeof callback !== 'function') {
        throw new TypeError(`setTimeout needs a function, not ${rt.typeName(callback)}`)
      }
      if (counts.timers >= rt.MAX_TIMERS) {
        rt.drop('timers', `more than ${rt.MAX_TIMERS} timers pending: the rest was refused`)
        throw new RangeError(`at most ${rt.MAX_TIMERS} timers can be pending`)
      }
      const wait = Math.min(Math.max(Number(delay) || 0, 0), MAX_DELAY_MS)
      counts.timers += 1
      const timer = ++timerNumber
      timers.set(timer, { callback, args, message: rt.say('timer', timer, wait) })
      return timer
    },
    clearTimeout(timer) {
      const waiting = timers.get(timer)
      if (!waiting) return
      timers.delete(timer)
      counts.timers -= 1
      if (waiting.message.taken) rt.say('untimer', timer)
      else waiting.message.length = 0
    },
  }

  rt.fire = (timer) => {
    const due = timers.get(timer)
    if (!due) return
    timers.delete(timer)
    counts.timers -= 1
    try {
      apply(due.callback, undefined, due.args)
    } catch (error) {
      rt.threwAlone(error, 'a callback of setTimeout threw')
    }
  }

  // --- errors that nobody takes (CONTRACT D08) ----------------------------------------------------------------------

  rt.threwAlone = (thrown, what) => {
    rt.checkMemory(thrown)
    const { line, column } = rt.describe(thrown)
    rt.warn('unhandled-rejection', `${what}: ${rt.summary(thrown)}`, line, column)
  }
  rt.unhandled = (reason) => { rt.threwAlone(reason, 'a promise was rejected and nothing handles it') }
  rt.jobThrew = (thrown) => { rt.threwAlone(thrown, 'a callback of queueMicrotask threw') }

  // --- budget (CONTRACT G03, G04) -----------------------------------------------------------------------------------

  const ledger = (total, spent, more) => ({
    total,
    spent() { return spent() },
    remaining() { return total === null ? Infinity : Math.max(0, total - spent()) },
    ...more,
  })

  let spentTokens = 0
  let spentUsd = 0

  /** The world at one delivery (CONTRACT D04, R08). */
  const tick = (now, tokens, usd) => {
    if (now > rt.now) rt.now = now
    spentTokens = tokens
    spentUsd = usd
  }

  /** Works off one delivery but for the jobs that it makes ready. */
  rt.deliver = (tag, now, tokens, usd, ...fields) => {
    tick(now, tokens, usd)
    apply(rt[tag], undefined, fields)
  }

  // --- beginning and end of a script --------------------------------------------------------------------------------

  const end = (thrown) => {
    rt.checkMemory(thrown)
    const { name, message, line, column } = rt.describe(thrown)
    rt.say('threw', rt.isLimitError(thrown) ? 'limit' : 'script', name, message, line, column)
  }

  const returned = (value) => {
    try {
      const text = rt.json(value, 'result') ?? 'null'
      if (rt.isOver(text, rt.MAX_RESULT_BYTES)) {
        throw new RangeError(
          `the result is larger than ${rt.MAX_RESULT_BYTES} bytes: return less, or let agents write it to files`)
      }
      rt.say('returned', text)
    } catch (error) {
      end(error)
    }
  }

  rt.start = (body, context, meta, args, high, low, tokens, usd, now, spent, cost) => {
    tick(now, spent, cost)
    rt.context = context
    rt.reseed(high, low)
    defineProperty(body, 'name', { value: '<script>' })
    const values = {
      meta: rt.parse(meta),
      args: args === null ? undefined : rt.parse(args),
    }
    for (const name of ['meta', 'args']) defineProperty(globalThis, name, hidden(values[name]))
    rt.expose('budget', ledger(tokens, () => spentTokens, { cost: ledger(usd, () => spentUsd) }))
    apply(Promise.prototype.then, body(), [returned, end])
  }

  /** Gives back what this context counted and will not use any more. */
  rt.close = () => {
    counts.timers -= timers.size
    rt.forgetCalls()
  }

  rt.expose('setTimeout', setTimeout)
  rt.expose('clearTimeout', clearTimeout)
})
