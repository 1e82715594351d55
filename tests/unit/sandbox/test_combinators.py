"""parallel and pipeline (CONTRACT P01–P07)."""

from __future__ import annotations

import pytest

from tests.support.drive import Rejection, drive

pytestmark = pytest.mark.anyio


@pytest.mark.contract("P01")
async def test_parallel_keeps_order_and_a_failing_thunk_is_null_and_told() -> None:
    driven = await drive(
        "const own = new TypeError('own')\n"
        "const r = await parallel([() => 5, async () => 6, () => null, () => undefined,\n"
        "  () => Promise.reject(new Error('rej')),\n"
        "  () => { throw own }, () => { throw 'text' }, () => agent('no'), () => ({ then(f) { f(7) } }),\n"
        "  () => { throw { get name() { throw 1 } } }])\n"
        "r.push(await parallel([])); await parallel([() => null.x])\n"
        "return [r.map((v) => v === undefined ? 'undef' : v), Array.isArray(r)]",
        answer=lambda call: Rejection(name="SchemaError", message="bad"),
    )
    assert driven.result == [[5, 6, None, "undef", None, None, None, None, 7, None, []], True]
    assert sorted((f.number, f.index, f.name, f.message, f.line, f.cause_call) for f in driven.failed) == [
        (1, 4, "Error", "rej", 3, None),
        (1, 5, "TypeError", "own", 1, None),
        (1, 6, "", "text", None, None),
        (1, 7, "SchemaError", "bad", 4, 1),
        (1, 9, "", "[object that cannot be shown]", None, None),
        (3, 0, "TypeError", "cannot read property 'x' of null", 6, None),
    ]
    assert {failed.combinator for failed in driven.failed} == {"parallel"}
    assert driven.warnings == []


@pytest.mark.contract("P01", "A17")
async def test_the_cause_of_a_slot_is_known_by_identity_alone() -> None:
    driven = await drive(
        "await parallel([async () => { try { await agent('a') } catch (e) { throw e } },"
        " async () => { try { await agent('b') } catch (e) { throw new Error(e.message) } }])",
        answer=lambda call: Rejection(message="m"),
    )
    assert [(f.index, f.cause_call) for f in driven.failed] == [(0, 1), (1, None)]


@pytest.mark.contract("P02")
async def test_parallel_of_no_array_is_a_type_error_rejection() -> None:
    driven = await drive(
        "const r = []\nfor (const x of ['x', undefined, null, new Set([() => 1]), { length: 1 }, () => 1]) {\n"
        "  const p = parallel(x); r.push(p instanceof Promise); await p.catch((e) => r.push(e.name, "
        "e.message.includes('array')))\n}\n"
        "for (const x of [[() => 1, 5], [undefined], [, () => 1], ['x']]) await parallel(x).catch((e) => "
        "r.push(e.message))\nreturn r"
    )
    assert isinstance(driven.result, list)
    assert driven.result[:18] == [True, "TypeError", True] * 6
    assert driven.result[18:] == [
        "parallel() needs functions: item 1 is number. Write () => agent(…)",
        "parallel() needs functions: item 0 is undefined. Write () => agent(…)",
        "parallel() needs functions: item 0 is undefined. Write () => agent(…)",
        "parallel() needs functions: item 0 is string. Write () => agent(…)",
    ]


@pytest.mark.contract("P02")
async def test_promises_in_place_of_functions_are_accepted_and_reported_once() -> None:
    driven = await drive(
        "const r = await parallel([agent('a'), Promise.reject(new Error('x')), () => 2])\n"
        "await parallel([agent('b')])\nreturn r"
    )
    assert driven.result == ["answer to: a", None, 2]
    (warning,) = driven.warnings
    assert (warning.code, warning.place and warning.place.line) == ("not-portable", 1)


@pytest.mark.contract("P03")
async def test_each_item_goes_through_all_stages_with_previous_item_and_index() -> None:
    driven = await drive(
        "return await pipeline(['a', 'b'], (...xs) => xs, async (prev, item, i) => [prev, item, i], function () { "
        "return this === undefined && arguments.length })"
    )
    assert driven.result == [3, 3]
    driven = await drive("return await pipeline(['a', 'b'], (...xs) => xs, async (...xs) => xs)")
    assert driven.result == [[["a", "a", 0], "a", 0], [["b", "b", 1], "b", 1]]


@pytest.mark.contract("P03")
async def test_there_is_no_barrier_between_stages() -> None:
    driven = await drive(
        "const order = []\nawait pipeline([1, 2], async (i) => { for (let n = i === 1 ? 9 : 1; n; n--) await null; "
        "return i },"
        " (i) => { order.push(i) })\nreturn order"
    )
    assert driven.result == [2, 1]


