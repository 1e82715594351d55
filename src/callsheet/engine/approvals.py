"""Asking a person: equal questions of many agents are one, and its answer goes to all who wait for it.

The run asks as well, whether it goes on where it has no budget (`cost_stop`): by the same port and the same events.
"""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from callsheet.engine.bus import Staged
from callsheet.engine.identity import question_id
from callsheet.engine.open_question import OpenQuestion, QuestionKey, as_asked, as_shown, key_of
from callsheet.engine.state import RunState
from callsheet.errors import StoreError
from callsheet.model.approval import Answer, OnGrant, Question, QuestionAnswered, QuestionKind
from callsheet.model.events import AgentWaiting, ApprovalAnswered, ApprovalAsked
from callsheet.ports import Approver

GROWTH_INTERVAL_S = 0.25
"""How often at most it is said that more agents ask the same."""

END_OF_RUN = "end of the run"
"""Who took a question back that is asked no more."""

HEADLESS = Answer(verdict="unanswered", words="nobody is there to be asked", by="nobody")
EARLIER = Answer(verdict="run", by="an earlier answer")
CHANGED = Answer(verdict="changed", by="an earlier answer")

_TAKES: dict[QuestionKind, str] = {"cost": "takes_cost", "script": "takes_scripts"}
"""What an approver has that is true where it is to be asked questions of a kind; all take those of agents."""


def _room_of(approver: Approver | None) -> anyio.Semaphore | None:
    at_once: int | None = getattr(approver, "at_once", None)
    return None if at_once is None else anyio.Semaphore(max(1, at_once))


