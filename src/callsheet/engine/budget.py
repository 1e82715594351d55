"""What a run has spent, and what it may spend still: for itself, for its phases, for each agent.

A state machine and nothing else: what a request may cost at worst is reserved before it is sent and settled after it
(CONTRACT G04), so that what is spent and reserved together never passes a total. Nothing here waits, writes or shows.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TypeAlias

from callsheet.engine.accounts import Account, Held, reserve, rest_of
from callsheet.engine.pots import (
    PICO,
    Pot,
    Scope,
    doubled_text,
    owned,
    pico_of,
    scope_of,
    spent_text,
    unpriced_text,
    usd_text,
)
from callsheet.model.dataclass import dataclass
from callsheet.model.events import BudgetWarning
from callsheet.model.outcome import Usage
from callsheet.model.spending import Budget, Grant, Need, Paid


@dataclass(frozen=True, slots=True, kw_only=True)
class Short:
    """There may be enough as soon as other requests are settled: those that reserve in this scope."""

    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """It does not fit, whatever becomes of the requests under way.

    Attributes:
        scope: Which budget it does not fit into.
        says: Why, and what to do.
        is_unpriced: No price is known, and the scope counts dollars.
    """

    scope: Scope
    says: str
    is_unpriced: bool = False


Decision: TypeAlias = Grant | Short | Refusal


class Ledger:
    """The money and the output tokens of one run, nested workflows included.

    Two sums are kept. What is *booked* decides whether another agent may start. What is *shown* is what
    `budget.spent()` answers: the usage of the outcomes that the script was given, so that a script sees a number change
    with a reason for it (CONTRACT R08).

    Attributes:
        booked_pico: Trillionths of a dollar that were paid, as far as that is known.
        has_unknown_cost: Some usage had no price: the dollars are only what is known.
    """

    def __init__(
        self,
        *,
        tokens: int | None,
        usd: float | None,
        cost_stop_usd: float,
        phases: Mapping[str, Budget] | None = None,
    ) -> None:
        """Makes the ledger of a run that has spent nothing.

        Args:
            tokens: Output tokens of the whole run; None for no budget.
            usd: Dollars of the whole run; None for no budget.
            cost_stop_usd: Where a run with neither starts no further agent (CONTRACT L04); 0 for nowhere.
            phases: Budgets of phases, by title or glob; each phase that one matches has so much, the first that
                matches counts.
        """
        self._run = scope_of("run", Budget(tokens=tokens, usd=usd))
        stops = tokens is None and usd is None and cost_stop_usd > 0
        self._stop = Pot(kind="cost_stop", total=pico_of(cost_stop_usd)) if stops else None
        self._phase_budgets = dict(phases or {})
        self._phases: dict[str, Scope | None] = {}
        self._last = 0
        self._booked_tokens = 0
        self.booked_pico = 0
        self._past_tokens = 0
        self._past_usd = 0.0
        self._given_tokens = 0
        self._given_usd = 0.0
        self.shown_tokens = 0
        self.shown_usd = 0.0
        self.has_unknown_cost = False

    # --- accounts ---------------------------------------------------------------------------------------------------

    def open_account(self, *, phases: Iterable[str] = (), own: Budget | None = None) -> Account:
        """The account of an agent that stands in some phases, its caller's among them, and has limits of its own."""
        scopes = [scope_of("agent", own)] if own else []
        scopes += [scope for title in dict.fromkeys(phases) if (scope := self._phase(title)) is not None]
        if self._run.tokens is not None or self._run.usd is not None:
            scopes.append(self._run)
        return Account(scopes=tuple(scopes))

    def _phase(self, title: str) -> Scope | None:
        if not self._phase_budgets:
            return None
        if title not in self._phases:
            matching = (budget for glob, budget in self._phase_budgets.items() if fnmatchcase(title, glob))
            budget = self._phase_budgets.get(title) or next(matching, None)
            self._phases[title] = None if budget is None else scope_of("phase", budget, name=title)
        return self._phases[title]

    # --- one request: reserved, settled -----------------------------------------------------------------------------

    def reserve(self, account: Account, need: Need, *, barred: Collection[Scope] = ()) -> Decision:
        """Sets aside what a request may use at worst, or says why not. A grant is settled exactly once.

        Args:
            account: Of the agent that sends it.
            need: What the request may use; it is given fewer tokens of the reply where fewer are left.
            barred: Scopes that others wait for, who go first.
        """
        has_price = need.fixed_usd is not None and need.output_usd is not None
        in_usd = (scope for scope in account.scopes if scope.usd is not None)
        counts_usd = next((one for one in in_usd if not (need.keeps_own_usd and one.kind == "agent")), None)
        if counts_usd is not None and not has_price:
            return Refusal(scope=counts_usd, says=unpriced_text(counts_usd, need), is_unpriced=True)
        fixed, rate = pico_of(need.fixed_usd or 0.0), pico_of(need.output_usd or 0.0)
        fits_now = fits_ever = need.output_tokens
        tightest = narrowest = account.scopes[0] if account.scopes else self._run
        can_grow = False
        for scope in account.scopes:
            for pot in scope.pots():
                now, ever = (_fitting(amount, pot, fixed, rate, need) for amount in (pot.free, pot.left))
                if ever < fits_ever:
                    fits_ever, tightest = ever, scope
                if now < fits_now or (now == fits_now and can_grow and not pot.reserved):
                    fits_now, narrowest, can_grow = now, scope, pot.reserved > 0
        if fits_ever < 1:
            return Refusal(scope=tightest, says=self._says(tightest, need))
        waited_for = next((scope for scope in account.scopes if scope in barred), None)
        if waited_for is not None:
            return Short(scope=waited_for)
        if fits_now < min(need.enough_tokens, need.output_tokens) and can_grow:
            return Short(scope=narrowest)
        return self._grant(account, fits_now, fixed + fits_now * rate, has_price=has_price)

    def _grant(self, account: Account, tokens: int, pico: int, *, has_price: bool) -> Grant:
        self._last += 1
        account.held[self._last] = Held(tokens=tokens, pico=pico, has_price=has_price)
        reserve(account, tokens, pico)
        return Grant(n=self._last, output_tokens=tokens, usd=pico / PICO if has_price else None)

    def settle(self, account: Account, paid: Paid) -> tuple[Usage, tuple[BudgetWarning, ...]]:
        """Books what a request came to in place of what was reserved for it; one that is settled already is left.

        Gives what was booked. Where nobody knows what the answer cost, since another model gave it than was asked, that
        is what was reserved: it is not free for that.
        """
        held = account.held.pop(paid.n, None)
        if held is None:
            return Usage(), ()
        reserve(account, -held.tokens, -held.pico)
        usage = paid.usage
        if usage.cost_usd is None and held.has_price:
            usage = replace(usage, cost_usd=held.pico / PICO, estimated_usd=held.pico / PICO)
        account.booked += usage
        return usage, self.book(usage, account)

    def book_rest(self, account: Account, usage: Usage) -> tuple[Usage, tuple[BudgetWarning, ...]]:
        """Books what an attempt used in all beyond what was settled request by request; gives that rest."""
        booked, account.booked = account.booked, Usage()
        rest = rest_of(usage, booked)
        return rest, self.book(rest, account)

    def close(self, account: Account) -> tuple[Paid, ...]:
        """Requests that nobody settled: each at its reservation, as an estimate (CONTRACT R01). They stay to settle."""
        return tuple(
            Paid(
                n=n,
                usage=Usage(
                    output_tokens=held.tokens,
                    cost_usd=held.pico / PICO if held.has_price else None,
                    estimated_usd=held.pico / PICO,
                ),
            )
            for n, held in account.held.items()
        )

    def next_number(self) -> int:
        """A number for what was paid without a reservation."""
        self._last += 1
        return self._last

    def book_past(self, paid: Mapping[str | None, Usage], *, last: int) -> None:
        """Counts what earlier attempts at the run paid (CONTRACT R07); people were told of it then.

        Args:
            paid: By the phase that it was paid in.
            last: The number of their last payment.
        """
        self._last = max(self._last, last)
        for phase, usage in paid.items():
            self.book(usage, self.open_account(phases=() if phase is None else (phase,)))
            self._past_tokens += usage.output_tokens
            self._past_usd += usage.cost_usd or 0.0

    def charge_phase(self, title: str, usage: Usage) -> None:
        """Counts for a phase what was paid before for a workflow that it called; the run has counted it already."""
        scope = self._phase(title)
        for pot in () if scope is None else scope.pots():
            pot.add(usage.output_tokens if pot.kind == "tokens" else pico_of(usage.cost_usd or 0.0))

    def charge_agent(self, account: Account, usage: Usage) -> None:
        """Counts for an agent's own limit what it used before it was cut off, and goes on (CONTRACT R07)."""
        for scope in account.scopes:
            for pot in scope.pots() if scope.kind == "agent" else ():
                pot.add(usage.output_tokens if pot.kind == "tokens" else pico_of(usage.cost_usd or 0.0))

    def book(self, usage: Usage, account: Account | None = None) -> tuple[BudgetWarning, ...]:
        """Counts what was used, without an account for the run alone; the warnings that follow, one for each budget."""
        account = account or Account(scopes=(self._run,))
        if usage.cost_usd is None:
            self.has_unknown_cost = True
        tokens, pico = usage.output_tokens, round((usage.cost_usd or 0.0) * PICO)
        account.tokens += tokens
        account.pico += pico
        self._booked_tokens += tokens
        self.booked_pico += pico
        pots = [(pot, scope) for scope in account.scopes for pot in scope.pots()]
        if self._stop is not None:
            pots.append((self._stop, self._run))
        warnings: list[BudgetWarning] = []
        for pot, scope in pots:
            share = pot.add(tokens if pot.kind == "tokens" else pico)
            if share is not None and scope.kind != "agent":
                warnings.append(_warning(pot, scope, share))
        return tuple(warnings)

    # --- what the script sees ---------------------------------------------------------------------------------------

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
        self.shown_tokens = max(self.shown_tokens, self._booked_tokens)
        self.shown_usd = max(self.shown_usd, self.booked_pico / PICO)

    # --- words ------------------------------------------------------------------------------------------------------

    def refusal(self, phases: Iterable[str] = ()) -> str | None:
        """Why no further agent may start, for a BudgetExceededError; None while there is budget left (CONTRACT G03).

        The budgets of the phases that it would stand in count too.
        """
        spent = self._spent_scope(phases)
        if spent is None:
            return None
        pot = next(pot for pot in spent.pots() if pot.left <= 0)
        return f"{spent_text(spent, pot)}: {self._remedy(spent)}"

    def remedy(self, phases: Iterable[str] = ()) -> str:
        """The flag that gives twice of what is spent: the run's, or that of one of the phases."""
        return self.flag(self._spent_scope(phases) or self._run)

    def _spent_scope(self, phases: Iterable[str]) -> Scope | None:
        scopes = [self._run, *(scope for title in phases if (scope := self._phase(title)) is not None)]
        return next((scope for scope in scopes if any(pot.left <= 0 for pot in scope.pots())), None)

    def stop(self) -> str | None:
        """Why a run without a budget starts no further agent; None while it may (CONTRACT L04)."""
        stop = self._stop
        if stop is None or stop.spent < stop.total:
            return None
        return (
            f"the run has cost {usd_text(stop.spent)} and has no budget of its own: without one no agent is started "
            f"beyond {usd_text(stop.total)}"
        )

    @property
    def stop_text(self) -> str | None:
        """Where a run without a budget starts no further agent, for people; None where there is no such limit."""
        return None if self._stop is None else usd_text(self._stop.total)

    def raise_stop(self, more_usd: float) -> None:
        """Lets a run without a budget cost so much more than it has by now."""
        if self._stop is not None:
            self._stop.total = max(self._stop.total, self._stop.spent) + pico_of(more_usd)

    def lift_stop(self) -> None:
        """Lets a run without a budget cost what it costs."""
        self._stop = None

    def standing(self) -> str:
        """What the run has spent and may spend, for those who work in it."""
        tokens, usd = self._run.tokens, self._run.usd or self._stop
        said = [f"{self._booked_tokens:,} output tokens spent"]
        if tokens is not None:
            said = [f"{tokens.spent:,} of {tokens.total:,} output tokens spent, {max(0, tokens.left):,} left"]
        known = " as far as prices are known" if self.has_unknown_cost else ""
        if self._run.usd is not None and usd is not None:
            left = usd_text(max(0, usd.left))
            said.append(f"{usd_text(usd.spent)} of {usd_text(usd.total)} spent, {left} left{known}")
        else:
            stop = "" if usd is None else f", no further agent starts at {usd_text(usd.total)} unless a person agrees"
            said.append(f"{usd_text(self.booked_pico)} spent{known}{stop}")
        return "; ".join(said)

    def left(self) -> Budget:
        """What is left of the run's own budget."""
        tokens, usd = self._run.tokens, self._run.usd
        return Budget(
            tokens=None if tokens is None else max(0, tokens.left),
            usd=None if usd is None else max(0, usd.left) / PICO,
        )

    def more(self) -> str:
        """The flag that gives the run twice what it has; dollars in quotes, for the shell."""
        return f"--budget {doubled_text(self._run.tokens, self._run.usd or self._stop)}"

    def flag(self, scope: Scope) -> str:
        """The flag that gives a budget twice of what it has."""
        if scope.kind != "phase":
            return self.more()
        amount = doubled_text(scope.tokens, scope.usd).strip("'")
        return f"--phase-budget {shlex.quote(f'{scope.name}={amount}')}"

    def _remedy(self, scope: Scope) -> str:
        return f"raise it with {self.flag(scope)}"

    def _says(self, scope: Scope, need: Need) -> str:
        """Why a request does not fit, and what to do."""
        usd = scope.usd
        if scope.tokens is not None and scope.tokens.left < 1:
            said = spent_text(scope, scope.tokens)
        elif usd is not None and usd.left > 0:
            least = (need.fixed_usd or 0.0) + (need.output_usd or 0.0)
            left = usd_text(usd.left)
            said = f"the agent's next request may cost ${least:,.4f}, and of {owned(scope, usd)} {left} are left"
        else:
            assert usd is not None
            said = spent_text(scope, usd)
        return said if scope.kind == "agent" else f"{said}: {self._remedy(scope)}"

    @property
    def counts_money(self) -> bool:
        """Whether dollars decide anything in this run, so that an unknown price must be said."""
        return self._run.usd is not None or self._stop is not None

    @property
    def is_hard(self) -> bool:
        """Whether the run, or a phase of it, has a budget."""
        return self._run.tokens is not None or self._run.usd is not None or bool(self._phase_budgets)


def _fitting(amount: int, pot: Pot, fixed: int, rate: int, need: Need) -> int:
    """How many tokens of a reply fit into an amount; at most as many as are wanted, 0 for none."""
    if pot.kind == "tokens":
        return max(0, min(amount, need.output_tokens))
    if amount < fixed + rate:
        return 0
    return need.output_tokens if rate == 0 else min((amount - fixed) // rate, need.output_tokens)


def _warning(pot: Pot, scope: Scope, share: float) -> BudgetWarning:
    unit = 1 if pot.kind == "tokens" else PICO
    phase = scope.name if scope.kind == "phase" else None
    return BudgetWarning(kind=pot.kind, spent=pot.spent / unit, total=pot.total / unit, share=share, phase=phase)
