// Values in words: JSON text for results and options, one-line texts for logs, and what an error says and where.
// Everything here takes values of the script and so may meet getters, proxies and cycles; only `rt.json` throws.
(function (rt) {
  const { Array, DOMException, Error, InternalError, Math, Number, RangeError, Set, String, Symbol, TypeError,
    WeakMap } = globalThis
  const { apply, getOwnPropertyDescriptor, getPrototypeOf } = Reflect
  const { parse, stringify } = JSON

  const SCRIPT = '(workflow.js:'
  const MAX_NAME_CHARS = 200
  const MAX_MESSAGE_BYTES = 16 * 1024

  const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function'
  rt.parse = (text) => parse(text)

  /** `typeof`, but telling null and arrays apart. */
  rt.typeName = (value) => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value)

  // One byte for each unit, one more for those that are not ASCII, a third where it takes three; a pair takes four.
  const pieceLength = (text) => {
    const wide = text.replace(/[\0-\x7f]+/g, '')
    return text.length + wide.length + wide.replace(/[\x80-\u07ff\ud800-\udfff]+/g, '').length
  }

  // In pieces: for a match of many megabytes the engine's regular expressions run out of memory.
  const PIECE_UNITS = 64 * 1024
  const utf8Length = (text) => {
    let bytes = 0
    for (let at = 0; at < text.length; at += PIECE_UNITS) bytes += pieceLength(text.slice(at, at + PIECE_UNITS))
    return bytes
  }

  /** Whether a text has more UTF-8 bytes than that; counts only where the length leaves it open. */
  rt.isOver = (text, bytes) => text.length > bytes || (text.length * 3 > bytes && utf8Length(text) > bytes)

  /** The first characters of a text; never half of a pair. */
  rt.cut = (text, characters) => {
    if (text.length <= characters) return text
    return Array.from(text.slice(0, characters * 2)).slice(0, characters).join('')
  }

  /** As much of a text as fits into that many UTF-8 bytes, marked where something is missing. */
  rt.cutBytes = (text, bytes) => {
    if (!rt.isOver(text, bytes)) return text
    let fits = 0
    let over = Math.min(text.length, bytes)
    while (over - fits > 1) {
      const half = (fits + over) >> 1
      if (utf8Length(text.slice(0, half)) > bytes - 3) over = half
      else fits = half
    }
    return `${text.slice(0, fits).toWellFormed()}…`
  }

  // --- JSON ---------------------------------------------------------------------------------------------------------

  const word = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u
  const step = (key) => {
    const shown = rt.cut(key, MAX_KEY_CHARS)
    return word.test(shown) ? `.${shown}` : `[${stringify(shown)}]`
  }

  // The engine looks for cycles by going through all that is above, so a deep value would cost it the square of its
  // depth; the host reads no deeper than this (`MAX_DEPTH` of `sandbox.messages`).
  const MAX_DEPTH = 500
  const SHOWN_STEPS = 16
  const MAX_KEY_CHARS = 60

  /** Knows where JSON.stringify is, by what it hands to a replacer: the objects above a value, and their keys. */
  const trail = () => {
    const above = []
    const keys = []
    const stepTo = (i, key) => (Array.isArray(above[i]) ? `[${key}]` : step(key))
    return {
      above,
      leaveTo(holder) {
        while (above.length > 0 && above[above.length - 1] !== holder) {
          above.pop()
          keys.pop()
        }
      },
      enter(key, object) {
        above.push(object)
        keys.push(key)
      },
      /** The path of the object at that depth, or of a value in it; of a long one the beginning and the end. */
      path(root, depth, ...last) {
        const steps = [...keys.slice(1, depth + 1), ...last].map((key, i) => stepTo(i, key))
        if (steps.length > SHOWN_STEPS) steps.splice(SHOWN_STEPS / 2, steps.length - SHOWN_STEPS, '…')
        return root + steps.join('')
      },
    }
  }

  // Lets everything through that JSON can hold, and says what it meets that JSON cannot, and where.
  const onlyJson = (root) => {
    const { above, leaveTo, enter, path } = trail()
    return function (key, inner) {
      if (typeof inner !== 'bigint' && (typeof inner !== 'object' || inner === null)) return inner
      leaveTo(this)
      const met = above.indexOf(inner)
      if (typeof inner === 'object' && met < 0 && above.length < MAX_DEPTH) {
        enter(key, inner)
        return inner
      }
      const where = above.length === 0 ? root : path(root, above.length - 1, key)
      if (typeof inner === 'bigint') {
        throw new TypeError(`${where} is a BigInt, which JSON cannot hold: use a number or a string`)
      }
      if (met >= 0) throw new TypeError(`${where} refers back to ${path(root, met)}, and JSON cannot hold a cycle`)
      throw new RangeError(`${where} is nested more than ${MAX_DEPTH} levels deep`)
    }
  }

  // JSON.stringify writes a lone surrogate as an escape; a program that reads it back would hold text that no file and
  // no terminal takes.
  const wellFormed = (text) => {
    if (!text.includes('\\ud')) return text
    return text.replace(/\\(?:ud[89a-f][0-9a-f]{2}|.)/g, (escape) => (escape.startsWith('\\ud') ? '\\ufffd' : escape))
  }

  const ownMessage = (error) => (Error.isError(error) ? getOwnPropertyDescriptor(error, 'message')?.value : undefined)

  /** JSON text of a value, undefined where JSON has none; `path` names the value in messages. */
  rt.json = (value, path) => {
    const text = stringify(value, onlyJson(path))
    return text === undefined ? undefined : wellFormed(text)
  }

  // --- what people read ---------------------------------------------------------------------------------------------

  // Errors can stand in an error's own name and message, each in many places: those are not gone into.
  let isInError = false
  const errorText = (error) => {
    if (isInError) return '[error]'
    const { name, message } = readError(error)
    return name && message ? `${name}: ${message}` : name || message
  }

  const asJson = (value) => {
    const { above, leaveTo, enter } = trail()
    return stringify(value, function (key, inner) {
      if (typeof inner === 'bigint') return `${inner}n`
      if (!isObject(inner)) return inner
      if (isError(inner)) return errorText(inner)
      leaveTo(this)
      if (above.includes(inner)) return '[cycle]'
      if (above.length === MAX_DEPTH) return '[…]'
      enter(key, inner)
      return inner
    })
  }

  const plain = (value) => {
    switch (typeof value) {
      case 'string': return value
      case 'symbol': return apply(Symbol.prototype.toString, value, [])
      case 'bigint': return `${value}n`
      case 'function': {
        const name = getOwnPropertyDescriptor(value, 'name')
        return `[function ${name && typeof name.value === 'string' && name.value ? name.value : '(anonymous)'}]`
      }
      case 'object':
        if (value === null) return 'null'
        if (isError(value)) return errorText(value)
        return asJson(value) ?? '[object]'
      default: return String(value)
    }
  }

  /** One text for a value, as `log` shows it: strings as they are, objects as JSON, errors by name and message. */
  rt.show = (value) => {
    try {
      return plain(value).toWellFormed()
    } catch (error) {
      if (rt.isOutOfMemory(error)) throw error
      return `[${rt.typeName(value)} that cannot be shown]`
    }
  }

  // A DOMException is an error by its looks only: it keeps its trace in a property of its own.
  const domName = getOwnPropertyDescriptor(DOMException.prototype, 'name').get
  const isDomException = (value) => {
    try {
      return isObject(value) && apply(domName, value, []) !== undefined
    } catch {
      return false
    }
  }
  const isError = (value) => Error.isError(value) || isDomException(value)
  const traceOf = (error) => rt.rawTrace(error) ?? getOwnPropertyDescriptor(error, 'stack')?.value

  // --- errors -------------------------------------------------------------------------------------------------------

  rt.isOutOfMemory = (error) => ownMessage(error) === 'out of memory' && error instanceof InternalError

  const textOf = (error, key, otherwise) => {
    const wasInError = isInError
    try {
      const value = error[key]
      if (typeof value === 'string') return value
      isInError = true
      return value === undefined ? otherwise : rt.show(value)
    } catch {
      return otherwise
    } finally {
      isInError = wasInError
    }
  }

  const readError = (error) => ({
    name: rt.cut(textOf(error, 'name', 'Error').toWellFormed(), MAX_NAME_CHARS),
    message: rt.cutBytes(textOf(error, 'message', '').toWellFormed(), MAX_MESSAGE_BYTES),
  })

  /** Line and column (in bytes) of the innermost frame of the script in a trace, null where there is none. */
  rt.placeIn = (trace) => {
    const at = typeof trace === 'string' ? trace.indexOf(SCRIPT) : -1
    if (at < 0) return { line: null, column: null }
    const start = at + SCRIPT.length
    const colon = trace.indexOf(':', start)
    return {
      line: Number(trace.slice(start, colon)),
      column: Number(trace.slice(colon + 1, trace.indexOf(')', colon))),
    }
  }

  // An error of the script's own class is where it was made, not in its class.
  const withoutConstructors = (trace, error) => {
    let rest = trace
    try {
      const names = new Set()
      for (let kind = getPrototypeOf(error); kind !== null; kind = getPrototypeOf(kind)) {
        const made = getOwnPropertyDescriptor(kind, 'constructor')?.value
        if (typeof made === 'function') names.add(made.name)
      }
      while (names.has(/^ {4}at ([^ ]*) /.exec(rest)?.[1])) rest = rest.slice(rest.indexOf('\n') + 1)
    } catch { /* a prototype with traps: the trace is good enough */ }
    return rest
  }

  /** Where errors that come from the host belong: to the call that they answer. */
  rt.sites = new WeakMap()

  /** What a thrown value says and where, for the host; a value that is no error has no name and is shown as it is. */
  rt.describe = (thrown) => {
    if (!isError(thrown)) {
      return { name: '', message: rt.cutBytes(rt.show(thrown), MAX_MESSAGE_BYTES), line: null, column: null }
    }
    const place = rt.sites.get(thrown) ?? rt.placeIn(withoutConstructors(traceOf(thrown), thrown))
    return { ...readError(thrown), ...place }
  }

  rt.summary = (thrown) => {
    const { name, message } = rt.describe(thrown)
    return name && message ? `${name}: ${message}` : name || message
  }
})
