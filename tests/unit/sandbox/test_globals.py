"""What JavaScript a script has, and what it has not (CONTRACT D01, D02, D04, D05, D06)."""

from __future__ import annotations

import pytest

from callsheet.model.sandbox import Clock, Logged, SandboxLimits, TimerCleared, TimerSet
from callsheet.sandbox.host import SandboxHost
from tests.support.deadline import within
from tests.support.drive import drive, start, turn

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000_000


@pytest.mark.contract("D01")
async def test_the_modern_library_is_there_and_intl_is_not() -> None:
    driven = await drive(
        "return [[3, 1, 2].toSorted(), [1, 2].at(-1), [1, 2, 3].findLast((x) => x < 3), Object.groupBy([1, 2], (x) "
        "=> x),"
        " [...new Set([1]).union(new Set([2]))], /(?<y>\\d+)/v.exec('in 26').groups.y, /(?<=a)b/d.test('ab'),"
        " [1, 2].with(0, 9), 'ab'.isWellFormed(), Promise.withResolvers().promise instanceof Promise, typeof Intl]"
    )
    assert driven.result == [
        [1, 2, 3], 2, 2, {"1": [1], "2": [2]}, [1, 2], "26", True, [9, 2], True, True, "undefined",
    ]  # fmt: skip


@pytest.mark.contract("D02", "D04", "D06")
async def test_nothing_of_a_host_and_no_real_clock_is_there() -> None:
    names = (
        "process require fetch Buffer std os WebAssembly Deno Bun print scriptArgs XMLHttpRequest Worker importScripts "
        "performance SharedArrayBuffer Atomics WeakRef FinalizationRegistry setInterval setImmediate gc navigator "
        "window "
        "global self Function$ module exports __filename __dirname rt quickjs Temporal"
    )
    driven = await drive(f"return {names.split()!r}.filter((name) => name in globalThis)")
    assert driven.result == []


@pytest.mark.contract("D02")
async def test_every_way_to_code_from_strings_throws_an_eval_error() -> None:
    driven = await drive(
        "const tried = [() => eval('1'), () => (0, eval)('1'), () => new Function('return 7')(), () => Function('1'),"
        " () => (async () => {}).constructor('1'), () => (function* () {}).constructor('1'), () => "
        "agent.constructor('1'),"
        " () => (async function* () {}).constructor('1'), () => Reflect.construct(Function, ['1'], Array),"
        " () => new (class F extends Function {})('1'), () => Object.getPrototypeOf(agent).constructor('1'),"
        " () => log.constructor.constructor('1'), () => console.log.constructor('1'), () => "
        "Error().constructor.constructor('1')]\n"
        "return tried.map((f) => { try { return f() } catch (e) { return e.name } })"
    )
    assert driven.result == ["EvalError"] * 14


@pytest.mark.contract("D02")
async def test_dynamic_import_finds_nothing() -> None:
    driven = await drive("try { await import('fs'); return 1 } catch (e) { return e.name }")
    assert driven.result == "ReferenceError"


@pytest.mark.contract("D04")
async def test_time_is_what_the_host_says_and_never_goes_back() -> None:
    body = "const t = [Date.now(), new Date().getTime(), Date()]; await agent('a'); t.push(Date.now()); return t"
    with within():
        async with SandboxHost().open(SandboxLimits()) as session:
            from callsheet.model.sandbox import ResolveCall, Returned

            await turn(session, start(body), Clock(now_ms=NOW))
            said = await turn(session, ResolveCall(context=0, call=1, value_json="1"), Clock(now_ms=NOW - 5))
    returned = said[0]
    assert isinstance(returned, Returned)
    assert returned.value_json == f'[{NOW},{NOW},"Tue Nov 14 2023 22:13:20 GMT+0000",{NOW}]'


@pytest.mark.contract("D04")
async def test_dates_are_whole() -> None:
    driven = await drive(
        "class D extends Date {}\nconst d = new Date(0)\n"
        "return [d.constructor === Date, new D(5).getTime(), new D() instanceof D, new Date(2020, 0, "
        "1).getTimezoneOffset(),"
        " d instanceof Date, Date.length, Date.name, new Date('2026-01-02').toISOString(), Date.UTC(2020, 0, 1),"
        " Date.parse('2020-01-01T00:00:00'), new Date(d).getTime(), JSON.stringify({ d }), new Date(NaN).getTime()]"
    )
    assert driven.result == [
        True, 5, True, 0, True, 7, "Date", "2026-01-02T00:00:00.000Z", 1577836800000, 1577836800000, 0,
        '{"d":"1970-01-01T00:00:00.000Z"}', None,
    ]  # fmt: skip


@pytest.mark.contract("D04")
async def test_random_numbers_come_from_the_seed_alone() -> None:
    body = "const r = Array.from({ length: 1000 }, Math.random); return [r, r.every((x) => x >= 0 && x < 1)]"
    first, again, other = [(await drive(body, seed=seed)).result for seed in (2**64 - 1, 2**64 - 1, 1)]
    assert first == again
    assert first != other
    assert isinstance(first, list) and isinstance(first[0], list)
    assert first[1] is True
    numbers = [number for number in first[0] if isinstance(number, float)]
    assert len(set(numbers)) > 990
    assert 0.45 < sum(numbers) / len(numbers) < 0.55


