from __future__ import annotations

from datetime import UTC, datetime

import pytest

from callsheet.agents.models import model_table
from callsheet.model.spending import TokenPrices
from callsheet.pricing.own import own_prices
from callsheet.pricing.prices import cost_usd

MILLION = 1_000_000
OWN = {
    "mystery-9": TokenPrices(input=3, output=15),
    "mystery-*": TokenPrices(input=1, output=2, cache_read=0.1, cache_write=4),
}


def test_ones_own_price_comes_before_the_list_and_an_exact_name_before_a_glob() -> None:
    price = own_prices({**OWN, "claude-opus-5-5": TokenPrices(input=1, output=1)}, cost_usd)
    assert price("mystery-9", input_tokens=MILLION, output_tokens=0) == 3
    assert price("mystery-10", input_tokens=MILLION, output_tokens=MILLION) == 3
    assert price("claude-opus-5-5", input_tokens=MILLION, output_tokens=0) == 1
    assert price("claude-sonnet-5-5", input_tokens=MILLION, output_tokens=0) == pytest.approx(2)
    assert price("other", input_tokens=MILLION, output_tokens=0) is None


def test_what_is_not_said_of_the_cache_is_taken_for_dear() -> None:
    price = own_prices(OWN, cost_usd)
    tokens = {"input_tokens": 0, "output_tokens": 0}
    assert price("mystery-9", **tokens, cache_read_tokens=MILLION) == 3
    assert price("mystery-9", **tokens, cache_write_tokens=MILLION) == 3.75
    assert price("mystery-1", **tokens, cache_read_tokens=MILLION) == pytest.approx(0.1)
    assert price("mystery-1", **tokens, cache_write_tokens=MILLION) == 4


@pytest.mark.contract("G04")
@pytest.mark.parametrize("model", sorted(model_table().fast_prices))
def test_fast_mode_costs_what_the_price_list_says(model: str) -> None:
    from genai_prices.data_snapshot import get_snapshot

    _, info = get_snapshot().find_provider_model(model, None, None, None)
    standard = vars(info.get_prices(_now()))
    fast = vars(info.get_prices(_now(), {"speed": "fast"}))
    for kind in ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok"):
        assert float(fast[kind]) == pytest.approx(float(standard[kind]) * (model_table().fast_price(model) or 0))


def test_each_model_with_a_fast_mode_has_a_price_for_it() -> None:
    table = model_table()
    assert all(table.fast_price(model) for model in table.fast)


def _now() -> datetime:

    return datetime.now(UTC)
