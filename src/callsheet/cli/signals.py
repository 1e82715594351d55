"""Ctrl-C and termination: once, the run ends in order; twice, or after five seconds, at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from callsheet.cli.status import STOPPED

GRACE_S = 4.7
"""The time for an orderly end; what follows takes the rest of five seconds."""

_ECHO_S = 0.05
"""Seconds. A wrapper (`uv run`, `timeout`) passes on a Ctrl-C that the terminal sent to all: one signal."""

_SHOW_CURSOR = b"\x1b[?25h"


class StopSignals:
    """What signals ask for. Works outside the event loop, so that a loop that hangs can still be ended.

    Attributes:
        run_id: The run that the last line names, once there is one.
        first: The signal that asked for an orderly end; None while none has.
    """

    def __init__(self) -> None:
        self.run_id: str | None = None
        self.first: int | None = None
        self._put_back: Callable[[], object] | None = None
        self._first_at_s = 0.0
        self._on_stop: Callable[[], object] | None = None

    @contextmanager
    def installed(self) -> Iterator[StopSignals]:
        """Handles SIGINT, SIGTERM and SIGHUP inside the block.

        SIGHUP stays ignored where `nohup` made it so. SIGINT does not, though a shell script ignores it for what it
        starts in the background: who sends it there means it.
        """
        before: dict[int, Any] = {}
        for number in (int(signal.SIGINT), int(signal.SIGTERM), int(signal.SIGHUP)):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, self._take)
        before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._end_at_once)
        try:
            yield self
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_stop(self, stop: Callable[[], object]) -> None:
        """What the first signal does; until this is said the first ends the process as the second does."""
        self._on_stop = stop

    def on_end(self, put_back: Callable[[], object] | None) -> None:
        """What is put back of the terminal where the process ends at once; None for nothing."""
        self._put_back = put_back

    def disarm(self) -> None:
        """The run is over and recorded: nothing is left to be ended in order.

        Where an end was asked for it stays timed: a reader that stands still would else hold the command for ever.
        """
        self._on_stop = None

    def end_at_once(self) -> None:
        """Does what the second signal does."""
        self._end_at_once(signal.SIGINT, None)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if number == self.first and time.monotonic() - self._first_at_s < _ECHO_S:
            return
        if self.first is not None or self._on_stop is None:
            self._end_at_once(number, frame)
            return
        self.first, self._first_at_s = number, time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)
        self._on_stop()

    def _end_at_once(self, number: int, frame: FrameType | None) -> None:
        """Ends the process without a farewell: the sandbox's child and all commands die with it by their own signal."""
        cursor = _SHOW_CURSOR if os.isatty(2) else b""
        words = f"\nended at once. run: {self.run_id}\n" if self.run_id else "\nended before a run began\n"
        if self._put_back is not None:
            self._put_back()
        try:
            os.write(2, cursor + words.encode())
        finally:
            os._exit(STOPPED)
