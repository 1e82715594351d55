"""The ledger: nothing lost, nothing shown twice, and never more spent and reserved than there is."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from callsheet.engine.accounts import Account
from callsheet.engine.budget import Ledger, Refusal, Short
from callsheet.engine.pots import PICO, Scope
from callsheet.model.outcome import Usage
from callsheet.model.spending import Budget, Grant, Need, Paid
from tests.support.examples import times

AMOUNTS = st.lists(st.tuples(st.integers(0, 500), st.none() | st.integers(0, 64).map(lambda n: n / 16)), max_size=30)


@given(amounts=AMOUNTS, shown=st.integers(0, 30), total=st.integers(1, 3_000))
def test_what_is_shown_never_passes_what_is_booked_and_never_goes_back(
    amounts: list[tuple[int, float | None]], shown: int, total: int
) -> None:
    ledger = Ledger(tokens=total, usd=None, cost_stop_usd=25)
    usages = [Usage(output_tokens=tokens, cost_usd=cost) for tokens, cost in amounts]
    for usage in usages:
        ledger.book(usage)
    booked = sum(usage.output_tokens for usage in usages)
    assert (ledger.refusal() is not None) == (booked >= total)
    before = 0
    for usage in usages[:shown]:
        ledger.show(usage)
        assert before <= ledger.shown_tokens <= booked
        before = ledger.shown_tokens
    ledger.show_all()
    for usage in usages[shown:]:
        ledger.show(usage)
        assert ledger.shown_tokens == booked


@given(amounts=AMOUNTS, total=st.integers(1, 2_000))
def test_each_share_of_a_budget_is_told_at_most_once(amounts: list[tuple[int, float | None]], total: int) -> None:
    ledger = Ledger(tokens=total, usd=None, cost_stop_usd=25)
    warnings = [
        warning for tokens, cost in amounts for warning in ledger.book(Usage(output_tokens=tokens, cost_usd=cost))
    ]
    spent = sum(tokens for tokens, _ in amounts)
    assert len(warnings) <= 3
    assert bool(warnings) == (spent >= total / 2)
    assert [warning.spent for warning in warnings] == sorted({warning.spent for warning in warnings})
    assert [warning.share for warning in warnings] == sorted({warning.share for warning in warnings})


@given(amounts=AMOUNTS)
def test_money_stops_a_run_only_where_it_has_no_budget_of_its_own(amounts: list[tuple[int, float | None]]) -> None:
    bare = Ledger(tokens=None, usd=None, cost_stop_usd=5)
    rich = Ledger(tokens=None, usd=10_000, cost_stop_usd=5)
    for tokens, cost in amounts:
        bare.book(Usage(output_tokens=tokens, cost_usd=cost))
        rich.book(Usage(output_tokens=tokens, cost_usd=cost))
    assert (bare.stop() is not None) == (sum(cost or 0 for _, cost in amounts) >= 5)
    assert rich.stop() is None
    assert bare.has_unknown_cost == any(cost is None for _, cost in amounts)


# --- reserve, settle, release ---------------------------------------------------------------------------------------

BUDGETS = st.builds(
    Budget,
    tokens=st.none() | st.integers(1, 5_000),
    usd=st.none() | st.integers(1, 4_000).map(lambda n: n / 1000),
)
PHASES = ("Plan", "Build", "Check")


class Machine(RuleBasedStateMachine):
    """Agents that reserve, settle, are cut off and end, in any order; a plain sum beside the ledger tells what is true.

    `open` are the requests under way: account, what was granted, at what price.
    """

    @rule(data=st.data())
    @precondition(lambda self: not hasattr(self, "ledger"))
    def begin(self, data: st.DataObject) -> None:
        run = data.draw(BUDGETS)
        phases = data.draw(st.dictionaries(st.sampled_from(("Plan", "B*")), BUDGETS.filter(bool)))
        self.ledger = Ledger(tokens=run.tokens, usd=run.usd, cost_stop_usd=25, phases=phases)
        self.accounts: list[Account] = []
        self.open: list[tuple[Account, Grant, Need]] = []
        self.paid_tokens = 0

    @rule(own=BUDGETS, phases=st.sets(st.sampled_from(PHASES), max_size=2))
    @precondition(lambda self: hasattr(self, "ledger"))
    def agent(self, own: Budget, phases: set[str]) -> None:
        self.accounts.append(self.ledger.open_account(phases=sorted(phases), own=own))

    @rule(
        which=st.integers(0, 100),
        want=st.integers(1, 4_000),
        enough=st.integers(1, 4_000),
        fixed=st.floats(0, 1),
        rate=st.sampled_from([0.0, 1e-8, 5e-7, 2.5e-5, 1e-3, 0.1 + 0.2]),
        has_price=st.booleans(),
    )
    @precondition(lambda self: bool(getattr(self, "accounts", None)))
    def reserve(self, which: int, want: int, enough: int, fixed: float, rate: float, has_price: bool) -> None:
        account = self.accounts[which % len(self.accounts)]
        need = Need(
            model="m",
            output_tokens=want,
            enough_tokens=enough,
            fixed_usd=fixed if has_price else None,
            output_usd=rate if has_price else None,
        )
        before = _figures(account)
        decision = self.ledger.reserve(account, need)
        match decision:
            case Grant():
                assert 1 <= decision.output_tokens <= want
                if has_price:
                    assert decision.usd is not None
                    assert decision.usd >= (fixed + rate * decision.output_tokens) * (1 - 1e-9)
                self.open.append((account, decision, need))
            case Short():
                assert any(pot.reserved for pot in decision.scope.pots()), "one who waits has somebody to wait for"
                assert _figures(account) == before
            case Refusal():
                assert decision.scope in account.scopes
                assert _figures(account) == before

    @rule(which=st.integers(0, 100), share=st.floats(0, 1))
    @precondition(lambda self: bool(getattr(self, "open", None)))
    def settle(self, which: int, share: float) -> None:
        account, grant, need = self.open.pop(which % len(self.open))
        usage = _part(grant, need, share)
        self.paid_tokens += usage.output_tokens
        self.ledger.settle(account, Paid(n=grant.n, usage=usage))
        before = _figures(account)
        assert self.ledger.settle(account, Paid(n=grant.n, usage=usage)) == (Usage(), ()), (
            "a reservation is settled once"
        )
        assert _figures(account) == before

    @rule(which=st.integers(0, 100))
    @precondition(lambda self: bool(getattr(self, "accounts", None)))
    def cut_off(self, which: int) -> None:
        account = self.accounts[which % len(self.accounts)]
        for paid in self.ledger.close(account):
            self.paid_tokens += paid.usage.output_tokens
            self.ledger.settle(account, paid)
        self.open = [one for one in self.open if one[0] is not account]
        assert not account.held

    @invariant()
    def never_more_than_there_is(self) -> None:
        for scope in self.scopes():
            for pot in scope.pots():
                assert pot.reserved >= 0
                assert pot.spent >= 0
                assert pot.spent + pot.reserved <= pot.total

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "ledger"):
            return
        self.ledger.show_all()
        assert self.ledger.shown_tokens == self.paid_tokens == sum(account.tokens for account in self.accounts)
        for scope in self.scopes():
            if scope.tokens is None:
                continue
            members = [account for account in self.accounts if scope in account.scopes]
            assert scope.tokens.spent == sum(account.tokens for account in members)
            held = sum(grant.output_tokens for account, grant, _ in self.open if scope in account.scopes)
            assert scope.tokens.reserved == held

    def scopes(self) -> list[Scope]:
        return list({id(one): one for account in getattr(self, "accounts", ()) for one in account.scopes}.values())


def _part(grant: Grant, need: Need, share: float) -> Usage:
    """What a request came to that was reserved at its worst."""
    tokens = int(grant.output_tokens * share)
    if need.fixed_usd is None or need.output_usd is None:
        return Usage(output_tokens=tokens, cost_usd=None)
    return Usage(output_tokens=tokens, cost_usd=need.fixed_usd * share + need.output_usd * tokens)


def _figures(account: Account) -> list[Any]:
    return [(pot.spent, pot.reserved) for scope in account.scopes for pot in scope.pots()]


TestReservations = Machine.TestCase
TestReservations.settings = settings(max_examples=times(60), stateful_step_count=40, deadline=None)


@given(
    total=st.integers(1, 10**6).map(lambda n: n / 1000),
    fixed=st.floats(0, 2),
    rate=st.floats(1e-9, 0.01),
    want=st.integers(1, 200_000),
)
def test_a_request_is_lowered_to_what_fits_and_not_by_a_token_more(
    total: float, fixed: float, rate: float, want: int
) -> None:
    ledger = Ledger(tokens=None, usd=total, cost_stop_usd=25)
    need = Need(model="m", output_tokens=want, enough_tokens=want, fixed_usd=fixed, output_usd=rate)
    decision = ledger.reserve(ledger.open_account(), need)
    one_more_usd = fixed + rate * (decision.output_tokens + 1) if isinstance(decision, Grant) else fixed + rate
    slack = 4 / PICO + (want + 2) / PICO
    if isinstance(decision, Grant):
        assert fixed + rate * decision.output_tokens <= total + slack
        assert decision.output_tokens == want or one_more_usd > total - slack
    else:
        assert isinstance(decision, Refusal)
        assert one_more_usd > total - slack
