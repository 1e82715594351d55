"""A run without a budget that has cost as much as one may, where somebody is there to be asked (CONTRACT L04)."""

from __future__ import annotations

from typing import Any, cast

import anyio
import pytest

from callsheet.engine.cost_stop import TOOL
from callsheet.model.approval import Answer, Question
from callsheet.model.events import ApprovalAnswered, ApprovalAsked, RunStatusChanged
from callsheet.model.records import EventRow
from callsheet.model.run import RunResult
from callsheet.ports import Approver
from tests.support.deadline import within
from tests.support.fake_backend import FakeBackend, ok
from tests.support.fake_session import Js
from tests.unit.engine.stage import Stage, on_stage, settings

pytestmark = [pytest.mark.anyio, pytest.mark.contract("L04")]


class Person(Approver):
    """Answers each question when a test says so.

    Attributes:
        questions: All that were asked.
        taken_back: How many were taken back.
    """

    takes_cost = True

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.taken_back = 0
        self._send, self._answers = anyio.create_memory_object_stream[Answer](8)
        self._asked = anyio.Event()

    async def answer(self, question: Question) -> Answer:
        self.questions.append(question)
        self._asked.set()
        try:
            return await self._answers.receive()
        except anyio.get_cancelled_exc_class():
            self.taken_back += 1
            raise

    def say(self, answer: Answer) -> None:
        self._send.send_nowait(answer)

    async def asked(self, number: int) -> None:
        while len(self.questions) < number:
            self._asked = anyio.Event()
            await self._asked.wait()

    def close(self) -> None:
        self._send.close()
        self._answers.close()


@pytest.fixture
def person() -> Any:
    made = Person()
    yield made
    made.close()


async def five(js: Js) -> Any:
    return await js.all(*[js.agent("x", label=f"{i}") for i in range(5)])


def statuses(stage: Stage) -> list[str]:
    return [cast(RunStatusChanged, one).status for one in stage.sink.bodies(RunStatusChanged)]


def each(usd: float, *, held: tuple[str, ...] = ()) -> FakeBackend:
    return FakeBackend(outcomes={f"{i}": ok(f"v{i}", cost_usd=usd) for i in range(5)}, held=held)


async def ended(stage: Stage) -> RunResult:
    return await stage.run.result()


async def test_it_is_asked_once_in_figures_and_goes_on_for_the_dollars_that_are_named(person: Person) -> None:
    backend = each(15.0)
    with within():
        async with on_stage(five, backend=backend, approver=person, run_settings=settings(max_parallel=1)) as stage:
            await person.asked(1)
            (asked,) = person.questions
            person.say(Answer(verdict="once", by="Ada", more_usd=20.0))
            await person.asked(2)
            person.say(Answer(verdict="run", by="Ada"))
            result = await ended(stage)
    assert (asked.tool, asked.kind, asked.more_usd, asked.rules) == (TOOL, "cost", 25.0, ())
    assert asked.input.splitlines() == [
        "The run has cost $30.00, and has no budget of its own.",
        "3 agents wait for a start.",
        "Those that wait would cost about $45.00 more, by what others like them cost.",
        "What the script asks for after these is not known.",
    ]
    assert asked.reason == "without a budget no agent is started beyond $25.00 unless you say so"
    assert "beyond $50.00" in person.questions[1].reason
    assert "has cost $60.00" in person.questions[1].input
    assert (result.status, len(result.agents)) == ("completed", 5)
    events = stage.sink.bodies(ApprovalAsked, ApprovalAnswered)
    first, answered = cast(ApprovalAsked, events[0]), cast(ApprovalAnswered, events[1])
    assert (first.id, first.kind, first.agents, first.agent_ids) == ("q0001", "cost", 3, ())
    assert first.until is not None
    assert (answered.verdict, answered.by, answered.more_usd, answered.agents) == ("once", "Ada", 20.0, 3)
    assert statuses(stage) == ["waiting", "running", "waiting", "running"]
    assert [line for line in (log.message for log in result.logs) if "goes on" in line] == [
        "the run goes on: Ada lets it cost up to $50.00 without a budget",
        "the run goes on: Ada lets it cost what it costs, without a limit",
    ]
    rows = [row.event for row in stage.store.of(EventRow)]
    assert rows.count("approval.asked") == rows.count("approval.answered") == 2, "it is on record"


async def test_a_plain_yes_stands_for_as_much_as_was_allowed_before(person: Person) -> None:
    with within():
        async with on_stage(
            five, backend=each(15.0), approver=person, run_settings=settings(max_parallel=1, cost_stop_usd=30.0)
        ) as stage:
            await person.asked(1)
            person.say(Answer(verdict="once", by="Ada"))
            await person.asked(2)
            assert "beyond $60.00" in person.questions[1].reason
            person.say(Answer(verdict="project", by="Ada"))
            assert (await ended(stage)).status == "completed"


