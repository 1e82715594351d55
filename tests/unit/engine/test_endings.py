"""Every way in which a run ends."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from callsheet.engine import attempt, conductor
from callsheet.errors import BackendUnavailableError, SandboxError, ScriptRefusedError, StoreError
from callsheet.model.call import AgentTask
from callsheet.model.events import AgentFinished, Event, RunFinished, RunStarted
from callsheet.model.outcome import AgentOutcome
from callsheet.model.records import AgentRow, EventRow, MessageRow, RunEndRow, ToolCallRow
from callsheet.model.reports import MessageAdded, ToolCalled
from callsheet.model.sandbox import Returned, SyntaxFault
from callsheet.model.values import Place
from callsheet.ports import AgentReporter, EventSink
from tests.support.deadline import within
from tests.support.fake_backend import FakeBackend, ok
from tests.support.fake_session import FakeSession, Gate, Js, ScriptError
from tests.support.memory_store import MemoryStore
from tests.unit.engine.stage import SECRET, on_stage, play, settings

pytestmark = pytest.mark.anyio


async def waits_for_two(js: Js) -> Any:
    return await js.all(js.agent("x", label="one"), js.agent("x", label="two"))


def finished_last(store: MemoryStore) -> bool:
    return store.events()[-1].event == "run.finished"


@pytest.mark.contract("S04", "O02", "O04")
async def test_what_the_script_returns_is_the_result_and_closes_the_record() -> None:
    async def script(js: Js) -> Any:
        return {"args": js.args, "n": [1, None]}

    played = await play(script, args_json='{"x": 1}')
    assert played.result.status == "completed"
    assert played.result.result == {"args": {"x": 1}, "n": [1, None]}
    assert played.result.error is None
    (end,) = played.stage.store.of(RunEndRow)
    assert (end.status, end.result, end.error) == ("completed", '{"args":{"x":1},"n":[1,null]}', None)
    assert finished_last(played.stage.store)
    last = played.stage.sink.events[-1]
    assert isinstance(last.body, RunFinished)
    assert last.body.result == played.result


@pytest.mark.contract("O03", "O01")
async def test_a_script_that_throws_fails_with_name_message_and_place_and_its_agents_are_cancelled() -> None:
    async def script(js: Js) -> Any:
        js.agent("x", label="slow")
        await js.agent("x", label="quick")
        raise ScriptError("RangeError", "out of it")

    played = await play(script, backend=FakeBackend(held=("slow",)))
    error = played.result.error
    assert error is not None
    assert (error.kind, error.message, error.line, error.column) == ("script", "RangeError: out of it", 3, 5)
    assert played.result.status == "failed"
    assert played.result.result is None
    assert played.statuses == {"slow": "cancelled", "quick": "ok"}
    assert played.result.agents[0].error == "cancelled: the run could not go on"


@pytest.mark.contract("O03")
async def test_a_thrown_value_that_is_no_error_is_shown_as_it_is() -> None:
    async def script(js: Js) -> Any:
        raise ScriptError("", "plain")

    played = await play(script)
    assert played.result.error is not None
    assert played.result.error.message == "plain"


@pytest.mark.parametrize("text", ["{", "NaN", "[" * 100_000])
async def test_a_result_that_is_no_json_fails_the_run_and_crashes_nothing(text: str) -> None:
    async def script(js: Js) -> Any:
        js.say(Returned(context=0, value_json=text))
        await js.forever()

    played = await play(script)
    assert played.result.status == "failed"
    assert played.result.error is not None
    assert played.result.error.kind == "sandbox"


@pytest.mark.contract("S06")
async def test_a_body_that_the_engine_refuses_is_refused_with_its_place_and_nothing_is_recorded() -> None:
    async def script(js: Js) -> Any:
        return None

    store = MemoryStore()
    fault = SyntaxFault(message="unexpected token", place=Place(line=4, column=2))
    with pytest.raises(ScriptRefusedError) as refused:
        await play(script, faults={"main": fault}, store=store)
    assert refused.value.place == Place(line=4, column=2)
    assert refused.value.workflow == "play"
    assert store.rows == []


@pytest.mark.contract("O05")
async def test_a_script_that_waits_for_nothing_fails_at_once_as_stalled() -> None:
    async def script(js: Js) -> Any:
        await js.agent("x")
        timer = js.sleep(100_000)
        js.clear(1)
        await timer

    played = await play(script)
    assert played.result.status == "failed"
    assert played.result.error is not None
    assert played.result.error.kind == "stalled"


@pytest.mark.contract("O05", "W01")
async def test_a_nested_script_that_waits_for_nothing_stalls_the_run() -> None:
    async def child(js: Js) -> Any:
        await js.forever()

    async def script(js: Js) -> Any:
        return await js.workflow("child")

    played = await play(script, nested={"child": child})
    assert played.result.error is not None
    assert played.result.error.kind == "stalled"


@pytest.mark.contract("D07")
async def test_a_child_that_dies_while_its_script_waits_ends_the_run_and_its_agents() -> None:
    backend = FakeBackend(held=("*",))
    with within(5):
        async with on_stage(waits_for_two, backend=backend) as stage:
            await backend.begun("one", "two")
            stage.session.kill(SandboxError("over its CPU limit: raise it with --cpu-limit", kind="limit"))
            result = await stage.run.result()
    assert result.status == "failed"
    assert result.error is not None
    assert (result.error.kind, "--cpu-limit" in result.error.message) == ("limit", True)
    assert sorted(backend.cancelled) == ["one", "two"]
    assert finished_last(stage.store)


async def test_a_child_that_dies_in_the_middle_of_a_turn_ends_the_run() -> None:
    gates: list[Gate] = []

    async def script(js: Js) -> Any:
        js.log("before")
        await gates[0].promise

    session = FakeSession(script)
    gates.append(session.gate())
    with within(5):
        async with on_stage(script, session=session) as stage:
            async for event in stage.run.events():
                if event.name == "log":
                    break
            session.kill(SandboxError("it sent rubbish", kind="sandbox"))
            result = await stage.run.result()
    assert result.error is not None
    assert result.error.kind == "sandbox"
    assert [line.message for line in result.logs] == ["before"]


async def test_a_child_that_never_came_up_is_a_failed_run_like_any_other() -> None:
    async def script(js: Js) -> Any:
        return None

    session = FakeSession(script)
    session.kill(SandboxError("confinement is not to be had here", kind="config"))
    played = await play(script, session=session)
    assert played.result.status == "failed"
    assert played.result.error is not None
    assert played.result.error.kind == "config"
    assert isinstance(played.stage.sink.events[0].body, RunStarted)
    assert played.stage.sink.names()[-1] == "run.finished"


@pytest.mark.parametrize(
    ("reason", "status", "by_person"), [("person", "cancelled", True), ("stopped", "interrupted", False)]
)
@pytest.mark.contract("O01")
async def test_a_run_that_is_stopped_cancels_its_agents_closes_its_record_and_can_be_resumed(
    reason: Any, status: str, by_person: bool
) -> None:
    backend = FakeBackend(held=("*",))
    with within(5):
        async with on_stage(waits_for_two, backend=backend, run_settings=settings(max_parallel=1)) as stage:
            await backend.begun("one")
            await stage.run.stop(reason)
            await stage.run.stop(reason)
            result = await stage.run.result()
    assert (result.status, result.stopped_by_person, result.error) == (status, by_person, None)
    assert {agent.label: agent.status for agent in result.agents} == {"one": "cancelled", "two": "cancelled"}
    assert [task.label for task in backend.tasks] == ["one"], "no new agent starts"
    assert result.problems == ()
    assert stage.store.of(RunEndRow)[0].status == status
    assert any("callsheet resume run_test" in event.payload for event in stage.store.events())


async def test_a_script_that_is_busy_is_stopped_in_the_middle_of_its_turn() -> None:
    gates: list[Gate] = []

    async def script(js: Js) -> Any:
        js.log("busy")
        await gates[0].promise

    session = FakeSession(script)
    gates.append(session.gate())
    with within(5):
        async with on_stage(script, session=session) as stage:
            async for event in stage.run.events():
                if event.name == "log":
                    break
            await stage.run.stop()
            assert (await stage.run.result()).status == "cancelled"


async def test_leaving_the_run_cancels_it_and_closes_its_record() -> None:
    backend = FakeBackend(held=("*",))
    with within(5):
        async with on_stage(waits_for_two, backend=backend) as stage:
            await backend.begun("one", "two")
    assert stage.store.of(RunEndRow)[0].status == "cancelled"
    assert sorted(backend.cancelled) == ["one", "two"]
    assert finished_last(stage.store)


async def test_leaving_the_run_by_a_cancellation_closes_its_record_and_lets_the_cancellation_through() -> None:
    backend = FakeBackend(held=("*",))
    store = MemoryStore()
    with within(5):
        with anyio.CancelScope() as scope:
            async with on_stage(waits_for_two, backend=backend, store=store):
                await backend.begun("one", "two")
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
    assert store.of(RunEndRow)[0].status == "cancelled"
    assert finished_last(store)


async def test_an_error_of_whoever_opened_the_run_comes_out_as_itself() -> None:
    with within(5), pytest.raises(LookupError, match="mine"):
        async with on_stage(waits_for_two, backend=FakeBackend(held=("*",))):
            raise LookupError("mine")


async def test_a_surface_that_breaks_the_rules_is_one_clear_error_and_no_hang() -> None:
    class BrokenSink(EventSink):
        def on_event(self, event: Event) -> None:
            if isinstance(event.body, AgentFinished):
                raise LookupError("a fault of ours")

    with within(5), pytest.raises(LookupError, match="a fault of ours"):
        async with on_stage(waits_for_two, sinks=(BrokenSink(),)) as stage:
            await anyio.sleep_forever()
    with within(1), pytest.raises(RuntimeError, match="the engine broke"):
        await stage.run.result()


async def test_a_service_that_stays_away_interrupts_the_run_and_nothing_is_delivered() -> None:
    async def gone(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        raise BackendUnavailableError(
            f"the key {SECRET} is not accepted.", cause="authentication", retry_at="2026-11-21T09:00Z"
        )

    async def script(js: Js) -> Any:
        return await js.all(*[js.agent("x", label=label) for label in ("held", "gone", "queued")])

    backend = FakeBackend(acts={"gone": gone}, held=("held",))
    with within(5):
        played = await play(script, backend=backend, run_settings=settings(max_parallel=2))
    error = played.result.error
    assert played.result.status == "interrupted"
    assert error is not None
    assert error.kind == "backend"
    assert error.message == (
        "the key ‹secret› is not accepted (authentication). The service says that it may go on at 2026-11-21T09:00Z. "
        "Continue with `callsheet resume run_test`."
    )
    assert played.statuses == {"held": "cancelled", "gone": "cancelled", "queued": "cancelled"}
    assert played.stage.resolved() == []
    assert played.result.problems == ()


def is_outcome(row: object) -> bool:
    return isinstance(row, AgentRow) and row.status == "ok"


@pytest.mark.contract("R01")
async def test_an_outcome_that_cannot_be_written_is_not_delivered_and_interrupts_the_run() -> None:
    store = MemoryStore(breaks_on=is_outcome)
    with within(5):
        played = await play(waits_for_two, store=store)
    assert played.stage.resolved() == []
    assert played.result.status == "interrupted"
    assert played.result.error is not None
    assert played.result.error.kind == "internal"
    assert "the disk is full" in played.result.error.message
    assert "callsheet resume run_test" in played.result.error.message
    assert played.stage.sink.names()[-1] == "run.finished", "surfaces are told all the same"


@pytest.mark.contract("R01")
async def test_an_answer_that_could_not_be_recorded_is_shown_to_nobody_as_given() -> None:
    async def script(js: Js) -> Any:
        return await js.agent("x", label="one")

    with within(5):
        played = await play(script, store=MemoryStore(breaks_on=is_outcome))
    (agent,) = played.result.agents
    assert (agent.status, agent.usage) == ("failed", ok().usage)
    assert agent.error == "it answered, and the answer could not be recorded: a resumed run asks it again"
    (shown,) = played.stage.sink.bodies(AgentFinished)
    assert shown == AgentFinished(agent=agent, result_preview=None)
    (problem,) = played.result.problems
    assert (problem.cause, problem.next) == ("failed", "callsheet resume run_test --rerun a0001")


async def test_a_record_that_cannot_be_closed_is_said_in_the_result() -> None:
    async def script(js: Js) -> Any:
        return 7

    played = await play(script, store=MemoryStore(breaks_on=lambda row: isinstance(row, RunEndRow)))
    assert played.result.status == "interrupted"
    assert played.result.result == 7
    assert played.result.error is not None
    assert "the disk is full" in played.result.error.message
    last = played.stage.sink.events[-1].body
    assert isinstance(last, RunFinished)
    assert last.result == played.result


async def test_a_failed_run_whose_record_cannot_be_closed_says_both() -> None:
    async def script(js: Js) -> Any:
        raise ScriptError("RangeError", "out of it")

    played = await play(script, store=MemoryStore(breaks_on=lambda row: isinstance(row, RunEndRow)))
    error = played.result.error
    assert error is not None
    assert (played.result.status, error.kind) == ("failed", "script")
    assert error.message.startswith("RangeError: out of it. The end of the run is not in its record: the disk is full")


@pytest.mark.contract("R01")
async def test_a_tool_whose_intent_cannot_be_written_does_not_run() -> None:
    ran = []

    async def uses_a_tool(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        await reporter.report(ToolCalled(n=1, tool="write", input={}, state="intent"))
        ran.append(task.label)
        return ok()

    async def script(js: Js) -> Any:
        return await js.agent("x", label="tool")

    store = MemoryStore(breaks_on=lambda row: isinstance(row, ToolCallRow))
    played = await play(script, store=store, backend=FakeBackend(acts={"tool": uses_a_tool}))
    assert ran == []
    assert played.result.status == "interrupted"


def test_the_waits_at_the_end_of_a_stopped_run_are_less_than_5_s_together() -> None:
    assert conductor.AGENTS_WAIT_S + conductor.ABANDON_WAIT_S + conductor.HASTY_CLOSE_WAIT_S < 5
    assert attempt.CANCEL_WAIT_S < conductor.AGENTS_WAIT_S


async def test_a_disk_that_never_answers_does_not_keep_a_stopped_run_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    for wait in ("AGENTS_WAIT_S", "ABANDON_WAIT_S", "HASTY_CLOSE_WAIT_S"):
        monkeypatch.setattr(conductor, wait, 0.1)
    store = MemoryStore()
    backend = FakeBackend(held=("two",))
    with within(5):
        async with on_stage(waits_for_two, backend=backend, store=store) as stage:
            await backend.begun("two")
            store.disk = anyio.Event()
            await stage.run.stop()
            result = await stage.run.result()
    assert result.status == "cancelled"
    assert {agent.label for agent in result.agents} == {"one", "two"}
    assert stage.sink.names()[-1] == "run.finished"


async def test_conversations_of_cancelled_agents_are_kept() -> None:
    async def talks(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        await reporter.report(MessageAdded(payload={"role": "user"}))
        talked.set()
        await anyio.sleep_forever()
        raise AssertionError

    async def script(js: Js) -> Any:
        return await js.agent("x", label="talks")

    talked = anyio.Event()
    with within(5):
        async with on_stage(script, backend=FakeBackend(acts={"talks": talks})) as stage:
            await talked.wait()
            await stage.run.stop()
    assert [(row.agent_id, row.n, row.payload) for row in stage.store.of(MessageRow)] == [
        ("a0001", 1, '{"role":"user"}')
    ]


def test_store_errors_are_not_mistaken_for_events() -> None:
    assert not is_outcome(EventRow(run_id="r", seq=1, at="", event="log", payload="{}"))
    assert issubclass(StoreError, Exception)
