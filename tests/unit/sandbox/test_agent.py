"""agent() and its messages (CONTRACT A01, A06, A08, L03)."""

from __future__ import annotations

import pytest

from callsheet.model.counts import MAX_CALLS, MAX_PROMPT_BYTES
from callsheet.model.sandbox import AgentCalled, Clock, PhaseEntered, RejectCall, ResolveCall, SandboxLimits
from callsheet.sandbox.host import SandboxHost
from tests.support.deadline import within
from tests.support.drive import Rejection, drive, start, turn

pytestmark = pytest.mark.anyio


@pytest.mark.contract("A01")
async def test_a_call_gives_a_real_promise_at_once_and_spawn_agent_is_the_same() -> None:
    driven = await drive(
        "const p = agent('hello', { label: 'a' })\n"
        "const r = [agent === spawnAgent, p instanceof Promise, await p.then((t) => t + '!'), await "
        "agent('b').catch((e) => e.message)]\n"
        "r.push(await spawnAgent({ prompt: 'p', label: 'one', other: 1 }), await spawnAgent('q'), agent.name, "
        "agent.length)\nreturn r",
        answer=lambda call: Rejection(message="no") if call.prompt == "b" else call.prompt,
    )
    assert driven.result == [True, True, "hello!", "no", "p", "q", "agent", 2]
    one = driven.agents[2]
    assert (one.prompt, one.prompt_type, one.options, one.unknown_options) == (
        "p",
        "string",
        {"label": "one"},
        ("other",),
    )
    assert [call.call for call in driven.agents] == [1, 2, 3, 4]
    assert [call.line for call in driven.agents] == [1, 2, 3, 3]


@pytest.mark.contract("A08")
async def test_undefined_options_are_absent_and_unknown_ones_are_named() -> None:
    driven = await drive(
        "await agent('x', { model: undefined, schema: { type: 'object' }, stallMs: 1, _private: {}, gone: "
        "undefined, settle: true })\n"
        "class Defaults { }\nconst o = Object.create({ effort: 'low' }); o.label = 'own'; await agent('y', o)\n"
        "await agent('z', null); await agent('z', undefined)"
    )
    first, second, *rest = driven.agents
    assert first.options == {"schema": {"type": "object"}, "stallMs": 1, "settle": True}
    assert first.unknown_options == ("_private",)
    assert second.options == {"label": "own", "effort": "low"}
    assert [call.options for call in rest] == [{}, {}]
    assert all(call.options_fault is None for call in driven.agents)


@pytest.mark.contract("A06")
async def test_values_are_fresh_and_mutable_and_options_stay_untouched() -> None:
    driven = await drive(
        "const schema = Object.freeze({ type: 'object' }), options = Object.freeze({ schema, label: "
        "'x'.repeat(300) })\n"
        "const a = await agent('s', options); a.extra = 1; a.list.push(2)\nconst b = await agent('s', options)\n"
        "return [a, b, options.label.length, Object.keys(schema), Object.getPrototypeOf(a) === Object.prototype]",
        answer=lambda call: {"list": [1], "__proto__": {"x": 1}},
    )
    assert driven.result == [
        {"list": [1, 2], "__proto__": {"x": 1}, "extra": 1}, {"list": [1], "__proto__": {"x": 1}}, 300, ["type"], True,
    ]  # fmt: skip


@pytest.mark.contract("A09")
async def test_what_is_no_prompt_is_passed_on_with_its_type() -> None:
    driven = await drive(
        "for (const p of [undefined, null, 5, [], {}, () => 1, Symbol('s'), 1n, '', { prompt: 7 }]) await agent(p)"
    )
    assert [(call.prompt, call.prompt_type) for call in driven.agents] == [
        (None, "undefined"), (None, "null"), (None, "number"), (None, "array"), (None, "undefined"), (None, "function"),
        (None, "symbol"), (None, "bigint"), ("", "string"), (None, "number"),
    ]  # fmt: skip


