"""When checkpoints of the workspace are taken: before anything is changed, after so many agents, and at the end.

The first one delays no start: it is taken beside the first agents, and whoever is about to change something waits.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from callsheet.engine.text import cut
from callsheet.errors import CheckpointError, StoreError
from callsheet.model.events import AgentFinished, AgentStarted, CheckpointRestored, Event
from callsheet.model.outcome import AgentOutcome, AgentStatus
from callsheet.model.records import CheckpointRow, Row
from callsheet.ports import CheckpointTaker, EventSink

if TYPE_CHECKING:
    from callsheet.engine.call import Call
    from callsheet.engine.state import RunState
    from callsheet.model.reports import ToolCalled
    from callsheet.model.run import ChangedFile

FAILED: frozenset[AgentStatus] = frozenset({"failed", "invalid", "timed_out"})
"""How agents end whose changes `rollback_on_failure` takes back. One that is out of its budget, or was cancelled, goes
on from where it was when the run is resumed; one that a person skipped or stopped is that person's to judge."""

SLOW_S = 5.0
"""If the first checkpoint takes longer, people are told what agents wait for."""

MOST_CHANGES = 5_000
"""So many changed files are told at the end."""

_SAID = 10
_PATHS_CHARS = 1_000


class Checkpointing(EventSink):
    """Counts the agents that worked, and has checkpoints taken; after one that failed no more, which is said once.

    Args:
        taker: Takes them; None for none.
        interval: Agents between two; 0 for the first and the last alone.
        on_failure: What an agent changed that failed is taken back.
    """

    def __init__(self, taker: CheckpointTaker | None, *, interval: int = 0, on_failure: bool = False) -> None:
        self._taker = taker
        self._interval = interval
        self._on_failure = on_failure
        self._ended = 0
        self._is_changed = False
        self._has_told = False
        self._begun = anyio.Event()
        self._first = anyio.Event()
        self._due = anyio.Event()

    def on_event(self, event: Event) -> None:
        if self._taker is None:
            return
        if isinstance(event.body, AgentStarted):
            self._begun.set()
        if not isinstance(event.body, AgentFinished):
            return
        agent = event.body.agent
        if agent.reused or agent.started_at is None:
            return
        self._ended += 1
        if self._interval and self._ended % self._interval == 0:
            self._due.set()

    async def run(self, state: RunState) -> None:
        """Takes the first one once an agent starts, and then whenever one is due, until it is cancelled."""
        await self._begun.wait()
        try:
            await self._take(state)
        finally:
            self._first.set()
        while True:
            await self._due.wait()
            self._due = anyio.Event()
            await self._take(state)

    async def take_last(self, state: RunState) -> None:
        """Takes one of what agents left, where they may have changed anything, and returns when the record has it."""
        if self._first.is_set() and (self._is_changed or self._interval):
            await self._take(state)

    async def changes(self, state: RunState) -> tuple[ChangedFile, ...] | None:
        """What is other in the workspace than before the run, and who reported it; None where that is not known."""
        if self._taker is None or not self._is_changed:
            return None
        try:
            found = await self._taker.changed()
        except CheckpointError as error:
            state.book.log("warn", f"what was changed is not known: {error.message}")
            return None
        by: dict[str, list[str]] = {}
        for agent in state.book.agents():
            if agent.worktree is None or agent.worktree.merged:
                for path in agent.files_changed:
                    by.setdefault(path, []).append(agent.agent_id)
        if (more := len(found) - MOST_CHANGES) > 0:
            state.book.log("warn", f"{more:,} more files were changed than are told")
        outside = state.book.outside
        return tuple(
            replace(
                each,
                path=(path := state.bus.text(each.path)),
                agents=tuple(agents := by.get(path, [])),
                outside=tuple(agent for agent in agents if path in outside.get(agent, ())),
            )
            for each in found[:MOST_CHANGES]
        )

    async def _take(self, state: RunState) -> None:
        if self._taker is None:
            return
        try:
            taken = await self._taker.take()
        except CheckpointError as error:
            which = "no more" if self._first.is_set() else "no"
            self._taker = None
            state.book.log("warn", f"{which} checkpoints are taken: {error.message}")
            return
        staged = state.bus.stage(taken)
        row = CheckpointRow(run_id=state.run_id, n=taken.n, commit_id=taken.commit_id, at=staged.event.at)
        try:
            await state.bus.commit((row,), (staged,))
        except StoreError:
            return  # the run has been told

    # --- single agents

    async def before_change(self, state: RunState, call: Call, report: ToolCalled) -> None:
        """An agent is about to do what may change something: returns when all that it could change is kept."""
        if self._taker is None:
            return
        self._begun.set()
        if not self._first.is_set():
            await self._wait_for_first(state)
        options = call.task.options
        self._is_changed |= options.merge or not options.is_apart
        if self._taker is not None:
            await self._told(state, self._taker.before_change(call.task, report))

    async def after_change(self, state: RunState, call: Call, report: ToolCalled) -> None:
        """The agent has done it, or not."""
        if self._taker is not None and self._is_changed:
            await self._told(state, self._taker.after_change(call.task, report))

    async def ended(self, state: RunState, call: Call, outcome: AgentOutcome) -> AgentOutcome:
        """An agent has ended: gives its outcome, with what was taken back where it failed."""
        if self._taker is None or not self._is_changed or call.task.options.is_apart:
            return outcome
        await self._told(state, self._taker.ended(call.task, outcome))
        if self._on_failure and outcome.status in FAILED and outcome.files_changed:
            return await self._taken_back(state, call, outcome)
        return outcome

    async def _wait_for_first(self, state: RunState) -> None:
        with anyio.move_on_after(SLOW_S):
            await self._first.wait()
            return
        if not self._has_told:
            self._has_told = True
            state.book.log("info", "agents wait to change anything until the first checkpoint is taken")
        await self._first.wait()

    async def _told(self, state: RunState, keeping: Awaitable[None]) -> None:
        try:
            await keeping
        except CheckpointError as error:
            state.book.warn_once("undo", f"what single agents change cannot be taken back: {error.message}")

    async def _taken_back(self, state: RunState, call: Call, outcome: AgentOutcome) -> AgentOutcome:
        await self._take(state)  # so that also this can be undone
        if self._taker is None:
            return outcome
        try:
            done = await self._taker.take_back(call.task, outcome.files_changed)
        except CheckpointError as error:
            return replace(outcome, error=_and(outcome, f"what it changed was not taken back: {error.message}"))
        rows: tuple[Row, ...] = ()
        try:
            await state.bus.commit(rows, (state.bus.stage(done),))
        except StoreError:
            return outcome  # the run has been told
        left = [path for path in outcome.files_changed if path in dict(done.left)]
        return replace(outcome, files_changed=tuple(left), error=_and(outcome, said(done)))


def said(done: CheckpointRestored) -> str:
    """What was taken back of an agent's changes, and what was left, for people."""
    back = sorted((*done.written, *done.removed))
    parts = [f"its changes were taken back ({_names(back)})" if back else "nothing it changed could be taken back"]
    if done.left:
        parts.append(f"left as they are: {_names([f'{path} ({why})' for path, why in done.left])}")
    return "; ".join(parts)


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _SAID} more" if len(names) > _SAID else ""
    return cut(", ".join(names[:_SAID]), _PATHS_CHARS) + more


def _and(outcome: AgentOutcome, more: str) -> str:
    return f"{outcome.error}; {more}" if outcome.error else more
