from __future__ import annotations

import json
import subprocess
import sys

import pytest
from genai_prices import Usage
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from callsheet.pricing.prices import cost_usd, is_priced, search_usd

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("model", "per_input", "per_output", "per_cache_read", "per_cache_write"),
    [
        ("claude-opus-5-5", 4.0, 20.0, 0.2, 5.0),
        ("claude-sonnet-5-5", 2.0, 10.0, 0.1, 2.5),
        ("claude-fable-5-1", 10.0, 50.0, 0.25, 12.5),
    ],
)
def test_known_models_cost_what_the_price_list_says(
    model: str, per_input: float, per_output: float, per_cache_read: float, per_cache_write: float
) -> None:
    assert cost_usd(model, input_tokens=MILLION, output_tokens=0) == pytest.approx(per_input)
    assert cost_usd(model, input_tokens=0, output_tokens=MILLION) == pytest.approx(per_output)
    read = cost_usd(model, input_tokens=0, output_tokens=0, cache_read_tokens=MILLION)
    assert read == pytest.approx(per_cache_read)
    written = cost_usd(model, input_tokens=0, output_tokens=0, cache_write_tokens=MILLION)
    assert written == pytest.approx(per_cache_write)


def test_all_parts_of_a_request_add_up() -> None:
    cost = cost_usd(
        "claude-opus-5-5", input_tokens=1_000, output_tokens=500, cache_read_tokens=20_000, cache_write_tokens=4_000
    )
    assert cost == pytest.approx(0.004 + 0.01 + 0.004 + 0.02)


def test_the_longer_prompt_of_haiku_costs_five_times_as_much_and_cached_tokens_count_for_its_length() -> None:
    assert cost_usd("claude-haiku-5-5", input_tokens=100_000, output_tokens=1_000) == pytest.approx(0.01 + 0.0005)
    assert cost_usd("claude-haiku-5-5", input_tokens=100_001, output_tokens=1_000) == pytest.approx(0.0500005 + 0.0025)
    short = cost_usd("claude-haiku-5-5", input_tokens=50_000, output_tokens=0, cache_read_tokens=50_000)
    long = cost_usd("claude-haiku-5-5", input_tokens=50_000, output_tokens=0, cache_read_tokens=50_001)
    assert short == pytest.approx(0.005 + 0.0005)
    assert long == pytest.approx(0.025 + 0.00250005)


def test_a_dated_name_costs_what_its_model_costs() -> None:
    assert cost_usd("claude-opus-5-5-20261001", input_tokens=MILLION, output_tokens=0) == pytest.approx(4.0)


@pytest.mark.parametrize("model", ["made-up-model", "opus", "", "synthetic"])
def test_the_cost_of_an_unknown_model_is_none_never_zero(model: str) -> None:
    assert cost_usd(model, input_tokens=MILLION, output_tokens=MILLION) is None
    assert not is_priced(model)


def test_no_tokens_of_a_known_model_cost_nothing() -> None:
    assert cost_usd("claude-opus-5-5", input_tokens=0, output_tokens=0) == 0.0
    assert is_priced("claude-opus-5-5")


def test_prices_are_loaded_only_when_asked_for_and_nothing_is_fetched() -> None:
    program = """
import json, sys
import callsheet.pricing.prices as prices
before = "genai_prices" in sys.modules
sys.addaudithook(lambda event, args: opened.append(event) if event.startswith("socket.") else None)
opened = []
cost = prices.cost_usd("claude-opus-5-5", input_tokens=1, output_tokens=1)
from genai_prices import data_snapshot
import threading
updated = data_snapshot.get_snapshot().from_auto_update
print(json.dumps([before, opened, cost is not None, updated, threading.active_count()]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout) == [False, [], True, False, 1]


@settings(max_examples=300, deadline=None)
@given(
    model=st.sampled_from(
        ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-fable-5-1", "claude-sonnet-4-5", "gpt-5"]
    ),
    fresh=st.integers(0, 400_000),
    output=st.integers(0, 200_000),
    read=st.integers(0, 400_000),
    written=st.integers(0, 400_000),
)
def test_a_request_costs_what_the_library_itself_makes_of_it(
    model: str, fresh: int, output: int, read: int, written: int
) -> None:
    provider, info = get_snapshot().find_provider_model(model, None, None, None)
    usage = Usage(
        input_tokens=fresh + read + written,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=written,
    )
    cost = cost_usd(model, input_tokens=fresh, output_tokens=output, cache_read_tokens=read, cache_write_tokens=written)
    assert cost == pytest.approx(float(info.calc_price(usage, provider).total_price), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("model", "seller", "per_output"),
    [
        ("global.anthropic.claude-opus-5-5", "aws", 20.0),
        ("claude-opus-5-5", "google", 20.0),
        ("claude-opus-5-5", "azure", 20.0),
        ("eu.anthropic.claude-opus-5-5", "aws", 22.0),
    ],
)
def test_the_price_is_that_of_whoever_sells_the_model(model: str, seller: str, per_output: float) -> None:
    assert cost_usd(model, input_tokens=0, output_tokens=MILLION, seller=seller) == pytest.approx(per_output)


def test_what_a_seller_does_not_have_has_no_price() -> None:
    assert cost_usd("gpt-none", input_tokens=1, output_tokens=1, seller="aws") is None


def test_a_search_of_the_web_has_a_fee_where_the_list_names_one_and_is_else_unknown_never_free() -> None:
    assert search_usd("claude-opus-5-5") == pytest.approx(0.01)
    assert search_usd("claude-opus-5-5", seller="google") is None
    assert search_usd("my-gateway/llama") is None
