"""Questions to a person: one for many agents, answered once, and never for longer than they may take."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Literal

import anyio
import pytest
from anyio.abc import TaskGroup

from callsheet.engine.approvals import Approvals
from callsheet.model.approval import Answer, Question
from callsheet.model.events import AgentWaiting, ApprovalAnswered, ApprovalAsked
from callsheet.model.public import event_json
from callsheet.ports import Approver
from tests.support.deadline import within
from tests.support.fake_approver import FakeApprover, FakeClock, quiet
from tests.unit.engine.stage import SinkSpy
from tests.unit.engine.test_reporter import state_with

pytestmark = pytest.mark.anyio

RULE = "Bash(npm test:*)"


def question(command: str = "npm test", *, rules: tuple[str, ...] = (RULE,), tool: str = "bash") -> Question:
    return Question(tool=tool, input=command, reason="no rule allows it", rules=rules)


class Desk:
    """The questions of a run that is only them."""

    def __init__(self, tasks: TaskGroup, approver: Approver | None) -> None:
        self.sink = SinkSpy()
        self.state = state_with(self.sink)
        self.clock = FakeClock()
        self.grants: list[tuple[tuple[str, ...], str]] = []
        self.cannot_keep: str | None = None
        self.answers: dict[str, Answer] = {}
        self.scopes: dict[str, anyio.CancelScope] = {}
        self.approvals = Approvals(self.state, approver=approver, on_grant=self._grant, sleep=self.clock.sleep)
        self.approvals.tasks = self._tasks = tasks

    async def _grant(self, rules: tuple[str, ...], verdict: Literal["run", "project"]) -> str | None:
        self.grants.append((rules, verdict))
        return self.cannot_keep

    def ask(self, agent_id: str, asked: Question) -> None:
        """Lets an agent ask; its answer will be in `answers`."""
        scope = self.scopes[agent_id] = anyio.CancelScope()

        async def wait() -> None:
            with scope:
                self.answers[agent_id] = await self.approvals.ask(agent_id, asked)

        self._tasks.start_soon(wait)

    @property
    def asked(self) -> list[ApprovalAsked]:
        return [body for body in self.sink.bodies(ApprovalAsked) if isinstance(body, ApprovalAsked)]

    @property
    def answered(self) -> list[ApprovalAnswered]:
        return [body for body in self.sink.bodies(ApprovalAnswered) if isinstance(body, ApprovalAnswered)]


@asynccontextmanager
async def desk_of(approver: Approver | None) -> AsyncIterator[Desk]:
    with within():
        async with anyio.create_task_group() as tasks:
            yield Desk(tasks, approver)
            tasks.cancel_scope.cancel()


# --- one question of many agents --------------------------------------------------------------------------------------


async def test_equal_questions_of_many_agents_are_asked_once_and_the_answer_goes_to_all() -> None:
    person = FakeApprover()
    async with desk_of(person) as desk:
        for number in range(1, 51):
            desk.ask(f"a{number:04}", question())
        await quiet()
        assert [(one.input, one.id) for one in person.questions] == [("npm test", "q0001")]

        person.say("npm test", "once")
        await quiet()

        assert len(desk.answers) == 50
        assert {answer.verdict for answer in desk.answers.values()} == {"once"}
        assert desk.answered == [ApprovalAnswered(id="q0001", verdict="once", by="a test", agents=50)]


async def test_questions_that_differ_in_anything_that_is_shown_are_asked_each_for_itself() -> None:
    person = FakeApprover()
    async with desk_of(person) as desk:
        elsewhere = replace(question(), reason="no rule allows it. It would run in /elsewhere.")
        different = [question(), question("npm ci"), question(tool="other"), question(rules=()), elsewhere]
        for number, one in enumerate(different):
            desk.ask(f"a{number:04}", one)
            desk.ask(f"b{number:04}", one)
        await quiet()
        assert [one.id for one in person.questions] == ["q0001", "q0002", "q0003", "q0004", "q0005"]


async def test_a_growing_count_is_told_at_most_four_times_a_second() -> None:
    person = FakeApprover()
    async with desk_of(person) as desk:
        for number in range(1, 101):
            desk.ask(f"a{number:04}", question())
            await anyio.lowlevel.checkpoint()
        assert [one.agents for one in desk.asked] == [1]
        await desk.clock.advance(0.25)
        assert [one.agents for one in desk.asked] == [1, 100]
        await desk.clock.advance(5)
        assert len(desk.asked) == 2, "nothing new, nothing said"
        desk.scopes["a0003"].cancel()
        await quiet()
        assert desk.asked[-1].agents == 99
        assert "a0003" not in desk.asked[-1].agent_ids


async def test_a_waiting_agent_is_shown_as_such_with_the_time_at_which_it_is_denied() -> None:
    async with desk_of(FakeApprover()) as desk:
        desk.ask("a0001", question())
        await quiet()
        (asked,) = desk.asked
        assert desk.sink.bodies(AgentWaiting) == [AgentWaiting(agent_id="a0001", why="approval", until=asked.until)]
        assert (asked.until or "").endswith("Z")
        assert event_json(desk.sink.events[0]) | {"at": "", "run_id": "", "until": ""} == {
            "event": "approval.asked", "run_id": "", "seq": 1, "at": "", "id": "q0001", "tool": "bash",
            "input": "npm test", "reason": "no rule allows it", "rules": [RULE], "agents": 1, "agent_ids": ["a0001"],
            "until": "", "kind": "permission", "more_usd": None, "script": None,
        }  # fmt: skip


# --- what an answer is worth ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", ["run", "project"])
async def test_what_is_granted_for_longer_is_put_into_force_and_not_asked_again(
    verdict: Literal["run", "project"],
) -> None:
    person = FakeApprover()
    async with desk_of(person) as desk:
        desk.ask("a0001", question())
        await quiet()
        person.say("npm test", verdict)
        await quiet()

        assert desk.grants == [((RULE,), verdict)]
        assert desk.answers["a0001"].verdict == verdict
        known = desk.approvals.known("a0009", question())
        assert known is not None and known.is_yes
        assert desk.approvals.known("a0009", question("npm test --all")) is None, (
            "whether the rule allows it, rules say"
        )


async def test_open_questions_that_a_granted_rule_may_answer_go_back_to_who_looks_again_and_others_stay() -> None:
    person = FakeApprover()
    async with desk_of(person) as desk:
        both = (RULE, "Bash(npm ci)")
        desk.ask("a0001", question())
        desk.ask("a0002", replace(question("npm test --all"), is_rechecked=True))
        desk.ask("a0003", question("npm test x"))
        desk.ask("a0004", replace(question("npm test && npm ci", rules=both), is_rechecked=True))
        desk.ask("a0005", replace(question("npm test", tool="other"), input="y", is_rechecked=True))
        desk.ask("a0006", replace(question("z", rules=()), is_rechecked=True))
        await quiet()
        person.say("npm test", "run")
        await quiet()
        assert {name: answer.verdict for name, answer in desk.answers.items()} == {"a0001": "run", "a0002": "changed"}
        assert not desk.answers["a0002"].is_yes, "nobody has allowed it"
        assert person.taken_back == ["npm test --all"]
        assert desk.approvals.known("a0002", question("npm test --all")) is None, "it may be asked again"


async def test_a_rule_that_cannot_be_kept_for_the_project_holds_for_the_run_and_the_run_says_so() -> None:
    person = FakeApprover()
    async with desk_of(person) as desk:
        desk.cannot_keep = "the folder is read-only"
        desk.ask("a0001", question())
        await person.asked(1)
        person.say("npm test", "project")
        await quiet()
        assert desk.answers["a0001"].verdict == "run"
        assert [line.message for line in desk.state.book.logs] == [
            f"{RULE} holds for this run only: the folder is read-only"
        ]


async def test_where_no_rule_can_allow_it_always_means_once() -> None:
    person = FakeApprover()
    async with desk_of(person) as desk:
        desk.ask("a0001", question(rules=()))
        await person.asked(1)
        person.say("npm test", "run")
        await quiet()
        assert desk.answers["a0001"].verdict == "once"
        assert desk.grants == []
        assert desk.approvals.known("a0002", question(rules=())) is None


async def test_a_denied_agent_that_asks_the_same_again_gets_the_same_answer_and_others_are_asked_for() -> None:
    person = FakeApprover()
    async with desk_of(person) as desk:
        desk.ask("a0001", question())
        await person.asked(1)
        person.say("npm test", "deny", "use pytest")
        await quiet()

        assert desk.answers["a0001"].words == "use pytest"
        assert desk.approvals.known("a0001", question()) == desk.answers["a0001"]
        assert desk.approvals.known("a0001", question("other")) is None
        assert desk.approvals.known("a0002", question()) is None
        desk.approvals.forget("a0001")
        assert desk.approvals.known("a0001", question()) is None


# --- ends without an answer -------------------------------------------------------------------------------------------


async def test_what_nobody_answers_in_time_is_denied_and_taken_back() -> None:
    person = FakeApprover()
    async with desk_of(person) as desk:
        desk.ask("a0001", question())
        await person.asked(1)
        await desk.clock.advance(599)
        assert desk.answers == {}
        await desk.clock.advance(1)
        assert desk.answers["a0001"].verdict == "unanswered"
        assert desk.answers["a0001"].words == "nobody answered within 600 s"
        assert person.taken_back == ["npm test"]
        assert desk.answered == [ApprovalAnswered(id="q0001", verdict="unanswered", by="time limit", agents=1)]


async def test_a_question_whose_agents_are_gone_is_taken_back() -> None:
    person = FakeApprover()
    async with desk_of(person) as desk:
        desk.ask("a0001", question())
        desk.ask("a0002", question())
        await person.asked(1)
        desk.scopes["a0001"].cancel()
        await quiet()
        assert person.taken_back == []
        desk.scopes["a0002"].cancel()
        await quiet()
        assert person.taken_back == ["npm test"]
        assert desk.answered == [ApprovalAnswered(id="q0001", verdict="unanswered", by="nobody waits", agents=0)]
        desk.ask("a0003", question())
        await person.asked(2)


async def test_the_end_of_the_run_takes_every_question_away_and_none_is_asked_after_it() -> None:
    person = FakeApprover()
    async with desk_of(person) as desk:
        desk.ask("a0001", question())
        desk.ask("a0002", question("npm ci"))
        await person.asked(2)
        desk.approvals.close()
        await quiet()
        assert sorted(person.taken_back) == ["npm ci", "npm test"]
        assert {(one.verdict, one.by) for one in desk.answered} == {("unanswered", "end of the run")}
        assert desk.answers == {}, "the agents are cancelled, not answered"
        known = desk.approvals.known("a0003", question())
        assert known is not None and not known.is_yes


async def test_without_a_person_nothing_is_asked_and_nothing_is_said() -> None:
    async with desk_of(None) as desk:
        answer = desk.approvals.known("a0001", question())
        assert answer == Answer(verdict="unanswered", words="nobody is there to be asked", by="nobody")
        assert desk.sink.events == []


async def test_an_approver_cannot_say_that_rules_changed() -> None:
    person = FakeApprover()
    async with desk_of(person) as desk:
        desk.ask("a0001", question())
        await person.asked(1)
        person.say("npm test", "changed")
        await quiet()
        assert desk.answers["a0001"].verdict == "unanswered"


async def test_an_approver_that_fails_allows_nothing_and_the_log_names_the_place() -> None:
    class Broken(Approver):
        async def answer(self, question: Question) -> Answer:
            if question.input == "odd":
                return True  # type: ignore[return-value]
            raise ValueError("no such user")

    async with desk_of(Broken()) as desk:
        desk.ask("a0001", question())
        desk.ask("a0002", question("odd"))
        await quiet()
        assert {answer.verdict for answer in desk.answers.values()} == {"unanswered"}
        first, second = [line.message for line in desk.state.book.logs]
        assert "the approver raised ValueError: no such user" in first and "test_approvals.py:" in first
        assert "answers with a callsheet.Answer, not with True" in second


# --- one at a time ----------------------------------------------------------------------------------------------------


async def test_the_time_of_a_question_does_not_run_while_it_waits_behind_others() -> None:
    person = FakeApprover(at_once=1)
    async with desk_of(person) as desk:
        desk.ask("a1", question("one"))
        desk.ask("a2", question("two"))
        await quiet()
        assert [one.input for one in person.questions] == ["one"]
        first, second = desk.asked[0].id, desk.asked[1].id
        assert [(one.id, one.until is None) for one in desk.asked] == [(first, True), (second, True), (first, False)]
        await desk.clock.advance(500)
        person.say("one", "once")
        await quiet()
        assert [one.input for one in person.questions] == ["one", "two"]
        assert (desk.asked[-1].id, desk.asked[-1].until is None) == (second, False), "its time begins"
        waiting = [body.until is None for body in desk.sink.bodies(AgentWaiting) if isinstance(body, AgentWaiting)]
        assert waiting == [True, True, False, False]
        await desk.clock.advance(500)
        assert "a2" not in desk.answers, "it has all of its ten minutes"
        await desk.clock.advance(101)
        assert desk.answers["a2"].verdict == "unanswered"
        assert person.taken_back == ["two"]


async def test_a_question_that_waits_behind_others_gathers_its_agents_and_can_be_taken_back_or_answered_by_a_rule() -> (
    None
):
    person = FakeApprover(at_once=1)
    rechecked = replace(question("two"), is_rechecked=True)
    async with desk_of(person) as desk:
        desk.ask("a1", question("one"))
        await quiet()
        desk.ask("a2", rechecked)
        desk.ask("a3", rechecked)
        desk.ask("a4", question("three", rules=()))
        await quiet()
        await desk.clock.advance(1)
        (_, *told) = [one.agents for one in desk.asked if one.input == "two"]
        assert told == [2], "how many wait is said meanwhile"
        desk.scopes["a4"].cancel()
        await quiet()
        assert desk.answered[-1].by == "nobody waits"
        person.say("one", "run")
        await quiet()
        assert [desk.answers[agent].verdict for agent in ("a2", "a3")] == ["changed", "changed"]
        assert [one.input for one in person.questions] == ["one"], "neither was ever shown"
        desk.ask("a5", question("four", rules=()))
        await person.asked(2)


async def test_an_approver_with_room_for_several_is_asked_as_many() -> None:
    person = FakeApprover(at_once=2)
    async with desk_of(person) as desk:
        for number in range(4):
            desk.ask(f"a{number}", question(f"{number}"))
        await quiet()
        assert [one.input for one in person.questions] == ["0", "1"]
        desk.scopes["a0"].cancel()
        await quiet()
        assert [one.input for one in person.questions] == ["0", "1", "2"]


async def test_the_end_of_the_run_takes_away_what_waits_behind_others_too() -> None:
    person = FakeApprover(at_once=1)
    async with desk_of(person) as desk:
        desk.ask("a1", question("one"))
        desk.ask("a2", question("two"))
        await quiet()
        desk.approvals.close()
        await quiet()
        assert [one.by for one in desk.answered] == ["end of the run"] * 2
        assert [one.input for one in person.questions] == ["one"]
