"""The ledger's words and figures; whole runs with budgets are in test_limits.py and test_reserving.py."""

from __future__ import annotations

import pytest

from callsheet.app.quantities import parse_budget
from callsheet.engine.accounts import Account
from callsheet.engine.budget import Ledger, Refusal, Short
from callsheet.engine.pots import PICO, sound, warning_text
from callsheet.model.outcome import Usage
from callsheet.model.spending import Budget, Grant, Need, Paid


def spend(tokens: int = 0, usd: float | None = 0.0) -> Usage:
    return Usage(output_tokens=tokens, cost_usd=usd)


def need(
    tokens: int = 1_000, *, enough: int = 100, fixed: float | None = 0.0, each: float | None = 0.001, model: str = "m"
) -> Need:
    return Need(model=model, output_tokens=tokens, enough_tokens=enough, fixed_usd=fixed, output_usd=each)


def granted(ledger: Ledger, account: Account, asked: Need) -> Grant:
    decision = ledger.reserve(account, asked)
    assert isinstance(decision, Grant), decision
    return decision


def refused(ledger: Ledger, account: Account, asked: Need) -> str:
    decision = ledger.reserve(account, asked)
    assert isinstance(decision, Refusal), decision
    return decision.says


@pytest.mark.contract("G03")
def test_the_budget_is_spent_once_spent_reaches_the_total() -> None:
    ledger = Ledger(tokens=200, usd=None, cost_stop_usd=25)
    ledger.book(spend(199))
    assert ledger.refusal() is None
    ledger.book(spend(1))
    assert ledger.refusal() == "the run's budget of 200 output tokens is spent (200): raise it with --budget 400"


def test_dollars_are_a_budget_too_and_quoted_for_the_shell() -> None:
    ledger = Ledger(tokens=None, usd=2, cost_stop_usd=25)
    ledger.book(spend(10, 2.5))
    assert ledger.refusal() == "the run's budget of $2.00 is spent ($2.50): raise it with --budget '$4'"
    assert Ledger(tokens=10, usd=2, cost_stop_usd=25).more() == "--budget '20 $4'"


@pytest.mark.contract("L04")
def test_without_a_budget_a_run_stops_at_its_cost() -> None:
    ledger = Ledger(tokens=None, usd=None, cost_stop_usd=25)
    ledger.book(spend(usd=24.99))
    assert ledger.stop() is None
    ledger.book(spend(usd=0.01))
    stop = ledger.stop()
    assert stop is not None
    assert stop.endswith("without one no agent is started beyond $25.00")
    assert ledger.more() == "--budget '$50'"
    assert ledger.refusal() is None


def test_warnings_come_at_half_four_fifths_and_nineteen_twentieths() -> None:
    ledger = Ledger(tokens=100, usd=None, cost_stop_usd=25)
    told = [ledger.book(spend(tokens)) for tokens in (49, 1, 29, 1, 14, 1, 50)]
    assert [[(one.kind, one.spent, one.total, one.share) for one in warnings] for warnings in told] == [
        [], [("tokens", 50, 100, 0.5)], [], [("tokens", 80, 100, 0.8)], [], [("tokens", 95, 100, 0.95)], [],
    ]  # fmt: skip


def test_one_leap_over_several_shares_is_one_warning() -> None:
    ledger = Ledger(tokens=None, usd=None, cost_stop_usd=10)
    assert [(one.spent, one.share) for one in ledger.book(spend(usd=9.9))] == [(9.9, 0.95)]


def test_an_unknown_cost_is_known_to_be_unknown() -> None:
    ledger = Ledger(tokens=None, usd=5, cost_stop_usd=25)
    ledger.book(spend(usd=1.0))
    known = not ledger.has_unknown_cost
    ledger.book(spend(usd=None))
    assert known
    assert ledger.has_unknown_cost
    assert ledger.counts_money
    assert not Ledger(tokens=5, usd=None, cost_stop_usd=25).counts_money


# --- reservations


