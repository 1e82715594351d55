"""The one stream of a run: numbered, redacted, on disk, then to every surface (FORMATS 3, DESIGN 8 and 12)."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import replace
from typing import assert_never

import anyio

from callsheet.bulk import in_bulk
from callsheet.engine.text import clean, to_json
from callsheet.errors import StoreError
from callsheet.model.dataclass import dataclass
from callsheet.model.events import (
    AgentControlled,
    AgentFinished,
    AgentProgress,
    AgentQueued,
    AgentStarted,
    AgentWaiting,
    ApprovalAnswered,
    ApprovalAsked,
    BudgetWarning,
    CheckpointRestored,
    CheckpointTaken,
    Event,
    EventBody,
    Log,
    PhaseStarted,
    RunFinished,
    RunStarted,
    RunStatusChanged,
)
from callsheet.model.public import event_json
from callsheet.model.records import EventRow, Row
from callsheet.ports import EventSink, Store

MAX_PASSING = 10_000
"""How many `agent.progress` and `agent.waiting` events are kept for followers; older ones say nothing any more."""


@dataclass(slots=True)
class Staged:
    """An event that has its number and is not seen yet: it waits for the disk."""

    event: Event
    is_released: bool = False


class EventBus:
    """Numbers events, writes them, and hands them out in order of `seq`.

    `emit` is for what may be seen at once; its row goes to disk with the next `flush` or `commit`. `commit` is for what
    must be on disk first: events that are emitted meanwhile wait behind it, so that nobody sees them out of order.

    Followers read one shared history, each at its own pace, and are never waited for. So that a long run stays small
    the history forgets all but the newest 10,000 `agent.progress` and `agent.waiting` events: a follower that comes
    late, or falls behind, misses older ones of these (its `seq` then jumps) and nothing else.

    After a `StoreError` nothing is written any more; events still reach sinks and followers.
    """

    def __init__(
        self,
        *,
        run_id: str,
        store: Store,
        sinks: Sequence[EventSink],
        stamp: Callable[[], str],
        redact_text: Callable[[str], str],
        on_store_error: Callable[[StoreError], None],
        after: int = 0,
        max_passing: int = MAX_PASSING,
    ) -> None:
        """Makes it; `after` is the number of the last event of the attempts before."""
        self._run_id = run_id
        self._store = store
        self._sinks = tuple(sinks)
        self._stamp = stamp
        self._redact = redact_text
        self._on_store_error = on_store_error
        self._max_passing = max_passing
        self._seq = after
        self._outbox: list[Row] = []
        self._store_error: StoreError | None = None
        self._line: deque[Staged] = deque()
        self._history: list[Event] = []
        self._passing = 0
        self._is_over = False
        self._news = anyio.Event()
        self._followers = 0

    # --- in ---------------------------------------------------------------------------------------------------------

    def emit(self, body: EventBody) -> Event:
        """Sends an event, redacted, to sinks and followers, and puts its row into the next batch."""
        return self._emit(self.stage(body))

    def emit_clean(self, body: EventBody) -> Event:
        """As `emit`, where thousands come at once: every text of the body is redacted already."""
        return self._emit(self.stage_clean(body, at=self._stamp()))

    def _emit(self, staged: Staged) -> Event:
        self._outbox.append(self.row(staged))
        self.release(staged)
        return staged.event

    def stage(self, body: EventBody) -> Staged:
        """Gives an event its number and place, redacted; it is seen once it is released."""
        return self.stage_clean(self._redacted(body), at=self._stamp())

    def stage_clean(self, body: EventBody, *, at: str) -> Staged:
        """As `stage`, where thousands come at once: every text of the body is redacted, `at` is a stamp of just now."""
        self._seq += 1
        staged = Staged(Event(run_id=self._run_id, seq=self._seq, at=at, body=body))
        self._line.append(staged)
        return staged

    def row(self, staged: Staged) -> EventRow:
        """The row of a staged event."""
        event = staged.event
        payload = to_json(event_json(event))
        return EventRow(run_id=event.run_id, seq=event.seq, at=event.at, event=event.name, payload=payload)

    def release(self, staged: Staged) -> None:
        """Lets a staged event be seen, as soon as all before it are."""
        staged.is_released = True
        self._send_released()

    def release_all(self) -> None:
        """Lets everything be seen that is staged: the run is over, and the disk has been waited for long enough."""
        for staged in self._line:
            staged.is_released = True
        self._send_released()

    def _send_released(self) -> None:
        while self._line and self._line[0].is_released:
            self._send(self._line.popleft().event)

    def add(self, *rows: Row) -> None:
        """Puts rows into the next batch."""
        self._outbox.extend(rows)

    async def flush(self) -> None:
        """Queues the batch for the disk; waits while the store's queue is full, which is what slows a flood (L03).

        A `StoreError` is told to the run, not raised: nothing that a caller does next depends on these rows.
        """
        if not self._outbox:
            return
        try:
            await self._write((), durable=False)
        except StoreError:
            return

    async def commit(self, rows: Iterable[Row], staged: Sequence[Staged] = ()) -> None:
        """Writes rows and staged events, with the batch before them, in one transaction; then lets the events be seen.

        Returns once they are on disk. However it ends, cancelled too, the events are released.

        Raises:
            StoreError: They are not on disk. The run has been told.
        """
        try:
            with in_bulk():
                batch = (*rows, *(self.row(one) for one in staged))
            await self.write(batch)
        finally:
            for one in staged:
                one.is_released = True
            self._send_released()

    async def write(self, rows: Iterable[Row]) -> None:
        """Writes rows, with the batch before them, in one transaction; returns once they are on disk.

        Raises:
            StoreError: They are not on disk. The run has been told.
        """
        await self._write(tuple(rows), durable=True)

    async def _write(self, rows: Sequence[Row], *, durable: bool) -> None:
        batch = (*self._outbox, *rows)
        self._outbox.clear()
        if self._store_error is not None:
            raise self._store_error
        try:
            await self._store.write(batch, durable=durable)
        except StoreError as error:
            if self._store_error is None:
                self._store_error = error
                self._on_store_error(error)
            raise

    # --- out --------------------------------------------------------------------------------------------------------

    async def follow(self, after: int = 0) -> AsyncGenerator[Event]:
        """All events of the run from the first one, or those after one, in order; ends after the last one.

        Safe to cancel or leave.
        """
        seen = after
        self._followers += 1
        try:
            while True:
                at = bisect_right(self._history, seen, key=_seq)
                if at < len(self._history):
                    event = self._history[at]
                    seen = event.seq
                    yield event
                elif self._is_over:
                    return
                else:
                    await self._news.wait()
        finally:
            self._followers -= 1

    def close(self) -> None:
        """Ends the stream for followers, whatever happened to the run."""
        self._is_over = True
        self._news.set()

    def _send(self, event: Event) -> None:
        self._history.append(event)
        if isinstance(event.body, AgentProgress | AgentWaiting):
            self._passing += 1
            if self._passing > 2 * self._max_passing:
                self._forget_passing()
        for sink in self._sinks:
            sink.on_event(event)
        if self._followers:
            self._news.set()
            self._news = anyio.Event()

    def _forget_passing(self) -> None:
        surplus = self._passing - self._max_passing
        kept: list[Event] = []
        for event in self._history:
            if surplus and isinstance(event.body, AgentProgress | AgentWaiting):
                surplus -= 1
            else:
                kept.append(event)
        self._history = kept
        self._passing = self._max_passing

    # --- redaction --------------------------------------------------------------------------------------------------

    def text(self, text: str) -> str:
        """A text as it may go out: secrets replaced (FORMATS 4)."""
        return self._redact(clean(text))

    def _optional(self, text: str | None) -> str | None:
        return None if text is None else self.text(text)

    def _pairs(self, pairs: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        return tuple((self.text(one), self.text(other)) for one, other in pairs)

    def _redacted(self, body: EventBody) -> EventBody:
        """The event with every free text of it redacted; results and their parts are redacted where they are made."""
        match body:
            case Log():
                return replace(body, message=self.text(body.message))
            case PhaseStarted():
                return replace(body, title=self.text(body.title))
            case AgentQueued():
                return replace(body, label=self.text(body.label), phase=self._optional(body.phase))
            case AgentProgress():
                return replace(body, tool_summary=self._optional(body.tool_summary))
            case AgentFinished(agent=agent):
                return AgentFinished(
                    agent=replace(
                        agent,
                        label=self.text(agent.label),
                        phase=self._optional(agent.phase),
                        error=self._optional(agent.error),
                    ),
                    result_preview=self._optional(body.result_preview),
                )
            case AgentWaiting() | RunStatusChanged():
                return replace(body, reason=self._optional(body.reason))
            case ApprovalAnswered():
                return replace(body, by=self.text(body.by))
            case AgentControlled():
                return replace(body, by=self.text(body.by), text=self._optional(body.text))
            case CheckpointTaken():
                return replace(body, left_out=self._pairs(body.left_out))
            case CheckpointRestored():
                written, removed = (tuple(map(self.text, paths)) for paths in (body.written, body.removed))
                return replace(body, written=written, removed=removed, left=self._pairs(body.left))
            case RunStarted() | RunFinished() | AgentStarted() | ApprovalAsked() | BudgetWarning():
                return body
            case _:
                assert_never(body)


def _seq(event: Event) -> int:
    return event.seq
