"""Calls of a whole run: what is accepted, what is refused, what the script gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from callsheet.executors import local
from callsheet.model.call import AgentTask, AgentType
from callsheet.model.events import AgentFinished, AgentQueued, AgentStarted, PhaseStarted
from callsheet.model.outcome import AgentOutcome, AgentStatus
from callsheet.model.public import result_json
from callsheet.model.run import PhaseSummary
from callsheet.ports import AgentReporter
from tests.support.deadline import within
from tests.support.fake_backend import FakeBackend, ok
from tests.support.fake_library import FakeLibrary
from tests.support.fake_session import FakeSession, Gate, Js, ScriptError
from tests.unit.engine.stage import on_stage, play, settings

pytestmark = pytest.mark.anyio


async def caught(promise: Any) -> str:
    """The name of what a promise rejects with."""
    try:
        await promise
    except ScriptError as error:
        return error.name
    return "no error"


@pytest.mark.contract("A01", "A02")
async def test_a_call_gives_the_agents_text_and_everything_about_it_is_in_the_result() -> None:
    async def script(js: Js) -> Any:
        return await js.agent("read it\nall", label="reader", phase="Look")

    played = await play(script)
    assert played.result.status == "completed"
    assert played.result.result == "reader"
    (agent,) = played.result.agents
    assert (agent.agent_id, agent.call, agent.label, agent.phase, agent.status) == ("a0001", 1, "reader", "Look", "ok")
    assert (agent.backend, agent.model, agent.attempts, agent.workflow) == ("fake", "fake-1", 1, None)
    assert agent.started_at is not None
    assert agent.ended_at is not None
    assert agent.queued_at <= agent.started_at <= agent.ended_at
    assert played.result.usage.output_tokens == 10
    assert played.result.by_model["fake-1"].output_tokens == 10


async def test_a_task_has_all_that_an_executor_needs() -> None:
    explore = AgentType(name="Explore", description="looks", model="haiku", effort="low")

    async def script(js: Js) -> Any:
        await js.agent("one", label="plain")
        await js.agent("one", label="typed", agentType="Explore", maxTurns=7, settle=True)
        await js.agent("two", label="own", agentType="Explore", model="opus", effort="MAX", maxTurns=900)
        return None

    played = await play(script, library=FakeLibrary(agent_types=(explore,)), run_settings=settings(model="sonnet"))
    plain, typed, own = played.stage.backend.tasks
    assert (plain.run_id, plain.call, plain.occurrence, plain.max_turns) == ("run_test", 1, 1, 200)
    assert (plain.workspace.root, plain.workspace.cwd, plain.workspace.commit) == ("/work-folder", ".", "abc123")
    assert (plain.model, plain.effort, plain.agent_type.name) == ("sonnet", None, "general-purpose")
    assert (typed.model, typed.effort, typed.agent_type, typed.max_turns) == ("haiku", "low", explore, 7)
    assert (own.model, own.effort, own.max_turns) == ("opus", "max", 200)
    assert plain.key != typed.key


@pytest.mark.contract("R02")
async def test_equal_calls_have_one_key_and_are_numbered() -> None:
    async def script(js: Js) -> Any:
        return await js.all(js.agent("x", label="a"), js.agent("x", label="b", priority=3), js.agent("y"))

    played = await play(script)
    one, two, three = sorted(played.stage.backend.tasks, key=lambda task: task.call)
    assert one.key == two.key != three.key
    assert (one.occurrence, two.occurrence, three.occurrence) == (1, 2, 1)


@pytest.mark.contract("A08")
async def test_an_unknown_option_is_ignored_and_warned_of_once_a_run() -> None:
    async def script(js: Js) -> Any:
        await js.all(*[js.agent("x", label="l", _private=1) for _ in range(3)])
        return await js.agent("x", label="l", retry=1)

    played = await play(script)
    assert played.result.status == "completed"
    assert len([line for line in played.lines if "`_private`" in line]) == 1
    assert len([line for line in played.lines if "`retry`" in line]) == 1


@pytest.mark.contract("A04", "A09", "A14")
async def test_misuse_rejects_with_what_is_allowed_and_starts_no_agent(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "link").symlink_to("/")

    async def script(js: Js) -> Any:
        wrong = [
            js.agent(""),
            js.agent(123),
            js.agent("x", effort="bogus"),
            js.agent("x", isolation="bogus"),
            js.agent("x", agentType="nope"),
            js.agent("x", backend="nope"),
            js.agent("x", schema={"type": "string"}),
            js.agent("x", schema="x"),
            js.agent("x", cwd="../.."),
            js.agent("x", cwd="link"),
            js.agent("x", cwd="a\0b"),
            js.agent("x", effort="bogus", settle=True),
        ]
        names = [await caught(promise) for promise in wrong]
        await js.agent("x", label="inside", cwd="inside/../inside")
        return names

    played = await play(script, workspace=str(tmp_path))
    assert played.result.result == ["TypeError"] * 4 + ["Error"] * 3 + ["TypeError"] + ["Error"] * 3 + ["TypeError"]
    assert played.result.status == "completed"
    assert played.statuses == {"inside": "ok"}
    assert played.stage.backend.tasks[0].workspace.cwd == "inside"
    messages = [message for _, message in played.stage.rejected()]
    assert "there are: general-purpose" in messages[4]
    assert "there is no backend 'nope' in this run; there are: fake" in messages[5]
    assert "the root must have type 'object'" in messages[6]
    assert "inside the workspace" in messages[9]


@pytest.mark.contract("A04")
async def test_a_schema_nested_beyond_all_measure_is_misuse_not_a_crash() -> None:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(5_000):
        schema = {"type": "object", "properties": {"x": schema}}

    async def script(js: Js) -> Any:
        return await caught(js.agent("x", schema=schema))

    played = await play(script)
    assert played.result.result == "Error"
    assert "too deeply" in played.stage.rejected()[0][1]


@pytest.mark.contract("A14")
async def test_a_call_names_another_backend_of_the_run() -> None:
    other = FakeBackend("other", outcomes={"x": ok("from the other")})

    async def script(js: Js) -> Any:
        return await js.agent("x", backend="other")

    played = await play(script, more_backends={"other": other})
    assert played.result.result == "from the other"
    assert played.result.agents[0].backend == "other"


@pytest.mark.parametrize("status", ["failed", "timed_out", "skipped", "cancelled", "over_budget", "conflict"])
@pytest.mark.contract("A05", "A17", "O01")
async def test_a_call_that_did_not_end_well_is_null_a_log_line_a_problem_and_a_degraded_run(
    status: AgentStatus,
) -> None:
    async def script(js: Js) -> Any:
        return [await js.agent("x", label="dead"), (await js.agent("x", label="dead", settle=True))["status"]]

    backend = FakeBackend(outcomes={"dead": AgentOutcome(status=status, error="api error")})
    played = await play(script, backend=backend)
    assert played.result.result == [None, status]
    assert played.result.status == "degraded"
    how = status.replace("_", " ")
    assert played.lines == [f'agent "dead" (a0001) {how}: api error']
    assert played.result.logs[0].level == "warn"
    cause = "skipped" if status == "cancelled" else status
    first, second = played.result.problems
    assert (first.where, first.cause, first.message, first.agent_id, first.line) == (
        "agent",
        cause,
        "api error",
        "a0001",
        1,
    )
    assert first.next == "callsheet resume run_test --rerun a0001"
    assert second.agent_id == "a0002"
    assert played.result.over_budget == (status == "over_budget")


@pytest.mark.contract("A03", "A17")
async def test_an_answer_that_never_fitted_rejects_with_the_last_violation() -> None:
    async def script(js: Js) -> Any:
        try:
            await js.agent("x", label="bad", schema={"type": "object"})
        except ScriptError as error:
            return [error.name, error.message]

    backend = FakeBackend(outcomes={"bad": AgentOutcome(status="invalid", error="`n` is missing", attempts=5)})
    played = await play(script, backend=backend)
    assert played.result.result == ["SchemaError", "`n` is missing"]
    assert played.result.status == "degraded"
    assert played.result.problems[0].cause == "invalid"
    assert played.lines == []


@pytest.mark.contract("A03")
@pytest.mark.parametrize(
    ("attempts", "judged", "marked"), [(1, 0, None), (2, 0, None), (3, 0, 3), (5, 0, 5), (5, 3, None), (5, 2, 5)]
)
async def test_an_object_accepted_after_two_violations_is_marked_and_said(
    attempts: int, judged: int, marked: int | None
) -> None:
    async def script(js: Js) -> Any:
        return [await js.agent("x", label="form", schema={"type": "object"}), await js.agent("y", label="text")]

    outcomes = {
        "form": AgentOutcome(status="ok", value={"n": 1}, attempts=attempts, judged=judged),
        "text": AgentOutcome(status="ok", value="done", attempts=attempts),
    }
    played = await play(script, backend=FakeBackend(outcomes=outcomes))
    assert played.result.result == [{"n": 1}, "done"]
    assert [agent.answer_attempts for agent in played.result.agents] == [marked, None]
    said = (
        f'agent "form" (a0001): its answer was taken at attempt {attempts} only, since {attempts - 1 - judged} before '
        "it did not fit the schema; it may hold placeholders"
    )
    assert played.lines == ([said] if marked else [])
    assert result_json(played.result)["agents"][0]["answer_attempts"] == marked  # type: ignore[index,call-overload]


@pytest.mark.contract("P01", "O01")
async def test_a_slot_that_threw_is_a_line_and_a_problem_that_knows_its_agent() -> None:
    async def thrower() -> Any:
        raise ScriptError("TypeError", "not a function")

    async def script(js: Js) -> Any:
        return await js.parallel(
            lambda: js.agent("x", label="bad"), thrower, lambda: js.agent("y", label="good"), lambda: js.agent("")
        )

    backend = FakeBackend(outcomes={"bad": AgentOutcome(status="invalid", error="`n` is missing")})
    played = await play(script, backend=backend)
    assert played.result.result == [None, None, "good", None]
    assert played.result.status == "degraded"
    assert sorted(played.lines) == [
        "parallel[0] failed: SchemaError: `n` is missing",
        "parallel[1] failed: TypeError: not a function",
        "parallel[3] failed: TypeError: agent(): the prompt must be a non-empty string, and is empty",
    ]
    by_place = {one.where: one for one in played.result.problems}
    assert set(by_place) == {"parallel 1 [0]", "parallel 1 [1]", "parallel 1 [3]"}
    assert (by_place["parallel 1 [0]"].cause, by_place["parallel 1 [0]"].label) == ("invalid", "bad")
    assert by_place["parallel 1 [0]"].next == "callsheet resume run_test --rerun a0001"
    assert (by_place["parallel 1 [1]"].cause, by_place["parallel 1 [1]"].line) == ("threw", 7)
    assert by_place["parallel 1 [1]"].agent_id is None


@pytest.mark.contract("A11", "G02")
async def test_phases_group_calls_in_order_of_first_use_and_the_option_beats_the_phase() -> None:
    async def script(js: Js) -> Any:
        await js.agent("0", label="0")
        js.phase("Unlisted")
        await js.agent("a", label="a")
        await js.agent("b", label="b", phase="Third")
        js.phase("Empty")
        js.phase("Unlisted")
        await js.agent("c", label="c")
        return None

    played = await play(script)
    assert [agent.phase for agent in played.result.agents] == [None, "Unlisted", "Third", "Unlisted"]
    assert played.result.phases == (
        PhaseSummary(title=None, agents=1),
        PhaseSummary(title="Unlisted", agents=2),
        PhaseSummary(title="Third", agents=1),
        PhaseSummary(title="Empty", agents=0),
    )
    entered = played.stage.sink.bodies(PhaseStarted)
    assert [body.title for body in entered if isinstance(body, PhaseStarted)] == ["Unlisted", "Third", "Empty"]


@pytest.mark.contract("A12", "L01")
async def test_no_more_agents_work_at_once_than_the_cap_and_higher_priority_goes_first() -> None:
    async def script(js: Js) -> Any:
        return await js.all(*[js.agent("x", label=f"{i}", priority=5 if i in (4, 6) else 0) for i in range(8)])

    backend = FakeBackend()
    played = await play(script, backend=backend, run_settings=settings(max_parallel=2))
    assert backend.peak == 2
    assert [task.label for task in backend.tasks] == ["0", "1", "4", "6", "2", "3", "5", "7"]
    at_work = peak = 0
    for body in played.stage.sink.bodies(AgentStarted, AgentFinished):
        at_work += 1 if isinstance(body, AgentStarted) else -1
        peak = max(peak, at_work)
    assert peak == 2, "nor do more seem to work to those who look on"


@pytest.mark.contract("A12")
async def test_a_freed_place_is_taken_while_the_script_is_still_busy() -> None:
    gates: list[Gate] = []

    async def script(js: Js) -> Any:
        js.agent("x", label="one")
        two = js.agent("x", label="two")
        await gates[0].promise
        return await two

    backend = FakeBackend(held=("one", "two"))
    with within():
        session = FakeSession(script)
        gates.append(session.gate())
        async with on_stage(script, session=session, backend=backend, run_settings=settings(max_parallel=1)) as stage:
            await backend.begun("one")
            assert session.is_in_turn
            backend.finish("one")
            await backend.begun("two")
            assert session.is_in_turn
            gates[0].open()
            backend.finish("two")
            assert (await stage.run.result()).result == "two"


async def test_a_timeout_ends_the_agent_as_timed_out() -> None:
    async def script(js: Js) -> Any:
        return [
            await js.agent("x", label="slow", timeout=0.02),
            (await js.agent("x", timeout=0.02, label="slow", settle=True)),
        ]

    backend = FakeBackend(held=("slow",))
    played = await play(script, backend=backend)
    assert isinstance(played.result.result, list)
    assert played.result.result[0] is None
    settled = played.result.result[1]
    assert isinstance(settled, dict)
    assert settled["status"] == "timed_out"
    assert settled["error"] == "it took longer than its timeout of 0.02 s"
    assert backend.cancelled == ["slow", "slow"]
    assert played.result.status == "degraded"
    assert played.lines == ['agent "slow" (a0001) timed out: it took longer than its timeout of 0.02 s']


@pytest.mark.contract("A13")
async def test_agents_that_the_script_did_not_wait_for_are_cancelled_and_do_not_degrade_the_run() -> None:
    async def script(js: Js) -> Any:
        js.agent("x", label="slow")
        js.agent("x", label="slow too")
        await js.agent("x", label="fast")
        return "early"

    with within(5):
        played = await play(script, backend=FakeBackend(held=("slow", "slow too")))
    assert played.result.status == "completed"
    assert played.result.result == "early"
    assert played.statuses == {"slow": "cancelled", "slow too": "cancelled", "fast": "ok"}
    slow = played.result.agents[0]
    assert slow.started_at is not None
    assert slow.ended_at is not None
    assert slow.error == "cancelled: the script ended without waiting for it"
    assert played.result.problems == ()
    assert played.lines == ["2 agents were under way when the script ended, and cancelled"]
    rows = played.stage.store.agents()
    assert {row.label: row.status for row in rows.values()} == played.statuses


@pytest.mark.contract("A13")
async def test_an_agent_that_never_started_has_no_start() -> None:
    async def script(js: Js) -> Any:
        js.agent("x", label="first")
        js.agent("x", label="second")
        await js.sleep(1)
        return None

    played = await play(script, backend=FakeBackend(held=("*",)), run_settings=settings(max_parallel=1))
    first, second = played.result.agents
    assert first.started_at is not None
    assert (second.status, second.started_at, second.attempts) == ("cancelled", None, 0)


async def test_an_answer_that_is_no_json_has_failed() -> None:
    async def script(js: Js) -> Any:
        return await js.agent("x", label="odd", settle=True)

    backend = FakeBackend(outcomes={"odd": AgentOutcome(status="ok", value=float("nan"))})
    played = await play(script, backend=backend)
    assert isinstance(played.result.result, dict)
    assert played.result.result["status"] == "failed"
    assert "not JSON" in str(played.result.result["error"])


async def test_an_answer_keeps_every_character_that_json_can_say() -> None:
    text = 'ラベル \ud800 "quoted" \u2028 \x00'

    async def script(js: Js) -> Any:
        return (await js.agent("x", label="odd")) == text

    played = await play(script, backend=FakeBackend(outcomes={"odd": AgentOutcome(status="ok", value=text)}))
    assert played.result.result is True


@pytest.mark.contract("O04")
async def test_queued_events_come_before_started_ones_and_finished_ones_have_a_preview() -> None:
    async def script(js: Js) -> Any:
        return await js.agent("x", label="long")

    played = await play(script, backend=FakeBackend(outcomes={"long": ok("y" * 5_000)}))
    queued, started, finished = played.stage.sink.bodies(AgentQueued, AgentStarted, AgentFinished)
    assert isinstance(queued, AgentQueued)
    assert isinstance(started, AgentStarted)
    assert isinstance(finished, AgentFinished)
    assert finished.result_preview is not None
    assert len(finished.result_preview) == 200
    assert finished.agent == played.result.agents[0]


async def test_an_agent_that_cannot_be_cancelled_in_time_is_recorded_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "CANCEL_WAIT_S", 0.1)
    release = anyio.Event()

    async def stubborn(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        with anyio.CancelScope(shield=True):
            await release.wait()
        return ok()

    async def script(js: Js) -> Any:
        js.agent("x", label="stubborn")
        await js.agent("x", label="quick")
        return json.dumps(1)

    with within(8):
        async with on_stage(script, backend=FakeBackend(acts={"stubborn": stubborn})) as stage:
            result = await stage.run.result()
            release.set()
    assert {agent.label: agent.status for agent in result.agents} == {"stubborn": "cancelled", "quick": "ok"}
    assert result.status == "completed"