@pytest.mark.contract("G04")
def test_a_request_gets_fewer_tokens_where_less_is_left_and_none_where_nothing_fits() -> None:
    ledger = Ledger(tokens=None, usd=2.0, cost_stop_usd=25)
    account = ledger.open_account()
    first = granted(ledger, account, need(1_000, fixed=0.5))
    assert (first.output_tokens, first.usd) == (1_000, 1.5)
    ledger.settle(account, Paid(n=first.n, usage=spend(900, 1.4)))
    second = granted(ledger, account, need(1_000, fixed=0.5))
    assert second.output_tokens == 100, "of 2 dollars 0.6 are left, and 0.5 is the prompt's"
    ledger.settle(account, Paid(n=second.n, usage=spend(50, 0.55)))
    assert refused(ledger, account, need(1_000, fixed=0.5)) == (
        "the agent's next request may cost $0.5010, and of the run's budget of $2.00 $0.0500 are left: "
        "raise it with --budget '$4'"
    )


@pytest.mark.contract("G04")
def test_who_finds_too_little_because_of_others_waits_for_them_and_is_lowered_only_when_nobody_is_left() -> None:
    ledger = Ledger(tokens=1_000, usd=None, cost_stop_usd=25)
    one, two = ledger.open_account(), ledger.open_account()
    first = granted(ledger, one, need(950))
    assert isinstance(ledger.reserve(two, need(950)), Short)
    ledger.settle(one, Paid(n=first.n, usage=spend(930)))
    assert granted(ledger, two, need(950)).output_tokens == 70


def test_a_request_that_the_service_did_not_take_leaves_nothing() -> None:
    ledger = Ledger(tokens=1_000, usd=1.0, cost_stop_usd=25)
    account = ledger.open_account()
    for _ in range(3):
        grant = granted(ledger, account, need(1_000))
        ledger.settle(account, Paid(n=grant.n, usage=Usage()))
    assert granted(ledger, account, need(1_000)).output_tokens == 1_000


@pytest.mark.contract("A14", "G04")
def test_an_agents_own_limits_hold_beside_those_of_run_and_phase_and_the_refusal_names_the_one_that_does() -> None:
    ledger = Ledger(tokens=10_000, usd=None, cost_stop_usd=25, phases={"Re*": Budget(usd=0.5)})
    limited = ledger.open_account(phases=("Review",), own=Budget(tokens=100, usd=9.0))
    grant = granted(ledger, limited, need())
    assert grant.output_tokens == 100
    ledger.settle(limited, Paid(n=grant.n, usage=spend(100, 0.1)))
    assert (
        refused(ledger, limited, need())
        == "the agent used 100 output tokens of its limit of 100 output tokens (maxTokens)"
    )
    other = ledger.open_account(phases=("Review",))
    grant = granted(ledger, other, need())
    assert grant.output_tokens == 400
    ledger.settle(other, Paid(n=grant.n, usage=spend(400, 0.4)))
    said = refused(ledger, other, need())
    assert said == "the budget of $0.50 of phase 'Review' is spent ($0.50): raise it with --phase-budget 'Review=$1'"
    assert ledger.refusal(("Review",)) == said
    assert ledger.refusal() is None
    assert granted(ledger, ledger.open_account(phases=("Retry",)), need()).output_tokens == 500, "each has its own"
    assert granted(ledger, ledger.open_account(phases=("Plan",)), need()).output_tokens == 1_000


@pytest.mark.contract("G04")
def test_a_model_without_a_price_is_refused_where_dollars_are_counted_and_nowhere_else() -> None:
    asked = need(fixed=None, each=None, model="mystery-1")
    poor = Ledger(tokens=None, usd=5.0, cost_stop_usd=25)
    decision = poor.reserve(poor.open_account(), asked)
    assert isinstance(decision, Refusal)
    assert decision.is_unpriced
    assert decision.says == (
        "what mystery-1 costs is not known, and the run has a budget in dollars: give its price (setting `prices`)"
    )
    tokens = Ledger(tokens=500, usd=None, cost_stop_usd=25)
    grant = granted(tokens, tokens.open_account(), asked)
    assert (grant.output_tokens, grant.usd) == (500, None)
    own = tokens.reserve(tokens.open_account(own=Budget(usd=1.0)), asked)
    assert isinstance(own, Refusal)
    assert "maxCost" in own.says


