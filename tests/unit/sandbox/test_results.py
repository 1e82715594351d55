"""What a script ends with, and errors that nobody takes (CONTRACT O02, O03, D08)."""

from __future__ import annotations

import json

import pytest

from callsheet.model.counts import MAX_RESULT_BYTES
from callsheet.model.sandbox import AgentCalled, Logged, Returned, SandboxLimits
from callsheet.model.values import Place
from tests.support.drive import Rejection, drive

pytestmark = pytest.mark.anyio


@pytest.mark.contract("O02")
async def test_results_are_what_json_makes_of_them() -> None:
    driven = await drive(
        "return { f() {}, d: new Date(0), m: new Map([[1, 2]]), u: undefined, n: NaN, a: [undefined], s: "
        "'é\\0\\ud800\\\\ud800' }"
    )
    assert driven.result == {
        "d": "1970-01-01T00:00:00.000Z", "m": {}, "n": None, "a": [None], "s": "é\0\ufffd\\ud800",
    }  # fmt: skip
    for body in ("", "return", "return undefined", "return () => 1", "return Symbol()", "return { toJSON() {} }"):
        assert (await drive(body)).result is None


@pytest.mark.contract("O02")
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return { a: { b: 10n } }", "result.a.b is a BigInt"),
        ("return [{ 'a b': [1n] }]", 'result[0]["a b"][0] is a BigInt'),
        ("return 5n", "result is a BigInt"),
        ("const o = { x: {} }; o.x.o = o; return o", "result.x.o refers back to result,"),
        ("const a = [[]]; a[0].push({ a: a[0] }); return a", "result[0][0].a refers back to result[0],"),
        ("return { toJSON() { return { n: 1n } } }", "result.n is a BigInt"),
        ("let o = {}; for (let i = 0; i < 2e4; i++) o = { o }; return o", "nested more than 500 levels deep"),
        ("let o = {}; for (let i = 0; i < 600; i++) o = { o }; return o", "nested more than 500 levels deep"),
        ("const e = []; return Array.from({ length: 2e6 + 1 }, () => e)", "more than 2000000 objects and arrays"),
        (f"return 'x'.repeat({MAX_RESULT_BYTES})", "larger than 67108864 bytes"),
        ("return { toJSON() { throw new RangeError('mine') } }", "mine"),
        ("return new Proxy({}, { ownKeys() { throw new Error('trap') } })", "trap"),
    ],
)
async def test_what_json_cannot_hold_is_named_with_its_path(body: str, message: str) -> None:
    driven = await drive(body, limits=SandboxLimits(memory_limit_bytes=1 << 30))
    assert message in driven.thrown.message
    assert driven.thrown.kind == "script"


DEEP = "let deep = []; for (let i = 0; i < 1e5; i++) deep = i % 2 ? [deep] : { a: deep }\n"
FAST = SandboxLimits(memory_limit_bytes=1 << 30, cpu_limit_s=3)
"""The engine's own JSON.stringify takes longer than this for `DEEP`."""


@pytest.mark.contract("O02")
@pytest.mark.parametrize("body", ["return deep", "return { toJSON: () => deep }"])
async def test_of_a_deep_result_beginning_and_end_of_the_path_are_named_at_once(body: str) -> None:
    thrown = (await drive(DEEP + body, limits=FAST)).thrown
    assert (thrown.kind, thrown.name) == ("script", "RangeError")
    assert thrown.message == ("result[0].a[0].a[0].a[0].a…[0].a[0].a[0].a[0].a is nested more than 500 levels deep")


@pytest.mark.contract("O02")
async def test_long_keys_are_cut_in_the_path() -> None:
    thrown = (await drive("return { ['k'.repeat(1e6)]: { ['- '.repeat(1e6)]: 1n } }")).thrown
    assert thrown.message.startswith(f'result.{"k" * 60}["{"- " * 30}"] is a BigInt')


@pytest.mark.contract("O02")
async def test_a_result_of_500_levels_arrives() -> None:
    driven = await drive("let o = 1; for (let i = 0; i < 500; i++) o = i % 2 ? [o] : { o }; return o")
    assert isinstance(driven.end, Returned)


