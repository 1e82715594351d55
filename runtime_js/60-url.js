// URL and URLSearchParams over the parts in the file before (CONTRACT D06).
(function (rt) {
  const { Array, Object, Symbol, TypeError } = globalThis
  const { encode, decode, parse, parseHost, setPath, setPort, splitPort, show, showHost, showPath, isSpecial, isOpaque,
    PORTS, FORM, FRAGMENT, QUERY, SPECIAL_QUERY, USERINFO } = rt.url

  const text = (value) => `${value}`.toWellFormed()
  const compact = (value) => text(value).replace(/[\t\n\r]/g, '')

  // --- URLSearchParams ----------------------------------------------------------------------------------------------

  const parseForm = (query) => query.split('&').filter((part) => part !== '').map((part) => {
    const at = part.indexOf('=')
    const pair = at < 0 ? [part, ''] : [part.slice(0, at), part.slice(at + 1)]
    return pair.map((side) => decode(side.replaceAll('+', ' ')))
  })
  const formSide = (side) => encode(side, FORM).replaceAll('%20', '+')
  const showForm = (pairs) => pairs.map(([name, value]) => `${formSide(name)}=${formSide(value)}`).join('&')

  const readPairs = (init) => {
    if (init === undefined) return []
    if ((typeof init !== 'object' && typeof init !== 'function') || init === null) {
      return parseForm(text(init).replace(/^\?/, ''))
    }
    if (init[Symbol.iterator] === undefined || init[Symbol.iterator] === null) {
      return Object.keys(init).map((name) => [text(name), text(init[name])])
    }
    return Array.from(init, (entry) => {
      const pair = Array.from(entry)
      if (pair.length !== 2) throw new TypeError('URLSearchParams needs pairs of a name and a value')
      return pair.map(text)
    })
  }

  let readParams
  let linkParams

  class URLSearchParams {
    #pairs
    #changed = () => {}

    static {
      readParams = (params, query) => { params.#pairs = query === null ? [] : parseForm(query) }
      linkParams = (params, changed) => { params.#changed = changed; return params }
    }

    constructor(init = undefined) {
      this.#pairs = readPairs(init)
    }

    #update(pairs) {
      this.#pairs = pairs
      this.#changed(showForm(pairs))
    }

    get size() { return this.#pairs.length }
    append(name, value) { this.#update([...this.#pairs, [text(name), text(value)]]) }
    delete(name, value = undefined) {
      const wanted = [text(name), value === undefined ? undefined : text(value)]
      this.#update(this.#pairs.filter(([n, v]) => n !== wanted[0] || (wanted[1] !== undefined && v !== wanted[1])))
    }
    get(name) { return this.getAll(name)[0] ?? null }
    getAll(name) {
      const wanted = text(name)
      return this.#pairs.filter(([found]) => found === wanted).map(([, value]) => value)
    }
    has(name, value = undefined) {
      const values = this.getAll(name)
      return value === undefined ? values.length > 0 : values.includes(text(value))
    }
    set(name, value) {
      const wanted = text(name)
      const pair = [wanted, text(value)]
      const at = this.#pairs.findIndex(([found]) => found === wanted)
      if (at < 0) this.#update([...this.#pairs, pair])
      else this.#update(this.#pairs.flatMap((old, i) => (i === at ? [pair] : old[0] === wanted ? [] : [old])))
    }
    sort() { this.#update(this.#pairs.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))) }
    toString() { return showForm(this.#pairs) }
    forEach(callback, thisArgument = undefined) {
      for (const [name, value] of this) Reflect.apply(callback, thisArgument, [value, name, this])
    }
    * entries() { for (let i = 0; i < this.#pairs.length; i++) yield [...this.#pairs[i]] }
    * keys() { for (const [name] of this.entries()) yield name }
    * values() { for (const [, value] of this.entries()) yield value }
    [Symbol.iterator]() { return this.entries() }
    get [Symbol.toStringTag]() { return 'URLSearchParams' }
  }

  // --- URL ----------------------------------------------------------------------------------------------------------

  const parseAgainst = (url, base) => {
    const from = base === undefined ? null : parse(text(base), null)
    return base !== undefined && from === null ? null : parse(text(url), from)
  }

  const cannotHavePort = (record) => record.host === null || record.host === '' || record.scheme === 'file:'

  class URL {
    #record
    #params = null

    constructor(url, base = undefined) {
      const record = parseAgainst(url, base)
      if (record === null) {
        const against = base === undefined ? '' : ` relative to '${rt.cut(text(base), 200)}'`
        throw new TypeError(`'${rt.cut(text(url), 200)}' is not a URL${against}`)
      }
      this.#record = record
    }

    static canParse(url, base = undefined) { return parseAgainst(url, base) !== null }
    static parse(url, base = undefined) { return parseAgainst(url, base) === null ? null : new URL(url, base) }

    get href() { return show(this.#record) }
    set href(value) {
      const record = parse(text(value), null)
      if (record === null) throw new TypeError(`'${rt.cut(text(value), 200)}' is not a URL`)
      this.#record = record
      this.#refresh()
    }
    toString() { return this.href }
    toJSON() { return this.href }
    get [Symbol.toStringTag]() { return 'URL' }

    get origin() {
      const { scheme } = this.#record
      if (scheme === 'blob:') {
        const inner = parse(showPath(this.#record), null)
        return inner !== null && /^https?:$/.test(inner.scheme) ? `${inner.scheme}//${showHost(inner)}` : 'null'
      }
      return isSpecial(this.#record) && scheme !== 'file:' ? `${scheme}//${showHost(this.#record)}` : 'null'
    }

    get protocol() { return this.#record.scheme }
    set protocol(value) {
      const found = /^([a-zA-Z][a-zA-Z0-9+.-]*)(?::|$)/.exec(compact(value))
      if (found === null) return
      const scheme = `${found[1].toLowerCase()}:`
      const record = this.#record
      if (scheme in PORTS !== record.scheme in PORTS) return
      if (scheme === 'file:' && (record.username !== '' || record.password !== '' || record.port !== null)) return
      if (record.scheme === 'file:' && record.host === '') return
      record.scheme = scheme
      if (record.port === PORTS[scheme]) record.port = null
    }

    get username() { return this.#record.username }
    set username(value) {
      if (!cannotHavePort(this.#record)) this.#record.username = encode(text(value), USERINFO)
    }
    get password() { return this.#record.password }
    set password(value) {
      if (!cannotHavePort(this.#record)) this.#record.password = encode(text(value), USERINFO)
    }

    #setHost(value, takesPort) {
      const record = this.#record
      if (isOpaque(record)) return
      const [authority] = value.split(isSpecial(record) ? /[/\\?#]/ : /[/?#]/)
      const { host, port } = splitPort(authority)
      if (port !== undefined && (!takesPort || host === '' || record.scheme === 'file:')) return
      if (host === '') {
        const hasMore = record.username !== '' || record.password !== '' || record.port !== null
        if (isSpecial(record) ? record.scheme !== 'file:' : hasMore) return
        record.host = ''
        return
      }
      const parsed = parseHost(host, isSpecial(record))
      if (parsed === null) return
      record.host = record.scheme === 'file:' && parsed === 'localhost' ? '' : parsed
      const digits = /^[0-9]+/.exec(port ?? '')
      if (digits !== null && !cannotHavePort(record)) setPort(record, digits[0])
    }

    get host() { return showHost(this.#record) }
    set host(value) { this.#setHost(compact(value), true) }
    get hostname() { return this.#record.host ?? '' }
    set hostname(value) { this.#setHost(compact(value), false) }

    get port() { return this.#record.port === null ? '' : `${this.#record.port}` }
    set port(value) {
      if (cannotHavePort(this.#record)) return
      const digits = /^[0-9]+/.exec(compact(value))
      if (text(value) === '') this.#record.port = null
      else if (digits !== null) setPort(this.#record, digits[0])
    }

    get pathname() { return showPath(this.#record) }
    set pathname(value) {
      if (isOpaque(this.#record)) return
      const path = compact(value).replaceAll('?', '%3F').replaceAll('#', '%23')
      setPath(this.#record, path === '' && this.#record.host === null ? '/' : path)
    }

    get search() { return this.#record.query ? `?${this.#record.query}` : '' }
    set search(value) {
      const query = compact(value).replace(/^\?/, '')
      const set = isSpecial(this.#record) ? SPECIAL_QUERY : QUERY
      this.#record.query = text(value) === '' ? null : encode(query, set)
      this.#refresh()
    }
    get searchParams() {
      if (this.#params === null) {
        this.#params = linkParams(new URLSearchParams(), (query) => { this.#record.query = query || null })
        this.#refresh()
      }
      return this.#params
    }

    get hash() { return this.#record.fragment ? `#${this.#record.fragment}` : '' }
    set hash(value) {
      const fragment = compact(value).replace(/^#/, '')
      this.#record.fragment = text(value) === '' ? null : encode(fragment, FRAGMENT)
    }

    #refresh() { if (this.#params !== null) readParams(this.#params, this.#record.query) }
  }

  rt.expose('URLSearchParams', URLSearchParams)
  rt.expose('URL', URL)
})
