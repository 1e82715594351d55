"""workflow(): contexts of their own in the same child (CONTRACT W01, W02, G01, G03)."""

from __future__ import annotations

import json

import pytest

from callsheet.errors import SandboxError
from callsheet.model.sandbox import (
    AgentCalled,
    Clock,
    Dropped,
    EndContext,
    Idle,
    Returned,
    SandboxLimits,
    Threw,
    WorkflowCalled,
)
from callsheet.sandbox.host import SandboxHost
from tests.support.deadline import within
from tests.support.drive import drive, start, turn

pytestmark = pytest.mark.anyio

CLOCK = Clock(now_ms=5)


@pytest.mark.contract("W01")
async def test_a_nested_script_has_args_phase_and_globals_of_its_own() -> None:
    driven = await drive(
        "globalThis.mine = 1; phase('P')\nconst given = { x: [1] }\nconst r = await workflow('child', given)\n"
        "r.args.x.push(2)\nreturn [r, given, typeof theirs, args ?? 'none', await agent('after')]",
        workflows={
            "child": "globalThis.theirs = 2; globalThis.JSON = null; phase('C'); log('hi')\n"
            "return { k: await agent('kid'), args, seen: typeof mine, phase: 1 }"
        },
    )
    assert driven.result == [
        {"k": "answer to: kid", "args": {"x": [1, 2]}, "seen": "undefined", "phase": 1},
        {"x": [1]}, "undefined", "none", "answer to: after",
    ]  # fmt: skip
    assert [(call.context, call.call, call.phase) for call in driven.agents] == [(1, 1, "C"), (0, 2, "P")]


@pytest.mark.contract("W01", "O03")
async def test_an_error_of_a_nested_script_is_a_catchable_error() -> None:
    driven = await drive(
        "try { await workflow('child') } catch (e) { return [e.name, e.message, e instanceof TypeError] }",
        workflows={"child": "\nnull.x"},
    )
    assert driven.result == ["TypeError", "cannot read property 'x' of null", True]
    (nested,) = [message for message in driven.messages if isinstance(message, Threw)]
    assert (nested.context, nested.place and nested.place.line) == (1, 2)


@pytest.mark.contract("W02")
async def test_what_names_no_workflow_is_a_fault_and_one_level_is_all() -> None:
    driven = await drive(
        "const r = []\nfor (const a of [[], [5], [{}], [''], [{ scriptPath: 5 }], [null], [[]], [{ get "
        "scriptPath() { throw 1 } }]])"
        " await workflow(...a).catch((e) => r.push(e.name))\n"
        "await workflow('none').catch((e) => r.push(e.message)); await workflow({ scriptPath: 'a/b.js' }, "
        "5).catch(() => {})\n"
        "await workflow('x', 1n).catch((e) => r.push(e.message)); r.push(await workflow('child')); return r",
        workflows={"child": "return await workflow('child').catch((e) => e.message)"},
    )
    assert driven.result == [
        *["TypeError"] * 8, "no such workflow", "workflow(): TypeError: args is a BigInt, "
        "which JSON cannot hold: use a number or a string",
        "workflow() goes one level deep: what it started cannot call it again",
    ]  # fmt: skip
    called = [message for message in driven.messages if isinstance(message, WorkflowCalled)]
    assert [(c.name, c.script_path, c.args_json) for c in called[8:]] == [
        ("none", None, None), (None, "a/b.js", "5"), ("child", None, None),
    ]  # fmt: skip
    assert called[0].fault == "workflow() needs a name, {scriptPath} or {script}, not undefined"
    assert all(c.line for c in called)


@pytest.mark.contract("W03")
async def test_a_text_goes_to_the_host_as_it_is_and_one_that_is_too_large_does_not() -> None:
    driven = await drive(
        "const r = []\nconst text = 'export const meta = {}\\n' + 'é'.repeat(1000) + '\\ud800'\n"
        "for (const a of [{ script: text }, { script: 'x', scriptPath: 'a.js' }, { script: '' }, { script: 5 }, "
        "{ script: 'é'.repeat(262145) }, { get script() { throw 1 } }])"
        " await workflow(a, { n: 1 }).catch((e) => r.push([e.name, e.message]))\nreturn r",
    )
    assert driven.result == [
        ["Error", "no such workflow"],  # which is the host's answer
        ["TypeError", "workflow() takes {scriptPath} or {script}, not both"],
        *[["TypeError", "workflow() needs a name, {scriptPath} or {script}, not object"]] * 2,
        ["RangeError", "workflow(): a script takes at most 524288 bytes"],
        ["TypeError", "workflow() needs a name, {scriptPath} or {script}, not object"],
    ]
    called = [message for message in driven.messages if isinstance(message, WorkflowCalled)]
    assert called[0].script == "export const meta = {}\n" + "é" * 1000 + "\ufffd"
    assert (called[0].name, called[0].script_path, called[0].fault) == (None, None, None)
    assert called[0].args_json == '{"n":1}'


