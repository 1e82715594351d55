"""The ledger's words and figures; whole runs with budgets are in test_limits.py."""

from __future__ import annotations

import pytest

from callsheet.engine.budget import Ledger
from callsheet.model.outcome import Usage


def spend(tokens: int = 0, usd: float | None = 0.0) -> Usage:
    return Usage(output_tokens=tokens, cost_usd=usd)


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
    assert [[(one.kind, one.spent, one.total) for one in warnings] for warnings in told] == [
        [], [("tokens", 50, 100)], [], [("tokens", 80, 100)], [], [("tokens", 95, 100)], [],
    ]  # fmt: skip


def test_one_leap_over_several_shares_is_one_warning() -> None:
    ledger = Ledger(tokens=None, usd=None, cost_stop_usd=10)
    assert [one.spent for one in ledger.book(spend(usd=9.9))] == [9.9]


def test_an_unknown_cost_is_known_to_be_unknown() -> None:
    ledger = Ledger(tokens=None, usd=5, cost_stop_usd=25)
    ledger.book(spend(usd=1.0))
    known = not ledger.has_unknown_cost
    ledger.book(spend(usd=None))
    assert known
    assert ledger.has_unknown_cost
    assert ledger.counts_money
    assert not Ledger(tokens=5, usd=None, cost_stop_usd=25).counts_money
