"""Agents that ask a person, within a whole run: their places at work, their clocks, and what the run says of it."""

from __future__ import annotations

from typing import Any, cast

import anyio
import pytest

from callsheet.model.approval import Answer, Question
from callsheet.model.call import AgentTask
from callsheet.model.events import AgentProgress, AgentStarted, AgentWaiting, ApprovalAnswered, ApprovalAsked
from callsheet.model.outcome import AgentOutcome
from callsheet.model.records import EventRow
from callsheet.model.reports import Progress, ToolCalled
from callsheet.ports import AgentReporter
from tests.support.deadline import within
from tests.support.fake_approver import FakeApprover, quiet
from tests.support.fake_backend import Act, FakeBackend, ok
from tests.support.fake_session import Js
from tests.unit.engine.stage import SECRET, on_stage, play, settings

pytestmark = pytest.mark.anyio

ASKED = Question(tool="bash", input="npm test", reason="no rule allows it", rules=("Bash(npm test:*)",))


def asks(question: Question = ASKED, then: str = "", log: list[str] | None = None) -> Act:
    """An agent that asks, goes on with the answer, and says it."""

    async def act(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        await reporter.report(Progress(tool="bash", tool_summary="npm test", tokens=7))
        answer = await reporter.ask(question)
        if log is not None:
            log.append(f"{task.label} goes on")
        return ok(f"{answer.verdict}: {answer.words}")

    return act


async def three(js: Js) -> Any:
    return await js.all(js.agent("x", label="asker"), js.agent("y", label="other"), js.agent("z", label="late"))


@pytest.mark.contract("A12", "L01")
async def test_a_waiting_agent_frees_its_place_and_takes_one_again_before_those_that_have_not_started() -> None:
    person, log = FakeApprover(), list[str]()
    backend = FakeBackend(acts={"asker": asks(log=log)}, held=("other", "late"))
    with within():
        async with on_stage(three, backend=backend, approver=person, run_settings=settings(max_parallel=1)) as stage:
            await person.asked(1)
            await backend.begun("other")
            assert [task.label for task in backend.tasks] == ["asker", "other"]

            person.say("npm test", "once")
            await quiet()
            assert log == [], "its place is taken: the cap holds for those that come back"

            backend.finish("other")
            await backend.begun("late")
            assert log == ["asker goes on"], "it had its place before the one that waited for its first"
            assert stage.resolved()[:2] == ['"other"', '"once: None"']
            backend.finish("late")
            result = await stage.run.result()
    assert result.status == "completed"
    assert result.result == ["once: None", "other", "late"]


@pytest.mark.contract("A12", "L01")
async def test_hundreds_of_waiting_agents_are_one_question_and_never_more_than_the_cap_go_on_at_once() -> None:
    person = FakeApprover()
    at_work = peak = 0

    async def act(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        nonlocal at_work, peak
        await reporter.ask(ASKED)
        at_work += 1
        peak = max(peak, at_work)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        at_work -= 1
        return ok()

    async def script(js: Js) -> Any:
        await js.all(*[js.agent("x", label="w") for _ in range(300)])
        return None

    with within(30):
        async with on_stage(
            script, backend=FakeBackend(acts={"w": act}), approver=person, run_settings=settings(max_parallel=4)
        ) as stage:
            async for event in stage.run.events():
                if isinstance(event.body, AgentWaiting) and event.body.agent_id == "a0300":
                    break
            assert len(person.questions) == 1
            person.say("npm test", "run")
            result = await stage.run.result()
    assert result.status == "completed"
    assert peak == 4
    assert stage.sink.bodies(ApprovalAnswered) == [ApprovalAnswered(id="q0001", verdict="run", by="a test", agents=300)]


async def test_while_it_waits_an_agent_is_shown_waiting_and_then_at_its_tool_again() -> None:
    person = FakeApprover()

    async def script(js: Js) -> Any:
        return await js.agent("x", label="asker")

    with within():
        async with on_stage(script, backend=FakeBackend(acts={"asker": asks()}), approver=person) as stage:
            await person.asked(1)
            person.say("npm test", "deny", "use pytest")
            result = await stage.run.result()
    assert result.result == "deny: use pytest"
    kinds = (AgentStarted, AgentProgress, AgentWaiting, ApprovalAsked, ApprovalAnswered)
    assert [type(body).__name__ for body in stage.sink.bodies(*kinds)] == [
        "AgentStarted", "AgentProgress", "ApprovalAsked", "AgentWaiting", "ApprovalAnswered",
    ]  # fmt: skip
    recorded = [row.event for row in stage.store.of(EventRow)]
    assert "approval.asked" in recorded and "approval.answered" in recorded


@pytest.mark.contract("A14", "K04")
async def test_the_time_that_a_person_takes_is_not_counted_against_the_agents_timeout() -> None:
    class Slow(FakeApprover):
        async def answer(self, question: Question) -> Answer:
            with anyio.move_on_after(1.1):
                await anyio.Event().wait()
            return Answer(verdict="once")

    async def never(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        await reporter.ask(ASKED)
        await anyio.Event().wait()
        return ok()

    async def script(js: Js) -> Any:
        return await js.all(
            js.agent("x", label="asker", timeout=1), js.agent("y", label="never", timeout=1, settle=True)
        )

    with within():
        played = await play(script, backend=FakeBackend(acts={"asker": asks(), "never": never}), approver=Slow())
    first, _ = cast(list[Any], played.result.result)
    assert first == "once: None"
    assert played.statuses == {"asker": "ok", "never": "timed_out"}, "its own time goes on after the answer"


async def test_what_nobody_answers_within_the_set_time_is_denied_and_the_run_goes_on() -> None:
    async def script(js: Js) -> Any:
        return await js.agent("x", label="asker")

    with within():
        played = await play(
            script,
            backend=FakeBackend(acts={"asker": asks()}),
            approver=FakeApprover(),
            run_settings=settings(approval_timeout_s=0.05),
        )
    assert played.result.result == "unanswered: nobody answered within 0.05 s"
    assert played.result.status == "completed"


async def test_without_an_approver_the_answer_is_there_at_once_and_no_place_changes_hands() -> None:
    log: list[str] = []
    backend = FakeBackend(acts={"asker": asks(log=log)}, held=("late",))

    async def script(js: Js) -> Any:
        return await js.agent("x", label="asker")

    with within():
        played = await play(script, backend=backend, run_settings=settings(max_parallel=1))
    assert played.result.result == "unanswered: nobody is there to be asked"
    assert played.stage.sink.bodies(ApprovalAsked, AgentWaiting) == []


@pytest.mark.contract("A13")
async def test_a_run_that_ends_takes_its_questions_away_and_its_agents_are_cancelled() -> None:
    person = FakeApprover()

    async def script(js: Js) -> Any:
        js.agent("x", label="asker")
        await js.agent("y", label="other")
        return "returned"

    with within():
        async with on_stage(
            script, backend=FakeBackend(acts={"asker": asks()}, held=("other",)), approver=person
        ) as stage:
            await person.asked(1)
            stage.backend.finish("other")
            result = await stage.run.result()
    assert result.result == "returned"
    assert result.status == "completed"
    assert person.taken_back == ["npm test"]
    assert {agent.label: agent.status for agent in result.agents} == {"asker": "cancelled", "other": "ok"}
    assert stage.sink.bodies(ApprovalAnswered) == [
        ApprovalAnswered(id="q0001", verdict="unanswered", by="end of the run", agents=1)
    ]


async def test_stopping_a_run_whose_agents_all_wait_for_a_person_ends_it_at_once() -> None:
    person = FakeApprover()

    async def script(js: Js) -> Any:
        return await js.all(*[js.agent("x", label="asker") for _ in range(5)])

    with within():
        async with on_stage(
            script,
            backend=FakeBackend(acts={"asker": asks()}),
            approver=person,
            run_settings=settings(max_parallel=1),
        ) as stage:
            await person.asked(1)
            await stage.run.stop("person")
            result = await stage.run.result()
    assert result.status == "cancelled"
    assert {agent.status for agent in result.agents} == {"cancelled"}


@pytest.mark.contract("L04")
async def test_a_run_that_may_start_nothing_more_still_waits_for_agents_that_wait_for_a_person() -> None:
    person = FakeApprover()
    costly = ok("costly", cost_usd=30.0)

    async def script(js: Js) -> Any:
        return await js.all(js.agent("x", label="asker"), js.agent("y", label="costly"), js.agent("z", label="late"))

    with within():
        async with on_stage(
            script,
            backend=FakeBackend(acts={"asker": asks()}, outcomes={"costly": costly}),
            approver=person,
            run_settings=settings(max_parallel=1),
        ) as stage:
            await person.asked(1)
            async for event in stage.run.events():
                if event.name == "run.status":
                    break
            person.say("npm test", "once")
            result = await stage.run.result()
    assert result.status == "interrupted"
    assert {agent.label: agent.status for agent in result.agents} == {
        "asker": "ok", "costly": "ok", "late": "cancelled",
    }  # fmt: skip


async def test_an_agent_that_gives_up_asking_and_goes_on_is_counted_at_work_again() -> None:
    person = FakeApprover()

    async def hasty(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        with anyio.move_on_after(0.05):
            await reporter.ask(ASKED)
        await quiet()
        return ok("gave up")

    async def script(js: Js) -> Any:
        return await js.all(js.agent("x", label="hasty"), js.agent("y", label="next"))

    with within():
        played = await play(
            script, backend=FakeBackend(acts={"hasty": hasty}), approver=person, run_settings=settings(max_parallel=1)
        )
    assert played.result.result == ["gave up", "next"]
    assert person.taken_back == ["npm test"]


async def test_an_agent_that_asks_two_things_at_once_goes_on_with_the_first_answer() -> None:
    person = FakeApprover()
    log: list[str] = []

    async def both(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        async def one(command: str) -> None:
            answer = await reporter.ask(Question(tool="bash", input=command, reason="r"))
            log.append(f"{command} {answer.verdict}")
            person.say("second", "deny")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one, "first")
            tasks.start_soon(one, "second")
        return ok()

    async def script(js: Js) -> Any:
        return await js.agent("x", label="both")

    with within():
        async with on_stage(
            script, backend=FakeBackend(acts={"both": both}), approver=person, run_settings=settings(max_parallel=1)
        ) as stage:
            await person.asked(2)
            person.say("first", "once")
            result = await stage.run.result()
    assert result.status == "completed"
    assert log == ["first once", "second deny"]


async def test_secrets_reach_neither_the_events_nor_whoever_is_asked() -> None:
    person = FakeApprover()
    command = f"curl -H {SECRET}"
    question = Question(tool="bash", input=command, reason=f"sends {SECRET}", rules=(f"Bash({command})",))

    async def script(js: Js) -> Any:
        return await js.agent("x", label="asker")

    granted: list[tuple[str, ...]] = []

    async def on_grant(rules: tuple[str, ...], verdict: str) -> str | None:
        granted.append(rules)
        return None

    with within():
        async with on_stage(
            script, backend=FakeBackend(acts={"asker": asks(question)}), approver=person, on_grant=on_grant
        ) as stage:
            await person.asked(1)
            person.say("curl -H ‹secret›", "run")
            await stage.run.result()
    assert SECRET not in repr(person.questions)
    assert SECRET not in repr(stage.sink.events)
    assert granted == [(f"Bash({command})",)], "the rule that is put into force is the one that allows the command"


async def test_a_denial_gives_the_rules_that_would_have_allowed_it_and_does_not_degrade_the_run() -> None:
    async def denied(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        for n, rules in enumerate((("Bash(npm test:*)",), ("Bash(npm test:*)", f"Bash({SECRET})")), 1):
            await reporter.report(
                ToolCalled(
                    n=n, tool="bash", input={"command": "npm test"}, state="denied", detail="a long text for the agent",
                    rule="no rule", would_allow=rules,
                )
            )  # fmt: skip
        return ok("went another way")

    async def script(js: Js) -> Any:
        return await js.agent("x", label="denied")

    played = await play(script, backend=FakeBackend(acts={"denied": denied}))
    (denial,) = played.result.denials
    assert (denial.rule, denial.agents) == ("no rule", 1)
    assert denial.would_allow == ("Bash(npm test:*)", "Bash(‹secret›)")
    assert played.result.status == "completed"
    assert played.result.problems == ()