@pytest.mark.contract("A09")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("5", "must be an object, not number"),
        ("['x']", "must be an object, not array"),
        ("() => 1", "must be an object, not function"),
        ("{ schema: () => 1 }", "schema is [function schema]"),
        ("{ timeout: Infinity }", "timeout is Infinity"),
        ("{ schema: { type: 'object', big: { n: 10n } } }", "options.schema.big.n is a BigInt"),
        ("(() => { const s = { type: 'object' }; "
        "s.properties = { s }; return { schema: s } })()", "options.schema.properties.s refers back"),
        ("{ get label() { throw new Error('trap') } }", "Error: trap"),
        ("new Proxy({}, { ownKeys() { throw new RangeError('no keys') } })", "RangeError: no keys"),
        ("{ schema: { toJSON() { throw 'mine' } } }", "mine"),
        ("{ get label() { throw new Error('é'.repeat(1e6)) } }", "options cannot be read: Error: éé"),
        ("{ schema: Object.defineProperty(() => 1, 'name', { value: 'n'.repeat(1e6) }) }", "schema is [function nnn"),
        ("{ context: 'x'.repeat(5e6) }", "options over 4194304 bytes"),
        ("{ schema: (() => { let s = {}; for (let i "
        "= 0; i < 600; i++) s = { s }; return s })() }", "nested more than 500 levels"),
        ("{ schema: { a: Array.from({ length: 1e5 }, () => []) } }", "more than 100000 objects"),
    ],
)  # fmt: skip
async def test_options_that_cannot_be_read_are_a_fault_and_harm_nothing(options: str, says: str) -> None:
    driven = await drive(f"await agent('x', {options}); return 'went on'")
    assert driven.result == "went on"
    (call,) = driven.agents
    assert call.options_fault is not None
    assert says in call.options_fault
    assert call.options == {}


async def test_strings_survive_whole_and_lone_surrogates_are_replaced() -> None:
    driven = await drive(
        "const v = await agent('a\\u0000b 🎭 \\ud800', { label: 'l\\udc00', schema: { '\\ud800': '\\\\ud800' } })\n"
        "return ['a\\u0000b', v, v.length, '\\ud83c']",
        answer=lambda call: "c\0d 🎭",
    )
    assert driven.result == ["a\0b", "c\0d 🎭", 6, "\ufffd"]
    (call,) = driven.agents
    assert call.prompt == "a\0b 🎭 \ufffd"
    assert call.options == {"label": "l\ufffd", "schema": {"\ufffd": "\\ud800"}}


@pytest.mark.contract("G02", "A11")
async def test_calls_carry_the_current_phase_and_a_title_is_told_once() -> None:
    driven = await drive(
        "await agent('0'); phase('One'); await agent('1'); phase('Two'); await agent('2', { phase: 'Own' }); "
        "phase('One')\n"
        "await agent('3'); const r = []\nfor (const t of [undefined, null, '']) try { phase(t) } catch (e) { "
        "r.push(e.name) }\n"
        "phase(5); await agent('4'); return r"
    )
    assert driven.result == ["TypeError"] * 3
    assert [call.phase for call in driven.agents] == [None, "One", "Two", "One", "5"]
    assert driven.agents[2].options == {"phase": "Own"}
    assert [m.title for m in driven.messages if isinstance(m, PhaseEntered)] == ["One", "Two", "5"]


@pytest.mark.contract("L03")
async def test_long_prompts_labels_and_phases_are_refused_or_cut() -> None:
    driven = await drive(
        f"phase('p'.repeat(201)); await agent('fits', {{ label: '🎭'.repeat(201) }})\n"
        f"await agent('x'.repeat({MAX_PROMPT_BYTES}))\n"
        f"try {{ await agent('é'.repeat({MAX_PROMPT_BYTES // 2}) + '!') }} catch (e) {{ return [e.name, e.message] }}"
    )
    assert driven.result == ["RangeError", f"a prompt takes at most {MAX_PROMPT_BYTES} bytes"]
    first, second = driven.agents
    assert first.options == {"label": "🎭" * 200}
    assert first.phase == "p" * 200
    assert second.prompt == "x" * MAX_PROMPT_BYTES
    assert [note.sort for note in driven.dropped] == ["text", "prompts"]


