"""What one agent has used, over all its requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

import anyio
from anyio import to_thread

from callsheet.agents.bounding import Price
from callsheet.model.outcome import Usage

if TYPE_CHECKING:
    from anthropic.types.beta import BetaCompactionIterationUsage

CHARS_PER_TOKEN = 4
"""For what the service did not count: a reply that broke off."""


class Prices:
    """A price list that may take half a second to load, which must not stop every other agent.

    Attributes:
        of: The price of tokens.
        is_loaded: Whether `of` answers at once.
    """

    def __init__(self, price: Price, search: Callable[[str], float | None] = lambda _model: None) -> None:
        """Loads nothing yet.

        Args:
            price: What tokens cost.
            search: What one search of the web costs; None where that is not known.
        """
        self.of = price
        self.of_search = search
        self._loading = anyio.Lock()
        self.is_loaded = False

    async def load(self, model: str) -> None:
        """Loads the list in a thread, the first time. Later calls return at once."""
        if self.is_loaded:
            return
        async with self._loading:
            if not self.is_loaded:
                await to_thread.run_sync(partial(self.of, model, input_tokens=0, output_tokens=0))
                self.is_loaded = True


class ServerTools(Protocol):
    """What the service did by itself in one request."""

    @property
    def web_search_requests(self) -> int: ...


class Counts(Protocol):
    """The service's count of one request."""

    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def cache_read_input_tokens(self) -> int | None: ...
    @property
    def cache_creation_input_tokens(self) -> int | None: ...
    @property
    def iterations(self) -> Sequence[Any] | None: ...
    @property
    def server_tool_use(self) -> ServerTools | None: ...
    @property
    def speed(self) -> Literal["standard", "fast"] | None: ...


class Ledger:
    """Sums usage and cost.

    Attributes:
        total: All requests so far, those that broke off included.
        model: The model that answered last, as the service named it.
        mode: `fast` once a request was served so.
        fast_price: What requests cost that are served fast, as a multiple; None where that is not known.
    """

    def __init__(self, prices: Prices, *, fast_price: float | None = None, priced_as: str | None = None) -> None:
        """Makes an empty one.

        Args:
            prices: What tokens cost.
            fast_price: What requests cost that are served fast, as a multiple; None where that is not known.
            priced_as: The id that is asked for, where it says more of the price than the id that the service names:
                platforms answer with Anthropic's ids, whichever region or profile was asked for.
        """
        self._prices = prices
        self.fast_price = fast_price
        self._priced_as = priced_as
        self.total = Usage()
        self.model: str | None = None
        self.mode: Literal["fast", "default"] = "default"

    async def open(self, model: str) -> None:
        """Makes ready to book: call it when a reply begins, so that loading prices goes on while it streams."""
        await self._prices.load(model)

    def book(self, model: str, counts: Counts) -> None:
        """Takes in a request that was answered to its end."""
        self.model = model
        self.mode = "fast" if counts.speed == "fast" else self.mode
        self.total += self._usage(model, counts, counts.output_tokens)
        if counts.server_tool_use is not None:
            self._book_searches(model, counts.server_tool_use.web_search_requests)
        for each in counts.iterations or ():
            if each.type == "compaction":  # not part of the counts around it
                self.total += self._compaction(model, each, counts)

    def book_broken(self, model: str, counts: Counts, received_chars: int, *, searches: int = 0) -> None:
        """Takes in a request whose reply broke off: input as the service counted it, output and searches estimated."""
        self._book_searches(model, searches, is_estimate=True)
        output_tokens = max(counts.output_tokens, received_chars // CHARS_PER_TOKEN)
        usage = self._usage(model, counts, output_tokens)
        price = self._price(model, input_tokens=0, output_tokens=output_tokens)
        estimated = self._at_speed(price, counts) or 0.0
        self.total += Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            cost_usd=usage.cost_usd,
            estimated_usd=estimated,
        )

    def _book_searches(self, model: str, searches: int, *, is_estimate: bool = False) -> None:
        if not searches:
            return
        asked = self._priced_as
        each = self._prices.of_search(asked) if asked is not None else None
        each = self._prices.of_search(model) if each is None else each
        cost_usd = None if each is None else searches * each
        self.total += Usage(cost_usd=cost_usd, estimated_usd=(cost_usd or 0.0) if is_estimate else 0.0)

    def _usage(self, model: str, counts: Counts, output_tokens: int) -> Usage:
        cache_read_tokens = counts.cache_read_input_tokens or 0
        cache_write_tokens = counts.cache_creation_input_tokens or 0
        cost_usd = self._price(
            model,
            input_tokens=counts.input_tokens,
            output_tokens=output_tokens,
            cache_read_tokens=cache_read_tokens,
            cache_write_tokens=cache_write_tokens,
        )
        return Usage(
            input_tokens=counts.input_tokens,
            output_tokens=output_tokens,
            cache_read_tokens=cache_read_tokens,
            cache_write_tokens=cache_write_tokens,
            cost_usd=self._at_speed(cost_usd, counts),
        )

    def _compaction(self, model: str, counts: BetaCompactionIterationUsage, around: Counts) -> Usage:
        tokens = {
            "input_tokens": counts.input_tokens,
            "output_tokens": counts.output_tokens,
            "cache_read_tokens": counts.cache_read_input_tokens,
            "cache_write_tokens": counts.cache_creation_input_tokens,
        }
        return Usage(**tokens, cost_usd=self._at_speed(self._price(model, **tokens), around))

    def _price(self, model: str, **tokens: int) -> float | None:
        asked = self._priced_as
        known = self._prices.of(asked, **tokens) if asked is not None else None
        return self._prices.of(model, **tokens) if known is None else known

    def _at_speed(self, cost_usd: float | None, counts: Counts) -> float | None:
        if counts.speed != "fast" or cost_usd is None:
            return cost_usd
        return None if self.fast_price is None else cost_usd * self.fast_price
