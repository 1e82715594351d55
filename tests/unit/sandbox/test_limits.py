"""CPU, heap, stack and the counts of what a script says (CONTRACT D07, L03)."""

from __future__ import annotations

import pytest

from callsheet.errors import SandboxError
from callsheet.model.counts import MAX_LOG_LINE_BYTES, MAX_LOG_LINES, MAX_PHASES, MAX_TIMERS
from callsheet.model.sandbox import Clock, Logged, PhaseEntered, ResolveCall, SandboxLimits, ScriptMessage, TimerSet
from callsheet.ports import ScriptSession
from callsheet.sandbox.host import SandboxHost
from tests.support.deadline import within
from tests.support.drive import drive, start, turn

pytestmark = pytest.mark.anyio

CLOCK = Clock(now_ms=0)
SHORT = SandboxLimits(cpu_limit_s=0.2)


async def until_failure(session: ScriptSession) -> tuple[list[ScriptMessage], SandboxError]:
    said: list[ScriptMessage] = []
    while True:
        try:
            said.extend(await session.receive())
        except SandboxError as failure:
            return said, failure


@pytest.mark.contract("D07")
@pytest.mark.parametrize(
    "body",
    [
        "for (;;) {}",
        "for (;;) await null",
        "const spin = () => queueMicrotask(spin); spin()",
        "try { for (;;) {} } catch {} finally { for (;;) {} }",
        "void /(a+)+$/.test('a'.repeat(50) + 'b')",
        "while (true) try { while (true) {} } catch {}",
        "JSON.stringify({ toJSON() { for (;;); } })",
        "throw { toJSON() { for (;;); } }",
        "throw new Proxy(new Error('x'), { get() { for (;;); }, getPrototypeOf() { for (;;); } })",
        "log({ get x() { for (;;); } })",
        "const e = new Error(); Object.defineProperty(e, 'message', { get() { for (;;); } }); throw e",
        "Promise.reject({ toJSON() { for (;;); } }); await new Promise(() => {})",
        "return { then() { for (;;); } }",
    ],
)
async def test_a_stretch_over_its_limit_ends_the_run_whatever_it_does(body: str) -> None:
    with pytest.raises(SandboxError, match=r"more than 0.2 s of CPU .*--cpu-limit") as caught:
        await drive(f"log('before')\n{body}", limits=SHORT)
    assert caught.value.kind == "limit"


@pytest.mark.contract("D07")
async def test_a_built_in_that_the_engine_cannot_interrupt_is_ended_by_the_host() -> None:
    with pytest.raises(SandboxError, match="--cpu-limit") as caught:
        await drive("return new Array(2 ** 32 - 1).join('').length", limits=SHORT)
    assert caught.value.kind == "limit"


@pytest.mark.contract("D07")
async def test_the_limit_counts_anew_for_each_stretch_and_the_total_does_not() -> None:
    limits = SandboxLimits(cpu_limit_s=0.6, cpu_total_s=1.0)
    body = "for (let i = 0; ; i++) { for (let n = 0; n < 4e6; n++); await agent('x') }"
    with within(20):
        async with SandboxHost().open(limits) as session:
            await turn(session, start(body), CLOCK)
            with pytest.raises(SandboxError, match=r"more than 1 s of CPU in all; .*--cpu-total") as caught:
                for call in range(1, 100):
                    await turn(session, ResolveCall(context=0, call=call, value_json="1"), CLOCK)
    assert caught.value.kind == "limit"
    assert call > 2


@pytest.mark.contract("D05", "D07")
async def test_what_was_said_before_a_limit_still_arrives_and_every_later_call_raises_the_same() -> None:
    with within():
        async with SandboxHost().open(SHORT) as session:
            await session.deliver(start("log('before'); agent('a'); for (;;) {}"), CLOCK)
            said, failure = await until_failure(session)
            for later in (session.receive(), session.deliver(start(""), CLOCK), session.compile("")):
                with pytest.raises(SandboxError) as caught:
                    await later
                assert caught.value is failure
    assert [type(message).__name__ for message in said] == ["Logged", "AgentCalled"]


@pytest.mark.contract("D07")
@pytest.mark.parametrize(
    "body",
    [
        "const a = []; for (;;) a.push(new Array(10000).fill(1))",
        "globalThis.a = []; for (;;) a.push(new Array(10000).fill(1))",
        "const a = []; for (;;) a.push('x'.repeat(1e6) + a.length)",
        "const kept = []; for (;;) kept.push(new ArrayBuffer(1e7))",
        "new Uint8Array(1e9)",
        "return 'x'.repeat(5e8)",
        "const m = new Map(); for (let i = 0; ; i++) m.set(i, { i })",
        "await parallel([() => new Uint8Array(1e9)])",
        "let o; for (;;) o = { o }",
        "const a = []; for (;;) { a.push(new Promise(() => {})); await null }",
        "new Uint8Array(1e9).catch; await agent('x')",
        "queueMicrotask(() => new Uint8Array(1e9)); await new Promise(() => {})",
    ],
)
async def test_a_heap_over_its_limit_ends_the_run(body: str) -> None:
    with pytest.raises(SandboxError, match=r"heap grew beyond 64 MiB; .*--memory-limit") as caught:
        await drive(body, limits=SandboxLimits(memory_limit_bytes=64 << 20, cpu_limit_s=20))
    assert caught.value.kind == "limit"


