"""How long one agent goes on while only its own requests fail (CONTRACT K01, K04); for all of them see `circuit`."""

from __future__ import annotations

from callsheet.agents.anthropic.circuit import RETRIES_IN_A_ROW


class Patience:
    """Counts an agent's failures and silences in a row. A reply that came whole sets it back."""

    def __init__(self) -> None:
        self.failures = 0
        self.stalls = 0

    @property
    def goes_first(self) -> bool:
        """Whether the next request goes before those of other agents: once.

        One that fails whatever the service does must not be the only one by which the service is tried.
        """
        return self.failures + self.stalls == 1

    def restored(self) -> None:
        """A request succeeded, or the service was waited for: counting begins anew."""
        self.failures = self.stalls = 0

    def failed_too_often(self) -> bool:
        """Counts a failure; True when the agent should end of it."""
        self.failures += 1
        return self.failures > RETRIES_IN_A_ROW

    def stalled_again(self) -> bool:
        """Counts a silence; True when it is the second in a row."""
        self.stalls += 1
        return self.stalls > 1
