"""What can run out in a run: output tokens and dollars, of itself, of a phase, of an agent; and how that is said."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, TypeAlias

from callsheet.model.dataclass import dataclass
from callsheet.model.events import BudgetWarning
from callsheet.model.outcome import Usage
from callsheet.model.spending import Budget, Need

SHARES = (0.5, 0.8, 0.95)
"""The shares of a budget at which people are told."""

PICO = 10**12
"""Dollars are counted in whole trillionths: a token costs some ten thousands of these, and sums stay exact."""

Kind: TypeAlias = Literal["tokens", "usd", "cost_stop"]


@dataclass(slots=True, kw_only=True, eq=False)
class Pot:
    """One amount that can run out: output tokens, or trillionths of a dollar."""

    kind: Kind
    total: int
    spent: int = 0
    reserved: int = 0

    @property
    def left(self) -> int:
        """What is not spent; some of it may be reserved."""
        return self.total - self.spent

    @property
    def free(self) -> int:
        """What is neither spent nor reserved."""
        return self.left - self.reserved

    def add(self, amount: int) -> float | None:
        """Spends; the highest share that was passed by it, None where none was."""
        before, self.spent = self.spent, self.spent + amount
        return max((share for share in SHARES if before < share * self.total <= self.spent), default=None)


@dataclass(slots=True, kw_only=True, eq=False)
class Scope:
    """A run, a phase or an agent with budgets of its own.

    Attributes:
        name: The phase's title; empty for the run and for agents.
    """

    kind: Literal["run", "phase", "agent"]
    name: str = ""
    tokens: Pot | None = None
    usd: Pot | None = None

    def pots(self) -> Iterator[Pot]:
        """Those it has."""
        if self.tokens is not None:
            yield self.tokens
        if self.usd is not None:
            yield self.usd


def scope_of(kind: Literal["run", "phase", "agent"], budget: Budget, *, name: str = "") -> Scope:
    """A scope with the pots of a budget, full."""
    return Scope(
        kind=kind,
        name=name,
        tokens=None if budget.tokens is None else Pot(kind="tokens", total=budget.tokens),
        usd=None if budget.usd is None else Pot(kind="usd", total=int(budget.usd * PICO)),
    )


def pico_of(usd: float) -> int:
    """Rounded up: what is set aside is never less than what it stands for."""
    return math.ceil(usd * PICO)


def usd_text(pico: int) -> str:
    """Dollars for people; of small amounts more digits."""
    usd = pico / PICO
    return f"${usd:,.4f}" if 0 < usd < 0.1 else f"${usd:,.2f}"


def owned(scope: Scope, pot: Pot) -> str:
    """A budget, with whose it is."""
    amount = f"{pot.total:,} output tokens" if pot.kind == "tokens" else usd_text(pot.total)
    match scope.kind:
        case "run":
            return f"the run's budget of {amount}"
        case "phase":
            return f"the budget of {amount} of phase '{scope.name}'"
        case "agent":
            return f"its limit of {amount} ({'maxTokens' if pot.kind == 'tokens' else 'maxCost'})"


def spent_text(scope: Scope, pot: Pot) -> str:
    """That a budget is spent."""
    used = f"{pot.spent:,}" if pot.kind == "tokens" else usd_text(pot.spent)
    if scope.kind == "agent":
        unit = " output tokens" if pot.kind == "tokens" else ""
        return f"the agent used {used}{unit} of {owned(scope, pot)}"
    return f"{owned(scope, pot)} is spent ({used})"


def unpriced_text(scope: Scope, need: Need) -> str:
    """That dollars are counted and a price is missing, and what to do."""
    whose = {"run": "the run has a budget in dollars", "phase": f"phase '{scope.name}' has a budget in dollars"}
    why = whose.get(scope.kind, "the agent has a limit in dollars (maxCost)")
    return f"what {need.model} costs is not known, and {why}: {need.remedy}"


def doubled_text(tokens: Pot | None, money: Pot | None) -> str:
    """Twice of what there is, as `--budget` takes it; twice of what was spent where that is far more."""
    more = f"{_doubled(tokens)}" if tokens is not None else ""
    dollars = "" if money is None else _flag_usd(_doubled(money))
    return f"'{more} {dollars}'" if more and dollars else more or repr(dollars)


def _doubled(pot: Pot) -> int:
    """An amount with which a run can go on for a while."""
    return 2 * pot.total if 4 * pot.total >= 3 * pot.spent else 2 * pot.spent


def _flag_usd(pico: int) -> str:
    """Dollars as a flag takes them: no exponent, and no digits that say nothing."""
    digits = 2 if pico >= PICO else 6
    return f"${pico / PICO:.{digits}f}".rstrip("0").rstrip(".")


def sound(usage: Usage) -> Usage:
    """The usage as it can be counted: a backend may be anybody's, and a budget never grows by what one reports.

    Fewer tokens than none are none; a cost that is no amount of money is not known.
    """
    tokens = (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens)
    usd = (usage.cost_usd or 0.0, usage.estimated_usd)
    if min(tokens) >= 0 and all(0 <= amount < math.inf for amount in usd):
        return usage
    return Usage(
        input_tokens=max(0, usage.input_tokens),
        output_tokens=max(0, usage.output_tokens),
        cache_read_tokens=max(0, usage.cache_read_tokens),
        cache_write_tokens=max(0, usage.cache_write_tokens),
        cost_usd=None,
    )


def warning_text(warning: BudgetWarning) -> str:
    """How much of a budget is spent, for the log."""
    if warning.kind == "tokens":
        of = f"{int(warning.spent):,} of {int(warning.total):,} output tokens"
    else:
        of = f"{usd_text(round(warning.spent * PICO))} of {usd_text(round(warning.total * PICO))}"
    whose = f"the budget of phase '{warning.phase}'" if warning.phase is not None else "the budget"
    if warning.kind == "cost_stop":
        whose = "what a run without a budget may cost"
    return f"{warning.share:.0%} of {whose} is spent: {of}"
