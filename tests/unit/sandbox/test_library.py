"""structuredClone, URL and URLSearchParams (CONTRACT D06)."""

from __future__ import annotations

import json

import pytest

from tests.support.drive import drive

pytestmark = [pytest.mark.anyio, pytest.mark.contract("D06")]


async def test_structured_clone_copies_what_can_be_copied() -> None:
    driven = await drive(
        "const shared = { n: 1 }, from = { a: [1, , 3], m: new Map([[shared, new Set([shared])]]), d: new Date(5), "
        "r: /x/gi,\n"
        "  b: new Uint8Array([1, 2, 3]).subarray(1), v: new DataView(new ArrayBuffer(4), 1, 2), e: new "
        "TypeError('t', { cause: shared }),\n"
        "  o: Object(5), s: Object('s'), u: undefined, i: 5n, n: null, f: new Float64Array([1.5]), p: "
        "Object.create(null) }\n"
        "from.self = from; class K { x = 1; get y() { return 2 } }; from.k = new K(); from.a.extra = 'e'\n"
        "const to = structuredClone(from), [[key, set]] = to.m\n"
        "return [to !== from, to.self === to, to.a.length, 1 in to.a, to.a.extra, key !== shared, set.has(key), "
        "to.d.getTime(), `${to.r}`, to.r !== from.r,\n"
        "  [...to.b], to.b.buffer !== from.b.buffer, to.v.byteLength, to.e instanceof TypeError, to.e.message, "
        "to.e.cause === key, typeof to.o, `${to.s}`,\n"
        "  'u' in to, `${to.i}`, to.n, to.f[0], to.k, to.k instanceof K, Object.getPrototypeOf(to.p) === "
        "Object.prototype]"
    )
    assert driven.result == [
        True, True, 3, False, "e", True, True, 5, "/x/gi", True, [2, 3], True, 2, True, "t", True, "object", "s",
        True, "5", None, 1.5, {"x": 1}, False, True,
    ]  # fmt: skip


async def test_structured_clone_refuses_what_cannot_be_copied() -> None:
    driven = await drive(
        "const r = []\nfor (const v of [() => 1, { f() {} }, Symbol('s'), new WeakMap(), Promise.resolve(), "
        "Object(Symbol()), (function* () {})(), [1].values()])\n"
        "  try { structuredClone(v); r.push('cloned') } catch (e) { r.push(e.name, e instanceof DOMException) "
        "}\nreturn r"
    )
    assert driven.result == ["DataCloneError", True] * 8


async def test_urls_have_their_parts_and_setters() -> None:
    driven = await drive(
        "const u = new URL('https://User:pa%20ss@Example.com:443/a/../b c?x=1&y=ü#z z'), r = [u.href, u.origin, "
        "u.host, u.username, u.password]\n"
        "u.port = '8080'; u.pathname = '/p?q'; u.search = ''; u.hash = '#h'; u.protocol = 'http'; u.hostname = "
        "'other'; u.username = ''; u.password = ''\n"
        "r.push(u.href, `${u}`, JSON.stringify({ u }), u instanceof URL, Object.prototype.toString.call(u))\n"
        "u.searchParams.append('a b', 'c&d'); r.push(u.search); u.searchParams.delete('a b'); r.push(u.href); "
        "u.href = 'ftp://h/'; r.push(u.searchParams.size, u.port)\n"
        "return r"
    )
    assert driven.result == [
        "https://User:pa%20ss@example.com/b%20c?x=1&y=%C3%BC#z%20z", "https://example.com", "example.com", "User",
        "pa%20ss", "http://other:8080/p%3Fq#h", "http://other:8080/p%3Fq#h", '{"u":"http://other:8080/p%3Fq#h"}', True,
        "[object URL]",
        "?a+b=c%26d", "http://other:8080/p%3Fq#h", 0, "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("url", "base", "href"),
    [
        ("../x/./y?q#f", "http://h/a/b/c", "http://h/a/x/y?q#f"),
        ("//other/p", "https://h/a", "https://other/p"),
        ("?q", "http://h/a?old#f", "http://h/a?q"),
        ("#f", "mailto:a@b", "mailto:a@b#f"),
        ("\\a\\b", "http://h/", "http://h/a/b"),
        ("http://0x7f.1/", None, "http://127.0.0.1/"),
        ("http://[1::0:0:1]:80/", None, "http://[1::1]/"),
        ("http://münchen.de/ü", None, "http://xn--mnchen-3ya.de/%C3%BC"),
        ("http://EXAMPLE%2ecom", None, "http://example.com/"),
        ("file:c:\\dir\\..\\f", None, "file:///c:/f"),
        ("non-special://h:80/../a", None, "non-special://h:80/a"),
        ("data:text/plain,a b", None, "data:text/plain,a b"),
        ("  http://h/\ta\nb  ", None, "http://h/ab"),
        ("web+demo:/.//not-a-host/", None, "web+demo:/.//not-a-host/"),
    ],
)
async def test_urls_are_parsed_as_the_standard_says(url: str, base: str | None, href: str) -> None:
    driven = await drive(
        "return new URL(args.url, args.base ?? undefined).href", args_json=json.dumps({"url": url, "base": base})
    )
    assert driven.result == href


async def test_what_is_no_url_is_a_type_error() -> None:
    driven = await drive(
        "return ['not a url', 'http://', 'http://h:99999', 'http://a b', 'http://[1', 'http://1.2.3.256', '//h', "
        "''].map((u) => {"
        " try { return new URL(u).href } catch (e) { return [e.name, URL.canParse(u), URL.parse(u)] } })"
    )
    assert driven.result == [["TypeError", False, None]] * 8


async def test_search_params_are_a_list_of_pairs() -> None:
    driven = await drive(
        "const p = new URLSearchParams('?a=1&b=%20+%zz&a=2&&=x&c'), r = [[...p], p.get('a'), p.getAll('a'), "
        "p.has('a', '2'), p.has('z'), p.size]\n"
        "p.set('a', 'n'); p.delete('b', 'no'); p.sort(); r.push(`${p}`, [...p.keys()], [...p.values()])\n"
        "p.forEach((v, k, all) => r.push(k + v + (all === p))); r.push(`${new URLSearchParams({ x: 1, 'y z': 'ü' "
        "})}`, `${new URLSearchParams([['a', 'b'], new Set(['c', 'd'])])}`)\n"
        "try { new URLSearchParams([['one']]) } catch (e) { r.push(e.name) }\nreturn r"
    )
    assert driven.result == [
        [["a", "1"], ["b", "  %zz"], ["a", "2"], ["", "x"], ["c", ""]], "1", ["1", "2"], True, False, 5,
        "=x&a=n&b=++%25zz&c=", ["", "a", "b", "c"], ["x", "n", "  %zz", ""], "xtrue", "antrue", "b  %zztrue", "ctrue",
        "x=1&y+z=%C3%BC", "a=b&c=d", "TypeError",
    ]  # fmt: skip
