"""Modules and TypeScript in a body are refused by structure, never by text (CONTRACT S05)."""

from __future__ import annotations

import pytest

from callsheet.model.values import Place
from tests.unit.script.samples import HEAD, engine_fault, refusal, script, told

pytestmark = pytest.mark.contract("S05")


@pytest.mark.parametrize(
    ("body", "code", "column", "says"),
    [
        ("import fs from 'fs'", "import", 1, "`import`"),
        ("import 'x'", "import", 1, "`import`"),
        ("import type { A } from 'b'", "import", 1, "`import`"),
        ("const fs = await import('fs')", "import", 18, "`import()`"),
        ("log(import.meta.url)", "import", 5, "`import.meta`"),
        ("const é = require('fs')", "require", 11, "`require()`"),
        ("if (typeof require === 'function') { require('x') }", "require", 38, "`require()`"),
        ("export const b = 1", "second-export", 1, "`return`"),
        ("export default run", "second-export", 1, "`export`"),
        ("export { a }", "second-export", 1, "`export`"),
        ("export * from 'x'", "second-export", 1, "`export`"),
        ("export function f() {}", "second-export", 1, "`export`"),
    ],
)
def test_modules_are_refused_with_place_and_name(body: str, code: str, column: int, says: str) -> None:
    refused = refusal(HEAD + "// ü\n" + body)
    finding = refused.findings[0]
    assert (finding.code, finding.contract, finding.place) == (code, "S05", Place(line=3, column=column))
    assert says in finding.message
    assert finding.source_line == body
    assert refused.workflow == "sample"


@pytest.mark.parametrize(
    "body",
    [
        "// import x from 'y'\n/* require('z') */\nreturn 1",
        "const s = \"import fs from 'fs'; require('x'); import('z')\"",
        "const s = `\nimport x from 'y'\nexport const z = 1\nrequire('a')\n${1}\nimport.meta`",
        "const r = /import('x')|require('y')/",
        "const require = name => name; return require('x')",
        "function f(require) { return require('x') }",
        "const { require } = tools; require('x')",
        "const { a: require = b } = tools; require('x')",
        "const f = require => require('x')",
        "tools.require('x'); tools.import('y'); new.target",
        "const o = { import: 1, require: 2, export: 3, meta: 4 }; return o.import + o.export",
        "class A { import() {} export() {} }",
        "label: for (;;) { break label }",
    ],
)
def test_a_mention_is_no_use(body: str) -> None:
    assert script(body).meta.name == "sample"


def test_all_uses_are_told_in_order_and_not_without_end() -> None:
    refused = refusal(HEAD + "require('a')\nimport x from 'x'\nawait import('y')\n" + "require('z');\n" * 50)
    assert told(refused.findings)[:3] == [("require", "2:1"), ("import", "3:1"), ("import", "4:7")]
    assert len(refused.findings) == 20


@pytest.mark.parametrize(
    "odd",
    [
        "const s = a ? b : ;\n",
        "@#§;\n",
        "const x = { a: 1 b: 2 }\n",
    ],
)
def test_in_a_body_that_the_grammar_trips_over_uses_are_still_found_and_mentions_still_none(odd: str) -> None:
    assert refusal(HEAD + odd + "import x from 'y'\n").findings[0].code == "import"
    mentions = "const s = 'import x from \"y\"'\n/* export const z = 1 */\nconst t = `require('x')`\n"
    assert script(odd + mentions).meta.name == "sample"


def test_valid_javascript_that_the_grammar_trips_over_is_read() -> None:
    body = "const f = a => { return a }\n\n[...b].forEach(f)\nconst s = 'a: string; import x' + /b: c as d/.source\n"
    assert engine_fault(body) is None
    assert script(body).body.endswith(body)


