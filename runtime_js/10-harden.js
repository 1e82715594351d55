// Runs first in every context, before any script is read: takes away what a script must not have, puts the run's own
// time and chance in place of the machine's, and freezes every built-in (CONTRACT D01–D04).
//
// Each file of this folder is one function of `rt`, the object that the files of a context share and no script ever
// sees. Files take what they need of `globalThis` while they load, so that nothing a script does to its globals later
// can reach them. The worker fills in: `rt.context`, `rt.strict`, and `rt.counts`, which all contexts of a run share.
(function (rt) {
  const { Error, EvalError, Iterator, Math, Object, Reflect, Set, String, Symbol, TypeError, WeakSet } = globalThis
  const { apply, construct, defineProperty, deleteProperty, getOwnPropertyDescriptor, getPrototypeOf, ownKeys,
    setPrototypeOf } = Reflect

  const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function'
  const hidden = (value) => ({ value, writable: true, enumerable: false, configurable: true })
  const fixed = (value) => ({ value, writable: false, enumerable: false, configurable: false })

  // --- what is not there: real clocks, shared memory, a view of the garbage collector -------------------------------

  for (const name of ['performance', 'SharedArrayBuffer', 'Atomics', 'WeakRef', 'FinalizationRegistry']) {
    deleteProperty(globalThis, name)
  }

  // --- code from strings (CONTRACT D02) -----------------------------------------------------------------------------

  const noCode = () => new EvalError('code from strings is not available in a workflow script')

  const closeConstructor = (sample, name, parent) => {
    const shared = getPrototypeOf(sample)
    const refuse = function () { throw noCode() }
    defineProperty(refuse, 'name', { value: name })
    defineProperty(refuse, 'length', { value: 1 })
    defineProperty(refuse, 'prototype', fixed(shared))
    defineProperty(shared, 'constructor', hidden(refuse))
    if (parent) setPrototypeOf(refuse, parent)
    return refuse
  }
  const ClosedFunction = closeConstructor(function () {}, 'Function')
  closeConstructor(async function () {}, 'AsyncFunction', ClosedFunction)
  closeConstructor(function* () {}, 'GeneratorFunction', ClosedFunction)
  closeConstructor(async function* () {}, 'AsyncGeneratorFunction', ClosedFunction)
  defineProperty(globalThis, 'Function', hidden(ClosedFunction))
  const closed = { eval(code) { throw noCode() } }
  defineProperty(globalThis, 'eval', hidden(closed.eval))

  // --- the run's clock and chance (CONTRACT D04) --------------------------------------------------------------------

  rt.now = 0
  const NativeDate = globalThis.Date
  const notPortable = (what, instead) => new Error(`${what} is not available with --strict: ${instead}`)
  const readClock = (what) => {
    if (rt.strict) throw notPortable(what, 'pass the time in through args')
    return rt.now
  }
  function Date(...parts) {
    if (new.target === undefined) return new NativeDate(readClock('Date()')).toString()
    return construct(NativeDate, parts.length === 0 ? [readClock('new Date()')] : parts, new.target)
  }
  defineProperty(Date, 'length', { value: 7 })
  defineProperty(Date, 'prototype', fixed(NativeDate.prototype))
  defineProperty(Date.prototype, 'constructor', hidden(Date))
  for (const [name, method] of [
    ['now', { now() { return readClock('Date.now()') } }.now],
    ['parse', NativeDate.parse],
    ['UTC', NativeDate.UTC],
  ]) defineProperty(Date, name, hidden(method))
  defineProperty(globalThis, 'Date', hidden(Date))

  // sfc32 of PractRand: 128 bits of state, three words of seed and a counter.
  let a = 0, b = 0, c = 0, counter = 1
  const word = () => {
    const sum = (a + b + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + sum) | 0
    return sum >>> 0
  }
  rt.reseed = (high, low) => {
    a = high | 0
    b = low | 0
    c = 0x5eed | 0
    counter = 1
    for (let round = 0; round < 16; round++) word()
  }
  const chance = {
    random() {
      if (rt.strict) throw notPortable('Math.random()', 'vary prompts by index instead')
      return ((word() >>> 5) * 67108864 + (word() >>> 6)) / 9007199254740992
    },
  }
  defineProperty(Math, 'random', hidden(chance.random))

  // --- stacks: the script's frames only, and no hook that is handed functions (CONTRACT D03, O03) -------------------

  const hook = getOwnPropertyDescriptor(Error, 'prepareStackTrace')
  if (hook && hook.set) apply(hook.set, Error, [undefined])
  deleteProperty(Error, 'prepareStackTrace')

  // Its value is converted whenever an error is made, by code of whoever set it.
  const limit = getOwnPropertyDescriptor(Error, 'stackTraceLimit')
  if (limit && limit.set) apply(limit.set, Error, [10])
  const fixedLimit = { get stackTraceLimit() { return 10 }, set stackTraceLimit(frames) { /* stays */ } }
  defineProperty(Error, 'stackTraceLimit', getOwnPropertyDescriptor(fixedLimit, 'stackTraceLimit'))

  const OURS = '(callsheet:'
  const withoutOurs = (stack) => {
    if (typeof stack !== 'string' || !stack.includes(OURS)) return stack
    return stack.split('\n').filter((line) => !line.includes(OURS)).join('\n')
  }
  const nativeStack = getOwnPropertyDescriptor(Error.prototype, 'stack')
  const shown = { get stack() { return withoutOurs(apply(nativeStack.get, this, [])) } }
  defineProperty(Error.prototype, 'stack', {
    get: getOwnPropertyDescriptor(shown, 'stack').get, set: nativeStack.set, enumerable: false, configurable: true,
  })
  rt.withoutOurs = withoutOurs
  /** The engine's own trace of an error, whatever the script made of its `stack`; undefined for other values. */
  rt.rawTrace = (error) => (Error.isError(error) ? apply(nativeStack.get, error, []) : undefined)

  const nativeCapture = Error.captureStackTrace
  const capture = {
    captureStackTrace(target, above) {
      apply(nativeCapture, Error, [target, above])
      defineProperty(target, 'stack', hidden(withoutOurs(target.stack)))
    },
  }
  defineProperty(Error, 'captureStackTrace', hidden(capture.captureStackTrace))

  // --- freezing (CONTRACT D03) --------------------------------------------------------------------------------------

  // Assigning to an own object's inherited, frozen property fails in JavaScript ("override mistake"): `err.name = 'X'`
  // would throw. An accessor pair in its place lets one's own object have its own property, and still refuses the
  // built-in itself.
  const toAccessor = (holder, key, value) => {
    const pair = {
      get property() { return value },
      set property(replacement) {
        if (this === holder || !isObject(this)) throw new TypeError(`cannot change the built-in '${String(key)}'`)
        Object.defineProperty(this, key, {
          value: replacement, writable: true, enumerable: true, configurable: true,
        })
      },
    }
    const { get, set } = getOwnPropertyDescriptor(pair, 'property')
    Object.freeze(get)
    Object.freeze(set)
    defineProperty(holder, key, { get, set, enumerable: false, configurable: false })
  }

  const done = new WeakSet([globalThis])
  /** Freezes everything that can be reached from `roots`; what others inherit from stays overridable. */
  rt.harden = (roots) => {
    const found = []
    const prototypes = new Set()
    const visit = (value) => {
      if (!isObject(value) || done.has(value)) return
      done.add(value)
      found.push(value)
    }
    roots.forEach(visit)
    for (const object of found) {
      const parent = getPrototypeOf(object)
      if (parent !== null) prototypes.add(parent)
      visit(parent)
      for (const key of ownKeys(object)) {
        const property = getOwnPropertyDescriptor(object, key)
        if (key === 'prototype' && isObject(property.value)) prototypes.add(property.value)
        visit(property.value)
        visit(property.get)
        visit(property.set)
      }
    }
    for (const object of prototypes) {
      if (Object.isFrozen(object)) continue
      for (const key of ownKeys(object)) {
        const property = getOwnPropertyDescriptor(object, key)
        if (property.configurable && property.writable) toAccessor(object, key, property.value)
      }
    }
    for (const object of found) Object.freeze(object)
  }

  /** Puts one of our values on the global object, frozen; the script may replace the name, not the value. */
  rt.expose = (name, value) => {
    rt.harden([value])
    defineProperty(globalThis, name, hidden(value))
  }

  // Prototypes that no global name leads to are reached through a value of theirs.
  const unnamed = () => {
    const generate = function* () {}
    const generateAsync = async function* () {}
    return [
      generate, generateAsync, async () => {}, generate(), generateAsync(), [].values(), ''[Symbol.iterator](),
      new Set().values(), new globalThis.Map().values(), ''.matchAll(/x/g), [].values().map(isObject),
      Iterator.from({ next() {} }), (function () { return arguments })(),
      typeof Iterator.concat === 'function' ? Iterator.concat() : null,
    ]
  }
  rt.harden([
    ...ownKeys(globalThis).map((key) => getOwnPropertyDescriptor(globalThis, key).value),
    getPrototypeOf(globalThis),
    ...unnamed().flatMap((value) => (value === null ? [] : [value, getPrototypeOf(value)])),
  ])
})
