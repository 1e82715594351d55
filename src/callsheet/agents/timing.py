"""Time as agents use it: passed in, so that tests do not wait."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import anyio

from callsheet.model.dataclass import dataclass


async def _wait(event: anyio.Event, seconds: float | None) -> None:
    with anyio.move_on_after(seconds):
        await event.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Clocks and sleep.

    Attributes:
        sleep: Waits seconds.
        wait: Waits for an event, at most seconds; None for as long as it takes.
        monotonic: Seconds, for durations.
        now: UTC, for what people and records are told.
        chance: Between 0 and 1, spreads retries of many agents.
    """

    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    wait: Callable[[anyio.Event, float | None], Awaitable[None]] = _wait
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    chance: Callable[[], float] = random.random

    def iso_in(self, seconds: float) -> str:
        """The time `seconds` from now, ISO 8601 UTC with milliseconds."""
        moment = self.now() + timedelta(seconds=seconds)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
