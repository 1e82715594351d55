"""Time as agents use it: passed in, so that tests do not wait."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import anyio


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Clocks and sleep.

    Attributes:
        sleep: Waits seconds.
        monotonic: Seconds, for durations.
        now: UTC, for what people and records are told.
        chance: Between 0 and 1, spreads retries of many agents.
    """

    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    chance: Callable[[], float] = random.random

    def iso_in(self, seconds: float) -> str:
        """The time `seconds` from now, ISO 8601 UTC with milliseconds."""
        moment = self.now() + timedelta(seconds=seconds)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