@pytest.mark.contract("W01")
async def test_a_fault_of_a_nested_script_is_told_when_it_starts() -> None:
    driven = await drive(
        "return await workflow('bad').catch((e) => [e.name, e.message])", workflows={"bad": "\nlet a = ;"}
    )
    assert driven.result == ["SyntaxError", "unexpected token in expression: ';'"]


@pytest.mark.contract("W01", "L03")
async def test_counts_hold_over_all_contexts_and_ended_ones_give_back_what_they_held() -> None:
    with within():
        async with SandboxHost().open(SandboxLimits()) as session:
            await turn(
                session,
                start("for (let i = 0; i < 600; i++) setTimeout(() => {}, 1e6); await new Promise(() => {})"),
                CLOCK,
            )
            body = "let n = 0; try { for (;;) { setTimeout(() => {}, 1); n++ } } catch (e) { return [n, e.name] }"
            for context in (1, 2):
                said = await turn(session, start(body, context=context), CLOCK)
                ends = [message for message in said if isinstance(message, Returned)]
                assert [json.loads(end.value_json) for end in ends] == [[400, "RangeError"]]
                assert len([note for note in said if isinstance(note, Dropped)]) == (context == 1)
                await turn(session, EndContext(context=context), CLOCK)


@pytest.mark.contract("W01")
async def test_at_most_32_nested_scripts_are_alive() -> None:
    with within(20):
        async with SandboxHost().open(SandboxLimits()) as session:
            await turn(session, start("await new Promise(() => {})"), CLOCK)
            for context in range(1, 33):
                said = await turn(session, start("await agent('x'); return 1", context=context), CLOCK)
                assert isinstance(said[0], AgentCalled)
            (refused, _) = await turn(session, start("return 1", context=33), CLOCK)
            assert isinstance(refused, Threw) and refused.kind == "limit"
            await turn(session, EndContext(context=33), CLOCK)
            await turn(session, EndContext(context=7), CLOCK)
            (returned, _) = await turn(session, start("return 1", context=34), CLOCK)
            assert isinstance(returned, Returned)


@pytest.mark.contract("W01", "D07")
async def test_the_heap_limit_is_over_the_sum_of_all_contexts_and_comes_back_with_them() -> None:
    hold = "globalThis.held = new Uint8Array(40e6); await new Promise(() => {})"
    with within(20):
        async with SandboxHost().open(SandboxLimits(memory_limit_bytes=100 << 20)) as session:
            await turn(session, start(hold), CLOCK)
            for context in (1, 2, 3):
                (idle,) = await turn(session, start(hold, context=context), CLOCK)
                assert isinstance(idle, Idle)
                await turn(session, EndContext(context=context), CLOCK)
            await turn(session, start(hold, context=4), CLOCK)
            with pytest.raises(SandboxError, match="--memory-limit") as caught:
                await turn(session, start(hold, context=5), CLOCK)
    assert caught.value.kind == "limit"


@pytest.mark.contract("G03", "G04")
async def test_budget_shows_what_the_host_says_and_is_frozen() -> None:
    driven = await drive(
        "const seen = () => [budget.total, budget.spent(), budget.remaining(), budget.cost.total, "
        "budget.cost.spent(), budget.cost.remaining() === Infinity]\n"
        "const r = [seen()]; await agent('a'); r.push(seen()); await agent('b'); await agent('c'); r.push(seen())\n"
        "for (const f of [() => { budget.total = 5 }, () => { budget.cost.total = 5 }, () => { budget.x = 1 }, () "
        "=> { delete budget.spent }])"
        " try { f() } catch (e) { r.push(e.name) }\nr.push(Object.isFrozen(budget), Object.isFrozen(budget.cost)); "
        "return r",
        budget_tokens=100,
        tokens_per_call=50,
    )
    assert driven.result == [
        [100, 0, 100, None, 0, True], [100, 50, 50, None, 0, True], [100, 150, 0, None, 0, True],
        *["TypeError"] * 4, True, True,
    ]  # fmt: skip
    assert (await drive("return [budget.total, budget.remaining() === Infinity]")).result == [None, True]


@pytest.mark.contract("G01")
async def test_args_are_verbatim_or_undefined() -> None:
    assert (await drive("return [typeof args, 'args' in globalThis]")).result == ["undefined", True]
    assert (await drive("return args", args_json='"plain words"')).result == "plain words"
    assert (await drive("args.push(4); return args.filter((x) => x > 1)", args_json="[1, 2, 3]")).result == [2, 3, 4]
    assert (await drive("return args", args_json="null")).result is None
