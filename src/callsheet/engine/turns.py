"""Turns of a script: what it is handed, and what it says to that; of what is on record several at once.

Each delivery is followed by all that the script says to it. What is on record is known before the script gets there,
and handing it in one at a time would have two processes wait for each other a thousand times. So what comes next is
handed in together, and each of it delivered only where the script said nothing to the one before: nothing that it says
can come too late, and the order is that of one at a time (CONTRACT R08).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from callsheet.engine.state import RunState
from callsheet.model.sandbox import Clock, Delivery, Idle, ScriptMessage
from callsheet.ports import ScriptSession

MOST_AHEAD: Final = 64
"""So many are handed in ahead at most: a run that is told to stop does so between two."""


class Turns:
    """Hands deliveries in, each with the world as the script is to see it by then.

    Args:
        state: Of the run.
        session: Its sandbox.
        is_open: Whether a script is still there, by its context.
    """

    def __init__(self, state: RunState, session: ScriptSession, *, is_open: Callable[[int], bool]) -> None:
        self._state = state
        self._session = session
        self._is_open = is_open
        self._heard: deque[ScriptMessage] = deque()
        self._ahead: deque[Delivery] = deque()
        self._reach = 0

    @property
    def is_ahead(self) -> bool:
        """Whether the script has what comes next on record already."""
        return bool(self._ahead)

    async def begin(self, delivery: Delivery, *, is_recorded: bool) -> None:
        """Hands a delivery in, unless that was done ahead; with one that is on record those that come next.

        Raises:
            SandboxError: As `ScriptSession.deliver`.
        """
        if self._ahead:
            assert self._ahead.popleft() is delivery, "another delivery than the script has got"
            return
        ledger = self._state.ledger
        clock = Clock(now_ms=self._state.clock.seen_ms, spent_tokens=ledger.shown_tokens, spent_usd=ledger.shown_usd)
        ahead = self._next(clock) if is_recorded and self._reach else []
        taken = await self._session.deliver(delivery, clock, ahead)
        self._ahead.extend(each for each, _ in ahead[:taken])

    async def hear(self) -> tuple[list[ScriptMessage], bool]:
        """What the script says next to what was handed in, as it comes, and whether that was all.

        Raises:
            SandboxError: As `ScriptSession.receive`.
        """
        if not self._heard:
            self._heard.extend(await self._session.receive())
        said: list[ScriptMessage] = []
        while self._heard:
            message = self._heard.popleft()
            said.append(message)
            if isinstance(message, Idle):
                self._end(message)
                return said, True
        return said, False

    def _end(self, idle: Idle) -> None:
        if idle.has_spoken:  # what was handed in ahead has not been delivered
            self._ahead.clear()
            self._reach = 0
        elif not self._ahead:
            self._reach = min(max(1, self._reach * 2), MOST_AHEAD)

    def _next(self, clock: Clock) -> list[tuple[Delivery, Clock]]:
        found: list[tuple[Delivery, Clock]] = []
        for one in self._state.replay.ahead(self._reach):
            if one.seen is None or not self._is_open(one.delivery.context):
                break
            clock = Clock(
                now_ms=max(clock.now_ms, one.seen.at_ms),
                spent_tokens=max(clock.spent_tokens, one.seen.spent_tokens),
                spent_usd=max(clock.spent_usd, one.seen.spent_usd or 0.0),
            )
            found.append((one.delivery, clock))
        return found
