"""The times of a run: stamps for the record, and the clock that the script is shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache


def iso(epoch_ms: int) -> str:
    """A time as the record and every surface write it: ISO 8601, UTC, milliseconds, `Z`."""
    seconds, ms = divmod(epoch_ms, 1000)
    return f"{_iso_second(seconds)}.{ms:03d}Z"


@lru_cache(maxsize=64)
def _iso_second(epoch_s: int) -> str:
    """The part that stays the same for a thousand stamps."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat().removesuffix("+00:00")


class RunClock:
    """The clocks of one run; neither ever goes back, whatever is done to the machine's.

    The script's clock of a resumed run stands still but for what is shown, until `go_on`: the time between two attempts
    is none of the script's.

    Attributes:
        started_ms: The run's recorded start: the script's first `Date.now()` (CONTRACT D04).
        seen_ms: What the script's clock says now; it stands still while the script runs.
    """

    def __init__(
        self,
        started_ms: int | None = None,
        *,
        is_resumed: bool = False,
        wall_s: Callable[[], float] = time.time,
        elapsed_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._elapsed_s = elapsed_s
        self._origin_s = elapsed_s()
        self._wall_ms = int(wall_s() * 1000)
        self.started_ms = self._wall_ms if started_ms is None else started_ms
        self.seen_ms = self.started_ms
        self._base_ms: int | None = None if is_resumed else self.started_ms

    def elapsed_ms(self) -> int:
        """Milliseconds since the run was opened."""
        return int((self._elapsed_s() - self._origin_s) * 1000)

    def stamp(self) -> str:
        """The time of day for an entry of the record."""
        return iso(self._wall_ms + self.elapsed_ms())

    def unix_s(self) -> float:
        """The time of day in seconds since the epoch."""
        return (self._wall_ms + self.elapsed_ms()) / 1000

    def stamp_in(self, seconds: float) -> str:
        """The time of day so many seconds from now."""
        return iso(self._wall_ms + self.elapsed_ms() + round(seconds * 1000))

    def script_ms(self) -> int:
        """What the script's clock would say if it were moved on now."""
        return self.seen_ms if self._base_ms is None else max(self.seen_ms, self._base_ms + self.elapsed_ms())

    def show(self, at_ms: int) -> None:
        """Moves the script's clock to a time that it has shown before, in an earlier attempt (CONTRACT R08)."""
        self.seen_ms = max(self.seen_ms, at_ms)

    def go_on(self) -> None:
        """Lets the script's clock run on from what it shows, where it stood still."""
        if self._base_ms is None:
            self._base_ms = self.seen_ms - self.elapsed_ms()

    def move_on(self) -> int:
        """Moves the script's clock to now, for one delivery, and says what it shows."""
        self.seen_ms = self.script_ms()
        return self.seen_ms
