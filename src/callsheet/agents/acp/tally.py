"""What an agent has used, as far as its program says."""

from __future__ import annotations

import math

from callsheet.model.outcome import Usage
from callsheet.model.spending import Paid
from callsheet.model.values import JsonValue

CHARS_PER_TOKEN = 4
"""Where a program does not count, its tokens are at least what it has written."""


class Tally:
    """Of one agent. The protocol's counts are those of the whole session, and so is its cost.

    Attributes:
        total: So far; the cost is unknown unless the program tells it, in dollars.
    """

    def __init__(self) -> None:
        self.total = Usage(cost_usd=0.0)
        self._cost_usd: float | None = None
        self._grant: int | None = None

    def began(self, grant: int) -> None:
        """A turn has begun, for which something is set aside."""
        self._grant = grant

    def cost(self, said: JsonValue) -> None:
        """The program says what the session has cost so far."""
        if isinstance(said, dict) and said.get("currency") == "USD":
            amount = said.get("amount")
            if isinstance(amount, int | float) and not isinstance(amount, bool) and math.isfinite(amount):
                self._cost_usd = max(self._cost_usd or 0.0, float(amount))

    def ended(self, said: JsonValue, *, chars: int) -> Paid | None:
        """A turn has ended; what it came to. None where none was under way.

        Args:
            said: The counts of the session, where the program gives them.
            chars: What it has written in this turn.
        """
        if self._grant is None:
            return None
        grant, self._grant = self._grant, None
        before = self.total
        counts = said if isinstance(said, dict) else {}
        output = _count(counts, "outputTokens")
        if output is None:
            output = before.output_tokens + math.ceil(chars / CHARS_PER_TOKEN)
        self.total = Usage(
            input_tokens=max(before.input_tokens, _count(counts, "inputTokens") or 0),
            output_tokens=max(before.output_tokens, output),
            cache_read_tokens=max(before.cache_read_tokens, _count(counts, "cachedReadTokens") or 0),
            cache_write_tokens=max(before.cache_write_tokens, _count(counts, "cachedWriteTokens") or 0),
            cost_usd=self._cost_usd,
        )
        return Paid(n=grant, usage=self.total.since(before))

    def broke(self, chars: int) -> Paid | None:
        """A turn broke off: what it came to, as far as can be known. None where none was under way."""
        return self.ended(None, chars=chars)


def _count(counts: dict[str, JsonValue], key: str) -> int | None:
    value = counts.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None