@pytest.mark.contract("D07")
async def test_a_heap_too_small_for_anything_is_said_to_be() -> None:
    for limit_bytes in (1, 1 << 19, 700_000, 900_000):
        with pytest.raises(SandboxError, match="--memory-limit"):
            await drive("return 1", limits=SandboxLimits(memory_limit_bytes=limit_bytes))


@pytest.mark.contract("D07")
async def test_a_lack_of_memory_that_the_script_handles_itself_does_not_end_it() -> None:
    driven = await drive("try { new Uint8Array(1e9) } catch (e) { return [e instanceof Error, await agent('x')] }")
    assert driven.result == [True, "answer to: x"]


@pytest.mark.contract("D07")
async def test_the_stack_takes_thousands_of_frames_and_then_throws_a_range_error() -> None:
    driven = await drive(
        "const f = (n) => n ? 1 + f(n - 1) : 0, g = (n) => g(n + 1) + 1, h = async (n) => n ? 1 + await h(n - 1) : 0\n"
        "const r = [f(4000), await h(1000)], deep = (open, close) => open.repeat(1e5) + close.repeat(1e5)\n"
        "for (const over of [() => g(0), () => JSON.parse(deep('[', ']')), () => [1].map(function m() { return "
        "[1].map(m) }),"
        " () => new RegExp(deep('(', ')'))]) try { over(); r.push('went') } catch (e) { r.push(e.name) }\n"
        "const p = new Proxy({}, {}); Object.setPrototypeOf(p, null); r.push(f(3000)); return r"
    )
    assert isinstance(driven.result, list)
    assert driven.result[:3] == [4000, 1000, "RangeError"]
    assert driven.result[-1] == 3000


@pytest.mark.contract("L03")
async def test_log_lines_are_counted_and_cut() -> None:
    driven = await drive(
        "log('é'.repeat(20000)); console.warn('x'.repeat(16384)); log('x'.repeat(16385))\n"
        f"for (let i = 0; i < {MAX_LOG_LINES}; i++) log(i)\nreturn await agent('x')",
        seconds=30,
    )
    assert driven.result == "answer to: x"
    lines = [message.message for message in driven.messages if isinstance(message, Logged)]
    assert len(lines) == MAX_LOG_LINES
    assert [len(line.encode()) for line in lines[:3]] == [
        MAX_LOG_LINE_BYTES - 1,
        MAX_LOG_LINE_BYTES,
        MAX_LOG_LINE_BYTES,
    ]
    assert [note.sort for note in driven.dropped] == ["text", "logs"]


@pytest.mark.contract("L03")
async def test_phases_and_timers_are_counted() -> None:
    driven = await drive(
        f"for (let i = 0; i < {MAX_PHASES} + 5; i++) phase(`p${{i % 900}}`)\nfor (let i = 0; i < 200; i++) "
        f"phase(`q${{i}}`)\n"
        "await agent('last'); await agent('own', { phase: 'too many' })\nlet set = 0\n"
        f"try {{ for (;;) {{ setTimeout(() => {{}}, 1e9); set++ }} }} catch (e) {{ return [set, e.name] }}"
    )
    assert driven.result == [MAX_TIMERS, "RangeError"]
    assert len([message for message in driven.messages if isinstance(message, PhaseEntered)]) == MAX_PHASES
    assert [call.phase for call in driven.agents] == ["q99", "q99"]
    assert driven.agents[1].options == {}
    assert [note.sort for note in driven.dropped] == ["phases", "timers"]


@pytest.mark.contract("L03")
async def test_setting_and_clearing_timers_for_ever_says_little() -> None:
    driven = await drive("for (let i = 0; i < 3e5; i++) clearTimeout(setTimeout(() => {}, 1)); return 1")
    assert driven.result == 1
    assert not [message for message in driven.messages if isinstance(message, TimerSet)]


@pytest.mark.contract("L03", "P01")
async def test_failed_slots_are_counted() -> None:
    driven = await drive(
        "for (let i = 0; i < 5; i++) await parallel(Array.from({ length: 4096 }, () => () => { throw 1 }))"
    )
    assert len(driven.failed) == MAX_LOG_LINES
    assert [note.sort for note in driven.dropped] == ["logs"]


@pytest.mark.contract("L03")
async def test_a_flood_slows_the_script_and_not_the_host() -> None:
    body = "const text = 'x'.repeat(16000); for (;;) { for (let i = 0; i < 50; i++) log(text); await null }"
    with within():
        async with SandboxHost().open(SandboxLimits()) as session:
            await session.deliver(start(body), CLOCK)
            for _ in range(5):
                said = await session.receive()
                assert sum(len(message.message) for message in said if isinstance(message, Logged)) < 1_000_000
