"""What a run has spent, and when that is enough (CONTRACT G03, L04)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from callsheet.model.events import BudgetWarning
from callsheet.model.outcome import Usage

SHARES = (0.5, 0.8, 0.95)
"""The shares of a budget at which people are told."""

BudgetKind = Literal["tokens", "usd", "cost_stop"]


@dataclass(slots=True, kw_only=True)
class _Pot:
    kind: BudgetKind
    total: float
    spent: float = 0.0

    def add(self, amount: float) -> BudgetWarning | None:
        before, self.spent = self.spent, self.spent + amount
        passed = [share for share in SHARES if before < share * self.total <= self.spent]
        return BudgetWarning(kind=self.kind, spent=self.spent, total=self.total) if passed else None


class Ledger:
    """The money and the output tokens of one run, nested workflows included.

    Two sums are kept. What is *booked* decides whether another agent may start. What is *shown* is what
    `budget.spent()` answers: the usage of the outcomes that the script was given, so that a script sees a number change
    with a reason for it (CONTRACT R08).

    Attributes:
        has_unknown_cost: Some usage had no price: the dollars are only what is known.
    """

    def __init__(self, *, tokens: int | None, usd: float | None, cost_stop_usd: float) -> None:
        self._tokens = _Pot(kind="tokens", total=tokens) if tokens is not None else None
        self._usd = _Pot(kind="usd", total=usd) if usd is not None else None
        bare = tokens is None and usd is None
        self._stop = _Pot(kind="cost_stop", total=cost_stop_usd) if bare else None
        self._booked_tokens = 0
        self._booked_usd = 0.0
        self._past_tokens = 0
        self._past_usd = 0.0
        self._given_tokens = 0
        self._given_usd = 0.0
        self.shown_tokens = 0
        self.shown_usd = 0.0
        self.has_unknown_cost = False

    def book(self, usage: Usage) -> tuple[BudgetWarning, ...]:
        """Counts what an agent used; the warnings that follow, at most one for each budget."""
        if usage.cost_usd is None:
            self.has_unknown_cost = True
        cost = usage.cost_usd or 0.0
        self._booked_tokens += usage.output_tokens
        self._booked_usd += cost
        warnings = (
            self._tokens.add(usage.output_tokens) if self._tokens else None,
            self._usd.add(cost) if self._usd else None,
            self._stop.add(cost) if self._stop else None,
        )
        return tuple(warning for warning in warnings if warning is not None)

    def book_past(self, usage: Usage) -> None:
        """Counts what earlier attempts at the run paid (CONTRACT R07); people were told of it then."""
        self.book(usage)
        self._past_tokens += usage.output_tokens
        self._past_usd += usage.cost_usd or 0.0

    def show_seen(self, tokens: int, usd: float | None) -> None:
        """Shows what was shown at this point of an earlier attempt (CONTRACT R08)."""
        self.shown_tokens = max(self.shown_tokens, tokens)
        self.shown_usd = max(self.shown_usd, usd or 0.0)

    def show_past(self) -> None:
        """Shows all that earlier attempts paid: what follows is new. Idempotent."""
        past = Usage(output_tokens=self._past_tokens, cost_usd=self._past_usd)
        self._past_tokens, self._past_usd = 0, 0.0
        self.show(past)

    def show(self, usage: Usage) -> None:
        """Counts a booked usage as seen: its outcome is being delivered, or never will be."""
        self._given_tokens += usage.output_tokens
        self._given_usd += usage.cost_usd or 0.0
        self.shown_tokens = max(self.shown_tokens, self._given_tokens)
        self.shown_usd = max(self.shown_usd, self._given_usd)

    def show_all(self) -> None:
        """Shows everything booked: a script that is refused over the budget must find nothing left in it."""
        self.shown_tokens = self._booked_tokens
        self.shown_usd = self._booked_usd

    def refusal(self) -> str | None:
        """Why no further agent may start, for a BudgetExceededError; None while there is budget left (CONTRACT G03)."""
        tokens, usd = self._tokens, self._usd
        if tokens is not None and tokens.spent >= tokens.total:
            return (
                f"the run's budget of {tokens.total:,} output tokens is spent ({int(tokens.spent):,}): "
                f"raise it with {self.more()}"
            )
        if usd is not None and usd.spent >= usd.total:
            return f"the run's budget of ${usd.total:,.2f} is spent (${usd.spent:,.2f}): raise it with {self.more()}"
        return None

    def stop(self) -> str | None:
        """Why a run without a budget starts no further agent; None while it may (CONTRACT L04)."""
        stop = self._stop
        if stop is None or stop.spent < stop.total:
            return None
        return (
            f"the run has cost ${stop.spent:,.2f} and has no budget of its own: without one no agent is started "
            f"beyond ${stop.total:,.2f}"
        )

    def more(self) -> str:
        """The flag that gives the run twice what it has; dollars in quotes, for the shell."""
        tokens = f"{2 * int(self._tokens.total)}" if self._tokens is not None else ""
        money = self._usd or self._stop
        dollars = f"${2 * money.total:g}" if money is not None else ""
        return f"--budget '{tokens} {dollars}'" if tokens and dollars else f"--budget {tokens or repr(dollars)}"

    @property
    def counts_money(self) -> bool:
        """Whether dollars decide anything in this run, so that an unknown price must be said."""
        return self._usd is not None or self._stop is not None
