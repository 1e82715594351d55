from __future__ import annotations

import pytest

from callsheet.views import figures


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1.0k"),
        (9_949, "9.9k"),
        (9_950, "10k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (34_000_000, "34M"),
        (3_000_000_000, "3,000M"),
    ],
)
def test_tokens_are_short(count: int, words: str) -> None:
    assert figures.tokens(count) == words


@pytest.mark.parametrize(
    ("usd", "words"),
    [(0.0, "$0"), (0.0123, "$0.0123"), (0.1, "$0.10"), (12.345, "$12.35"), (1234.5, "$1,234.50")],
)
def test_money_has_as_many_places_as_it_needs(usd: float, words: str) -> None:
    assert figures.money(usd) == words


def test_a_cost_that_is_not_known_is_never_nothing() -> None:
    assert figures.money(None) == "cost unknown"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 m 00 s"), (125, "2 m 05 s"), (3_725, "1 h 02 m")],
)
def test_time_is_given_in_the_units_it_fills(seconds: float, words: str) -> None:
    assert figures.duration(seconds) == words


def test_nouns_agree_with_their_numbers() -> None:
    assert [figures.count(number, "agent") for number in (0, 1, 1_000)] == ["0 agents", "1 agent", "1,000 agents"]
