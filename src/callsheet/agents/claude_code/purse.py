"""What Claude Code's program may spend: set aside before each of its requests, settled after it (CONTRACT G04).

The requests are the program's, not ours, but it sends them at known moments: when it is told something, when all tools
of a reply have run, and when it goes on by itself after a reply that was cut off or broke. At each of these the next
request is reserved at its worst, as for our own, and where it does not fit the program is stopped instead.

What differs: how long its replies may be is said once, when it starts. Where less is left than then an agent ends, and
does not get shorter replies. And what the program adds to a prompt of its own accord is only known by the next count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import anyio

from callsheet.agents.anthropic.ledger import Prices
from callsheet.agents.bounding import bound_tokens, worst_usd
from callsheet.agents.claude_code.tally import Tally
from callsheet.errors import OverBudgetError
from callsheet.model.outcome import Usage
from callsheet.model.spending import Grant, Need, Paid
from callsheet.ports import AgentReporter

PROGRAM_TOKENS = 5_000
"""What the program says of itself and its surroundings at the beginning of a conversation."""

MORE_TOKENS = 1_000
"""What it adds to each further request: reminders, and that a reply is to go on that was cut off."""

FEWEST_TOKENS = 2_048
SHARE = 4
"""Where little is left, a reply may have a quarter of it, so that there is something left for the next."""

SETTLED_WITHIN_S = 5.0
_CLOSED_WITHIN_S = 0.5


class Purse:
    """Reserves for one agent.

    Attributes:
        model: That is asked for.
        request_tokens: What each reply may have at most; settled by `open`.
    """

    def __init__(
        self,
        *,
        model: str,
        request_tokens: int,
        window_tokens: int,
        opening_tokens: int,
        prices: Prices,
        has_own_price: Callable[[str], bool],
        tally: Tally,
        reporter: AgentReporter,
    ) -> None:
        """Makes it; nothing is reserved.

        Args:
            model: That is asked for.
            request_tokens: What each reply may have at most.
            window_tokens: How long a conversation may become; a long one is summed up by a request of its own.
            opening_tokens: How long system prompt and tools are at most.
            prices: What tokens cost.
            has_own_price: Whether somebody has said what a model costs.
            tally: What has been used.
            reporter: Of the agent.
        """
        self.request_tokens = request_tokens
        self.model = model
        self._window_tokens = window_tokens
        self._prices = prices
        self._is_own = has_own_price(model)
        self._tally = tally
        self._reporter = reporter
        self._pays: bool | None = True if self._is_own else None
        self._known_tokens = PROGRAM_TOKENS + opening_tokens
        self._added_tokens = self._sent_tokens = 0
        self._grant: Grant | None = None
        self._is_sent = False
        self._mark = Usage()
        self._is_settled = anyio.Event()
        self._reserving = anyio.Lock()

    @property
    def has_own_price(self) -> bool:
        """Whether somebody has said what the model costs."""
        return self._is_own

    @property
    def prompt_tokens(self) -> int:
        """How long the next request's prompt is at most."""
        return self._known_tokens + self._added_tokens - self._sent_tokens + MORE_TOKENS

    def added(self, content: Iterable[Any]) -> None:
        """Something was added to the conversation: what is said to the model, or results of its tools."""
        self._added_tokens += bound_tokens(content)

    # --- before a request -------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Reserves the first request, before the program is started, and settles how long its replies may be.

        Raises:
            OverBudgetError: There is no budget for it.
        """
        if self._reporter.counts_usd:
            await self._prices.load(self.model)
        grant = await self._reserve()
        if grant.output_tokens < self.request_tokens:
            fewest = min(FEWEST_TOKENS, grant.output_tokens)
            self.request_tokens = max(fewest, grant.output_tokens // SHARE)
        self._hold(grant)

    async def renew(self) -> None:
        """Reserves the next request, which is about to be sent; what is reserved and was not used stays.

        Raises:
            OverBudgetError: It does not fit.
        """
        async with self._reserving:
            if self._grant is not None and not self._is_sent:
                return
            await self.settle()
            self._hold(await self._whole(await self._reserve()))

    async def began(self) -> None:
        """A request is under way. One that the program has sent by itself is reserved now.

        Raises:
            OverBudgetError: It does not fit: the program has to be stopped.
        """
        if self._grant is None or self._is_sent:
            await self.renew()
        self._is_sent = True

    async def learned(self, *, is_unpriced: bool) -> None:
        """It is known by now what pays: what a plan or a cloud pays for has no price.

        Raises:
            OverBudgetError: Dollars are counted, and nobody knows what agents cost.
        """
        if self._pays is not None:
            return
        self._pays = not is_unpriced
        if is_unpriced and self._reporter.counts_usd:
            async with self._reserving:
                await self.settle()
                self._hold(await self._reserve())

    @property
    def is_overdrawn(self) -> bool:
        """Whether the reply that comes in is longer than was left for it."""
        return self._grant is not None and self._tally.reply_tokens > self._grant.output_tokens

    async def _reserve(self) -> Grant:
        return await self._reporter.reserve(self._need())

    async def _whole(self, grant: Grant) -> Grant:
        """The grant, unless dollars are counted and the program could ask for more than it covers."""
        if grant.output_tokens >= self.request_tokens or grant.usd is None or not self._reporter.counts_usd:
            return grant
        await self._reporter.report(Paid(n=grant.n, usage=Usage()))
        raise OverBudgetError(
            f"the agent's next reply may have {self.request_tokens:,} tokens, which Claude Code's program cannot be "
            f"told to shorten any more, and what is left is enough for {grant.output_tokens:,}"
        )

    def _hold(self, grant: Grant) -> None:
        self._grant, self._is_sent = grant, False
        self._mark = self._tally.total
        self._known_tokens, self._sent_tokens = self.prompt_tokens, self._added_tokens
        self._is_settled = anyio.Event()

    def _need(self) -> Need:
        prompt_tokens, tokens = self.prompt_tokens, self.request_tokens
        fixed_usd = output_usd = None
        is_paid = self._pays or (self._pays is None and self._reporter.counts_usd)
        if is_paid and self._prices.is_loaded:
            worst = worst_usd(self._prices.of, self.model, prompt_tokens)
            fixed_usd, output_usd = worst or (None, None)
        if fixed_usd is not None and output_usd is not None and prompt_tokens > self._window_tokens // 2:
            # The program may sum the conversation up before it goes on: a request of its own over all of it.
            fixed_usd, output_usd = 2 * fixed_usd, 2 * output_usd
        return Need(
            model=self.model,
            output_tokens=tokens,
            enough_tokens=tokens,
            fixed_usd=fixed_usd,
            output_usd=output_usd,
            remedy=self._remedy(),
            keeps_own_usd=self._pays is False,
        )

    def _remedy(self) -> str:
        price = f"say what it costs you: --price {self.model}=3/15, or [prices] in config.toml"
        if self._pays is False:
            return (
                f"a plan or a cloud pays for Claude Code here: give a budget of output tokens (--budget 2M), or {price}"
            )
        return price

    # --- after it ---------------------------------------------------------------------------------------------------

    def paid(self) -> Paid | None:
        """What the request under way came to, once: it has ended. None where none was sent."""
        if self._grant is None or not self._is_sent:
            return None
        self._known_tokens = self._tally.length_tokens or self._known_tokens
        return self._close(self._grant)

    async def settle(self) -> None:
        """Settles what is reserved, whatever became of it."""
        if self._grant is None:
            return
        paid = self.paid() or self._close(self._grant)
        await self._reporter.report(paid)

    async def until_settled(self) -> None:
        """Waits, for a moment at most, until the reply has been taken in whose tools have just run."""
        if self._is_sent:
            with anyio.move_on_after(SETTLED_WITHIN_S):
                await self._is_settled.wait()

    async def aclose(self) -> None:
        """Settles at the end of the agent, cancelled or not. Idempotent."""
        with anyio.move_on_after(_CLOSED_WITHIN_S, shield=True):
            self._tally.broke()
            await self.settle()

    def _close(self, grant: Grant) -> Paid:
        usage = self._tally.total.since(self._mark)
        self._grant, self._is_sent = None, False
        self._is_settled.set()
        return Paid(n=grant.n, usage=usage)