@pytest.mark.contract("L03")
async def test_more_calls_than_a_run_takes_are_refused() -> None:
    driven = await drive(
        f"let refused = 0, name\nfor (let i = 0; i < {MAX_CALLS} + 50; i++) agent('x').catch((e) => "
        f"{{ refused++; name = e.name }})\n"
        "await null; await null; return [refused, name]",
        seconds=30,
    )
    assert driven.result == [50, "RangeError"]
    assert len(driven.agents) == MAX_CALLS
    assert [note.sort for note in driven.dropped] == ["calls"]


@pytest.mark.contract("L03")
async def test_prompts_that_wait_are_bounded_all_together() -> None:
    driven = await drive(
        "const big = 'x'.repeat(1.3e6), r = []\n"
        "for (let i = 0; i < 210; i++) { agent(big).catch((e) => r.push(e.name)); await null }\nawait null; return r",
        limits=SandboxLimits(memory_limit_bytes=1 << 30),
        seconds=60,
    )
    assert driven.result == ["RangeError"] * 4
    assert [note.sort for note in driven.dropped] == ["prompts"]


async def test_errors_from_the_host_have_name_message_and_the_place_of_the_call() -> None:
    driven = await drive(
        "const r = []\nfor (const p of ['TypeError', 'AgentCapError', 'constructor'])\n"
        "  try {\n    await agent(p)\n  } catch (e) { r.push([e.name, e.message, e instanceof TypeError, e "
        "instanceof Error, e.stack]) }\n"
        "return r",
        answer=lambda call: Rejection(name=call.prompt or "", message="m"),
    )
    stack = "    at <script> (workflow.js:4:17)\n"
    assert driven.result == [
        ["TypeError", "m", True, True, stack],
        ["AgentCapError", "m", False, True, stack],
        ["constructor", "m", False, True, stack],
    ]
    thrown = (await drive("\nawait agent('x')", answer=lambda call: Rejection(name="SchemaError", message="m"))).thrown
    assert (thrown.name, thrown.message, thrown.kind) == ("SchemaError", "m", "script")
    assert thrown.place is not None and thrown.place.line == 2


@pytest.mark.contract("O03")
@pytest.mark.parametrize(
    ("name", "kind"), [("AgentCapError", "limit"), ("BudgetExceededError", "limit"), ("Error", "script")]
)
async def test_an_uncaught_limit_ends_the_script_as_a_limit(name: str, kind: str) -> None:
    thrown = (await drive("await agent('x')", answer=lambda call: Rejection(name=name, message="m"))).thrown
    assert (thrown.kind, thrown.name) == (kind, name)
    faked = (await drive(f"const e = new Error('m'); e.name = '{name}'; throw e")).thrown
    assert faked.kind == "script"


async def test_answers_to_calls_that_do_not_wait_are_ignored() -> None:
    with within():
        async with SandboxHost().open(SandboxLimits()) as session:
            said = await turn(session, start("const v = await agent('x'); log(v); await agent('y')"), Clock(now_ms=0))
            assert isinstance(said[0], AgentCalled)
            clock = Clock(now_ms=1)
            assert len(await turn(session, ResolveCall(context=0, call=9, value_json="1"), clock)) == 1
            assert len(await turn(session, RejectCall(context=3, call=1, name="Error", message=""), clock)) == 1
            assert len(await turn(session, ResolveCall(context=0, call=1, value_json='"v"'), clock)) == 3
            assert len(await turn(session, ResolveCall(context=0, call=1, value_json='"v"'), clock)) == 1
