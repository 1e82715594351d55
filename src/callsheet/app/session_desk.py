"""The runs of a session: started in processes of their own, followed to their end, their questions answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import anyio
from anyio import to_thread

from callsheet.app import compose, places
from callsheet.app.control import live_runs, open_control
from callsheet.app.launching import START_S
from callsheet.app.records import Where, open_runs
from callsheet.app.session_approval import Proposal
from callsheet.app.session_book import SessionBook, seconds_since
from callsheet.app.session_lines import NoteLine, ProblemLine, RunStartingLine
from callsheet.app.session_model import LiveRun, Refused, Reply, SessionQuestion, Told
from callsheet.app.session_runs import FollowedRun, clean
from callsheet.app.session_starting import Ready, Starter
from callsheet.app.session_transcript import RunStarted
from callsheet.errors import (
    BypassRefusedError,
    CallsheetError,
    LeaseHeldError,
    NotFoundError,
    ScriptRefusedError,
    StoreError,
    UsageError,
)
from callsheet.model.approval import PersonsVerdict
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import Usage
from callsheet.views.figures import count

if TYPE_CHECKING:
    from anyio.abc import TaskGroup


@dataclass(slots=True, kw_only=True, eq=False)
class _Asked:
    """A question of the session's own that is open."""

    question: SessionQuestion
    verdict: PersonsVerdict = "deny"
    words: str | None = None
    decided: anyio.Event = field(default_factory=anyio.Event)


LATE_S = 600.0
"""A run that was being started when its session was left is looked for so long from when that was."""
_LOOK_AGAIN_S, _LOOK_LATER_S = 0.25, 2.0

OfRun = Literal["task", "saved", "resumed"]