@pytest.mark.contract("P03")
async def test_the_first_stage_of_every_item_begins_before_pipeline_returns() -> None:
    driven = await drive("phase('A'); const p = pipeline([1, 2], (i) => agent(`${i}`)); phase('B'); await p")
    assert [(call.prompt, call.phase) for call in driven.agents] == [("1", "A"), ("2", "A")]


@pytest.mark.contract("P04")
async def test_a_stage_that_throws_or_gives_null_drops_its_item() -> None:
    driven = await drive(
        "const seen = []\nconst r = await pipeline([1, 2, 3, null], (x) => {\n  if (x === 2) throw new "
        "Error('st'); return x === 3 ? null : x },\n"
        "  (p, o, i) => { seen.push(i); return p === 1 ? undefined : p }, (p) => p === undefined ? 'undef' : p)\n"
        "return [r, seen]"
    )
    assert driven.result == [["undef", None, None, None], [0]]
    (failed,) = driven.failed
    assert (failed.combinator, failed.index, failed.message, failed.line) == ("pipeline", 1, "st", 3)


@pytest.mark.contract("P05")
async def test_empty_stageless_and_wrong_pipelines() -> None:
    driven = await drive(
        "const r = [await pipeline([]), await pipeline([], (x) => x), await pipeline([1, Promise.resolve(2), null, "
        "undefined])]\n"
        "for (const f of [() => pipeline('ab', (x) => x), () => pipeline([1], 'x'), () => pipeline(undefined), () "
        "=> pipeline([1], (x) => x, 5)])"
        " await f().catch((e) => r.push(e.name))\n"
        "r.push(await pipeline([Promise.resolve('p'), Promise.reject(new Error('gone'))], (p, item) => [p, "
        "item]))\nreturn r"
    )
    assert driven.result == [
        [], [], [1, 2, None, None], "TypeError", "TypeError", "TypeError", "TypeError", [["p", "p"], None],
    ]  # fmt: skip
    assert [(f.index, f.message) for f in driven.failed] == [(1, "gone")]


@pytest.mark.contract("P06")
async def test_more_items_than_a_call_takes_are_an_error_that_says_so() -> None:
    driven = await drive(
        "const r = []\nlet ran = 0\nconst thunk = () => { ran++ }\n"
        "await parallel(Array.from({ length: 4097 }, () => thunk)).catch((e) => r.push(e.name, e.message))\n"
        "await pipeline(new Array(4097), thunk).catch((e) => r.push(e.name, e.message))\n"
        "r.push(ran, (await parallel(Array.from({ length: 4096 }, () => thunk))).length, ran); return r"
    )
    assert driven.result == [
        "RangeError", "parallel() takes at most 4096 items, not 4097: go through them in batches",
        "RangeError", "pipeline() takes at most 4096 items, not 4097: go through them in batches", 0, 4096, 4096,
    ]  # fmt: skip


@pytest.mark.contract("P07")
async def test_any_nesting_works() -> None:
    driven = await drive(
        "return await pipeline([1, 2], (i) => agent('find' + i), (found, i) => parallel(['x', 'y'].map((l) => () "
        "=> agent(l + i)))"
        ".then((vs) => vs.length), (n) => parallel([() => pipeline([n], (x) => x * 2)]))"
    )
    assert driven.result == [[[4]], [[4]]]
    assert len(driven.agents) == 6


@pytest.mark.contract("D03")
async def test_what_a_script_does_to_its_globals_or_its_arrays_breaks_no_binding() -> None:
    driven = await drive(
        "for (const name of Object.getOwnPropertyNames(globalThis)) if (!['agent', 'parallel', 'pipeline', 'log', "
        "'globalThis', 'undefined',"
        " 'NaN', 'Infinity', 'budget', 'setTimeout', 'structuredClone', 'URL'].includes(name)) try { "
        "globalThis[name] = null } catch {}\n"
        "const thunks = [() => agent('a', { label: 'l', schema: { type: 'object' } }), () => { throw 1 }]\n"
        "thunks.map = thunks.forEach = () => { throw 2 }; thunks[(function () { return 'constructor' })()] = null\n"
        "const r = await parallel(thunks); log({ a: 1 }, r)\n"
        "r.push(structuredClone({ d: [1] }).d[0], new URL('http://a/b?c=d').searchParams.get('c'), "
        "budget.remaining() > 1, await pipeline([1], (x) => x))\n"
        "return r"
    )
    assert driven.result == ["answer to: a", None, 1, "d", True, [1]]
    assert driven.logs == ['{"a":1} ["answer to: a",null]']