@pytest.mark.contract("D04")
async def test_with_strict_the_clock_and_chance_throw_and_given_dates_work() -> None:
    driven = await drive(
        "const tried = [() => Date.now(), () => new Date(), () => Date(), () => Math.random()]\n"
        "return [...tried.map((f) => { try { return f() } catch (e) { return e.message } }), new Date(5).getTime()]",
        limits=SandboxLimits(strict=True),
    )
    assert isinstance(driven.result, list)
    assert all("--strict" in str(message) for message in driven.result[:4])
    assert driven.result[4] == 5


@pytest.mark.contract("D05")
async def test_console_and_log_show_values_with_their_levels() -> None:
    driven = await drive(
        "const cycle = { n: 1n }; cycle.self = cycle\n"
        "console.log('c1', { a: 1 }); console.info([1, 'x']); console.debug(undefined, null, true, 1.5)\n"
        "console.warn(new TypeError('bad')); console.error({ error: new Error('inner') }, cycle)\n"
        "log('l1', 2, { b: [1] }); log(); log(Symbol('s'), 5n, () => 1, function named() {}); log('two\\nlines "
        "\\ud800')\n"
        "log({ get x() { throw 1 } }, { toJSON() { return undefined } }, Object.create(null), new Map([[1, 2]]))\n"
        "return Object.keys(console).sort()"
    )
    assert driven.result == ["debug", "error", "info", "log", "warn"]
    lines = [(message.level, message.message) for message in driven.messages if isinstance(message, Logged)]
    assert lines == [
        ("info", 'c1 {"a":1}'),
        ("info", '[1,"x"]'),
        ("debug", "undefined null true 1.5"),
        ("warn", "TypeError: bad"),
        ("error", '{"error":"Error: inner"} {"n":"1n","self":"[cycle]"}'),
        ("info", 'l1 2 {"b":[1]}'),
        ("info", ""),
        ("info", "Symbol(s) 5n [function (anonymous)] [function named]"),
        ("info", "two\nlines \ufffd"),
        ("info", "[object that cannot be shown] [object] {} {}"),
    ]


@pytest.mark.contract("D05")
async def test_lines_reach_people_while_the_script_runs() -> None:
    body = "log('first'); for (;;) { for (let i = 0; i < 1e5; i++); await null }"
    with within():
        async with SandboxHost().open(SandboxLimits()) as session:
            await session.deliver(start(body), Clock(now_ms=NOW))
            said = await session.receive()
    assert isinstance(said[0], Logged)
    assert said[0].message == "first"


@pytest.mark.contract("D06")
async def test_timers_fire_in_order_with_their_arguments_and_move_the_clock() -> None:
    driven = await drive(
        "const seen = [], begin = Date.now()\n"
        "await new Promise((r) => setTimeout((...a) => { seen.push(a, Date.now() - begin); r() }, 60, 'a', 'b'))\n"
        "const never = setTimeout(() => seen.push('never'), 5); clearTimeout(never); clearTimeout(99); clearTimeout()\n"
        "const later = setTimeout(() => seen.push('never'), 5); await null; clearTimeout(later)\n"
        "await Promise.all([new Promise((r) => setTimeout(() => { seen.push(2); r() }, 20)),"
        " new Promise((r) => setTimeout(() => { seen.push(1); r() }, '10'))])\n"
        "return [seen, typeof never, typeof setInterval]"
    )
    assert driven.result == [[["a", "b"], 60, 1, 2], "number", "undefined"]
    assert [message.delay_ms for message in driven.messages if isinstance(message, TimerSet)] == [60, 20, 10]
    assert len([message for message in driven.messages if isinstance(message, TimerCleared)]) == 0


@pytest.mark.contract("D06")
async def test_odd_timers_are_tamed() -> None:
    driven = await drive(
        "for (const ms of [undefined, -5, NaN, 'x', 1e300, Infinity]) setTimeout(() => {}, ms)\n"
        "const r = []\nfor (const f of ['code', undefined, {}]) try { setTimeout(f, 1) } catch (e) { r.push(e.name) }\n"
        "await agent('flush')\nconst t = setTimeout(() => {}, 7); await agent('flush'); clearTimeout(t)\nreturn r"
    )
    assert driven.result == ["TypeError"] * 3
    delays = [message.delay_ms for message in driven.messages if isinstance(message, TimerSet)]
    assert delays == [0, 0, 0, 0, 2**31 - 1, 2**31 - 1, 7]
    assert len([message for message in driven.messages if isinstance(message, TimerCleared)]) == 1


@pytest.mark.contract("D06", "D08")
async def test_a_timer_or_microtask_that_throws_is_a_warning_with_its_place() -> None:
    driven = await drive(
        "setTimeout(() => { throw new Error('late') }, 1)\nqueueMicrotask(() => null.x)\n"
        "await new Promise((r) => setTimeout(r, 5)); return 'went on'"
    )
    assert driven.result == "went on"
    assert sorted((w.message.partition(": ")[2], w.place and w.place.line) for w in driven.warnings) == [
        ("Error: late", 1),
        ("TypeError: cannot read property 'x' of null", 2),
    ]


async def test_microtasks_run_in_order_before_the_next_delivery() -> None:
    driven = await drive(
        "const seen = []\nqueueMicrotask(() => seen.push(1)); Promise.resolve().then(() => seen.push(2)); "
        "seen.push(0)\n"
        "await null; await null; return seen"
    )
    assert driven.result == [0, 1, 2]