def test_what_an_attempt_used_beyond_its_settled_requests_is_booked_once() -> None:
    ledger = Ledger(tokens=1_000, usd=None, cost_stop_usd=25)
    account = ledger.open_account()
    grant = granted(ledger, account, need(500))
    ledger.settle(account, Paid(n=grant.n, usage=Usage(input_tokens=7, output_tokens=40, cost_usd=0.25)))
    rest, _ = ledger.book_rest(account, Usage(input_tokens=9, output_tokens=50, cost_usd=0.75))
    assert (rest.input_tokens, rest.output_tokens, rest.cost_usd) == (2, 10, 0.5)
    again, _ = ledger.book_rest(account, spend(5, None))
    assert (again.output_tokens, again.cost_usd) == (5, None)
    assert account.tokens == 55


def test_a_request_that_nobody_settled_is_booked_at_its_reservation_as_an_estimate() -> None:
    ledger = Ledger(tokens=None, usd=5.0, cost_stop_usd=25)
    account = ledger.open_account()
    granted(ledger, account, need(1_000, fixed=0.5))
    (left,) = ledger.close(account)
    assert (left.usage.output_tokens, left.usage.cost_usd, left.usage.estimated_usd) == (1_000, 1.5, 1.5)
    ledger.settle(account, left)
    assert ledger.close(account) == ()
    assert account.tokens == 1_000


def test_what_earlier_attempts_paid_counts_against_the_budget() -> None:
    ledger = Ledger(tokens=100, usd=None, cost_stop_usd=25)
    ledger.book_past({None: spend(60), "Plan": spend(40)}, last=17)
    assert ledger.refusal() is not None
    assert ledger.next_number() == 18


# --- flags that help, and figures that say something ----------------------------------------------------------------


def test_the_flag_that_is_named_gives_more_than_was_spent_however_far_it_was_passed() -> None:
    ledger = Ledger(tokens=10, usd=None, cost_stop_usd=25)
    ledger.book(Usage(output_tokens=5_000))
    assert ledger.more() == "--budget 10000"
    unbudgeted = Ledger(tokens=None, usd=None, cost_stop_usd=25)
    unbudgeted.book(Usage(cost_usd=256.5))
    assert unbudgeted.more() == "--budget '$513'"


def test_the_flag_is_one_that_can_be_given_also_for_large_amounts() -> None:
    assert Ledger(tokens=None, usd=750_000.0, cost_stop_usd=25).more() == "--budget '$1500000'"
    assert parse_budget("$1500000") == Budget(usd=1_500_000)
    assert Ledger(tokens=None, usd=0.0125, cost_stop_usd=25).more() == "--budget '$0.025'"


def test_a_warning_of_a_small_budget_has_digits_that_say_something() -> None:
    ledger = Ledger(tokens=None, usd=0.004, cost_stop_usd=25)
    (warning,) = ledger.book(Usage(cost_usd=0.0021))
    assert warning_text(warning) == "50% of the budget is spent: $0.0021 of $0.0040"


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -5.0])
def test_what_is_no_amount_of_money_is_an_unknown_cost_and_gives_nothing_back(cost: float) -> None:
    ledger = Ledger(tokens=100, usd=5.0, cost_stop_usd=25)
    account = ledger.open_account()
    ledger.book(Usage(output_tokens=60, cost_usd=1.0), account)
    ledger.book(sound(Usage(input_tokens=-3, output_tokens=-50, cost_usd=cost)), account)
    assert ledger.has_unknown_cost
    (scope,) = account.scopes
    assert [(pot.spent, pot.left) for pot in scope.pots()] == [(60, 40), (PICO, 4 * PICO)]


@pytest.mark.contract("L04")
def test_a_stop_that_is_raised_leaves_as_much_as_was_said_from_what_was_spent_by_then() -> None:
    ledger = Ledger(tokens=None, usd=None, cost_stop_usd=25)
    ledger.book(spend(1, 40.0))
    assert ledger.stop() is not None
    ledger.raise_stop(10.0)
    assert (ledger.stop(), ledger.stop_text) == (None, "$50.00")
    ledger.book(spend(1, 9.99))
    assert ledger.stop() is None
    ledger.book(spend(1, 0.01))
    assert "beyond $50.00" in (ledger.stop() or "")
    ledger.lift_stop()
    ledger.book(spend(1, 1_000.0))
    assert ledger.stop() is None
    assert not ledger.is_hard
