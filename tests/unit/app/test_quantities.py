from __future__ import annotations

import pytest

from callsheet.app.quantities import parse_budget, parse_phase_budgets, parse_prices, parse_seconds, parse_size
from callsheet.errors import ConfigError
from callsheet.model.spending import Budget, TokenPrices


@pytest.mark.contract("G03", "G04")
@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("200", Budget(tokens=200)),
        ("1.5k", Budget(tokens=1_500)),
        ("2M", Budget(tokens=2_000_000)),
        ("2_000_000", Budget(tokens=2_000_000)),
        ("$40", Budget(usd=40.0)),
        ("$ 0.25", Budget(usd=0.25)),
        ("2M $40", Budget(tokens=2_000_000, usd=40.0)),
        ("$40 2M", Budget(tokens=2_000_000, usd=40.0)),
    ],
)
def test_a_budget_is_output_tokens_or_dollars_or_both(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "0", "$0", "-5", "many", "40€", "2M 3M", "$1 $2", "1e6", "2MB"])
def test_what_is_no_budget_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no budget\. Write output tokens"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512M", 512 * 1024**2), ("1G", 1024**3), ("1.5GiB", 3 * 1024**3 // 2), ("64kb", 65_536), ("4194304", 4_194_304)],
)
def test_a_size_has_units_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1M", "1T", "a lot"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no size"):
        parse_size(text)


@pytest.mark.parametrize(("text", "seconds"), [("10", 10.0), ("1.5s", 1.5), ("500ms", 0.5), ("2m", 120.0)])
def test_seconds_may_have_a_unit(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "soon"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no number of seconds"):
        parse_seconds(text)


def test_budgets_of_phases_are_titles_with_amounts_and_the_title_may_hold_an_equals_sign() -> None:
    given = ("Review=200k", "Review=$5", "a = b=1")
    assert parse_phase_budgets(given) == {"Review": Budget(tokens=200_000, usd=5.0), "a = b": Budget(tokens=1)}
    with pytest.raises(ConfigError, match="TITLE=AMOUNT"):
        parse_phase_budgets(("200k",))


def test_prices_are_dollars_for_a_million_tokens_of_input_and_output_and_of_the_cache() -> None:
    assert parse_prices({"m": "3/15", "n": "$1 / $2 / 0.1/1.25"}) == {
        "m": TokenPrices(input=3, output=15),
        "n": TokenPrices(input=1, output=2, cache_read=0.1, cache_write=1.25),
    }


@pytest.mark.parametrize("text", ["3", "3/x", "3/15/1", "", "-1/2"])
def test_what_is_no_price_is_refused_with_the_form_of_one(text: str) -> None:
    with pytest.raises(ConfigError, match="'3/15'"):
        parse_prices({"m": text})
