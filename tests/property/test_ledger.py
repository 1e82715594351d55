"""The ledger: nothing lost, nothing shown twice, nothing shown that was not booked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callsheet.engine.budget import Ledger
from callsheet.model.outcome import Usage

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
