"""Events on their way from the engine to a terminal or a pipe: by a thread, so that a slow reader never slows a run."""

from __future__ import annotations

import queue
import threading
import time
from typing import Protocol

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

    def close(self) -> None:
        """Called once, after the last event."""
        ...


class Follower(EventSink):
    """Feeds a view from a thread of its own, in bunches, none sooner after another than the view likes.

    A view whose stream is gone (its reader ended, the disk is full) is not called again; `fault` then says why.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._queue: queue.SimpleQueue[Event | str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="callsheet-output", daemon=True)
        self.fault: OSError | None = None
        self._thread.start()

    def on_event(self, event: Event) -> None:
        self._queue.put(event)

    def remark(self, text: str) -> None:
        """Shows a line of our own among the events."""
        self._queue.put(text)

    def close(self, *, wait_s: float | None = _CLOSE_S) -> None:
        """Shows what is left and ends the thread.

        Args:
            wait_s: Seconds to wait for a stream that takes nothing; None waits until everything is written.
        """
        self._queue.put(None)
        self._thread.join(wait_s)

    def _work(self) -> None:
        is_last = False
        while not is_last:
            events, remarks, is_last = self._take()
            if self.fault is not None:
                continue
            try:
                if events or remarks:
                    self._view.show(events, remarks)
                elif not is_last:
                    self._view.tick()
                if is_last:
                    self._view.close()
            except OSError as fault:
                self.fault = fault

    def _take(self) -> tuple[list[Event], list[str], bool]:
        """What came: waits for the first, then gathers for a frame."""
        events: list[Event] = []
        remarks: list[str] = []
        timeout = 1.0
        frame_ends: float | None = None
        while True:
            try:
                item = self._queue.get(timeout=timeout)
            except queue.Empty:
                return events, remarks, False
            match item:
                case None:
                    return events, remarks, True
                case Event():
                    events.append(item)
                case str():
                    remarks.append(item)
            now = time.monotonic()
            frame_ends = frame_ends or now + self._view.frame_s
            timeout = frame_ends - now
            if timeout <= 0:
                return events, remarks, False
