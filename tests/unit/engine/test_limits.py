"""Runs that meet their limits: caps, budgets, counts."""

from __future__ import annotations

from typing import Any

import pytest

from callsheet.errors import ConfigError
from callsheet.model.counts import MAX_CALLS, MAX_LOG_LINES, MAX_PHASES
from callsheet.model.events import BudgetWarning, RunStatusChanged
from callsheet.model.sandbox import Dropped, Warned
from callsheet.model.values import Place
from tests.support.deadline import within
from tests.support.fake_backend import FakeBackend, ok
from tests.support.fake_session import Js, ScriptError
from tests.unit.engine.stage import on_stage, play, settings

pytestmark = pytest.mark.anyio


async def until_refused(js: Js, label: str = "x", **options: Any) -> Any:
    count = 0
    try:
        while True:
            await js.agent("x", label=label, **options)
            count += 1
    except ScriptError as error:
        return [count, error.name, error.message]


@pytest.mark.contract("L01", "O01")
async def test_the_call_beyond_the_cap_rejects_and_says_how_to_raise_it() -> None:
    played = await play(until_refused, run_settings=settings(max_agents=25))
    assert isinstance(played.result.result, list)
    count, name, message = played.result.result
    assert (count, name) == (25, "AgentCapError")
    assert "--max-agents" in str(message)
    assert played.result.status == "degraded"
    assert len(played.result.agents) == 25
    (problem,) = played.result.problems
    assert (problem.cause, problem.agent_id, problem.label) == ("cap", None, "x")
    assert problem.next == "callsheet resume run_test --max-agents 50"
    assert not played.result.over_budget


@pytest.mark.contract("O01", "L01")
async def test_a_refusal_that_the_script_caught_still_degrades_the_run() -> None:
    async def script(js: Js) -> Any:
        return len([one for one in await js.parallel(*[lambda: js.agent("x", label="x")] * 4) if one])

    played = await play(script, run_settings=settings(max_agents=2))
    assert (played.result.status, played.result.result) == ("degraded", 2)
    assert [one.where for one in played.result.problems] == ["parallel 1 [2]", "parallel 1 [3]"]
    assert {one.cause for one in played.result.problems} == {"cap"}


async def test_an_uncaught_refusal_fails_the_run_as_a_limit() -> None:
    async def script(js: Js) -> Any:
        while True:
            await js.agent("x")

    played = await play(script, run_settings=settings(max_agents=1))
    assert played.result.status == "failed"
    assert played.result.error is not None
    assert played.result.error.kind == "limit"


@pytest.mark.contract("G03")
async def test_calls_reject_once_the_tokens_are_spent_and_nothing_is_left_in_the_scripts_budget() -> None:
    async def script(js: Js) -> Any:
        return [*(await until_refused(js)), js.spent]

    backend = FakeBackend(outcomes={"x": ok(tokens=50)})
    played = await play(script, backend=backend, run_settings=settings(budget_tokens=200))
    assert isinstance(played.result.result, list)
    count, name, message, spent = played.result.result
    assert (count, name, spent) == (4, "BudgetExceededError", 200)
    assert "--budget 400" in str(message)
    assert played.result.status == "degraded"
    assert played.result.problems[0].cause == "over_budget"
    assert len(played.result.agents) == 4
    warnings = [one for one in played.stage.sink.bodies(BudgetWarning) if isinstance(one, BudgetWarning)]
    assert [(one.kind, one.spent, one.total) for one in warnings] == [
        ("tokens", 100, 200), ("tokens", 200, 200),
    ]  # fmt: skip


@pytest.mark.contract("G03", "A15")
async def test_with_settle_a_spent_budget_is_a_status() -> None:
    async def script(js: Js) -> Any:
        await js.agent("x", label="x")
        return await js.agent("x", settle=True)

    played = await play(
        script, backend=FakeBackend(outcomes={"x": ok(tokens=9)}), run_settings=settings(budget_tokens=5)
    )
    settled = played.result.result
    assert isinstance(settled, dict)
    assert (settled["status"], settled["value"], settled["agentId"]) == ("over_budget", None, None)
    assert "budget" in str(settled["error"])