class Approvals:
    """The questions of one run. Without an approver each is answered at once, at no cost: it is not allowed.

    What a person granted for the run or the project is not asked again. Whether the granted rules allow anything else
    is for others to decide: open questions of the same tool that name no other rules are given back as `changed` where
    whoever asked will look again, else they stay open. A denial, or no answer, holds for the agents that got it: one
    that asks the same again gets the same answer.

    An approver that can show only so many at a time (`at_once`) is given the next when it has done with one: the time
    of a question runs from when it is put to it.

    Attributes:
        tasks: Where questions are put; whoever runs the run gives it, and cancels it.
    """

    def __init__(
        self,
        state: RunState,
        *,
        approver: Approver | None,
        on_grant: OnGrant,
        growth_interval_s: float = GROWTH_INTERVAL_S,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._state = state
        self._approver = approver
        self._room = _room_of(approver)
        self._on_grant = on_grant
        self._timeout_s = state.settings.approval_timeout_s
        self._growth_interval_s = growth_interval_s
        self._sleep = sleep
        self._open: dict[QuestionKey, OpenQuestion] = {}
        self._granted: set[QuestionKey] = set()
        self._rules: set[tuple[str, str]] = set()
        self._refused: dict[str, dict[QuestionKey, Answer]] = {}
        self._count = 0
        self._is_closed = False
        self.tasks: TaskGroup | None = None
        state.on_drain = self._take_back_of_run

    # --- for agents -------------------------------------------------------------------------------------------------

    def known(self, agent_id: str, question: Question) -> Answer | None:
        """The answer, where nobody needs to be asked for it; else None."""
        if self._approver is None or self._is_closed:
            return HEADLESS
        if key_of(question) in self._granted:
            return EARLIER
        return self._refused.get(agent_id, {}).get(key_of(question))

    async def ask(self, agent_id: str, question: Question) -> Answer:
        """Puts a question that has no known answer, or joins those who wait for an equal one, and waits.

        Cancelling takes this agent out; a question that nobody waits for any more is taken back.
        """
        one = self._open.get(key_of(question))
        if one is None:
            one = self._pose(agent_id, question)
        else:
            self._count_in(one, agent_id)
        bus = self._state.bus
        bus.emit(AgentWaiting(agent_id=agent_id, why="approval", until=one.until))
        try:
            await bus.flush()
            await one.settled.wait()
        finally:
            self._count_out(one, agent_id)
        assert one.answer is not None
        return one.answer

    def forget(self, agent_id: str) -> None:
        """The agent is over."""
        self._refused.pop(agent_id, None)
        for one in list(self._open.values()):
            while agent_id in one.agents:
                self._count_out(one, agent_id)

    def close(self) -> None:
        """The run ends: every question is taken away. Agents that wait are cancelled by others, and get no answer."""
        self._is_closed = True
        for one in list(self._open.values()):
            self._take_away(one, END_OF_RUN)

    def _take_back_of_run(self) -> None:
        """The run starts nothing more: only what agents at work ask counts now, and nothing holds the end up."""
        for one in [one for one in self._open.values() if one.crowd is not None]:
            self._take_away(one, END_OF_RUN)

    # --- for the run ------------------------------------------------------------------------------------------------

    def takes(self, kind: QuestionKind) -> bool:
        """Whether there is somebody to be asked such a question: an approver that says so of itself (`takes_cost`)."""
        if self._approver is None or self._is_closed:
            return False
        return kind not in _TAKES or bool(getattr(self._approver, _TAKES[kind], False))

    async def ask_for_run(self, question: Question, *, agents: int) -> Answer | None:
        """Puts a question about the whole run, for whose answer so many agents wait; None where it was taken back.

        Also where nobody takes such a question, or the run is about to end. Cancelling takes it back.
        """
        if self._state.draining is not None or not self.takes(question.kind):
            return None
        one = self._pose(None, question, crowd=agents)
        try:
            await self._state.bus.flush()
            await one.settled.wait()
        finally:
            self._take_away(one, "nobody waits")
        assert one.answer is not None
        return None if one.is_taken_away else one.answer

    def recount(self, question: Question, agents: int) -> None:
        """So many agents wait now for the answer to a question about the run; with none it is taken back."""
        one = self._open.get(key_of(question))
        if one is None or one.crowd == agents:
            return
        one.crowd = agents
        one.changed.set()
        if not agents:
            self._take_away(one, "nobody waits")

    # --- for people besides the approver ----------------------------------------------------------------------------

    def questions(self) -> tuple[ApprovalAsked, ...]:
        """Those that wait for an answer, oldest first."""
        return tuple(as_asked(one) for one in self._open.values() if one.is_shown and one.answer is None)

    def has_asked(self, number: int) -> bool:
        """Whether this attempt has had a question of that number."""
        return 1 <= number <= self._count

    async def answer(self, name: str, answer: Answer) -> bool:
        """Answers a question in the approver's place, who is asked no more. False where it is not open (any more)."""
        one = next((one for one in self._open.values() if one.is_shown and one.shown.id == name), None)
        if one is None:
            return False
        in_force = await self._in_force(one, answer)
        if one.answer is not None:
            return False
        self._settle(one, in_force)
        await self._state.bus.flush()
        return True

    # --- one question -----------------------------------------------------------------------------------------------

    def _pose(self, agent_id: str | None, question: Question, *, crowd: int | None = None) -> OpenQuestion:
        self._count += 1
        shown = as_shown(question, question_id(self._state.attempt, self._count), self._state.bus.text)
        one = OpenQuestion(key=key_of(question), asked=question, shown=shown, crowd=crowd)
        if self._room is None:
            one.until = self._state.clock.stamp_in(self._timeout_s)
        if agent_id is not None:
            one.agents[agent_id] += 1
        self._open[one.key] = one
        bus = self._state.bus
        staged = bus.stage(as_asked(one))
        bus.add(bus.row(staged))
        assert self.tasks is not None
        self.tasks.start_soon(self._see_through, one, staged)
        return one

    async def _show(self, one: OpenQuestion, staged: Staged) -> None:
        """Lets a question be seen once it, and the attempt that its name tells of, are on disk.

        Else a host that dies now might give the same name to another question when the run goes on.
        """
        bus = self._state.bus
        try:
            await bus.write(())
            one.is_shown = True
        except StoreError:
            return  # the run ends, and has been told why
        finally:
            bus.release(staged)

    def _say(self, one: OpenQuestion) -> None:
        self._state.bus.emit(as_asked(one))

    def _count_in(self, one: OpenQuestion, agent_id: str) -> None:
        if agent_id not in one.agents:
            one.changed.set()
        one.agents[agent_id] += 1

    def _count_out(self, one: OpenQuestion, agent_id: str) -> None:
        if agent_id not in one.agents:
            return
        one.agents[agent_id] -= 1
        if one.agents[agent_id]:
            return
        del one.agents[agent_id]
        one.changed.set()
        if not one.agents:
            self._take_away(one, "nobody waits")

    async def _see_through(self, one: OpenQuestion, staged: Staged) -> None:
        """From the asking to the answer, whoever gives it; ends early when the question is settled otherwise."""
        with one.scope:
            await self._show(one, staged)
            if not one.is_shown:
                return
            async with anyio.create_task_group() as saying:
                saying.start_soon(self._say_changes, one)
                async with self._turn(one):
                    answer = HEADLESS
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(self._expire, one)
                        answer = await self._answer_of_a_person(one)
                        tasks.cancel_scope.cancel()
                    # The question stays open while rules are put into force: what agents ask meanwhile joins it, and
                    # the next one is not shown yet, which may not need to be asked any more.
                    self._settle(one, await self._in_force(one, answer))
        await self._state.bus.flush()

    @asynccontextmanager
    async def _turn(self, one: OpenQuestion) -> AsyncIterator[None]:
        """Waits until the approver has room for a question; its time runs from then on."""
        if self._room is None:
            yield
            return
        async with self._room:
            one.until = self._state.clock.stamp_in(self._timeout_s)
            self._say(one)
            for agent_id in one.agents:
                self._state.bus.emit(AgentWaiting(agent_id=agent_id, why="approval", until=one.until))
            await self._state.bus.flush()
            yield

    async def _say_changes(self, one: OpenQuestion) -> None:
        while True:
            await self._sleep(self._growth_interval_s)
            await one.changed.wait()
            one.changed = anyio.Event()
            if one.answer is None:
                self._say(one)
            await self._state.bus.flush()

    async def _expire(self, one: OpenQuestion) -> None:
        await self._sleep(self._timeout_s)
        words = f"nobody answered within {self._timeout_s:g} s"
        self._settle(one, Answer(verdict="unanswered", words=words, by="time limit"))

    async def _answer_of_a_person(self, one: OpenQuestion) -> Answer:
        assert self._approver is not None
        try:
            answer = await self._approver.answer(one.shown)
            if not isinstance(answer, Answer):
                raise TypeError(f"an approver answers with a callsheet.Answer, not with {answer!r}")
        except Exception as error:  # noqa: BLE001 - the approver is its program's own: its faults allow nothing, and end nothing
            place = traceback.extract_tb(error.__traceback__)[-1]
            what = f"the approver raised {type(error).__name__}: {error} ({place.filename}:{place.lineno})"
            meant = "not allowed" if one.asked.kind == "permission" else "not answered"
            self._state.book.log("error", f"{what}; {one.shown.tool} counts as {meant}")
            return Answer(verdict="unanswered", words="who was asked could not answer")
        return answer

    async def _in_force(self, one: OpenQuestion, answer: Answer) -> Answer:
        """The answer as it holds, its rules granted; a grant of no rule, or one that was not kept, is a lesser one."""
        if answer.verdict == "changed":
            return replace(answer, verdict="unanswered")  # not a person's to say
        if one.asked.kind != "permission":
            return answer
        if answer.verdict not in ("run", "project"):
            return answer
        if not one.asked.rules:
            return replace(answer, verdict="once")
        why_not = await self._on_grant(one.asked.rules, answer.verdict)
        self._granted.add(one.key)
        self._rules |= {(one.asked.tool, rule) for rule in one.asked.rules}
        if why_not is None:
            return answer
        rules = ", ".join(one.shown.rules)
        self._state.book.log("warn", f"{rules} holds for this run only: {why_not}")
        return replace(answer, verdict="run")

    def _settle(self, one: OpenQuestion, answer: Answer) -> None:
        if one.answer is not None:
            return
        one.answer = answer
        if answer.verdict in ("deny", "unanswered"):
            for agent_id in one.agents:
                self._refused.setdefault(agent_id, {})[one.key] = answer
        self._end(one, answer)
        one.settled.set()
        if answer.verdict in ("run", "project"):
            for other in [other for other in self._open.values() if self._may_be_allowed(other.asked)]:
                self._settle(other, CHANGED)

    def _take_away(self, one: OpenQuestion, why: str) -> None:
        if one.answer is not None:
            return
        one.answer = Answer(verdict="unanswered", by=why)
        self._end(one, one.answer)
        if one.crowd is not None:
            one.is_taken_away = True
            one.settled.set()

    def _end(self, one: OpenQuestion, answer: Answer) -> None:
        del self._open[one.key]
        told = QuestionAnswered(kind=one.asked.kind, tool=one.asked.tool, verdict=answer.verdict, agents=one.waiting)
        self._state.answered.append(told)
        self._state.bus.emit(
            ApprovalAnswered(
                id=one.shown.id,
                verdict=answer.verdict,
                by=answer.by,
                agents=one.waiting,
                more_usd=(answer.more_usd or one.shown.more_usd) if answer.verdict == "once" else None,
            )
        )
        one.scope.cancel()

    def _may_be_allowed(self, question: Question) -> bool:
        """Whether every rule that it names was granted. That need not be all it takes: who asked must look again."""
        is_named = all((question.tool, rule) in self._rules for rule in question.rules)
        return question.is_rechecked and bool(question.rules) and is_named