class RunDesk:
    """Of one session; its tasks are those of the session's group."""

    def __init__(self, book: SessionBook, starter: Starter, where: Where, tasks: TaskGroup) -> None:
        self._book = book
        self._starter = starter
        self._where = where
        self._tasks = tasks
        self._followed: dict[str, FollowedRun] = {}
        self._starting: dict[int, LiveRun] = {}
        self._open: dict[str, _Asked] = {}
        self._starts = book.tale.last_start

    # --- how things stand -------------------------------------------------------------------------------------------

    @property
    def runs(self) -> tuple[LiveRun, ...]:
        """The runs that go on, in the order of their start, and those that are about to."""
        return (*(each.live for each in self._followed.values()), *self._starting.values())

    @property
    def usage(self) -> dict[str, Usage]:
        """What runs have used, by id: of those that go on what is known by now."""
        return {**self._book.tale.runs_usage, **{name: each.usage for name, each in self._followed.items()}}

    def questions(self) -> tuple[SessionQuestion, ...]:
        """What they ask the person."""
        asked = (question for each in self._followed.values() for question in each.questions())
        return (*asked, *(each.question for each in self._open.values()))

    def decide(self, question_id: str, verdict: PersonsVerdict, words: str | None) -> bool:
        """Answers a question of the session's own. False where it has no such question."""
        found = self._open.pop(question_id, None)
        if found is None:
            return False
        found.verdict, found.words = verdict, words
        found.decided.set()
        self._book.tell("questions")
        return True

    async def answer(
        self, run_id: str, asked_id: str, verdict: PersonsVerdict, words: str | None, more_usd: float | None
    ) -> None:
        """Answers a question of a run.

        Raises:
            NotFoundError: It is not open any more.
            ControlRefusedError: It was answered a moment ago, or the run is over.
            ControlLostError: The run cannot be reached any more.
            UsageError: Nobody follows such a run; or an amount answers nothing that is asked.
        """
        followed = self._followed.get(run_id)
        if followed is None:
            raise UsageError("that question is not open any more: its run has ended.")
        control = None if followed.watched is None else followed.watched.control
        if control is not None:
            await control.answer(asked_id, verdict, words=words, more_usd=more_usd)
            return
        async with open_control(run_id, self._where) as anew:  # it is read from its record, since it did not answer
            await anew.answer(asked_id, verdict, words=words, more_usd=more_usd)

    # --- starting and following -------------------------------------------------------------------------------------

    def follow_again(self) -> None:
        """Follows the runs that had not ended when the session was left."""
        for started in self._book.tale.going.values():
            self._follow(started)
        for starting in self._book.tale.starts.values():
            self._tasks.start_soon(self._found, starting)

    async def start(
        self, of: OfRun, make: Callable[[], Awaitable[Ready]], *, task: str | None = None, said: int | None
    ) -> Reply:
        """Starts a run and follows it. Cancelling while it starts waits for it.

        Args:
            of: Of what kind it is.
            make: Makes what is to be started.
            task: The person's words, of a task.
            said: The number of what was said, where it comes of that.
        """
        self._starts += 1
        start = self._starts
        try:
            ready = await make()
            if ready.proposal is not None:
                ready, why_not = await self._approved(ready, ready.proposal, f"start{start}")
                if why_not is not None:
                    return await self._no(why_not, said=said)
            starting = _starting(ready, of, start=start, task=task, said=said)
            await self._book.write(starting)
        except CallsheetError as fault:
            return await self._refused(fault, said=said, start=None)
        self._starting[start] = LiveRun(run_id=starting.run_id, workflow=starting.workflow)
        self._book.tell("runs")
        try:
            await self._starter.start(ready, starting.run_id, on_late=partial(self._late, starting))
        except CallsheetError as fault:
            return await self._refused(fault, said=said, start=start)
        else:
            await self._started(starting)
        finally:
            del self._starting[start]
            self._book.tell("runs")
        return Told()

    async def _approved(self, ready: Ready, proposal: Proposal, name: str) -> tuple[Ready, str | None]:
        """Asks the person; gives what is started, and why nothing is."""
        question = SessionQuestion(id=name, run_id=None, workflow=clean(ready.workflow), asked=proposal.asked(name))
        asked = self._open[name] = _Asked(question=question)
        self._book.tell("questions")
        try:
            await asked.decided.wait()
        finally:
            self._open.pop(name, None)
        launch, note = await proposal.decided(asked.verdict, ready.launch)
        if launch is None:
            return ready, f"Nothing was started: you said no to {clean(ready.workflow)}."
        return replace(ready, launch=launch, notes=(*ready.notes, *([] if note is None else [note]))), None

    async def _no(self, text: str, *, said: int | None) -> Reply:
        if said is None:
            return Told(text=text)
        await self._book.write(NoteLine(text=text))
        return Told()

    async def _started(self, starting: RunStartingLine) -> None:
        await self._book.write(starting.started)
        self._follow(self._book.tale.going[starting.run_id])

    async def _late(self, starting: RunStartingLine) -> None:
        text = f"{starting.workflow} takes long to start ({starting.run_id}): it is followed as soon as it has."
        await self._book.write(NoteLine(text=text))

    async def _found(self, starting: RunStartingLine) -> None:
        """Looks for a run that was being started when the session was left: it may come yet."""
        began_s = anyio.current_time()
        patience_s = max(START_S, LATE_S - seconds_since(starting.at))
        is_said = False
        while not await to_thread.run_sync(_has_begun, starting, self._where):
            waited_s = anyio.current_time() - began_s
            if waited_s > patience_s:
                break
            if waited_s > START_S and not is_said:
                is_said = True
                text = f"{starting.workflow} was being started when the session ended: it is followed if it begins yet."
                await self._book.write(NoteLine(text=text))
            await anyio.sleep(_LOOK_LATER_S if is_said else _LOOK_AGAIN_S)
        else:
            await self._started(starting)
            return
        text = f"{starting.workflow} was being started when the session ended, and has not begun."
        remedy = "Start it again. Should it begin after all, /runs has it."
        await self._book.write(ProblemLine(text=text, remedy=remedy, start=starting.start))

    async def _refused(self, fault: CallsheetError, *, said: int | None, start: int | None) -> Reply:
        """Says why nothing was started: to a command as its reply, else as an entry."""
        if said is None and start is None:
            return refused(fault)
        why, remedy = _words_of(fault), None
        if isinstance(fault, LeaseHeldError):  # whose words name flags, which a session has not
            why, remedy = in_use(await to_thread.run_sync(_holders, self._where))
        await self._book.write(ProblemLine(text=f"Nothing was started: {why}", remedy=remedy, start=start))
        return Told()

    def _follow(self, started: RunStarted) -> None:
        followed = FollowedRun(started, self._where, partial(self._book.tell, "runs", "questions", "figures"))
        self._followed[started.run_id] = followed
        self._book.tell("runs")
        self._tasks.start_soon(self._to_end, followed)

    async def _to_end(self, followed: FollowedRun) -> None:
        run_id = followed.started.run_id
        try:
            line = await followed.to_end()
        except CallsheetError as fault:
            text = f"{run_id} cannot be followed: {clean(fault.message)}"
            remedy = "It goes on, if it did. Continue the session later: what it came to is told then."
            await self._book.write(ProblemLine(text=text, remedy=remedy))
        else:
            await self._book.write(line)
        finally:
            if self._followed.get(run_id) is followed:  # not where it was gone on with meanwhile
                del self._followed[run_id]
            self._book.tell("runs", "questions", "figures")