@pytest.mark.contract("D05", "O03")
@pytest.mark.parametrize(
    "body",
    [
        "log(deep)",
        "console.error('x', deep)",
        "phase(deep)",
        "Promise.reject(deep)",
        "await parallel([() => { throw deep }])",
        "const e = new Error(); e.message = deep; log(e)",
        "setTimeout(() => { throw deep }, 1)",
    ],
)
async def test_deep_values_are_shown_at_once_as_far_as_a_line_goes(body: str) -> None:
    driven = await drive(f"{DEEP}{body}\nawait agent('x')\nreturn 'went on'", limits=FAST)
    assert driven.result == "went on"


@pytest.mark.contract("O03")
async def test_a_deep_value_that_is_thrown_is_shown() -> None:
    thrown = (await drive(f"{DEEP}throw deep", limits=FAST)).thrown
    assert thrown.message.startswith('[{"a":[{"a":[{"a":')
    assert "[…]" in thrown.message


@pytest.mark.contract("A04", "A09", "W02")
@pytest.mark.parametrize(
    "call", ["agent('x', { schema: deep })", "agent('x', { label: deep })", "workflow('x', deep)", "agent(deep)"]
)
async def test_deep_values_in_a_call_are_refused_at_once(call: str) -> None:
    def refuse(called: AgentCalled) -> Rejection:
        return Rejection(message=called.options_fault or f"a prompt of type {called.prompt_type}")

    driven = await drive(f"{DEEP}return await {call}.catch(e => e.message)", answer=refuse, limits=FAST)
    assert isinstance(driven.result, str)
    assert "is nested more than 500 levels deep" in driven.result or driven.result == "a prompt of type array"


@pytest.mark.contract("O03")
async def test_errors_that_stand_in_their_own_name_and_message_are_not_gone_into() -> None:
    driven = await drive(
        "const e = new Error(); e.name = { e }; e.message = [e, e]; log(e)\n"
        "const plain = new Error('m'); log([plain, { cause: plain }])",
        limits=FAST,
    )
    assert [line.message for line in driven.messages if isinstance(line, Logged)] == [
        '{"e":"[error]"}: ["[error]","[error]"]',
        '["Error: m",{"cause":"Error: m"}]',
    ]


