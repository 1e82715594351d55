"""The script's timers: the host owns the clock (CONTRACT D06)."""

from __future__ import annotations

import heapq
import math

from callsheet.model.dataclass import dataclass

MAX_DELAY_MS = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Armed:
    """A timer that waits.

    Attributes:
        n: Its number in the run, from 1.
        due_ms: On the script's clock.
    """

    n: int
    context: int
    timer: int
    due_ms: int
    delay_ms: float


class Timers:
    """Timers of all contexts, in order of due time, then of being set."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []
        self._armed: dict[int, Armed] = {}
        self._by_name: dict[tuple[int, int], int] = {}
        self._set = 0

    def __len__(self) -> int:
        return len(self._armed)

    def set(self, context: int, timer: int, delay_ms: float, *, now_ms: int) -> Armed:
        """Arms a timer. `now_ms` is the script's clock of the turn, so that equal delays keep their order."""
        self.clear(context, timer)
        self._set += 1
        delay = min(max(delay_ms if math.isfinite(delay_ms) else 0.0, 0.0), MAX_DELAY_MS)
        due_ms = now_ms + math.ceil(delay)
        armed = Armed(n=self._set, context=context, timer=timer, due_ms=due_ms, delay_ms=delay)
        self._armed[self._set] = armed
        self._by_name[(context, timer)] = self._set
        heapq.heappush(self._heap, (due_ms, self._set))
        return armed

    def is_armed(self, armed: Armed) -> bool:
        """Whether a timer still waits."""
        return armed.n in self._armed

    def clear(self, context: int, timer: int) -> None:
        """Takes a timer back; one that fired or never was is no error."""
        n = self._by_name.pop((context, timer), None)
        if n is not None:
            del self._armed[n]

    def drop_context(self, context: int) -> None:
        """Takes back all timers of a script that is over."""
        for name in [name for name in self._by_name if name[0] == context]:
            self.clear(*name)

    def next(self) -> Armed | None:
        """The timer that is due first."""
        while self._heap:
            armed = self._armed.get(self._heap[0][1])
            if armed is not None:
                return armed
            heapq.heappop(self._heap)
        return None

    def fire(self, armed: Armed) -> None:
        """Takes out a timer that is being fired."""
        self.clear(armed.context, armed.timer)