def refused(fault: CallsheetError) -> Refused:
    """Why something was not done, in words; with what looks alike, where there is something."""
    near = tuple(f"/{name}" for name in fault.near) if isinstance(fault, NotFoundError) else ()
    text = _words_of(fault)
    if isinstance(fault, ScriptRefusedError) and fault.place is not None:
        text = f"the script cannot be run: line {fault.place.line}: {text}"
    return Refused(text=text, near=near)


def _words_of(fault: CallsheetError) -> str:
    """What it says, without flags that a session has not."""
    if isinstance(fault, BypassRefusedError):
        return (
            f"mode bypass cannot be had here: {clean(fault.why)}. /permissions sets another mode; rules allow what "
            "runs need (callsheet permissions)."
        )
    return clean(fault.message)


def in_use(holders: Sequence[str]) -> tuple[str, str]:
    """What there is to say where other runs hold the folder, and what to do.

    Args:
        holders: Those that do so now.
    """
    if not holders:
        return "another run was at work in this folder a moment ago.", "Try again."
    first, others = holders[0], len(holders) - 1
    and_more = f" and {count(others, 'other run')}" if others else ""
    works = "work" if others else "works"
    why = f"{first}{and_more} {works} in this folder, and only one at a time may change it."
    return why, f"Wait for its end (/workflows {first} shows how it stands), or /stop {first}; then try again."


def _holders(where: Where) -> list[str]:
    found: set[str] = set()
    for folder in places.state_folders(where.root, where.environ):
        with suppress(OSError):
            found |= places.lease_holders(folder)
    return sorted(found)


def _starting(ready: Ready, of: OfRun, *, start: int, task: str | None, said: int | None) -> RunStartingLine:
    return RunStartingLine(
        start=start,
        run_id=ready.launch.resume or compose.new_run_id(),
        of=of,
        workflow=clean(ready.workflow),
        task=None if task is None else clean(task),
        notes=tuple(map(clean, ready.notes)),
        said=said,
    )


def _has_begun(starting: RunStartingLine, where: Where) -> bool:
    """Whether a run goes on, or is on record; one that was to be gone on with: as something other than it was."""
    if any(reach.run_id == starting.run_id for reach in live_runs(where)):
        return True
    try:
        with open_runs(where, is_checked=False) as runs:
            found = runs.record.run(starting.run_id)
    except StoreError:
        return False
    if found is None:
        return False
    return starting.of != "resumed" or found.end is None or found.end.ended_at > starting.at
