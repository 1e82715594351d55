"""What calls will use: told from earlier calls of the same sort, else assumed."""

from __future__ import annotations

import pytest

from callsheet.app.estimating import ASSUMED_S, LIKELY, Estimator, Sort, known
from callsheet.model.outcome import Usage
from callsheet.model.rehearsal import Range
from callsheet.store.experience import FinishedCall

SONNET = "claude-sonnet-5-5"


def _call(output: int, *, cost: float | None = 1.0, phase: str | None = "Map", model: str = SONNET) -> FinishedCall:
    usage = Usage(input_tokens=1_000, output_tokens=output, cost_usd=cost)
    return FinishedCall(
        phase=phase,
        workflow=None,
        agent_type="general-purpose",
        model=model,
        is_fast=False,
        usage=usage,
        duration_s=output / 10,
    )


def _sort(phase: str | None = "Map", *, model: str = SONNET, is_fast: bool = False) -> Sort:
    return Sort(phase=phase, workflow=None, agent_type="general-purpose", model=model, is_fast=is_fast)


def _price(model: str, usage: Usage, is_fast: bool) -> float | None:
    return None if model == "unheard-of" else usage.output_tokens / 1_000 * (2 if is_fast else 1)


def test_the_estimate_is_the_median_of_earlier_calls_and_their_spread() -> None:
    calls = [_call(output, cost=output / 100) for output in (100, 200, 300, 400, 900)]
    found = Estimator(calls, price=_price).estimate(_sort(), prompt_chars=0)

    assert found.earlier_calls == 5
    assert found.output_tokens == Range(low=100, likely=300, high=900)
    assert found.tokens == Range(low=1_100, likely=1_300, high=1_900)
    assert found.cost_usd == Range(low=1, likely=3, high=9)
    assert found.duration_s == 30


def test_one_earlier_call_has_no_spread_so_half_and_twice_are_in_the_range() -> None:
    found = Estimator([_call(200)], price=_price).estimate(_sort(), prompt_chars=0)
    assert found.output_tokens == Range(low=100, likely=200, high=400)


@pytest.mark.parametrize(
    "sort", [_sort("Other"), _sort(model="claude-opus-5-5"), _sort(is_fast=True)], ids=["phase", "model", "speed"]
)
def test_calls_of_another_sort_say_nothing(sort: Sort) -> None:
    assert Estimator([_call(200)], price=_price).estimate(sort, prompt_chars=0).earlier_calls == 0


def test_a_service_may_name_the_model_with_its_date() -> None:
    calls = [_call(200, model=f"{SONNET}-20261101")]
    assert Estimator(calls, price=_price).estimate(_sort(), prompt_chars=0).earlier_calls == 1


def test_without_earlier_calls_the_assumption_holds_and_the_prompt_is_added() -> None:
    found = Estimator((), price=_price).estimate(_sort(), prompt_chars=4_000)

    assert (found.earlier_calls, found.duration_s) == (0, ASSUMED_S)
    assert found.usage.input_tokens == LIKELY.input_tokens + 1_000
    assert found.cost_usd is not None
    assert found.cost_usd.low < found.cost_usd.likely < found.cost_usd.high


def test_fast_mode_costs_what_the_price_says() -> None:
    estimator = Estimator((), price=_price)
    slow, fast = (estimator.estimate(_sort(is_fast=is_fast), prompt_chars=0).cost_usd for is_fast in (False, True))
    assert slow is not None
    assert fast is not None
    assert fast.likely == 2 * slow.likely


def test_an_unknown_price_is_none_and_never_nothing() -> None:
    found = Estimator((), price=_price).estimate(_sort(model="unheard-of"), prompt_chars=0)
    assert found.cost_usd is None
    assert found.usage.cost_usd is None


def test_where_nobody_is_paid_it_costs_nothing() -> None:
    found = Estimator([_call(200, cost=None)], price=None).estimate(_sort(), prompt_chars=0)
    assert found.cost_usd == Range()


def test_what_an_answers_file_says_is_no_estimate() -> None:
    found = known(Usage(input_tokens=10, output_tokens=5))
    assert found.tokens == Range(low=15, likely=15, high=15)
