"""What a run's loop wants of whoever takes its calls: agents that work, or a record."""

from __future__ import annotations

from typing import Protocol

from anyio.abc import TaskGroup

from callsheet.engine.limits import Limits
from callsheet.model.outcome import CancelReason
from callsheet.model.sandbox import AgentCalled


class CallDesk(Protocol):
    """Takes calls and sees them through."""

    limits: Limits
    """What refuses calls."""

    @property
    def alive(self) -> int:
        """Accepted calls whose outcome is not on disk yet."""
        ...

    @property
    def begun(self) -> int:
        """Agents that were started and are not over: at work, or waiting for a person."""
        ...

    def employ(self, workers: TaskGroup) -> None:
        """Takes the task group that agents are worked off in."""
        ...

    async def called(self, called: AgentCalled, *, workflow: str | None, phase_above: str | None = None) -> None:
        """Accepts or refuses one call of `agent()`; `phase_above` is that of the script that started its workflow."""
        ...

    def pump(self) -> None:
        """Starts whoever may start: called after everything that can change that."""
        ...

    def close_context(self, context: int, reason: CancelReason) -> int:
        """Cancels the calls of a script that is over, waiting or at work; how many they were (CONTRACT A13)."""
        ...

    def close(self, reason: CancelReason) -> int:
        """Cancels every call, waiting or at work; how many they were. None is started any more."""
        ...

    async def abandon(self, why: str) -> None:
        """Records what is still not over as cancelled: the wait for it has been long enough."""
        ...

    def tell_strays(self) -> None:
        """Says which agents changed what is outside of their declared scope; for when all of them have ended."""
        ...

    async def quiet(self) -> None:
        """Waits until every accepted call is over and on disk."""
        ...