@pytest.mark.contract("O02")
async def test_a_result_of_the_largest_size_arrives_whole() -> None:
    driven = await drive(
        f"return 'é'.repeat({MAX_RESULT_BYTES // 2 - 1})", limits=SandboxLimits(memory_limit_bytes=1 << 30)
    )
    assert isinstance(driven.end, Returned)
    assert len(driven.end.value_json.encode()) == MAX_RESULT_BYTES
    assert json.loads(driven.end.value_json) == "é" * (MAX_RESULT_BYTES // 2 - 1)


@pytest.mark.contract("O03")
@pytest.mark.parametrize(
    ("body", "name", "message", "place"),
    [
        ("\nfunction inner() "
        "{ null.x }\ninner()", "TypeError", "cannot read property 'x' of null", Place(line=2, column=20)),
        ("const é = '🎭'; throw new Error('m')", "Error", "m", Place(line=1, column=26)),
        ("throw 'plain'", "", "plain", None),
        ("throw null", "", "null", None),
        ("throw undefined", "", "undefined", None),
        ("throw { code: 5 }", "", '{"code":5}', None),
        ("throw () => 1", "", "[function (anonymous)]", None),
        ("throw { toString() { for (;;); }, message: 'm' }", "", '{"message":"m"}', None),
        ("throw new Proxy({}, { get() { "
        "throw 1 }, ownKeys() { throw 2 } })", "", "[object that cannot be shown]", None),
        ("\nclass MyError extends Error { name "
        "= 'MyError' }\nthrow new MyError('x')", "MyError", "x", Place(line=3, column=11)),
        ("const e = new Error('x'); e.name = {}; "
        "e.message = 5; e.stack = 'lies (workflow.js:9:9)'; throw e", "{}", "5", Place(line=1, column=15)),
        ("const e = new Error(); "
        "Object.defineProperty(e, 'message', { get() { throw 1 } }); throw e", "Error", "", Place(line=1, column=15)),
        ("\nawait agent('x')", "Error", "refused", Place(line=2, column=7)),
        ("\nawait parallel(5)", "TypeError", "parallel() needs an "
        "array of functions, not number", Place(line=2, column=7)),
        ("JSON.parse('{')", "SyntaxError", "Expected property name or '}' in "
        "JSON at position 1 (line 1 column 2)", Place(line=1, column=6)),
        ("new RegExp('(')", "SyntaxError", "expecting ')'", Place(line=1, column=5)),
        ("\r\r\u2028x.y", "ReferenceError", "x is not defined", Place(line=1, column=4)),
        ("throw new AggregateError([1], 'all')", "AggregateError", "all", Place(line=1, column=11)),
        ("throw new DOMException('d', 'DataCloneError')", "DataCloneError", "d", Place(line=1, column=11)),
        ("const f = () => { f() }; f()", "RangeError", "Maximum call stack size exceeded", Place(line=1, column=19)),
    ],
)  # fmt: skip
async def test_what_was_thrown_is_shown_with_its_place(body: str, name: str, message: str, place: Place | None) -> None:
    thrown = (await drive(body, answer=lambda call: Rejection())).thrown
    assert (thrown.kind, thrown.name, thrown.message) == ("script", name, message)
    assert (thrown.place and thrown.place.line) == (place and place.line)
    assert thrown.place == place


@pytest.mark.contract("O03")
async def test_our_own_frames_show_in_no_stack() -> None:
    driven = await drive(
        "const stacks = []\nconst note = (e) => stacks.push(e.stack)\n"
        "await parallel(5).catch(note); await agent('x').catch(note); try { setTimeout(5) } catch (e) { note(e) }\n"
        "await parallel([() => { note(new Error()) }]); await pipeline([1], () => { note(new Error()) })\n"
        "try { new URL('x') } catch (e) { note(e) }; try { structuredClone(() => 1) } catch (e) { note(e) }\n"
        "const o = {}; Error.captureStackTrace(o); note(o); class E extends Error { constructor() { super(); "
        "Error.captureStackTrace(this, E) } }\n"
        "note(new E()); log({ toJSON() { note(new Error()); return 1 } })\nreturn stacks",
        answer=lambda call: Rejection(),
    )
    assert isinstance(driven.result, list)
    assert len(driven.result) == 10
    for stack in driven.result:
        assert isinstance(stack, str)
        assert "workflow.js:" in stack
        assert "callsheet" not in stack


@pytest.mark.contract("O03")
async def test_a_message_of_any_length_is_cut() -> None:
    thrown = (await drive("throw new Error('é'.repeat(1e6))")).thrown
    assert thrown.message.endswith("é…")
    assert len(thrown.message.encode()) <= 16 * 1024


@pytest.mark.contract("D08")
async def test_rejections_that_nobody_handles_are_warned_of_when_the_script_is_idle() -> None:
    driven = await drive(
        "Promise.reject(new Error('unheard'))\nconst late = Promise.reject(new Error('late')); await null; "
        "late.catch(() => {})\n"
        "async function never() {\n  await null; throw new TypeError('floating') }\nnever()\nagent('r')\n"
        "const ours = [parallel(5), pipeline('x')]\nreturn await agent('x')",
        answer=lambda call: Rejection(message="no") if call.prompt == "r" else "went on",
    )
    assert driven.result == "went on"
    warned = sorted((w.message.partition(": ")[2], w.place and w.place.line) for w in driven.warnings)
    assert warned == [
        ("Error: no", 6),
        ("Error: unheard", 1),
        ("TypeError: floating", 4),
        ("TypeError: parallel() needs an array of functions, not number", 7),
        ("TypeError: pipeline() needs an array of items, not string", 7),
    ]
    assert {warning.code for warning in driven.warnings} == {"unhandled-rejection"}


@pytest.mark.contract("D08", "L03")
async def test_a_flood_of_rejections_is_bounded() -> None:
    driven = await drive("for (let i = 0; i < 2e5; i++) Promise.reject(i)\nreturn await agent('x')")
    assert driven.result == "answer to: x"
    assert 1 <= len(driven.warnings) <= 100
