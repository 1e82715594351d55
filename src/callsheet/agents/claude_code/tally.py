"""What one agent has used, from what Claude Code's program passes on of the service's own counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callsheet.agents.anthropic.ledger import CHARS_PER_TOKEN, Prices
from callsheet.model.outcome import Usage

_COUNTS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_write_tokens": "cache_creation_input_tokens",
}
"""Ours, and the service's name for it."""

_TOTALS = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "cache_read_tokens": "cacheReadInputTokens",
    "cache_write_tokens": "cacheCreationInputTokens",
}
"""Ours, and the program's name for it."""


class Tally:
    """Sums usage and cost.

    Attributes:
        total: All requests so far, those that broke off included.
        requests: How many were answered, at least in part.
        model: The model that answered last, as the service named it.
        is_unpriced: What tokens cost is not known.
        length_tokens: How long the conversation was with the last reply; None where that was not counted to its end.
    """

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._open: dict[str, int] | None = None
        self._chars = 0
        self._is_counted = False
        self.total = Usage()
        self.requests = 0
        self.model: str | None = None
        self.is_unpriced = False
        self.length_tokens: int | None = None

    @property
    def reply_tokens(self) -> int:
        """Output tokens of the reply that comes in, an estimate."""
        return self._chars // CHARS_PER_TOKEN

    @property
    def tokens(self) -> int:
        """Output tokens so far; an estimate while a reply comes in."""
        return self.total.output_tokens + self.reply_tokens

    async def began(self, message: Mapping[str, Any]) -> None:
        """The service has begun to answer a request."""
        self.broke()
        self.requests += 1
        self.model = str(message.get("model") or self.model)
        if not self.is_unpriced:
            await self._prices.load(self.model)
        self._open, self.length_tokens, self._is_counted = dict.fromkeys(_COUNTS, 0), None, False
        self._count(message.get("usage"))

    def came(self, text: str) -> None:
        """More of the reply came in."""
        self._chars += len(text)

    def counted(self, usage: object) -> None:
        """The service's last count of a request."""
        self._is_counted = True
        self._count(usage)

    def ended(self) -> None:
        """The reply has come to its end. The program says so as well of one that broke off: without a last count."""
        if not self._is_counted:
            self.broke()
        if self._open is not None:
            self._book(self._open)
            self.length_tokens = sum(self._open.values())
        self._open, self._chars = None, 0

    def broke(self) -> None:
        """A reply that has begun, should there be one, will have no end: output is estimated."""
        if self._open is not None:
            self._open["output_tokens"] = max(self._open["output_tokens"], self.reply_tokens)
            self._book(self._open, is_estimate=True)
        self._open, self._chars = None, 0

    def settle(self, totals: Mapping[str, Any] | None) -> None:
        """Takes in what the program has counted beyond what was seen: summaries of long conversations."""
        if not totals:
            return
        counted = {ours: sum(_number(each.get(its)) for each in totals.values()) for ours, its in _TOTALS.items()}
        unseen = {ours: max(0, number - getattr(self.total, ours)) for ours, number in counted.items()}
        if any(unseen.values()):
            self._book(unseen)

    def _count(self, usage: object) -> None:
        if self._open is None or not isinstance(usage, Mapping):
            return
        for ours, its in _COUNTS.items():
            if (number := _number(usage.get(its))) > 0:
                self._open[ours] = number

    def _book(self, counts: Mapping[str, int], *, is_estimate: bool = False) -> None:
        cost_usd = estimated_usd = None
        if not self.is_unpriced and self.model is not None:
            cost_usd = self._prices.of(self.model, **counts)
            estimated_usd = self._prices.of(self.model, input_tokens=0, output_tokens=counts["output_tokens"])
        estimated = (estimated_usd or 0.0) if is_estimate else 0.0
        self.total += Usage(**counts, cost_usd=cost_usd, estimated_usd=estimated)


def _number(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
