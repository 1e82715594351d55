"""What people do to a run and to single agents while it goes on: message, skip, stop, restart, pause, answer.

All of it may be asked from any task of the run's loop, at any time, and again: what has been done is not done twice.
Each deed is an event, and so in the record before what comes of it is.
"""

from __future__ import annotations

from typing import assert_never

from callsheet.engine.approvals import Approvals
from callsheet.engine.call import Call, Letter
from callsheet.engine.desk import Desk
from callsheet.engine.identity import agent_id as nth_agent
from callsheet.engine.identity import question_number
from callsheet.engine.state import RunState
from callsheet.engine.text import clean, cut, cut_bytes
from callsheet.errors import ControlRefusedError, NotFoundError, UsageError
from callsheet.model.approval import Answer, PersonsVerdict
from callsheet.model.counts import MAX_LOG_LINE_BYTES
from callsheet.model.events import AgentControlled, ApprovalAsked, ControlAction, RunStatusChanged
from callsheet.model.outcome import AgentStatus, CancelReason
from callsheet.ports import Executor

PERSON = "a person"
"""Who did something, where nobody says it more exactly."""

MAX_MESSAGE_BYTES = 256 * 1024
MAX_LETTERS = 100
"""How many messages may wait for one agent."""

_MAX_NAME_CHARS = 100
_MAX_WORDS_CHARS = 4_000
_MAX_ABOUT_CHARS = 60
_MOST_NAMED = 5
"""Of open questions, where one is named that is not."""


