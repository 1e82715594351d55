"""How long one agent puts up with a failing service (CONTRACT K01, K04)."""

from __future__ import annotations

from callsheet.agents.anthropic.faults import Fault
from callsheet.agents.timing import Timing
from callsheet.errors import BackendUnavailableError
from callsheet.model.reports import Waiting
from callsheet.ports import AgentReporter

RETRIES_IN_A_ROW = 10
MAX_OUTAGE_S = 15 * 60.0
FIRST_DELAY_S = 0.5
MAX_DELAY_S = 30.0


class Patience:
    """Counts failures in a row, and waits between them. A reply that came whole sets it back."""

    def __init__(self, timing: Timing, reporter: AgentReporter) -> None:
        self._timing = timing
        self._reporter = reporter
        self._failures = 0
        self._stalls = 0
        self._since_s: float | None = None

    def restored(self) -> None:
        """A request succeeded."""
        self._failures = self._stalls = 0
        self._since_s = None

    def stalled_again(self) -> bool:
        """Counts a silence; True when it is the second in a row."""
        self._stalls += 1
        return self._stalls > 1

    async def wait(self, fault: Fault) -> None:
        """Waits for as long as the service says, else with backoff; reports it.

        Raises:
            BackendUnavailableError: It has failed too often or for too long, or wants more time than there is.
        """
        now_s = self._timing.monotonic()
        self._since_s = now_s if self._since_s is None else self._since_s
        self._failures += 1
        delay_s = fault.retry_after_s
        if delay_s is None:
            backoff_s = min(FIRST_DELAY_S * 2 ** (self._failures - 1), MAX_DELAY_S)
            delay_s = backoff_s * (1 - 0.25 * self._timing.chance())
        left_s = MAX_OUTAGE_S - (now_s - self._since_s)
        if self._failures > RETRIES_IN_A_ROW or delay_s > left_s:
            raise unavailable(fault, self._timing, tries=self._failures)
        until = self._timing.iso_in(delay_s)
        limited = fault.cause == "rate_limit"
        await self._reporter.report(Waiting(why="rate limit" if limited else "service", until=until))
        await self._timing.sleep(delay_s)


def unavailable(fault: Fault, timing: Timing, *, tries: int = 1) -> BackendUnavailableError:
    """The error for a failure that the next agent would meet too."""
    retry_at = timing.iso_in(fault.retry_after_s) if fault.retry_after_s is not None else None
    tried = f" (tried {tries} times)" if tries > 1 else ""
    return BackendUnavailableError(f"{fault.message}{tried}", cause=fault.cause, retry_at=retry_at)
