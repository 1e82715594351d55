"""Syntax is judged by the engine, with nothing executed and places as written (CONTRACT S04, S06, S07, S10)."""

from __future__ import annotations

import pytest

from callsheet.model.sandbox import SandboxLimits, SyntaxFault
from callsheet.model.values import Place
from callsheet.sandbox.host import SandboxHost
from tests.support.deadline import within
from tests.support.drive import drive

pytestmark = pytest.mark.anyio

META = " " * 40


async def compile_all(*bodies: str) -> list[SyntaxFault | None]:
    with within():
        async with SandboxHost().open(SandboxLimits()) as session:
            return [await session.compile(body) for body in bodies]


@pytest.mark.contract("S06")
async def test_faults_stand_where_the_file_has_them_and_columns_count_characters() -> None:
    faults = await compile_all(
        f"{META}\nconst ok = 1\nconst a = ;\nreturn a",
        "/* é 世界 🎭 */ const a = ;",
        "let a = 1\r\nlet a = 2",
        "let a = 1\u2028let b = ;",
        "x = 010",
    )
    assert [fault and fault.place for fault in faults] == [
        Place(line=3, column=11),
        Place(line=1, column=24),
        Place(line=2, column=7),
        Place(line=1, column=19),
        Place(line=1, column=5),
    ]


@pytest.mark.contract("S06")
@pytest.mark.parametrize(
    ("body", "place"),
    [
        ("if (a) {\n  f(\n", Place(line=2, column=5)),
        ("if (a) {\nlog(1)\n", Place(line=2, column=7)),
        ("log(`${", Place(line=1, column=8)),
    ],
)
async def test_a_script_that_ends_too_early_is_said_to(body: str, place: Place) -> None:
    (fault,) = await compile_all(body)
    assert fault is not None
    assert fault.message.startswith("the script ends too early")
    assert fault.place == place


@pytest.mark.contract("S06")
@pytest.mark.parametrize(
    "body",
    [
        "}); globalThis.evil = 1; (async () => {\nreturn 1",
        "}, globalThis.evil = 1, async () => {",
        "}] ; globalThis.evil = 1; [async () => {",
        "}\nglobalThis.evil = 1\nasync function more() {",
        "} globalThis.evil = 1; { async function more() {}",
        "}\nawait (globalThis.evil = 1)\nasync function more() {",
        "}\nasync function $script() {",
        "}\nimport 'x'\nasync function more() {",
        "}\nexport default async function () {",
        "}[globalThis.evil = 1] = class { m() {",
    ],
)
async def test_a_body_that_closes_its_wrapper_is_refused_and_nothing_of_it_runs(body: str) -> None:
    (fault,) = await compile_all(body)
    assert fault is not None
    driven = await drive(body)
    assert driven.thrown.kind == "refused"
    assert len(driven.messages) == 1


@pytest.mark.contract("S06")
async def test_a_brace_too_many_is_shown_where_it_stands() -> None:
    (fault,) = await compile_all("if (a) {\n}}\nlog(1)\nfunction f() {")
    assert fault is not None
    assert fault.place == Place(line=2, column=2)
    assert "}" in fault.message


@pytest.mark.contract("S06")
async def test_compiling_runs_nothing_and_leaves_nothing_behind() -> None:
    with within():
        async with SandboxHost().open(SandboxLimits()) as session:
            assert await session.compile("log('never'); globalThis.left = 1") is None
            assert await session.compile("let a = ;") is not None
    driven = await drive("return [typeof $script, Object.keys(globalThis)]")
    assert driven.result == ["function", []]
    assert driven.logs == []


@pytest.mark.contract("S04", "G01")
async def test_top_level_await_early_return_and_meta_work() -> None:
    driven = await drive("if (args.early) return [await agent('x'), meta.name]\nreturn 2", args_json='{"early": true}')
    assert driven.result == ["answer to: x", "test"]
    assert (await drive("await agent('x')")).result is None


@pytest.mark.contract("S07")
async def test_a_script_may_declare_the_names_of_the_api_itself() -> None:
    driven = await drive(
        "const args = globalThis.args || {}\nconst budget = 5\nconst agent = () => 'mine'\nlet log = 1, meta = 2\n"
        "class phase {}\nreturn [args, budget, agent(), log, meta, typeof phase, typeof globalThis.agent]",
        args_json='{"a": 1}',
    )
    assert driven.result == [{"a": 1}, 5, "mine", 1, 2, "function", "function"]


@pytest.mark.contract("S10")
async def test_the_body_is_strict_and_has_no_this() -> None:
    driven = await drive(
        "const r = [this === undefined]\ntry { undeclared = 1 } catch (e) { r.push(e.name) }\n"
        "try { Object.freeze(r.x = {}).y = 1 } catch (e) { r.push(e.name) }\nreturn r"
    )
    assert driven.result == [True, "ReferenceError", "TypeError"]
    (fault,) = await compile_all("with (Math) { max(1) }")
    assert fault is not None


@pytest.mark.contract("S06")
async def test_a_fault_of_any_length_is_told_in_short() -> None:
    for body in (
        "x".join(["é"] * 100_000) + " y",
        "let " + "a" * 200_000 + "; let " + "a" * 200_000,
        "'" + "x" * 300_000,
    ):
        (fault,) = await compile_all(body)
        assert fault is not None
        assert len(fault.message) <= 600


@pytest.mark.contract("S06", "S08")
async def test_the_largest_script_compiles_in_a_moment_and_deep_nesting_is_a_fault() -> None:
    line = "async function step%d(a) { const r = await agent(`do ${a}`, { label: 'x%d' }); return r ? r + a : null }\n"
    large = "".join(line % (n, n) for n in range(5000))
    faults = await compile_all(large, "(" * 400_000, "[" * 400_000, "return " + "!" * 100_000 + "1")
    assert faults[0] is None
    assert all(faults[1:3])
