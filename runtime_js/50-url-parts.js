// The parts of the URL Standard (url.spec.whatwg.org) that URL and URLSearchParams are made of: percent-encoding,
// hosts, paths and the parser. A record is what the standard calls a URL; `path` is a list, or a string where opaque.
(function (rt) {
  const { Array, Math, Number, Object, Set, String, encodeURIComponent, parseInt } = globalThis

  // --- percent-encoding ---------------------------------------------------------------------------------------------

  const asciiSet = (characters) => new Set(characters)
  const CONTROL = asciiSet('')
  const FRAGMENT = asciiSet(' "<>`')
  const QUERY = asciiSet(' "#<>')
  const SPECIAL_QUERY = asciiSet(' "#<>\'')
  const PATH = asciiSet(' "#<>?^`{}')
  const USERINFO = asciiSet(' "#<>?^`{}/:;=@[\\]|')
  const FORM = asciiSet(' "#<>?^`{}/:;=@[\\]|$%&+,!\'()~')

  const percent = (byte) => `%${byte < 16 ? '0' : ''}${byte.toString(16).toUpperCase()}`
  const encode = (text, set) => {
    let out = ''
    for (const character of text.toWellFormed()) {
      const code = character.codePointAt(0)
      if (code > 0x7e) out += code === 0x7f ? '%7F' : encodeURIComponent(character)
      else out += code < 0x20 || set.has(character) ? percent(code) : character
    }
    return out
  }

  // UTF-8 with errors replaced as TextDecoder does: one U+FFFD for each longest part that could begin a character.
  const decodeUtf8 = (bytes) => {
    let out = ''
    let need = 0, code = 0, low = 0x80, high = 0xbf
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i]
      if (need > 0) {
        if (byte >= low && byte <= high) {
          low = 0x80
          high = 0xbf
          code = (code << 6) | (byte & 0x3f)
          if (--need === 0) out += String.fromCodePoint(code)
          continue
        }
        out += '\ufffd'
        need = 0
        low = 0x80
        high = 0xbf
      }
      if (byte < 0x80) out += String.fromCodePoint(byte)
      else if (byte >= 0xc2 && byte <= 0xdf) { need = 1; code = byte & 0x1f }
      else if (byte >= 0xe0 && byte <= 0xef) {
        need = 2
        code = byte & 0xf
        if (byte === 0xe0) low = 0xa0
        if (byte === 0xed) high = 0x9f
      } else if (byte >= 0xf0 && byte <= 0xf4) {
        need = 3
        code = byte & 7
        if (byte === 0xf0) low = 0x90
        if (byte === 0xf4) high = 0x8f
      } else out += '\ufffd'
    }
    return need > 0 ? `${out}\ufffd` : out
  }

  const decode = (text) => {
    if (!text.includes('%')) return text
    const bytes = []
    const escaped = encode(text, CONTROL)
    for (let i = 0; i < escaped.length; i++) {
      const hex = escaped[i] === '%' ? escaped.slice(i + 1, i + 3) : ''
      if (/^[0-9a-fA-F]{2}$/.test(hex)) {
        bytes.push(parseInt(hex, 16))
        i += 2
      } else bytes.push(escaped.charCodeAt(i))
    }
    return decodeUtf8(bytes)
  }

  // --- hosts --------------------------------------------------------------------------------------------------------

  // Punycode (RFC 3492). Names are mapped by NFKC and lower case, which is the bulk of what UTS 46 does.
  const adapt = (delta, count, isFirst) => {
    let left = Math.floor(delta / (isFirst ? 700 : 2))
    left += Math.floor(left / count)
    let k = 0
    for (; left > 455; k += 36) left = Math.floor(left / 35)
    return k + Math.floor((36 * left) / (left + 38))
  }
  const digit = (value) => String.fromCharCode(value < 26 ? value + 97 : value + 22)
  const punycode = (label) => {
    const codes = Array.from(label, (character) => character.codePointAt(0))
    const basic = codes.filter((code) => code < 0x80)
    let out = basic.map((code) => String.fromCharCode(code)).join('') + (basic.length > 0 ? '-' : '')
    let n = 0x80, delta = 0, bias = 72, handled = basic.length
    while (handled < codes.length) {
      const next = codes.reduce((least, code) => (code >= n && code < least ? code : least), 0x110000)
      delta += (next - n) * (handled + 1)
      n = next
      for (const code of codes) {
        if (code < n) delta += 1
        if (code !== n) continue
        let q = delta
        for (let k = 36; ; k += 36) {
          const t = k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias
          if (q < t) break
          out += digit(t + ((q - t) % (36 - t)))
          q = Math.floor((q - t) / (36 - t))
        }
        out += digit(q)
        bias = adapt(delta, handled + 1, handled === basic.length)
        delta = 0
        handled += 1
      }
      delta += 1
      n += 1
    }
    return `xn--${out}`
  }
  const isAscii = (label) => /^[\0-\x7f]*$/.test(label)
  const toAscii = (domain) => {
    const mapped = domain.normalize('NFKC').toLowerCase().normalize('NFKC')
      .replace(/[\u3002\uff61]/g, '.').replace(/[\u00ad\u200b\u2060\ufeff]/g, '')
    if (/[\p{Noncharacter_Code_Point}\p{Zs}\p{Cc}\ufffd]/u.test(mapped)) return ''
    return mapped.split('.').map((label) => (isAscii(label) ? label : punycode(label))).join('.')
  }

  const parseNumber = (part) => {
    if (part === '') return null
    if (/^0[xX][0-9a-fA-F]*$/.test(part)) return part.length === 2 ? 0 : parseInt(part.slice(2), 16)
    if (/^0[0-7]+$/.test(part)) return parseInt(part, 8)
    return /^[0-9]+$/.test(part) && !/^0[0-9]/.test(part) ? Number(part) : null
  }
  const labels = (domain) => {
    const parts = domain.split('.')
    if (parts.length > 1 && parts.at(-1) === '') parts.pop()
    return parts
  }
  const endsInNumber = (domain) => /^(?:[0-9]+|0[xX][0-9a-fA-F]*)$/.test(labels(domain).at(-1))
  const parseIpv4 = (domain) => {
    const numbers = labels(domain).map(parseNumber)
    if (numbers.length > 4 || numbers.includes(null)) return null
    const last = numbers.pop()
    if (numbers.some((number) => number > 255) || last >= 256 ** (4 - numbers.length)) return null
    const address = numbers.reduce((sum, number, i) => sum + number * 256 ** (3 - i), last)
    return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.')
  }

  const parsePieces = (text) => {
    const pieces = text === '' ? [] : text.split(':')
    const dotted = pieces.length > 0 && pieces.at(-1).includes('.') ? pieces.pop() : null
    if (pieces.some((piece) => !/^[0-9a-fA-F]{1,4}$/.test(piece))) return null
    const numbers = pieces.map((piece) => parseInt(piece, 16))
    if (dotted === null) return numbers
    const bytes = dotted.split('.')
    const isByte = (byte) => /^(?:0|[1-9][0-9]{0,2})$/.test(byte) && Number(byte) <= 255
    if (bytes.length !== 4 || !bytes.every(isByte)) return null
    return [...numbers, Number(bytes[0]) * 256 + Number(bytes[1]), Number(bytes[2]) * 256 + Number(bytes[3])]
  }
  const parseIpv6 = (text) => {
    const halves = text.split('::')
    if (halves.length > 2) return null
    const [head, tail] = halves.map(parsePieces)
    if (head === null || tail === null) return null
    if (tail === undefined) return head.length === 8 ? head : null
    if (halves[0].includes('.') || head.length + tail.length > 7) return null
    return [...head, ...new Array(8 - head.length - tail.length).fill(0), ...tail]
  }
  const showIpv6 = (pieces) => {
    let best = -1, size = 1
    for (let i = 0; i < 8; i++) {
      let end = i
      while (end < 8 && pieces[end] === 0) end++
      if (end - i > size) [best, size] = [i, end - i]
    }
    const hex = pieces.map((piece) => piece.toString(16))
    if (best < 0) return `[${hex.join(':')}]`
    return `[${hex.slice(0, best).join(':')}::${hex.slice(best + size).join(':')}]`
  }

  const FORBIDDEN = /[\0\t\n\r #/:<>?@[\\\]^|]/
  /** The host as it is written in a URL, null where it is none. */
  const parseHost = (text, isSpecial) => {
    if (text.startsWith('[')) {
      const pieces = text.endsWith(']') ? parseIpv6(text.slice(1, -1)) : null
      return pieces && showIpv6(pieces)
    }
    if (!isSpecial) return FORBIDDEN.test(text) ? null : encode(text, CONTROL)
    const domain = toAscii(decode(text))
    if (domain === '' || FORBIDDEN.test(domain) || /[\0-\x1f%\x7f]/.test(domain)) return null
    return endsInNumber(domain) ? parseIpv4(domain) : domain
  }

  // --- records ------------------------------------------------------------------------------------------------------

  const PORTS = { __proto__: null, 'ftp:': 21, 'file:': null, 'http:': 80, 'https:': 443, 'ws:': 80, 'wss:': 443 }
  const isSpecial = (record) => record.scheme in PORTS
  const isOpaque = (record) => typeof record.path === 'string'
  const isDrive = (text) => /^[a-zA-Z][:|]$/.test(text)
  const startsWithDrive = (text) => /^[a-zA-Z][:|](?:[/\\?#]|$)/.test(text)

  const blank = (scheme) => ({
    scheme, username: '', password: '', host: null, port: null, path: [], query: null, fragment: null,
  })
  const inherit = (base, ...names) => ({ ...blank(base.scheme), ...Object.fromEntries(names.map((name) =>
    [name, name === 'path' && !isOpaque(base) ? [...base.path] : base[name]])) })

  const shorten = (record) => {
    const { path } = record
    if (record.scheme === 'file:' && path.length === 1 && /^[a-zA-Z]:$/.test(path[0])) return
    path.pop()
  }

  const splitTail = (text) => {
    const [, path, query, fragment] = /^([^?#]*)(?:\?([^#]*))?(?:#([^]*))?$/.exec(text)
    return { path, query, fragment }
  }

  const addTail = (record, { query, fragment }) => {
    if (query !== undefined) record.query = encode(query, isSpecial(record) ? SPECIAL_QUERY : QUERY)
    if (fragment !== undefined) record.fragment = encode(fragment, FRAGMENT)
    return record
  }

  const addPath = (record, text) => {
    const segments = text.split(isSpecial(record) ? /[/\\]/ : '/')
    segments.forEach((segment, i) => {
      const isLast = i === segments.length - 1
      const dots = segment.replace(/%2e/gi, '.')
      if (dots === '..') shorten(record)
      if (dots === '.' || dots === '..') {
        if (isLast) record.path.push('')
        return
      }
      const isFirstDrive = record.scheme === 'file:' && record.path.length === 0 && isDrive(segment)
      record.path.push(isFirstDrive ? `${segment[0]}:` : encode(segment, PATH))
    })
  }

  // An absolute path: what follows an authority.
  const setPath = (record, text) => {
    record.path = []
    if (isSpecial(record)) addPath(record, text.replace(/^[/\\]/, ''))
    else if (text !== '') addPath(record, text.replace(/^\//, ''))
    return record
  }

  const setPort = (record, text) => {
    if (!/^[0-9]*$/.test(text) || Number(text) > 65535) return false
    record.port = text === '' || Number(text) === PORTS[record.scheme] ? null : Number(text)
    return true
  }

  const splitPort = (text) => {
    const colon = text.indexOf(':', Math.max(text.lastIndexOf(']'), 0))
    return colon < 0 ? { host: text, port: undefined } : { host: text.slice(0, colon), port: text.slice(colon + 1) }
  }

  const parseAuthority = (record, text) => {
    const end = text.search(isSpecial(record) ? /[/\\?#]/ : /[/?#]/)
    const authority = end < 0 ? text : text.slice(0, end)
    const at = authority.lastIndexOf('@')
    if (at >= 0) {
      const [, username, password] = /^([^:]*)(?::([^]*))?$/.exec(authority.slice(0, at))
      record.username = encode(username, USERINFO)
      record.password = encode(password ?? '', USERINFO)
    }
    const { host, port } = splitPort(authority.slice(at + 1))
    if (host === '' && (isSpecial(record) || at >= 0 || port !== undefined)) return null
    record.host = host === '' ? '' : parseHost(host, isSpecial(record))
    if (record.host === null || !setPort(record, port ?? '')) return null
    const tail = splitTail(end < 0 ? '' : text.slice(end))
    return addTail(setPath(record, tail.path), tail)
  }

  const parseFileHost = (record, text) => {
    const end = text.search(/[/\\?#]/)
    const host = end < 0 ? text : text.slice(0, end)
    if (isDrive(host)) return parseFilePath(record, text)
    record.host = host === '' ? '' : parseHost(host, true)
    if (record.host === 'localhost') record.host = ''
    return record.host === null ? null : parseFilePath(record, end < 0 ? '' : text.slice(end))
  }
  const parseFilePath = (record, text) => {
    const tail = splitTail(text)
    return addTail(setPath(record, tail.path), tail)
  }

  const parseFile = (text, base) => {
    const record = { ...blank('file:'), host: '' }
    const isBased = base !== null && base.scheme === 'file:'
    if (/^[/\\]{2}/.test(text)) return parseFileHost(record, text.slice(2))
    if (/^[/\\]/.test(text)) {
      if (!isBased) return parseFilePath(record, text)
      record.host = base.host
      const tail = splitTail(text)
      const keepsDrive = !startsWithDrive(text.slice(1)) && base.path.length > 0 && /^[a-zA-Z]:$/.test(base.path[0])
      if (!keepsDrive) return addTail(setPath(record, tail.path), tail)
      record.path = [base.path[0]]
      addPath(record, tail.path.slice(1))
      return addTail(record, tail)
    }
    if (!isBased) return parseFilePath(record, text)
    if (startsWithDrive(text)) return parseFilePath({ ...record, host: base.host }, text)
    return parseRelativePath(text, base)
  }

  const parseRelativePath = (text, base) => {
    const tail = splitTail(text)
    const record = inherit(base, 'username', 'password', 'host', 'port', 'path', 'query')
    if (tail.path !== '') {
      record.query = null
      shorten(record)
      addPath(record, tail.path)
    } else if (tail.query !== undefined) record.query = null
    return addTail(record, tail)
  }

  const parseRelative = (text, base) => {
    const slash = isSpecial(base) ? /^[/\\]/ : /^\//
    if (!slash.test(text)) return parseRelativePath(text, base)
    if (slash.test(text.slice(1))) {
      return parseAuthority(blank(base.scheme), isSpecial(base) ? text.replace(/^[/\\]+/, '') : text.slice(2))
    }
    const tail = splitTail(text)
    return addTail(setPath(inherit(base, 'username', 'password', 'host', 'port'), tail.path), tail)
  }

  const parseOpaque = (scheme, text) => {
    const tail = splitTail(text)
    const path = tail.query === undefined && tail.fragment === undefined ? tail.path : tail.path.replace(/ $/, '%20')
    return addTail({ ...blank(scheme), path: encode(path, CONTROL) }, tail)
  }

  /** A record, or null for what is no URL. */
  const parse = (input, base) => {
    const text = input.replace(/^[\0- ]+|[\0- ]+$/g, '').replace(/[\t\n\r]/g, '')
    const found = /^([a-zA-Z][a-zA-Z0-9+.-]*:)([^]*)$/.exec(text)
    if (found === null) {
      if (base === null) return null
      if (isOpaque(base)) {
        return text.startsWith('#') ? addTail({ ...base, fragment: null }, { fragment: text.slice(1) }) : null
      }
      return base.scheme === 'file:' ? parseFile(text, base) : parseRelative(text, base)
    }
    const scheme = found[1].toLowerCase()
    const rest = found[2]
    if (scheme === 'file:') return parseFile(rest, base)
    if (scheme in PORTS) {
      if (base !== null && base.scheme === scheme && !rest.startsWith('//')) return parseRelative(rest, base)
      return parseAuthority(blank(scheme), rest.replace(/^[/\\]+/, ''))
    }
    if (rest.startsWith('//')) return parseAuthority(blank(scheme), rest.slice(2))
    if (!rest.startsWith('/')) return parseOpaque(scheme, rest)
    const tail = splitTail(rest)
    return addTail(setPath(blank(scheme), tail.path), tail)
  }

  const showPath = (record) => (isOpaque(record) ? record.path : record.path.map((segment) => `/${segment}`).join(''))
  const showHost = (record) => (record.host ?? '') + (record.port === null ? '' : `:${record.port}`)
  const show = (record) => {
    let out = record.scheme
    if (record.host !== null) {
      out += '//'
      if (record.username !== '' || record.password !== '') {
        out += `${record.username}${record.password === '' ? '' : `:${record.password}`}@`
      }
      out += showHost(record)
    } else if (!isOpaque(record) && record.path.length > 1 && record.path[0] === '') out += '/.'
    out += showPath(record)
    if (record.query !== null) out += `?${record.query}`
    return record.fragment === null ? out : `${out}#${record.fragment}`
  }

  rt.url = {
    encode, decode, parse, parseHost, setPath, setPort, splitPort, show, showHost, showPath, isSpecial, isOpaque, PORTS,
    FORM, FRAGMENT, QUERY, SPECIAL_QUERY, USERINFO, CONTROL,
  }
})
