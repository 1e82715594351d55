"""The run's wait for a service that stays away (CONTRACT K05)."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime

import anyio
from anyio.abc import TaskGroup

from callsheet.engine.call import Call
from callsheet.engine.clock import iso
from callsheet.engine.ending import service_gone
from callsheet.engine.state import RunState
from callsheet.errors import BackendUnavailableError
from callsheet.model.events import AgentWaiting

FIRST_WAIT_S = 60.0
LONGEST_WAIT_S = 300.0

MARGIN_S = 0.05
"""So much later than the service names it is tried again: clocks differ, and times are written in milliseconds."""

SHOWN_S = 1.0
"""A wait that grows by less is not shown anew."""


class Backoff:
    """How long to wait next, over one outage and the ones after it. Decides only."""

    def __init__(self, max_wait_s: float, *, chance: Callable[[], float] = random.random) -> None:
        """Makes it.

        Args:
            max_wait_s: The longest that one outage is waited for, from its first failure on; 0 for not at all.
            chance: Between 0 and 1, spreads the waits of many runs.
        """
        self._max_wait_s = max_wait_s
        self._chance = chance
        self._began_s: float | None = None
        self._waits = 0
        self._waited_until_s = float("-inf")

    def wait_s(self, error: BackendUnavailableError, now_s: float, *, is_held: bool = False) -> float | None:
        """Seconds to wait before trying again; None where the run does not wait.

        A time that the service names is kept to, and one that is too far off is not waited for in vain. Where it names
        one again and again and never keeps it, waits grow all the same.

        Args:
            error: What an agent met.
            now_s: Unix time.
            is_held: The run waits already; only a time that is named counts then.
        """
        if not error.is_passing or self._max_wait_s <= 0:
            return None
        self._take_in(error, now_s)
        assert self._began_s is not None
        left_s = self._began_s + self._max_wait_s - now_s
        retry_s = _unix_s(error.retry_at)
        named_s = 0.0 if retry_s is None else max(0.0, retry_s - now_s)
        if left_s <= 0 or named_s > left_s:
            return None
        wait_s = named_s + MARGIN_S
        if not is_held:
            if retry_s is None or self._waits:
                backoff_s = min(FIRST_WAIT_S * 2.0 ** min(self._waits, 10), LONGEST_WAIT_S)
                wait_s = max(wait_s, min(backoff_s * (1 - 0.25 * self._chance()), left_s))
            self._waits += 1
        self._waited_until_s = max(self._waited_until_s, now_s + wait_s)
        return wait_s

    def passed(self) -> None:
        """An agent came to a good end: the service is there."""
        self._began_s = None
        self._waits = 0

    def _take_in(self, error: BackendUnavailableError, now_s: float) -> None:
        """Sees whether this is still the outage of before: the service says since when it has failed."""
        since_s = _unix_s(error.since)
        if since_s is not None:
            if since_s > self._waited_until_s:
                self._waits = 0
            self._began_s = since_s
        elif self._began_s is None:
            self._began_s = now_s


class Outage:
    """Holds a run while its service is away: nothing starts, nothing is delivered, agents under way wait."""

    def __init__(self, state: RunState, *, resume: Callable[[], None]) -> None:
        """Makes it; `resume` is called when the run goes on."""
        self._state = state
        self._resume = resume
        self._backoff = Backoff(state.settings.max_wait_s)
        self._until_s = self._shown_s = 0.0
        self._is_over = anyio.Event()
        self.tasks: TaskGroup | None = None

    async def hold(self, call: Call, error: BackendUnavailableError) -> None:
        """Waits with the run; the call's `timeout` stands still. Cancelling lets the run wait on.

        Raises:
            BackendUnavailableError: The run does not wait, and has been ended.
        """
        state = self._state
        if state.ending is None:
            self._take_in(error)
        if state.ending is not None:
            raise error
        is_over = self._is_over
        why = "rate limit" if error.cause == "rate_limit" else "service"
        state.bus.emit(AgentWaiting(agent_id=call.task.agent_id, why=why, until=self._until))
        await state.bus.flush()
        call.stop_clock()
        try:
            await is_over.wait()
        finally:
            call.start_clock()

    def passed(self) -> None:
        """An agent came to a good end."""
        if not self._state.is_held:
            self._backoff.passed()

    @property
    def _until(self) -> str:
        return iso(int(self._until_s * 1000))

    def _take_in(self, error: BackendUnavailableError) -> None:
        """Begins to hold the run, holds it longer where a later failure names a later time, or ends it."""
        state = self._state
        now_s = state.clock.unix_s()
        wait_s = self._backoff.wait_s(error, now_s, is_held=state.is_held)
        if wait_s is None:
            state.end(service_gone(error, state.run_id, max_wait_s=state.settings.max_wait_s))
            return
        self._until_s = max(now_s + wait_s, self._until_s)
        if not state.is_held:
            assert self.tasks is not None
            state.is_held = True
            self._is_over = anyio.Event()
            self.tasks.start_soon(self._wait_out)
        if self._until_s > self._shown_s + SHOWN_S:
            self._shown_s = self._until_s
            reason = f"{error.message.rstrip('.')} ({error.cause}). The run tries again at {self._until}."
            state.wait(self, reason, self._until)

    async def _wait_out(self) -> None:
        state = self._state
        await state.bus.flush()
        left_s = self._until_s - state.clock.unix_s()
        while left_s > 0:
            await anyio.sleep(left_s)
            left_s = self._until_s - state.clock.unix_s()
        if state.ending is not None:
            return
        state.is_held = False
        self._shown_s = 0.0
        state.wait_no_more(self)
        await state.bus.flush()
        self._is_over.set()
        self._resume()
        state.wake.set()


def _unix_s(stamp: str | None) -> float | None:
    """A backend's time; None where it gave none, or none that can be read."""
    try:
        return None if stamp is None else datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return None
