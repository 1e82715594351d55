"""What people do to a run and to single agents while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from callsheet.errors import ControlRefusedError, NotFoundError, UsageError
from callsheet.model.approval import Answer, Question
from callsheet.model.call import AgentTask
from callsheet.model.events import AgentControlled, AgentFinished, ApprovalAnswered, RunStatusChanged
from callsheet.model.outcome import AgentOutcome, Usage
from callsheet.model.records import EventRow, MessageRow, ToolCallRow
from callsheet.model.reports import MessageAdded, Progress, ToolCalled, Waiting
from callsheet.ports import AgentReporter
from tests.support.deadline import within
from tests.support.fake_approver import FakeApprover, quiet
from tests.support.fake_backend import FakeBackend, ok
from tests.support.fake_session import Js
from tests.unit.engine.stage import SECRET, Stage, on_stage, settings

pytestmark = pytest.mark.anyio


async def pair(js: Js) -> Any:
    """Two agents, and what they gave."""
    return await js.all(js.agent("x", label="one"), js.agent("x", label="two"))


async def one(js: Js) -> Any:
    return await js.agent("x", label="one")


def deeds(stage: Stage) -> list[tuple[str, str, str]]:
    bodies = stage.sink.bodies(AgentControlled)
    return [(body.agent_id, body.action, body.by) for body in bodies if isinstance(body, AgentControlled)]


# --- skip and stop ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("deed", "status"), [("skip", "skipped"), ("stop_agent", "cancelled")])
@pytest.mark.contract("A05", "A17")
async def test_an_agent_at_work_is_ended_by_a_person_and_its_call_is_null_with_a_line(deed: str, status: str) -> None:
    backend = FakeBackend(held=("one",))
    with within():
        async with on_stage(pair, backend=backend) as stage:
            await backend.begun("one")
            assert await getattr(stage.run, deed)("a0001", by="ada") is True
            result = await stage.run.result()
    assert result.result == [None, "two"]
    assert result.status == "degraded"
    assert backend.cancelled == ["one"]
    verb = "skipped" if deed == "skip" else "stopped"
    assert [line.message for line in result.logs] == [f'agent "one" (a0001) {status}: ada {verb} it']
    assert (result.agents[0].status, result.agents[0].error) == (status, f"ada {verb} it")
    assert [(one.cause, one.agent_id) for one in result.problems] == [("skipped", "a0001")]
    assert deeds(stage) == [("a0001", "skip" if deed == "skip" else "stop", "ada")]
    assert stage.store.agents()["a0001"].status == status


@pytest.mark.contract("A15", "A17")
async def test_an_agent_that_waits_is_skipped_without_having_started() -> None:
    async def script(js: Js) -> Any:
        first, second = js.agent("x", label="one"), js.agent("x", label="two", settle=True)
        return [(await second)["status"], await first]

    backend = FakeBackend(held=("one",))
    with within():
        async with on_stage(script, backend=backend, run_settings=settings(max_parallel=1)) as stage:
            await backend.begun("one")
            await stage.run.skip("a0002")
            await quiet()
            backend.finish("one")
            result = await stage.run.result()
    assert result.result == ["skipped", "one"]
    assert [task.label for task in backend.tasks] == ["one"]
    assert (result.agents[1].attempts, result.agents[1].started_at) == (0, None)
    assert [line.message for line in result.logs] == [], "`settle` says it to the script"
    assert result.status == "degraded"


async def test_what_was_done_is_not_done_twice_and_what_is_over_says_how() -> None:
    backend = FakeBackend(held=("one", "two"))
    with within():
        async with on_stage(pair, backend=backend) as stage:
            run = stage.run
            await backend.begun("one", "two")
            assert [await run.skip("a0001"), await run.skip("a0001")] == [True, False]
            with pytest.raises(ControlRefusedError, match=r"ending already, and no longer can be stopped"):
                await run.stop_agent("a0001")
            await quiet()
            assert await run.skip("a0001") is False, "also once it is over"
            with pytest.raises(ControlRefusedError, match=r"a0001 is over \(skipped\)") as over:
                await run.restart("a0001")
            assert (over.value.why, over.value.agent_id) == ("over", "a0001")
            backend.finish("two")
            await run.result()
            with pytest.raises(ControlRefusedError, match=r"a0002 is over \(ok\)"):
                await run.skip("a0002")
    assert deeds(stage) == [("a0001", "skip", "a person")]


async def test_an_agent_that_does_not_exist_is_refused_with_those_that_do() -> None:
    backend = FakeBackend(held=("*",))
    with within():
        async with on_stage(pair, backend=backend) as stage:
            with pytest.raises(NotFoundError, match=r"the run has none yet"):
                await stage.run.skip("a0001")
            await backend.begun("one", "two")
            for wrong in ("a0003", "a1", "one", ""):
                with pytest.raises(NotFoundError, match=r"there are a0001 to a0002") as error:
                    await stage.run.message(wrong, "hello")
                assert error.value.name == wrong
            await stage.run.stop()
            for deed in (stage.run.pause, stage.run.go_on):
                with pytest.raises(ControlRefusedError) as refused:
                    await deed()
                assert refused.value.why == "run_over"


async def test_a_skip_that_was_accepted_holds_also_where_the_agent_answers_all_the_same() -> None:
    async def stubborn(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            return ok("too late", tokens=33)
        raise AssertionError

    backend = FakeBackend(acts={"one": stubborn})
    with within():
        async with on_stage(one, backend=backend) as stage:
            await backend.begun("one")
            await quiet()
            await stage.run.skip("a0001")
            result = await stage.run.result()
    assert result.result is None
    assert result.agents[0].status == "skipped"
    assert result.usage.output_tokens == 33, "what it cost is counted"


async def test_a_deed_is_on_disk_before_the_end_that_it_leads_to() -> None:
    backend = FakeBackend(held=("one",))
    with within():
        async with on_stage(one, backend=backend) as stage:
            await backend.begun("one")
            await stage.run.skip("a0001", by=f"bob {SECRET}")
            await stage.run.result()
    names = [row.event for row in stage.store.of(EventRow)]
    assert names.index("agent.controlled") < names.index("agent.finished")
    assert SECRET not in repr(stage.store.rows)


def asks(question: Question) -> Any:
    async def act(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        answer = await reporter.ask(question)
        return ok(answer.verdict)

    return act


@pytest.mark.parametrize("deed", ["skip", "stop_agent"])
async def test_an_agent_that_waits_for_a_person_is_ended_and_its_question_taken_away(deed: str) -> None:
    person = FakeApprover()
    backend = FakeBackend(acts={"one": asks(Question(tool="bash", input="make", reason="r"))}, held=("two",))
    with within():
        async with on_stage(pair, backend=backend, approver=person, run_settings=settings(max_parallel=1)) as stage:
            await person.asked(1)
            await backend.begun("two")
            await getattr(stage.run, deed)("a0001")
            await person.took_back(1)
            backend.finish("two")
            result = await stage.run.result()
    assert result.result == [None, "two"]
    assert backend.peak == 2, "the one that waited had given its place away"
    answered = [body for body in stage.sink.bodies(ApprovalAnswered) if isinstance(body, ApprovalAnswered)]
    assert [body.by for body in answered] == ["nobody waits"]


# --- restart ----------------------------------------------------------------------------------------------------------


def tries(*acts: Any) -> Any:
    """The first attempt does the first act, the second the second."""
    left = list(acts)

    async def act(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        done: AgentOutcome = await left.pop(0)(task, reporter)
        return done

    return act


async def works_and_waits(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
    await reporter.report(MessageAdded(payload={"role": "user"}))
    await reporter.report(ToolCalled(n=1, tool="bash", input={}, state="intent"))
    await reporter.report(Progress(tokens=40, usage=Usage(output_tokens=40, cost_usd=0.5)))
    await reporter.report(Waiting(why="service"))
    await anyio.sleep_forever()
    raise AssertionError


async def works(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
    await reporter.report(MessageAdded(payload={"role": "user"}))
    await reporter.report(ToolCalled(n=1, tool="edit", input={}, state="done"))
    return ok("second", tokens=2, cost_usd=0.25)


async def test_a_call_that_is_started_over_counts_both_attempts_and_keeps_both_on_record() -> None:
    backend = FakeBackend(acts={"one": tries(works_and_waits, works)})
    with within():
        async with on_stage(one, backend=backend) as stage:
            await backend.begun("one")
            await quiet()
            assert await stage.run.restart("a0001", by="ada") is True
            assert await stage.run.restart("a0001") is False, "it is under way"
            result = await stage.run.result()
    assert result.result == "second"
    assert result.status == "completed"
    (agent,) = result.agents
    assert (agent.attempts, agent.usage.output_tokens, agent.usage.cost_usd) == (2, 42, 0.75)
    assert result.usage.output_tokens == 42
    assert stage.session.clock.spent_tokens == 42
    assert [task.attempt for task in backend.tasks] == [1, 2]
    assert [(row.n, row.attempt) for row in stage.store.of(MessageRow)] == [(1, 1), (2, 2)]
    assert [(row.n, row.tool, row.attempt) for row in stage.store.of(ToolCallRow)] == [(1, "bash", 1), (2, "edit", 2)]
    (deed,) = stage.sink.bodies(AgentControlled)
    assert isinstance(deed, AgentControlled)
    assert (deed.action, deed.by, deed.attempt) == ("restart", "ada", 2)
    assert len(stage.sink.bodies(AgentFinished)) == 1


async def test_each_attempt_has_the_whole_of_its_timeout() -> None:
    """Time passes by two other agents that are too slow, one in each attempt: together they outlast one timeout."""
    tick, tock = anyio.Event(), anyio.Event()

    async def script(js: Js) -> Any:
        restarted = js.agent("x", label="one", timeout=1.5)
        await js.agent("x", label="tick", timeout=0.8)
        await js.agent("x", label="tock", timeout=0.8)
        return await restarted

    async def forever(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        try:
            await anyio.sleep_forever()
        finally:
            if task.label != "one":
                (tick if task.label == "tick" else tock).set()
        raise AssertionError

    async def until_tock(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        await tock.wait()
        return ok("in time")

    backend = FakeBackend(acts={"one": tries(forever, until_tock), "tick": forever, "tock": forever})
    with within():
        async with on_stage(script, backend=backend) as stage:
            await tick.wait()
            await stage.run.restart("a0001")
            assert (await stage.run.result()).result == "in time"


async def test_what_has_not_started_is_over_or_could_not_be_paid_is_not_started_over() -> None:
    backend = FakeBackend(held=("*",), outcomes={"one": ok(tokens=50)})
    with within():
        async with on_stage(pair, backend=backend, run_settings=settings(max_parallel=1, budget_tokens=50)) as stage:
            await backend.begun("one")
            with pytest.raises(ControlRefusedError, match=r"has not started yet") as waiting:
                await stage.run.restart("a0002")
            assert waiting.value.why == "waiting"
            backend.finish("one")
            await quiet()
            with pytest.raises(ControlRefusedError, match=r"a0001 is over \(ok\)"):
                await stage.run.restart("a0001")


async def test_an_agent_cannot_be_started_over_once_the_budget_is_spent() -> None:
    backend = FakeBackend(held=("*",), outcomes={"one": ok(tokens=50)})
    with within():
        async with on_stage(pair, backend=backend, run_settings=settings(budget_tokens=50)) as stage:
            await backend.begun("one", "two")
            backend.finish("one")
            await quiet()
            with pytest.raises(ControlRefusedError, match=r"cannot be started over") as refused:
                await stage.run.restart("a0002")
            assert refused.value.why == "budget"
            backend.finish("two")
            assert (await stage.run.result()).result == ["done", "two"]


async def test_an_agent_that_waits_for_a_person_starts_over_in_a_place_of_its_own_and_is_asked_anew() -> None:
    person = FakeApprover()
    question = Question(tool="bash", input="make", reason="r")
    backend = FakeBackend(acts={"one": tries(asks(question), asks(question))}, held=("two",))
    with within():
        async with on_stage(pair, backend=backend, approver=person, run_settings=settings(max_parallel=1)) as stage:
            await person.asked(1)
            await backend.begun("two")
            await stage.run.restart("a0001")
            await person.took_back(1)
            await quiet()
            assert [task.label for task in backend.tasks] == ["one", "two"], "its place is taken: it waits for one"
            backend.finish("two")
            await person.asked(2)
            person.say("make", "once")
            result = await stage.run.result()
    assert result.result == ["once", "two"]
    assert result.agents[0].attempts == 2


@pytest.mark.parametrize("then", ["skip", "stop"])
async def test_a_restart_gives_way_to_what_ends_the_agent(then: str) -> None:
    """Skipped or stopped while the first attempt is still being cancelled, it does not begin again."""
    go = anyio.Event()

    async def slow_to_end(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await go.wait()
        raise AssertionError

    backend = FakeBackend(acts={"one": slow_to_end})
    with within():
        async with on_stage(one, backend=backend) as stage:
            await backend.begun("one")
            await quiet()
            await stage.run.restart("a0001")
            await quiet()
            if then == "skip":
                await stage.run.skip("a0001")
                go.set()
                result = await stage.run.result()
                assert result.agents[0].status == "skipped"
            else:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(stage.run.stop)
                    await quiet()
                    go.set()
                result = await stage.run.result()
                assert (result.agents[0].status, result.agents[0].error) == (
                    "cancelled",
                    "cancelled: a person stopped the run",
                )
    assert len(backend.tasks) == 1


# --- messages ---------------------------------------------------------------------------------------------------------


def listens(*, until: str, heard: list[str]) -> Any:
    """An agent that takes messages until it hears a word, and has them in its conversation."""

    async def act(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        while until not in heard:
            for text in await reporter.take_messages():
                heard.append(text)
                await reporter.report(MessageAdded(payload={"said": text}, from_person=True))
            await anyio.lowlevel.checkpoint()
        return ok("heard")

    return act


async def test_messages_reach_an_agent_in_order_and_stand_in_its_conversation_as_a_persons() -> None:
    heard: list[str] = []
    backend = FakeBackend(acts={"one": listens(until="b", heard=heard)}, takes_messages=True)
    with within():
        async with on_stage(one, backend=backend) as stage:
            await backend.begun("one")
            await stage.run.message("a0001", "a", by="ada")
            await stage.run.message("a0001", "b")
            result = await stage.run.result()
    assert heard == ["a", "b"]
    assert result.status == "completed"
    assert [(row.payload, row.person) for row in stage.store.of(MessageRow)] == [
        ('{"said":"a"}', "ada"),
        ('{"said":"b"}', "a person"),
    ]
    assert sorted(deeds(stage)) == [
        ("a0001", "message", "a person"),
        ("a0001", "message", "ada"),
        ("a0001", "message_taken", "a person"),
        ("a0001", "message_taken", "ada"),
    ]


async def test_a_message_to_an_agent_that_waits_is_kept_until_it_starts() -> None:
    heard: list[str] = []
    backend = FakeBackend(acts={"two": listens(until="a", heard=heard)}, held=("one",), takes_messages=True)
    with within():
        async with on_stage(pair, backend=backend, run_settings=settings(max_parallel=1)) as stage:
            await backend.begun("one")
            await stage.run.message("a0002", "a")
            backend.finish("one")
            await stage.run.result()
    assert heard == ["a"]


async def test_a_message_that_was_not_taken_goes_to_the_attempt_that_starts_over() -> None:
    heard: list[str] = []

    async def deaf(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        await anyio.sleep_forever()
        raise AssertionError

    backend = FakeBackend(acts={"one": tries(deaf, listens(until="b", heard=heard))}, takes_messages=True)
    with within():
        async with on_stage(one, backend=backend) as stage:
            await backend.begun("one")
            await quiet()
            await stage.run.message("a0001", "a")
            await stage.run.restart("a0001")
            await stage.run.message("a0001", "b")
            await stage.run.result()
    assert heard == ["a", "b"]


async def test_a_message_that_an_agent_ended_without_taking_is_said_in_the_log() -> None:
    backend = FakeBackend(held=("one",), takes_messages=True)
    with within():
        async with on_stage(one, backend=backend) as stage:
            await backend.begun("one")
            await stage.run.message("a0001", "too late")
            backend.finish("one")
            result = await stage.run.result()
    assert [line.message for line in result.logs] == [
        'agent "one" (a0001) ended without taking a message that a person sent'
    ]


async def test_an_agent_that_has_said_its_last_word_takes_no_message() -> None:
    go = anyio.Event()

    async def ends(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        taken: Sequence[str] = await reporter.take_messages(at_end=True)
        assert not taken
        await go.wait()
        return ok("done")

    backend = FakeBackend(acts={"one": ends}, takes_messages=True)
    with within():
        async with on_stage(one, backend=backend) as stage:
            await backend.begun("one")
            await quiet()
            with pytest.raises(ControlRefusedError, match="ending already, and no longer takes messages"):
                await stage.run.message("a0001", "wait")
            go.set()
            assert (await stage.run.result()).logs == ()
    assert deeds(stage) == []


async def test_a_message_is_refused_where_nobody_looks_for_it_or_nothing_is_in_it() -> None:
    backend = FakeBackend(held=("*",))
    with within():
        async with on_stage(pair, backend=backend, run_settings=settings(max_parallel=1)) as stage:
            await backend.begun("one")
            for agent_id in ("a0001", "a0002"):
                with pytest.raises(ControlRefusedError, match="agents of the backend 'fake' do not look") as refused:
                    await stage.run.message(agent_id, "hello")
                assert refused.value.why == "takes_no_messages"
            for text in ("", " \n", "x" * 300_000):
                with pytest.raises(UsageError, match="A message to an agent"):
                    await stage.run.message("a0001", text)


async def test_a_message_to_an_agent_that_waits_for_a_person_is_taken_after_the_answer() -> None:
    heard: list[str] = []

    async def asks_then_listens(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        answer: Answer = await reporter.ask(Question(tool="bash", input="make", reason="r"))
        heard.extend([answer.verdict, *await reporter.take_messages()])
        return ok("done")

    person = FakeApprover()
    backend = FakeBackend(acts={"one": asks_then_listens}, takes_messages=True)
    with within():
        async with on_stage(one, backend=backend, approver=person) as stage:
            await person.asked(1)
            await stage.run.message("a0001", "hurry")
            person.say("make", "once")
            await stage.run.result()
    assert heard == ["once", "hurry"]


# --- pause ------------------------------------------------------------------------------------------------------------


async def test_a_paused_run_starts_no_agent_and_those_at_work_go_on() -> None:
    async def script(js: Js) -> Any:
        return await js.all(js.agent("x", label="one"), js.agent("x", label="two"), js.agent("x", label="three"))

    backend = FakeBackend(held=("*",))
    with within():
        async with on_stage(script, backend=backend, run_settings=settings(max_parallel=2)) as stage:
            await backend.begun("one", "two")
            assert [await stage.run.pause(by="ada"), await stage.run.pause()] == [True, False]
            backend.finish("one")
            await quiet()
            assert len(backend.tasks) == 2
            assert stage.store.agents()["a0001"].status == "ok", "what is at work goes on to its end"
            assert [await stage.run.go_on(), await stage.run.go_on()] == [True, False]
            await backend.begun("three")
            backend.finish("two")
            backend.finish("three")
            result = await stage.run.result()
    assert result.status == "completed"
    changes = [body for body in stage.sink.bodies(RunStatusChanged) if isinstance(body, RunStatusChanged)]
    assert [(body.status, body.reason) for body in changes] == [
        ("paused", "ada paused the run: no further agent starts"),
        ("running", "a person let the run go on"),
    ]


async def test_a_run_can_be_paused_before_its_first_agent_and_stopped_while_it_is() -> None:
    backend = FakeBackend()
    with within():
        async with on_stage(pair, backend=backend) as stage:
            await stage.run.pause()
            await quiet()
            await stage.run.stop()
            result = await stage.run.result()
    assert backend.tasks == []
    assert result.status == "cancelled"
    assert {agent.status for agent in result.agents} == {"cancelled"}
