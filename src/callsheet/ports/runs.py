"""A run: its record, what people can do to it, and who follows it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from callsheet.model.approval import PersonsVerdict
from callsheet.model.events import ApprovalAsked, Event
from callsheet.model.records import Row


class Store(Protocol):
    """The record: on disk first, then seen (DESIGN 8)."""

    @property
    def path(self) -> str:
        """Where the record lies."""
        ...

    async def write(self, rows: Sequence[Row], *, durable: bool) -> None:
        """Writes rows in order, all or none.

        Args:
            rows: One transaction's worth.
            durable: True returns when they are fsync'd; writes that arrive together are committed together. False
                returns when they are queued, and waits while the queue is full.

        Cancelling the wait does not take the rows back.

        Raises:
            StoreError: The disk is full, the file is damaged or not writable. Every later write raises the same.
        """
        ...

    async def aclose(self) -> None:
        """Writes what is queued and closes. Idempotent.

        Raises:
            StoreError: What was queued could not be written.
        """
        ...


class RunControls(Protocol):
    """What people can do to a run that goes on, from this process or, over its control socket, from another.

    `by` says who, in events, log and record. What has been done is not done twice: it then gives False.

    Raises:
        NotFoundError: The run has no such agent or question; says which there are.
        ControlRefusedError: It cannot be done (any more); says why.
    """

    @property
    def run_id(self) -> str:
        """The run's name."""
        ...

    def events(self, after: int = 0) -> AsyncGenerator[Event]:
        """Its events with a greater `seq` than given, in order; ends after `run.finished`."""
        ...

    async def stop(self) -> None:
        """Ends the run as Ctrl-C does; returns when its record is closed."""
        ...

    async def pause(self, *, by: str = ...) -> bool:
        """Starts no further agent until `go_on`."""
        ...

    async def go_on(self, *, by: str = ...) -> bool:
        """Starts agents again after `pause`."""
        ...

    async def skip(self, agent_id: str, *, by: str = ...) -> bool:
        """Ends an agent as `skipped`."""
        ...

    async def stop_agent(self, agent_id: str, *, by: str = ...) -> bool:
        """Ends an agent as `cancelled`."""
        ...

    async def restart(self, agent_id: str, *, by: str = ...) -> bool:
        """Starts an agent's call over."""
        ...

    async def message(self, agent_id: str, text: str, *, by: str = ...) -> None:
        """Sends a message to an agent."""
        ...

    def questions(self) -> Sequence[ApprovalAsked]:
        """The questions that wait for a person's answer now."""
        ...

    async def answer(
        self,
        question_id: str,
        verdict: PersonsVerdict,
        *,
        words: str | None = None,
        more_usd: float | None = None,
        by: str = ...,
    ) -> None:
        """Answers one of them; `more_usd` goes with `once`, where it is about what the run may cost."""
        ...


class EventSink(Protocol):
    """A surface, or anything else that follows a run."""

    def on_event(self, event: Event) -> None:
        """Takes one event. Must return at once: it is called on the engine's loop, in order of `seq`."""
        ...