@pytest.mark.contract("G03")
async def test_calls_that_waited_are_refused_at_their_start_and_those_under_way_finish() -> None:
    async def script(js: Js) -> Any:
        promises = [js.agent("x", label=f"{i}") for i in range(4)]
        seen = []
        for promise in promises:
            try:
                seen.append(await promise)
            except ScriptError as error:
                seen.append(error.name)
        return [*seen, js.spent]

    backend = FakeBackend(outcomes={"0": ok("zero", tokens=50), "1": ok("one", tokens=50)}, held=("1",))
    with within():
        async with on_stage(script, backend=backend, run_settings=settings(max_parallel=2, budget_tokens=50)) as stage:
            await backend.begun("0", "1")
            backend.finish("1")
            result = await stage.run.result()
    assert result.result == ["zero", "one", "BudgetExceededError", "BudgetExceededError", 100]
    assert {agent.label: agent.status for agent in result.agents} == {
        "0": "ok", "1": "ok", "2": "over_budget", "3": "over_budget",
    }  # fmt: skip
    assert [agent.started_at is None for agent in result.agents] == [False, False, True, True]
    assert result.over_budget
    assert result.status == "degraded"


async def test_dollars_are_a_hard_budget_too() -> None:
    backend = FakeBackend(outcomes={"x": ok(cost_usd=0.5)})
    played = await play(until_refused, backend=backend, run_settings=settings(budget_usd=1.0))
    assert isinstance(played.result.result, list)
    assert played.result.result[:2] == [2, "BudgetExceededError"]


async def test_a_cost_that_is_not_known_is_said_once_and_never_becomes_0() -> None:
    async def script(js: Js) -> Any:
        return await js.all(js.agent("x", label="x"), js.agent("x", label="x"))

    backend = FakeBackend(outcomes={"x": ok(cost_usd=None)})
    played = await play(script, backend=backend, run_settings=settings(budget_usd=1.0))
    assert played.result.usage.cost_usd is None
    assert played.lines == ["what fake-1 costs is not known: the run's cost, and what is left of it, leave it out"]


@pytest.mark.contract("L04")
async def test_without_a_budget_an_unknown_cost_is_said_to_pass_the_stop_by() -> None:
    async def script(js: Js) -> Any:
        return await js.agent("x", label="x")

    played = await play(script, backend=FakeBackend(outcomes={"x": ok(cost_usd=None)}))
    assert played.lines == [
        "what fake-1 costs is not known: the run's cost, and the $25.00 at which it would stop, leave it out"
    ]


@pytest.mark.parametrize("cost", [float("nan"), float("-inf"), -99.0])
async def test_a_backend_that_reports_rubbish_spends_an_unknown_amount_and_neither_breaks_the_run_nor_refills_it(
    cost: float,
) -> None:
    async def script(js: Js) -> Any:
        first = await js.agent("x", label="mad")
        return [first, *(await until_refused(js))[:2]]

    backend = FakeBackend(outcomes={"mad": ok("v", tokens=-1_000, cost_usd=cost), "x": ok(tokens=50)})
    played = await play(script, backend=backend, run_settings=settings(budget_tokens=100))
    assert played.result.result == ["v", 2, "BudgetExceededError"]
    assert played.result.usage.cost_usd is None


@pytest.mark.contract("L04")
async def test_without_a_budget_no_agent_starts_beyond_the_cost_stop_and_the_run_is_interrupted() -> None:
    async def script(js: Js) -> Any:
        return await js.all(*[js.agent("x", label=f"{i}") for i in range(4)])

    backend = FakeBackend(outcomes={"0": ok(cost_usd=30.0)}, held=("1",))
    with within():
        async with on_stage(script, backend=backend, run_settings=settings(max_parallel=2)) as stage:
            await backend.begun("0", "1")
            async for event in stage.run.events():
                if isinstance(event.body, RunStatusChanged):
                    assert event.body.status == "stopping"
                    break
            backend.finish("1")
            result = await stage.run.result()
    assert result.status == "interrupted"
    assert result.error is not None
    assert result.error.kind == "limit"
    assert result.error.message.endswith("Give it a budget: `callsheet resume run_test --budget '$50'`.")
    assert {agent.label: agent.status for agent in result.agents} == {
        "0": "ok", "1": "ok", "2": "cancelled", "3": "cancelled",
    }  # fmt: skip
    assert stage.resolved() == [], "nothing is delivered to a script that cannot go on"
    assert len(backend.tasks) == 2


