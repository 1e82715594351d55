"""What a run leaves on disk, and in which order things are seen."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from callsheet.engine.run import RULES_VERSION
from callsheet.model.call import AgentTask
from callsheet.model.events import AgentFinished, AgentProgress, AgentWaiting, Log
from callsheet.model.outcome import AgentOutcome
from callsheet.model.public import event_json
from callsheet.model.records import AgentRow, DeliveredRow, EventRow, MessageRow, RunRow, TimerRow, ToolCallRow
from callsheet.model.reports import MessageAdded, Progress, Remark, ToolCalled, Waiting
from callsheet.model.sandbox import FireTimer, ResolveCall
from callsheet.ports import AgentReporter
from tests.support.deadline import within
from tests.support.fake_backend import FakeBackend, ok
from tests.support.fake_session import FakeSession, Gate, Js
from tests.support.memory_store import MemoryStore
from tests.unit.engine.stage import SECRET, on_stage, play

pytestmark = pytest.mark.anyio


async def one_call(js: Js) -> Any:
    return await js.agent("x", label="one")


@pytest.mark.contract("R01")
async def test_an_outcome_is_on_disk_before_anyone_sees_it_and_before_the_script_has_it() -> None:
    store = MemoryStore()
    backend = FakeBackend(held=("one",))
    with within():
        async with on_stage(one_call, store=store, backend=backend) as stage:
            await backend.begun("one")
            store.disk = anyio.Event()
            backend.finish("one")
            while backend.at_work:
                await anyio.lowlevel.checkpoint()
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            assert stage.sink.bodies(AgentFinished) == []
            assert stage.resolved() == []
            store.disk.set()
            await stage.run.result()
    assert stage.resolved() == ['"one"']
    first = store.durable[0]
    assert any(isinstance(row, AgentRow) and row.status == "ok" for row in first)
    assert any(isinstance(row, EventRow) and row.event == "agent.finished" for row in first)


@pytest.mark.contract("R01", "D05")
async def test_events_keep_their_order_while_an_outcome_waits_for_the_disk() -> None:
    store = MemoryStore()
    gates: list[Gate] = []

    async def script(js: Js) -> Any:
        call = js.agent("x", label="one")
        await gates[0].promise
        js.log("meanwhile")
        return await call

    session = FakeSession(script)
    gates.append(session.gate())
    backend = FakeBackend(held=("one",))
    with within():
        async with on_stage(script, store=store, backend=backend, session=session) as stage:
            await backend.begun("one")
            store.disk = anyio.Event()
            backend.finish("one")
            while backend.at_work:
                await anyio.lowlevel.checkpoint()
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            gates[0].open()
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            assert stage.sink.bodies(Log) == []
            store.disk.set()
            await stage.run.result()
    assert [event.seq for event in stage.sink.events] == list(range(1, len(stage.sink.events) + 1))
    assert stage.sink.names()[-3:] == ["agent.finished", "log", "run.finished"]


@pytest.mark.contract("D05")
async def test_a_log_line_is_seen_while_its_script_is_still_in_the_middle_of_its_turn() -> None:
    gates: list[Gate] = []

    async def script(js: Js) -> Any:
        js.log("now")
        await gates[0].promise

    session = FakeSession(script)
    gates.append(session.gate())
    with within():
        async with on_stage(script, session=session) as stage:
            async for event in stage.run.events():
                if event.body == Log(level="info", message="now", by="script"):
                    break
            assert session.is_in_turn
            gates[0].open()


async def test_the_record_has_the_whole_run() -> None:
    async def script(js: Js) -> Any:
        await js.agent("the task", label="one", phase="P", effort="low")
        await js.sleep(1)
        return js.spent

    played = await play(script, args_json="[1]", seed=5, started_ms=1_000)
    store = played.stage.store
    (run,) = store.of(RunRow)
    assert (run.run_id, run.workflow, run.args, run.seed, run.started_ms, run.version) == (
        "run_test", "play", "[1]", 5, 1_000, RULES_VERSION,
    )  # fmt: skip
    assert "main" in run.script_text
    assert json.loads(run.settings)["backend"] == "fake"
    rows = store.of(AgentRow)
    assert [row.status for row in rows] == ["queued", "running", "ok"]
    last = rows[-1]
    assert (last.label, last.phase, last.task_description, last.result) == ("one", "P", "the task", '"one"')
    assert json.loads(last.options) == {"label": "one", "phase": "P", "effort": "low"}
    assert (last.output_tokens, last.attempts, last.model, last.mode) == (10, 1, "fake-1", "default")
    assert last.timestamp_start is not None
    assert last.timestamp_end is not None
    (delivered,) = store.of(DeliveredRow)
    (timer,) = store.of(TimerRow)
    assert (delivered.agent_id, delivered.spent_after) == ("a0001", 10)
    assert (timer.n, timer.delivered_seq - delivered.delivered_seq) == (1, 1)
    assert timer.delivered_at >= delivered.delivered_at >= 1_000
    assert played.result.result == 10


async def test_every_event_is_in_the_record_as_its_public_object() -> None:
    played = await play(one_call)
    rows = {row.seq: row for row in played.stage.store.events()}
    events = played.stage.sink.events
    assert sorted(rows) == [event.seq for event in events]
    for event in events:
        assert json.loads(rows[event.seq].payload) == event_json(event)
        assert rows[event.seq].event == event.name
        assert event.at.endswith("Z")
    assert [event.at for event in events] == sorted(event.at for event in events)


@pytest.mark.contract("D04")
async def test_each_delivery_has_its_time_and_what_was_spent_as_delivered() -> None:
    async def script(js: Js) -> Any:
        promises = [js.agent("x", label=label) for label in ("a", "b", "c")]
        spent = []
        for promise in promises:
            await promise
            spent.append(js.spent)
        await js.sleep(3)
        return [*spent, js.now_ms >= 1_003]

    backend = FakeBackend(outcomes={"a": ok(tokens=1), "b": ok(tokens=2), "c": ok(tokens=4)})
    played = await play(script, backend=backend, started_ms=1_000)
    assert played.result.result == [1, 3, 7, True]
    clocks = [clock for _, clock in played.stage.session.deliveries]
    assert clocks[0].now_ms == 1_000
    assert [clock.now_ms for clock in clocks] == sorted(clock.now_ms for clock in clocks)


@pytest.mark.contract("D06")
async def test_timers_are_delivered_in_order_of_their_time() -> None:
    async def script(js: Js) -> Any:
        seen: list[int] = []

        async def after(delay: int) -> None:
            await js.sleep(delay)
            seen.append(delay)

        await js.all(*[js.spawn(after(delay)) for delay in (20, 5, 10, 5)])
        return seen

    played = await play(script)
    assert played.result.result == [5, 5, 10, 20]
    fired = [one.timer for one, _ in played.stage.session.deliveries if isinstance(one, FireTimer)]
    assert fired == [2, 4, 3, 1]


async def test_one_thing_is_delivered_at_a_time() -> None:
    async def script(js: Js) -> Any:
        return await js.all(*[js.agent("x", label=f"{number}") for number in range(50)])

    played = await play(script)
    resolved = [one.call for one, _ in played.stage.session.deliveries if isinstance(one, ResolveCall)]
    assert sorted(resolved) == list(range(1, 51))


async def test_secrets_are_replaced_in_all_that_goes_out_and_nothing_is_lost_of_what_is_kept() -> None:
    async def talks(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        await reporter.report(Progress(tool="bash", tool_summary=f"echo {SECRET}", tokens=1))
        await reporter.report(Remark(level="info", message=f"saw {SECRET}"))
        await reporter.report(ToolCalled(n=1, tool="bash", input={"c": SECRET}, state="denied", detail=f"no {SECRET}"))
        return AgentOutcome(status="failed", error=f"cannot say {SECRET}")

    async def script(js: Js) -> Any:
        js.log(f"log {SECRET}")
        js.phase(f"phase {SECRET}")
        await js.agent("x", label=f"label {SECRET}")
        value = await js.agent("y", label="long")
        return {"value": value}

    long_answer = "a" * 195 + SECRET
    backend = FakeBackend(acts={"label ‹secret›": talks}, outcomes={"long": ok(long_answer)})
    played = await play(script, backend=backend)
    seen = json.dumps([event_json(event) for event in played.stage.sink.events], ensure_ascii=False)
    assert SECRET not in seen
    assert SECRET[:5] not in seen, "no half of a secret is left by cutting"
    assert seen.count("‹secret›") >= 6
    assert SECRET not in repr(played.result)
    rows = played.stage.store.rows
    assert all(SECRET not in repr(row) for row in rows if not isinstance(row, AgentRow))
    assert all(SECRET not in (row.error or "") for row in rows if isinstance(row, AgentRow))
    assert played.stage.store.agents()["a0002"].result == json.dumps(long_answer)
    assert played.result.denials[0].input == '{"c":"‹secret›"}'


@pytest.mark.contract("R01")
async def test_reports_go_to_the_record_and_an_intent_is_on_disk_before_its_tool_runs() -> None:
    store = MemoryStore()

    async def works(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        await reporter.report(MessageAdded(payload={"role": "user"}))
        await reporter.report(ToolCalled(n=1, tool="write", input={"path": "a"}, state="intent"))
        assert any(isinstance(row, ToolCallRow) and row.state == "intent" for rows in store.durable for row in rows)
        await reporter.report(ToolCalled(n=1, tool="write", input={"path": "a"}, state="done"))
        assert not any(isinstance(row, ToolCallRow) and row.state == "done" for rows in store.durable for row in rows)
        await reporter.report(MessageAdded(payload={"role": "assistant"}))
        await reporter.report(Waiting(why="rate limit", until="2026-11-21T09:00:00.000Z"))
        await reporter.report(Remark(level="warn", message="hm"))
        await reporter.report(ToolCalled(n=2, tool="read", input={"path": "/"}, state="denied", detail="outside"))
        return ok("v")

    played = await play(one_call, store=store, backend=FakeBackend(acts={"one": works}))
    assert [(row.n, json.loads(row.payload)["role"]) for row in store.of(MessageRow)] == [(1, "user"), (2, "assistant")]
    assert [(row.n, row.tool, row.state, row.detail) for row in store.of(ToolCallRow)] == [
        (1, "write", "intent", None), (1, "write", "done", None), (2, "read", "denied", "outside"),
    ]  # fmt: skip
    assert played.stage.sink.bodies(AgentWaiting) == [
        AgentWaiting(agent_id="a0001", why="rate limit", until="2026-11-21T09:00:00.000Z")
    ]
    assert played.lines == ['agent "one" (a0001): hm']
    (denial,) = played.result.denials
    assert (denial.tool, denial.input, denial.rule, denial.agents) == ("read", '{"path":"/"}', "outside", 1)


async def test_reports_of_an_agent_that_is_over_are_dropped() -> None:
    kept: list[AgentReporter] = []

    async def keeps(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        kept.append(reporter)
        return ok("v")

    async def script(js: Js) -> Any:
        await js.agent("x", label="one")
        return await js.agent("x", label="two")

    async def late(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        await kept[0].report(Remark(level="error", message="too late"))
        return ok("v")

    played = await play(script, backend=FakeBackend(acts={"one": keeps, "two": late}))
    assert played.lines == []


async def test_a_flood_of_progress_is_thinned_to_a_few_events() -> None:
    async def chatters(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        for tokens in range(1, 1_001):
            await reporter.report(Progress(tokens=tokens))
        return ok("v")

    played = await play(one_call, backend=FakeBackend(acts={"one": chatters}))
    progress = played.stage.sink.bodies(AgentProgress)
    assert 1 <= len(progress) <= 3
