"""Time and agents of a rehearsal: agents answer at once, and the clock jumps to whatever comes next.

A run with it is a discrete-event simulation: an agent takes as long as it is said to, a timer as long as it was set to,
and of all that is under way the earliest comes next, the script having come to rest before it. So nothing waits for
real time, two rehearsals go alike, and a script that races an agent against a timer sees the one win that would.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable
from dataclasses import field

import anyio

from callsheet.model.call import AgentTask
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import AgentOutcome, CancelReason
from callsheet.ports import AgentHandle, AgentReporter, Executor


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How an agent of a rehearsal ends, and how long it is said to take."""

    outcome: AgentOutcome
    duration_s: float


Play = Callable[[AgentTask, AgentReporter], Awaitable[Played]]
"""Says how an agent would end; touches nothing."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Acting(AgentHandle):
    """An agent that waits for its time to come."""

    end: AgentOutcome
    is_over: anyio.Event = field(default_factory=anyio.Event)

    async def outcome(self) -> AgentOutcome:
        await self.is_over.wait()
        return self.end

    async def cancel(self, reason: CancelReason) -> None:
        if not self.is_over.is_set():
            self.end = AgentOutcome(status="cancelled", attempts=0)
            self.is_over.set()

    async def message(self, text: str) -> bool:
        return False


class Simulation(Executor):
    """The executor of a rehearsal, and its clock.

    Attributes:
        most_at_once: Agents that were at work at one time, at most.
        on_arrival: Called when an agent has begun.
    """

    def __init__(self, play: Play) -> None:
        self._play = play
        self._now_s = 0.0
        self._acting: list[tuple[float, int, _Acting]] = []
        self.most_at_once = 0
        self.on_arrival: Callable[[], None] = lambda: None

    def elapsed_s(self) -> float:
        """Seconds since the rehearsal began, on its own clock."""
        return self._now_s

    async def submit(self, task: AgentTask, reporter: AgentReporter) -> AgentHandle:
        played = await self._play(task, reporter)
        acting = _Acting(end=played.outcome)
        heapq.heappush(self._acting, (self._now_s + max(0.0, played.duration_s), task.call, acting))
        self.on_arrival()
        return acting

    def pass_time(self, *, begun: int, timer_s: float | None) -> bool:
        """Goes to what comes next, once all agents that were started have begun; False where nothing can be done yet.

        Args:
            begun: Agents that were started and are not over.
            timer_s: In how many seconds the next timer is due; None without one.
        """
        self._drop_cancelled()
        if len(self._acting) < begun:
            return False
        self.most_at_once = max(self.most_at_once, len(self._acting))
        ends_s = self._acting[0][0] if self._acting else None
        due_s = None if timer_s is None else self._now_s + timer_s
        if due_s is not None and (ends_s is None or due_s <= ends_s):
            self._now_s = max(self._now_s, due_s)
            return True
        if ends_s is not None:
            _, _, acting = heapq.heappop(self._acting)
            self._now_s = max(self._now_s, ends_s)
            acting.is_over.set()
        return False

    async def aclose(self) -> None:
        for _, _, acting in self._acting:
            await acting.cancel("run_failed")
        self._acting.clear()

    def _drop_cancelled(self) -> None:
        if any(acting.is_over.is_set() for _, _, acting in self._acting):
            self._acting = [each for each in self._acting if not each[2].is_over.is_set()]
            heapq.heapify(self._acting)
