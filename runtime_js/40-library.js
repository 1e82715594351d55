// What scripts know from other places and ECMAScript does not have: console and structuredClone (CONTRACT D05, D06).
// queueMicrotask is the engine's own. URL is in the next file.
(function (rt) {
  const { Array, ArrayBuffer, BigInt, Boolean, DataView, Date, DOMException, Error, Map, Number, Object, RegExp, Set,
    String, Symbol } = globalThis
  const { apply, defineProperty, getOwnPropertyDescriptor, getPrototypeOf } = Reflect

  // --- console ------------------------------------------------------------------------------------------------------

  const console = {}
  const levels = { log: 'info', info: 'info', debug: 'debug', warn: 'warn', error: 'error' }
  for (const [name, level] of Object.entries(levels)) {
    const method = { [name](...values) { rt.log(level, values) } }
    console[name] = method[name]
  }
  rt.expose('console', console)

  // --- structuredClone ----------------------------------------------------------------------------------------------

  const cannotClone = (what) => {
    const error = new DOMException(`${what} cannot be cloned`, 'DataCloneError')
    Error.captureStackTrace(error)
    return error
  }

  const getter = (prototype, key) => getOwnPropertyDescriptor(prototype, key).get
  const TypedArray = getPrototypeOf(globalThis.Int8Array)

  // What a value is by its inner slots, which no proxy and no prototype can pretend: each reader throws for all but its
  // own kind.
  const is = (reader) => (value) => {
    try {
      return apply(reader, value, []) !== undefined
    } catch {
      return false
    }
  }
  const isBuffer = is(getter(ArrayBuffer.prototype, 'byteLength'))
  const isView = is(getter(DataView.prototype, 'byteLength'))
  const isTyped = is(getter(TypedArray.prototype, Symbol.toStringTag))
  const isMap = is(getter(Map.prototype, 'size'))
  const isSet = is(getter(Set.prototype, 'size'))
  const isDate = is(Date.prototype.getTime)
  const isRegExp = (value) => value !== RegExp.prototype && is(getter(RegExp.prototype, 'source'))(value)
  const isBoxed = [Boolean, Number, String, BigInt].map((kind) => is(kind.prototype.valueOf))
  const isSymbolBox = is(Symbol.prototype.valueOf)
  const uncloneable = /^\[object (?:Promise|Weak\w+|(?:Async)?Generator|.* Iterator|Symbol)\]$/

  const views = { __proto__: null }
  for (const kind of ['Int8', 'Uint8', 'Uint8Clamped', 'Int16', 'Uint16', 'Int32', 'Uint32', 'BigInt64', 'BigUint64',
    'Float16', 'Float32', 'Float64']) views[`${kind}Array`] = globalThis[`${kind}Array`]

  const errorClasses = { __proto__: null }
  for (const name of ['EvalError', 'RangeError', 'ReferenceError', 'SyntaxError', 'TypeError', 'URIError']) {
    errorClasses[name] = globalThis[name]
  }

  const cloneError = (error, seen) => {
    const made = new (errorClasses[error.name] ?? Error)()
    seen.set(error, made)
    for (const key of ['message', 'stack', 'cause']) {
      const own = getOwnPropertyDescriptor(error, key)
      const value = key === 'stack' ? error.stack : own && own.value
      if (value === undefined) continue
      const copy = key === 'cause' ? clone(value, seen) : String(value)
      defineProperty(made, key, { value: copy, writable: true, enumerable: false, configurable: true })
    }
    return made
  }

  const cloneView = (view, seen) => {
    const buffer = clone(view.buffer, seen)
    if (isView(view)) return new DataView(buffer, view.byteOffset, view.byteLength)
    const kind = apply(getter(TypedArray.prototype, Symbol.toStringTag), view, [])
    return new views[kind](buffer, view.byteOffset, view.length)
  }

  const copyOwn = (from, to, seen) => {
    for (const key of Object.keys(from)) {
      defineProperty(to, key, { value: clone(from[key], seen), writable: true, enumerable: true, configurable: true })
    }
    return to
  }

  const remember = (seen, from, to) => { seen.set(from, to); return to }

  const cloneList = (list, seen) => {
    const made = remember(seen, list, [])
    made.length = list.length
    return copyOwn(list, made, seen)
  }

  // Rare kinds: what is neither a plain object nor an array.
  const cloneSpecial = (value, seen) => {
    if (isMap(value)) {
      const made = remember(seen, value, new Map())
      apply(Map.prototype.forEach, value, [(inner, key) => made.set(clone(key, seen), clone(inner, seen))])
      return made
    }
    if (isSet(value)) {
      const made = remember(seen, value, new Set())
      apply(Set.prototype.forEach, value, [(inner) => made.add(clone(inner, seen))])
      return made
    }
    if (isDate(value)) return remember(seen, value, new Date(apply(Date.prototype.getTime, value, [])))
    if (isRegExp(value)) return remember(seen, value, new RegExp(value.source, value.flags))
    if (isBuffer(value)) return remember(seen, value, apply(ArrayBuffer.prototype.slice, value, [0]))
    if (isTyped(value) || isView(value)) return remember(seen, value, cloneView(value, seen))
    if (isBoxed.some((test) => test(value))) return remember(seen, value, Object(value.valueOf()))
    const tag = apply(Object.prototype.toString, value, [])
    if (isSymbolBox(value) || uncloneable.test(tag)) throw cannotClone(tag)
    return copyOwn(value, remember(seen, value, {}), seen)
  }

  const clone = (value, seen) => {
    if (typeof value === 'function' || typeof value === 'symbol') throw cannotClone(rt.show(value))
    if (typeof value !== 'object' || value === null) return value
    if (seen.has(value)) return seen.get(value)
    if (Array.isArray(value)) return cloneList(value, seen)
    const parent = getPrototypeOf(value)
    if (parent === Object.prototype || parent === null) return copyOwn(value, remember(seen, value, {}), seen)
    if (Error.isError(value)) return cloneError(value, seen)
    return cloneSpecial(value, seen)
  }

  const library = {
    structuredClone(value, options) {
      if (options?.transfer?.length > 0) throw cannotClone('with transfer, a value')
      return clone(value, new Map())
    },
  }
  rt.expose('structuredClone', library.structuredClone)
})