class Control:
    """Skips, stops, restarts and messages single agents; pauses the run; answers what it asks."""

    def __init__(self, state: RunState, *, desk: Desk, executor: Executor, approvals: Approvals) -> None:
        self._state = state
        self._desk = desk
        self._executor = executor
        self._approvals = approvals

    # --- one agent --------------------------------------------------------------------------------------------------

    async def message(self, agent_id: str, text: str, *, by: str = PERSON) -> None:
        """Lets an agent have a message with its next turn; one that waits has it when it starts.

        Raises:
            NotFoundError: The run has no such agent.
            ControlRefusedError: It is over, its backend takes no messages, or the run is over.
            UsageError: The text is empty, or too large.
        """
        text, by = _checked(text), _name(by)
        call = self._call(agent_id, "takes messages")
        if not self._executor.takes_messages(call.task.backend):
            message = (
                f"{call.named} takes no messages: agents of the backend '{call.task.backend}' do not look for any."
            )
            raise ControlRefusedError(message, why="takes_no_messages", agent_id=agent_id)
        if call.cancel_reason is not None:
            raise self._is_over(call.named, agent_id, "takes messages")
        if len(call.letters) >= MAX_LETTERS:
            raise UsageError(f"{call.named} has {MAX_LETTERS} messages that it has not taken yet. Wait until it does.")
        letter = Letter(text=text, by=by)
        call.letters.append(letter)
        if call.handle is not None and not await call.handle.message(text):
            call.letters.remove(letter)
            raise self._is_over(call.named, agent_id, "takes messages")
        self._say(call, "message", by, text=cut_bytes(self._state.bus.text(text), MAX_LOG_LINE_BYTES))
        await self._state.bus.flush()

    async def skip(self, agent_id: str, *, by: str = PERSON) -> bool:
        """Ends an agent, waiting or at work, as `skipped`: its call gives null. False where it was skipped already.

        Raises:
            NotFoundError: The run has no such agent.
            ControlRefusedError: It is over otherwise, or the run is.
        """
        return await self._end(agent_id, "skip", "agent_skipped", "skipped", by=by)

    async def stop(self, agent_id: str, *, by: str = PERSON) -> bool:
        """Ends an agent as `cancelled`; else as `skip`."""
        return await self._end(agent_id, "stop", "agent_stopped", "cancelled", by=by)

    async def restart(self, agent_id: str, *, by: str = PERSON) -> bool:
        """Ends what an agent at work has begun, and starts its call over. False where that is under way already.

        Raises:
            NotFoundError: The run has no such agent.
            ControlRefusedError: It has not started, or is over; or the run is over, or may start no more agents.
        """
        by = _name(by)
        call = self._call(agent_id, "can be started over")
        if call.cancel_reason is not None:
            raise self._is_over(call.named, agent_id, "can be started over")
        if call.started_at is None:
            message = f"{call.named} has not started yet: there is nothing to start over."
            raise ControlRefusedError(message, why="waiting", agent_id=agent_id)
        if call.is_restarting or call.scope is None:
            return False
        ledger = self._state.ledger
        refusal = ledger.refusal() or ledger.stop()
        if refusal is not None or not self._state.may_start:
            message = f"{call.named} cannot be started over: {refusal or 'the run starts no more agents'}."
            raise ControlRefusedError(message, why="budget" if refusal else "run_over", agent_id=agent_id)
        call.start_over()
        self._say(call, "restart", by, attempt=call.task.attempt + 1)
        await self._state.bus.flush()
        return True

    # --- the run ----------------------------------------------------------------------------------------------------

    async def pause(self, *, by: str = PERSON) -> bool:
        """Starts no further agent for now; those at work go on. False where it is paused already.

        Raises:
            ControlRefusedError: The run is over, or ending.
        """
        self._check_run()
        return await self._set_paused(True, "paused", f"{_name(by)} paused the run: no further agent starts")

    async def go_on(self, *, by: str = PERSON) -> bool:
        """Starts agents again after `pause`. False where the run is not paused.

        Raises:
            ControlRefusedError: The run is over, or ending.
        """
        self._check_run()
        is_changed = await self._set_paused(False, "running", f"{_name(by)} let the run go on")
        if is_changed and self._desk.workers is not None:
            self._desk.pump()
        return is_changed

    async def _set_paused(self, is_paused: bool, status: str, reason: str) -> bool:
        state = self._state
        if state.is_paused == is_paused:
            return False
        state.is_paused = is_paused
        state.bus.emit(RunStatusChanged(status=status, reason=reason))
        if not is_paused and state.waits:  # a person's word does not end what the run waits for
            state.bus.emit(next(reversed(state.waits.values())))
        await state.bus.flush()
        return True

    # --- its questions ----------------------------------------------------------------------------------------------

    def questions(self) -> tuple[ApprovalAsked, ...]:
        """Those that wait for an answer, oldest first."""
        return self._approvals.questions()

    async def answer(
        self,
        question_id: str,
        verdict: PersonsVerdict,
        *,
        words: str | None,
        more_usd: float | None = None,
        by: str = PERSON,
    ) -> None:
        """Answers an open question.

        Raises:
            NotFoundError: There is none of that id; says which there are.
            ControlRefusedError: Somebody else has just answered it; or the run is over, or ending.
            UsageError: `more_usd` is no amount, or answers nothing that is asked.
        """
        self._check_run()
        asked = next((one for one in self.questions() if one.id == question_id), None)
        if asked is None:
            raise self._not_open(question_id)
        if more_usd is not None and (asked.kind != "cost" or verdict != "once"):
            raise UsageError(
                f"An amount says how much more a run may cost, with a yes to just that: {question_id} is not answered "
                f"by it ({_about(asked)})."
            )
        said = None if words is None else cut(clean(words), _MAX_WORDS_CHARS) or None
        try:
            answer = Answer(verdict=verdict, words=said, by=_name(by), more_usd=more_usd)
        except ValueError as fault:
            raise UsageError(f"{fault}.") from None
        if not await self._approvals.answer(question_id, answer):
            raise ControlRefusedError(f"{question_id} has been answered a moment ago.", why="over")

    def _not_open(self, name: str) -> NotFoundError:
        """Why a question cannot be answered, and which can."""
        is_open = [f"{one.id} ({_about(one)})" for one in self.questions()]
        there_are = f"open now: {', '.join(is_open[:_MOST_NAMED])}" if is_open else "none is open now"
        if len(is_open) > _MOST_NAMED:
            there_are += f" and {len(is_open) - _MOST_NAMED:,} more"
        match question_number(name):
            case (attempt, _) if attempt < self._state.attempt:
                what = f"{name!r} was asked before this run was resumed, and is not asked any more"
            case (attempt, number) if attempt == self._state.attempt and self._approvals.has_asked(number):
                what = f"{name!r} is not asked any more: it was answered, or taken back"
            case _:
                what = f"There is no open question {cut(name, _MAX_NAME_CHARS)!r} in this run"
        return NotFoundError(f"{what}; {there_are}.", name=name)

    # --- in common --------------------------------------------------------------------------------------------------

    async def _end(
        self, agent_id: str, action: ControlAction, reason: CancelReason, status: AgentStatus, *, by: str
    ) -> bool:
        by = _name(by)
        if self._state.book.status_of(agent_id) == status:
            return False
        what = "can be skipped" if action == "skip" else "can be stopped"
        call = self._call(agent_id, what)
        if call.cancel_reason == reason:
            return False
        if call.cancel_reason is not None:
            raise self._is_over(call.named, agent_id, what)
        self._say(call, action, by)
        self._desk.end_one(call, reason, person=by)
        await self._state.bus.flush()
        return True

    def _say(
        self, call: Call, action: ControlAction, by: str, *, text: str | None = None, attempt: int | None = None
    ) -> None:
        task = call.task
        self._state.bus.emit(
            AgentControlled(agent_id=task.agent_id, action=action, by=by, text=text, attempt=attempt or task.attempt)
        )

    def _call(self, agent_id: str, what: str) -> Call:
        """The call of an agent that is not over.

        Raises:
            NotFoundError, ControlRefusedError: There is none; says what there is.
        """
        call = self._desk.call_of(agent_id)
        if call is not None:
            self._check_run(agent_id)
            return call
        count = self._desk.numbered
        if any(nth_agent(number) == agent_id for number in range(1, count + 1)):
            raise self._is_over(agent_id, agent_id, what)
        there_are = {0: "the run has none yet", 1: f"there is {nth_agent(1)}"}
        known = there_are.get(count, f"there are {nth_agent(1)} to {nth_agent(count)}")
        raise NotFoundError(f"There is no agent {agent_id!r} in this run; {known}.", name=agent_id)

    def _is_over(self, name: str, agent_id: str, what: str) -> ControlRefusedError:
        status = self._state.book.status_of(agent_id)
        how = f"over ({status.replace('_', ' ')})" if status is not None else "ending already"
        return ControlRefusedError(f"{name} is {how}, and no longer {what}.", why="over", agent_id=agent_id)

    def _check_run(self, agent_id: str | None = None) -> None:
        if self._state.ending is not None:
            message = f"Run {self._state.run_id} is over, or ending: nothing more can be done in it."
            raise ControlRefusedError(message, why="run_over", agent_id=agent_id)


def _name(by: str) -> str:
    return cut(clean(" ".join(by.split())), _MAX_NAME_CHARS) or PERSON


def _about(asked: ApprovalAsked) -> str:
    """What a question is about, in a few words."""
    match asked.kind:
        case "permission":
            return f"{asked.tool}: {cut(' '.join(asked.input.split()), _MAX_ABOUT_CHARS)}"
        case "cost":
            return "whether the run may cost more"
        case "script":
            named = "" if asked.script is None else f" {cut(' '.join(asked.script.name.split()), _MAX_ABOUT_CHARS)}"
            return f"run the script{named}?"
        case _:
            assert_never(asked.kind)


def _checked(text: str) -> str:
    text = clean(text)
    if not text.strip():
        raise UsageError("A message to an agent is a text that is not empty.")
    if len(text.encode()) > MAX_MESSAGE_BYTES:
        raise UsageError(f"A message to an agent has at most {MAX_MESSAGE_BYTES // 1024} KiB. Put more into a file.")
    return text
