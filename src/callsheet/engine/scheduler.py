"""Who works when: caps, priorities, order of arrival. Decides only; whoever calls it starts and ends the work.

Every step costs the logarithm of the number waiting at most (CONTRACT L02).
"""

from __future__ import annotations

import heapq

from callsheet.model.counts import MAX_CALLS

MAX_PARALLEL = 256


class Scheduler:
    """The calls of a run that wait and those at work, by their numbers.

    A call goes `add` → `take` → `release`, or `add` → `withdraw`; each exactly once. In between, one that waits for a
    person goes `park` → `want_back` → `take_back`, any number of times: meanwhile its place is another's.
    """

    def __init__(self, *, max_parallel: int, max_agents: int, max_calls: int = MAX_CALLS) -> None:
        """Makes an empty one.

        Args:
            max_parallel: Agents at work at a time, 1 to 256 (CONTRACT L01).
            max_agents: Agents that a run may have in all, at least 1 (CONTRACT L01).
            max_calls: Calls of any outcome (CONTRACT L03).

        Raises:
            ValueError: A cap is out of range.
        """
        if not 1 <= max_parallel <= MAX_PARALLEL:
            raise ValueError(f"agents at work at a time must be 1 to {MAX_PARALLEL}, not {max_parallel}")
        if max_agents < 1:
            raise ValueError(f"agents a run may start must be at least 1, not {max_agents}")
        self.max_parallel = max_parallel
        self.max_agents = max_agents
        self.max_calls = max_calls
        self.calls = 0
        self.accepted = 0
        self._heap: list[tuple[float, int, int]] = []
        self._waiting: dict[int, None] = {}
        self._working: set[int] = set()
        self._parked: set[int] = set()
        self._returning: dict[int, None] = {}

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return len(self._waiting)

    @property
    def working(self) -> int:
        """How many agents are at work."""
        return len(self._working)

    @property
    def begun(self) -> int:
        """How many agents were started and are not over: at work, parked, or on their way back."""
        return len(self._working) + len(self._parked) + len(self._returning)

    @property
    def has_turn(self) -> bool:
        """Whether a call waits and there is room for it, beside those that come back first."""
        return bool(self._waiting) and len(self._working) + len(self._returning) < self.max_parallel

    def count_call(self) -> int | None:
        """Counts one call of any sort; its number, or None once the run has made too many (CONTRACT L03)."""
        self.calls += 1
        return self.calls if self.calls <= self.max_calls else None

    @property
    def is_full(self) -> bool:
        """Whether the next call must be refused with AgentCapError (CONTRACT L01)."""
        return self.accepted >= self.max_agents

    def add(self, call: int, priority: float) -> int:
        """Lets a call wait for its turn; its number among the accepted ones."""
        assert not self.is_full and call not in self._waiting and call not in self._working
        self.accepted += 1
        self._waiting[call] = None
        heapq.heappush(self._heap, (-priority, self.accepted, call))
        return self.accepted

    def take(self) -> int | None:
        """The call whose turn it is, now at work: highest priority first, then first come; None if there is none."""
        if not self.has_turn:
            return None
        while True:
            _, _, call = heapq.heappop(self._heap)
            if call in self._waiting:
                del self._waiting[call]
                self._working.add(call)
                return call

    def release(self, call: int) -> None:
        """Takes out a call that was started, and frees the place where it had one."""
        assert self.has_begun(call)
        self._working.discard(call)
        self._parked.discard(call)
        self._returning.pop(call, None)

    def has_begun(self, call: int) -> bool:
        """Whether a call was started and is not over."""
        return call in self._working or call in self._parked or call in self._returning

    def is_working(self, call: int) -> bool:
        """Whether a call has a place at work."""
        return call in self._working

    def park(self, call: int) -> None:
        """Gives the place of a call at work to others, until it wants it back."""
        self._working.remove(call)
        self._parked.add(call)

    def want_back(self, call: int) -> None:
        """Lets a parked call wait for a place: before all that have not started, first come first."""
        if call in self._parked:
            self._parked.remove(call)
            self._returning[call] = None

    def take_back(self) -> int | None:
        """The call that comes back next, now at work again; None where none wants to, or there is no room."""
        if not self._returning or len(self._working) >= self.max_parallel:
            return None
        call = next(iter(self._returning))
        del self._returning[call]
        self._working.add(call)
        return call

    def withdraw(self, call: int) -> bool:
        """Takes back a call that still waits; False when it is at work or over."""
        if call not in self._waiting:
            return False
        del self._waiting[call]
        if len(self._heap) > 64 and len(self._heap) > 2 * len(self._waiting):
            self._heap = [entry for entry in self._heap if entry[2] in self._waiting]
            heapq.heapify(self._heap)
        return True
