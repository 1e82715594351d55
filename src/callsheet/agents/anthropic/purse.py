"""What one agent's next request may cost at worst, asked for before it is sent and settled after it (CONTRACT G04).

The prompt is bounded, not counted: the service has an end point that counts tokens, but asking it would double the
requests, and gateways often lack it. What is known exactly is how long the conversation was with the last reply; what
was added since has at most one token for each byte of its UTF-8. So only what is new is overestimated.

What cannot be known before: how the service words tools for its model (a fixed allowance stands for it), how many
tokens a PDF file has (as many as its base64 has characters are set aside, which a compressed one may pass once; the
next request knows), and what tools of the service bring in by themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anthropic.types.beta import BetaMessage

from callsheet.agents.anthropic.faults import name_of
from callsheet.agents.anthropic.ledger import Ledger, Prices
from callsheet.agents.anthropic.searches import MAX_USES
from callsheet.agents.anthropic.terms import Terms
from callsheet.agents.bounding import bound_tokens, worst_usd
from callsheet.model.spending import Need, Paid
from callsheet.ports import AgentReporter

ENOUGH_TOKENS = 4_096
"""A request goes at once with so many tokens of a reply; with fewer it waits for others. Four times as many after each
reply that was cut off: it is to become whole."""

OPENING_TOKENS = 1_000
"""What the service adds to a prompt of its own accord: how tools are to be called."""

SEARCH_TOKENS = 10_000
"""What one search of the web by the service may bring into the prompt; what it does bring cannot be known before."""

SETTLE_LIMIT_S = 0.5


class Purse:
    """Reserves for one agent.

    Attributes:
        tokens: What the reply to the last request could have at most.
    """

    def __init__(self, terms: Terms, *, ledger: Ledger, prices: Prices, reporter: AgentReporter) -> None:
        self._terms = terms
        self._ledger = ledger
        self._prices = prices
        self._reporter = reporter
        self._known_tokens: int | None = None
        self._new_tokens = 0
        self._paid: Paid | None = None
        self.tokens = terms.request_tokens

    @property
    def is_short(self) -> bool:
        """Whether the last request was given fewer tokens than its model could have written."""
        return self.tokens < self._terms.request_tokens

    # --- how long the prompt is -------------------------------------------------------------------------------------

    def added(self, content: Iterable[Any]) -> None:
        """Something was added to the conversation."""
        self._new_tokens += bound_tokens(content)

    def goes_on(self, known_tokens: int | None, *, is_exact: bool = True) -> None:
        """The conversation is one from the record, so long by the service's count; None where that is not known.

        Unless the count `is_exact` it is of requests with another beginning: then that of this agent's counts besides.
        """
        more = 0 if is_exact else OPENING_TOKENS + self._terms.opening_tokens
        self._known_tokens = None if known_tokens is None else known_tokens + more

    def began_again(self) -> None:
        """The conversation was replaced by what is added from now on."""
        self._known_tokens = None
        self._new_tokens = 0

    def _took(self, reply: BetaMessage) -> None:
        usage = reply.usage
        cached_tokens = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        self._known_tokens = usage.input_tokens + cached_tokens + usage.output_tokens
        self._new_tokens = 0

    @property
    def prompt_tokens(self) -> int:
        """How long the next request's prompt is at most."""
        if self._known_tokens is None:
            return OPENING_TOKENS + self._terms.opening_tokens + self._new_tokens
        return self._known_tokens + self._new_tokens

    # --- one request ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def request(self, *, cut_offs: int, is_compacting: bool, searches: bool) -> AsyncIterator[_Request]:
        """A place in the budget for one request; entering waits for it. What the block books is what it came to.

        Left by an error it is settled at once; else by `paid`, with the reply.

        Args:
            cut_offs: How many replies in a row were cut off at their limit of tokens.
            is_compacting: The request asks for a summary first, and so has the prompt twice.
            searches: The service may search the web while it replies.

        Raises:
            OverBudgetError: There is none.
        """
        if self._reporter.counts_usd:
            await self._prices.load(self._terms.model)
        grant = await self._reporter.reserve(
            self._need(cut_offs, twice=is_compacting, searches=MAX_USES if searches else 0)
        )
        self.tokens = grant.output_tokens
        before = self._ledger.total
        request = _Request(grant.output_tokens)
        try:
            yield request
        except BaseException as error:
            paid = Paid(n=grant.n, usage=self._ledger.total.since(before), fault=name_of(error))
            with anyio.move_on_after(SETTLE_LIMIT_S, shield=True):
                await self._reporter.report(paid)
            raise
        if request.reply is not None:
            self._took(request.reply)
        self._paid = Paid(n=grant.n, usage=self._ledger.total.since(before))

    def paid(self) -> Paid | None:
        """What the last request came to, once: it goes with the message that was paid for."""
        paid, self._paid = self._paid, None
        return paid

    def _need(self, cut_offs: int, *, twice: bool, searches: int) -> Need:
        terms = self._terms
        want = terms.request_tokens
        fixed_usd, output_usd = self._worst_usd(self.prompt_tokens + searches * SEARCH_TOKENS)
        if searches and fixed_usd is not None:
            fee_usd = self._prices.of_search(terms.model)
            fixed_usd = None if fee_usd is None else fixed_usd + searches * fee_usd
        if twice and fixed_usd is not None and output_usd is not None:
            # The summary's own request is billed beside the one that goes on from it, with a reply of its own.
            fixed_usd, output_usd = 2 * fixed_usd, 2 * output_usd
        return Need(
            model=terms.model,
            output_tokens=want,
            enough_tokens=min(want, ENOUGH_TOKENS << 2 * min(cut_offs, 8)),
            fixed_usd=fixed_usd,
            output_usd=output_usd,
            remedy=_remedy(terms, searches=bool(searches)),
        )

    def _worst_usd(self, prompt_tokens: int) -> tuple[float | None, float | None]:
        """The dearest that a prompt of this length can be, and each token of the reply to it."""
        if not self._prices.is_loaded:
            return None, None
        worst = worst_usd(self._prices.of, self._terms.model, prompt_tokens)
        if worst is None:
            return None, None
        fixed, each = worst
        if not self._terms.is_fast:
            return fixed, each
        fast = self._ledger.fast_price
        return (None, None) if fast is None else (fixed * max(1.0, fast), each * max(1.0, fast))


class _Request:
    """A request under way: the tokens that its reply may have; `reply` is set when it came whole."""

    __slots__ = ("reply", "tokens")

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.reply: BetaMessage | None = None


def _remedy(terms: Terms, *, searches: bool) -> str:
    mode = " (its fast mode has no price of its own: leave out `speed`)" if terms.is_fast else ""
    mode += " (what its searches cost may be what is not known: leave out WebSearch)" if searches else ""
    return (
        f"give its price, dollars for a million tokens of input and output: --price {terms.model}=3/15, or [prices] in "
        f"config.toml{mode}"
    )
