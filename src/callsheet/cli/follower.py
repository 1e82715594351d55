"""Events on their way from the engine to a terminal or a pipe: by a thread, so that a slow reader never slows a run."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from anyio import to_thread

from callsheet.model.events import Event
from callsheet.ports import EventSink

_CLOSE_S = 2.0


class View(Protocol):
    """What is done with events; called from one thread only.

    Attributes:
        frame_s: The least time between two calls of `show`.
    """

    frame_s: float = 0.1

    def show(self, events: list[Event], remarks: list[str]) -> None:
        """Takes what came since the last call, both in order; at least one of them is not empty."""
        ...

    def tick(self) -> None:
        """Called about once a second while nothing comes."""
        ...

    def pause(self) -> None:
        """Leaves the screen to somebody else; the next call of `show` or `tick` may have it again."""
        ...

    def close(self) -> None:
        """Called once, after the last event."""
        ...


class _Last:
    """Nothing comes after this."""


class _Hold:
    """A time in which nothing is shown."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.over = threading.Event()


class Follower(EventSink):
    """Feeds a view from a thread of its own, in bunches, none sooner after another than the view likes.

    A view whose stream is gone (its reader ended, the disk is full) is not called again; `fault` then says why.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._queue: queue.SimpleQueue[Event | str | _Hold | _Last] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="callsheet-output", daemon=True)
        self.fault: OSError | None = None
        self._thread.start()

    def on_event(self, event: Event) -> None:
        self._queue.put(event)

    def remark(self, text: str) -> None:
        """Shows a line of our own among the events."""
        self._queue.put(text)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Keeps the view still: what came before is shown first, what comes meanwhile afterwards.

        Cancelling gives the view free.
        """
        hold = _Hold()
        self._queue.put(hold)
        try:
            await to_thread.run_sync(hold.begun.wait, abandon_on_cancel=True)
            yield
        finally:
            hold.begun.set()
            hold.over.set()

    def close(self, *, wait_s: float | None = _CLOSE_S) -> None:
        """Shows what is left and ends the thread.

        Args:
            wait_s: Seconds to wait for a stream that takes nothing; None waits until everything is written.
        """
        self._queue.put(_Last())
        self._thread.join(wait_s)

    def _work(self) -> None:
        is_last = False
        while not is_last:
            events, remarks, end = self._take()
            is_last = isinstance(end, _Last)
            if self.fault is None:
                try:
                    self._feed(events, remarks, end)
                except OSError as fault:
                    self.fault = fault
            if isinstance(end, _Hold):
                end.begun.set()
                end.over.wait()

    def _feed(self, events: list[Event], remarks: list[str], end: _Hold | _Last | None) -> None:
        if events or remarks:
            self._view.show(events, remarks)
        match end:
            case _Last():
                self._view.close()
            case _Hold():
                self._view.pause()
            case None if not events and not remarks:
                self._view.tick()

    def _take(self) -> tuple[list[Event], list[str], _Hold | _Last | None]:
        """What came: waits for the first, then gathers for a frame."""
        events: list[Event] = []
        remarks: list[str] = []
        timeout = 1.0
        frame_ends: float | None = None
        while True:
            try:
                item = self._queue.get(timeout=timeout)
            except queue.Empty:
                return events, remarks, None
            match item:
                case _Last() | _Hold():
                    return events, remarks, item
                case Event():
                    events.append(item)
                case str():
                    remarks.append(item)
            now = time.monotonic()
            frame_ends = frame_ends or now + self._view.frame_s
            timeout = frame_ends - now
            if timeout <= 0:
                return events, remarks, None
