"""Limits that a rehearsal is held against."""

from __future__ import annotations

import dataclasses

import pytest

from callsheet.app.rehearsal_limits import parse_limits, rehearsal_breaches
from callsheet.errors import UsageError
from callsheet.model.rehearsal import Breach, Range, Reach, Rehearsal

TOLD = Rehearsal(
    workflow="w", description="d", script="w.js", status="completed", error=None, backend="anthropic",
    answers_from="synthetic", answers={}, is_exact=False, decisions=(), agents=10, agents_low=5, agents_high=30,
    phases=(), groups=(), most_at_once=4, max_parallel=16, files=(), commands=Reach(otherwise="ask"),
    hosts=Reach(otherwise="ask"), violations=(), tokens=Range(low=1e5, likely=1e6, high=2e6),
    output_tokens=Range(), cost_usd=Range(low=1, likely=5, high=20), unpriced=(), fast_agents=0,
    fast_cost_share=None, duration_s=60.0, not_called=(),
)  # fmt: skip


def test_limits_are_read_with_their_units() -> None:
    assert parse_limits(["cost=$20,agents=200", "tokens=1.5M"]) == {"cost": 20, "agents": 200, "tokens": 1_500_000}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("agnts=20", "Did you mean agents?"),
        ("zzz=20", "There are agents, tokens, cost, violations."),
        ("cost", "is not NAME=AMOUNT"),
        ("cost=much", "cost=much is no amount"),
        ("=3", "is not NAME=AMOUNT"),
    ],
)
def test_what_is_no_limit_is_refused_with_what_to_write(text: str, told: str) -> None:
    with pytest.raises(UsageError, match="--fail-over: ") as refused:
        parse_limits([text])
    assert told in refused.value.message


def test_the_upper_end_is_held_against_a_limit() -> None:
    assert rehearsal_breaches(TOLD, {"cost": 20, "agents": 30, "tokens": "2M", "violations": 0}) == ()
    assert rehearsal_breaches(TOLD, {"cost": 19, "agents": 29}) == (
        Breach(name="agents", limit=29, found=30, likely=10),
        Breach(name="cost", limit=19, found=20, likely=5),
    )


def test_a_cost_that_is_not_known_is_beyond_any_limit() -> None:
    unknown = dataclasses.replace(TOLD, cost_usd=None)
    assert rehearsal_breaches(unknown, {"cost": 1e9}) == (Breach(name="cost", limit=1e9, found=None),)