TYPESCRIPT = [
    ("const a: string = 'x'; return a", 8, "type annotation"),
    ("let x: number", 6, "type annotation"),
    ("const s: Array<string> = []", 8, "type annotation"),
    ("const { a, b }: { a: string, b: number } = x", 15, "type annotation"),
    ("const g = (a: string) => a", 13, "type annotation"),
    ("async function f(x: string): Promise<void> { await g(x) }", 19, "type annotation"),
    ("try {} catch (e: any) {}", 16, "type annotation"),
    ("function f(this: A) {}", 16, "type annotation"),
    ("function f(a?: number) {}", 12, "optional parameter"),
    ("interface A { b: string }\nreturn 1", 1, "`interface`"),
    ("type A = string", 1, "`type`"),
    ("type A = { a: 1 } | null\nreturn 1", 1, "`type`"),
    ("enum A { B }", 1, "`enum`"),
    ("declare const x: number", 1, "`declare`"),
    ("namespace A { }", 1, "`namespace`"),
    ("abstract class A {}", 1, "`abstract class`"),
    ("class A { private x = 1 }", 11, "`private`"),
    ("class A<T> {}", 8, "type parameter"),
    ("class A implements B {}", 9, "`implements`"),
    ("function f<T>(x) {}", 11, "type parameter"),
    ("const f = async <T,>(x) => x", 17, "type parameter"),
    ("const m = new Map<string, number>()", 18, "type argument"),
    ("foo(x as any)", 7, "`as`"),
    ("const z = 'ü' as const", 15, "`as`"),
    ("for (const x of xs as any[]) {}", 20, "`as`"),
    ("const w = x satisfies Y", 13, "`satisfies`"),
    ("const q = y!", 12, "`!`"),
    ("y!.foo()", 2, "`!`"),
    ("let v = <string>x", 9, "angle brackets"),
]


@pytest.mark.parametrize(("body", "column", "what"), TYPESCRIPT)
def test_typescript_is_named_at_its_place(body: str, column: int, what: str) -> None:
    refused = refusal(HEAD.rstrip() + "\n// é\nconst before = { a: 1 }\n" + body)
    finding = refused.findings[0]
    assert (finding.code, finding.contract, finding.place) == ("typescript", "S05", Place(line=4, column=column))
    assert what in finding.message
    assert "TypeScript" in finding.message
    assert engine_fault(body) is not None


def test_typescript_is_found_deep_in_a_function_and_in_a_call() -> None:
    body = (
        "async function main() {\n  const first = 1\n  const found: Finding[] = []\n  return found\n}\n"
        "return await agent('x', {\n  schema: S as any,\n})\n"
    )
    assert told(refusal(HEAD + body).findings) == [("typescript", "4:14")]
    assert told(refusal(HEAD + body.replace(": Finding[]", "")).findings) == [("typescript", "8:13")]


@pytest.mark.parametrize(
    "body",
    [
        "const a = 1, b = 2, c = 3\nreturn a < b > (c)",
        "const f = x => x, T = 1, x = 2\nreturn f<T>(x)",
        "type = 1; declare = 2; namespace = 3; abstract = 4; readonly = 5; as = 6; satisfies = 7",
        "var type, as\ntype\nas",
        "a: for (;;) { b: for (;;) { break a } }",
        "const x = a ? { b: c } : d => e",
        "x = y ? (z) : w => 1",
        "const o = { type: 'string', as: 'x', enum: ['a'], interface: 1, private: 2 }; return o.type",
        "const t = 'const a: string'; const u = /a: string as b/",
        "switch (x) { case a: b(); default: c() }",
        "if (!a) b(); if (a != b) c(); return !a",
        "const private_ = 1; class A { static x = 1; #y = 2; get z() { return this.#y } }",
        "const [a = 1, { b: c = 2 }] = x",
        "const g = a => b => ({ c: d })",
    ],
)
def test_valid_javascript_is_never_taken_for_typescript(body: str) -> None:
    assert engine_fault(body) is None
    assert script(body).meta.name == "sample"


@pytest.mark.parametrize(
    "body",
    [
        "const a = ;",
        "foo(a: 1)",
        "const x = a ? b : c d",
        "{ name 'x' }",
        "return { a: 1 b: 2 }",
        "const x = { a: string, b?: number }",
        "@decorated class A {}",
        "for (const x of y {",
    ],
)
def test_what_is_neither_is_left_to_the_engine(body: str) -> None:
    assert engine_fault(body) is not None
    assert script(body).body.endswith(body)