@pytest.mark.contract("L04")
async def test_a_run_that_needs_no_further_agent_ends_well_beyond_the_cost_stop() -> None:
    async def script(js: Js) -> Any:
        return await js.agent("x", label="x")

    played = await play(script, backend=FakeBackend(outcomes={"x": ok("v", cost_usd=99.0)}))
    assert (played.result.status, played.result.result) == ("completed", "v")


@pytest.mark.contract("L03")
async def test_the_call_after_20000_rejects_and_is_reported_once() -> None:
    async def script(js: Js) -> Any:
        for _ in range(MAX_CALLS - 1):
            js.agent("")
        names = []
        for promise in [js.agent("x", label="x"), js.agent(""), js.agent("x")]:
            try:
                names.append(await promise)
            except ScriptError as error:
                names.append(error.name)
        return names

    with within(30):
        played = await play(script)
    assert played.result.result == ["x", "AgentCapError", "AgentCapError"]
    assert len(played.lines) == 1
    assert "at most 20,000 calls" in played.lines[0]
    assert played.result.status == "degraded"
    assert [(one.cause, one.next) for one in played.result.problems] == [("cap", None)] * 2


@pytest.mark.contract("L03", "D05")
async def test_log_lines_beyond_10000_are_not_kept_and_that_is_said_once() -> None:
    async def script(js: Js) -> Any:
        for number in range(MAX_LOG_LINES + 50):
            js.log(f"{number}")
        return None

    with within(30):
        played = await play(script)
    assert len(played.lines) == MAX_LOG_LINES + 1
    assert "more than 10,000 lines" in played.lines[-1]


@pytest.mark.contract("L03")
async def test_a_log_line_is_cut_to_16_kib() -> None:
    async def script(js: Js) -> Any:
        js.log("ü" * 20_000)
        return None

    played = await play(script)
    assert 16 * 1024 - 4 < len(played.lines[0].encode()) <= 16 * 1024


@pytest.mark.contract("L03")
async def test_phases_beyond_1000_are_not_listed_and_that_is_said_once() -> None:
    async def script(js: Js) -> Any:
        for number in range(MAX_PHASES + 5):
            js.phase(f"p{number}")
        return await js.agent("x", phase="one more", label="x")

    played = await play(script)
    assert len(played.result.phases) == MAX_PHASES + 1
    assert len([line for line in played.lines if "more than 1,000 phases" in line]) == 1


@pytest.mark.contract("L03", "O01")
async def test_what_the_sandbox_dropped_is_said_once_and_dropped_calls_degrade_the_run() -> None:
    async def script(js: Js) -> Any:
        for _ in range(2):
            js.say(Dropped(context=0, sort="calls", message="too many calls"))
        return None

    played = await play(script)
    assert played.lines == ["too many calls"]
    assert played.result.status == "degraded"


@pytest.mark.contract("D08", "P02")
async def test_a_warning_of_the_sandbox_is_logged_once_with_its_place() -> None:
    async def script(js: Js) -> Any:
        for line in (3, 3, 4):
            js.say(Warned(context=0, code="unhandled-rejection", message="unheard", place=Place(line=line, column=1)))
        return None

    played = await play(script)
    assert played.lines == ["unheard (line 3:1)", "unheard (line 4:1)"]
    assert played.result.status == "completed"


async def test_a_cap_out_of_range_is_refused_before_anything_starts() -> None:
    async def script(js: Js) -> Any:
        return None

    with pytest.raises(ConfigError, match="1 to 256"):
        await play(script, run_settings=settings(max_parallel=257))