async def test_told_to_stop_the_run_is_interrupted_and_says_how_to_resume_it(person: Person) -> None:
    with within():
        async with on_stage(
            five, backend=each(30.0, held=("1",)), approver=person, run_settings=settings(max_parallel=2)
        ) as stage:
            await stage.backend.begun("0", "1")
            await person.asked(1)
            assert "1 at work goes on meanwhile" in person.questions[0].input
            person.say(Answer(verdict="deny", by="Ada"))
            async for event in stage.run.events():
                if isinstance(event.body, RunStatusChanged) and event.body.status == "stopping":
                    break
            stage.backend.finish("1")
            result = await ended(stage)
    assert result.status == "interrupted"
    assert result.error is not None
    assert result.error.kind == "limit"
    assert "Ada said to stop here. Give it a budget: `callsheet resume run_test --budget '$" in result.error.message
    assert {agent.label: agent.status for agent in result.agents} == {
        "0": "ok", "1": "ok", "2": "cancelled", "3": "cancelled", "4": "cancelled",
    }  # fmt: skip


async def test_while_it_is_asked_agents_at_work_go_on_and_their_answers_are_delivered(person: Person) -> None:
    async def script(js: Js) -> Any:
        calls = [js.agent("x", label=f"{i}") for i in range(3)]
        first = await js.all(*calls[:2])
        js.log(f"seen {first}")
        return [*first, await calls[2]]

    with within():
        async with on_stage(
            script, backend=each(30.0, held=("1",)), approver=person, run_settings=settings(max_parallel=2)
        ) as stage:
            await person.asked(1)
            stage.backend.finish("1")
            async for event in stage.run.events():
                if "seen ['v0', 'v1']" in str(event.body):
                    break
            assert [task.label for task in stage.backend.tasks] == ["0", "1"], "no further one starts"
            assert len(person.questions) == 1
            person.say(Answer(verdict="run", by="Ada"))
            assert (await ended(stage)).result == ["v0", "v1", "v2"]


async def test_without_an_answer_in_time_the_run_ends_as_without_a_person(person: Person) -> None:
    with within():
        async with on_stage(
            five,
            backend=each(30.0),
            approver=person,
            run_settings=settings(max_parallel=1, approval_timeout_s=0.05),
        ) as stage:
            result = await ended(stage)
    assert result.status == "interrupted"
    assert result.error is not None
    assert "Asked whether it goes on: nobody answered within 0.05 s" in result.error.message
    assert person.taken_back == 1


async def test_where_nobody_waits_any_more_it_is_taken_back_and_asked_again_when_somebody_does(person: Person) -> None:
    async def script(js: Js) -> Any:
        seen = await js.all(js.agent("x", label="0"), js.agent("x", label="1"))
        return [*seen, await js.agent("x", label="2")]

    with within():
        async with on_stage(
            script, backend=each(30.0), approver=person, run_settings=settings(max_parallel=1)
        ) as stage:
            await person.asked(1)
            await stage.run.skip("a0002")
            await person.asked(2)
            assert person.taken_back == 1
            person.say(Answer(verdict="run", by="Ada"))
            result = await ended(stage)
    assert result.result == ["v0", None, "v2"]
    answered = [cast(ApprovalAnswered, one) for one in stage.sink.bodies(ApprovalAnswered)]
    assert [(one.verdict, one.by) for one in answered] == [("unanswered", "nobody waits"), ("run", "Ada")]


async def test_a_run_that_is_stopped_meanwhile_takes_its_question_back(person: Person) -> None:
    with within():
        async with on_stage(five, backend=each(30.0), approver=person, run_settings=settings(max_parallel=1)) as stage:
            await person.asked(1)
            await stage.run.stop()
            result = await ended(stage)
    assert result.status == "cancelled"
    assert person.taken_back == 1


async def test_a_script_that_returns_meanwhile_completes(person: Person) -> None:
    async def script(js: Js) -> Any:
        left = js.agent("x", label="1")
        seen = await js.agent("x", label="0")
        js.agent("x", label="2")
        assert left is not None
        return seen

    with within():
        async with on_stage(
            script, backend=each(30.0, held=("0",)), approver=person, run_settings=settings(max_parallel=2)
        ) as stage:
            await stage.backend.begun("0", "1")
            stage.backend.finish("0")
            result = await ended(stage)
    assert result.status == "completed"
    assert not [one for one in statuses(stage) if one == "stopping"]


async def test_an_approver_that_fails_ends_the_run_resumable_and_is_on_the_log(person: Person) -> None:
    class Broken(Approver):
        takes_cost = True

        async def answer(self, question: Question) -> Answer:
            return Answer(verdict="once", more_usd=-1.0)

    with within():
        async with on_stage(
            five, backend=each(30.0), approver=Broken(), run_settings=settings(max_parallel=1)
        ) as stage:
            result = await ended(stage)
    assert result.status == "interrupted"
    assert any("more_usd is a number of dollars above 0" in log.message for log in result.logs)


@pytest.mark.parametrize("asks", [True, False])
async def test_without_a_stop_nobody_is_asked_and_nothing_stops(person: Person, asks: bool) -> None:
    with within():
        async with on_stage(
            five,
            backend=each(300.0),
            approver=person if asks else None,
            run_settings=settings(max_parallel=1, cost_stop_usd=0.0),
        ) as stage:
            result = await ended(stage)
    assert result.status == "completed"
    assert person.questions == []


async def test_an_approver_that_allows_everything_is_not_asked_about_money_unless_it_says_that_it_pays() -> None:
    class Yes(Approver):
        async def answer(self, question: Question) -> Answer:
            return Answer(verdict="run")

    with within():
        async with on_stage(five, backend=each(30.0), approver=Yes(), run_settings=settings(max_parallel=1)) as stage:
            result = await ended(stage)
    assert (result.status, len(stage.backend.tasks)) == ("interrupted", 1)
