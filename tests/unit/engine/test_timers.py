"""Timers and clocks."""

from __future__ import annotations

import math

import pytest

from callsheet.engine.clock import RunClock, iso
from callsheet.engine.identity import agent_id, context_seed, new_run_id, new_seed
from callsheet.engine.timers import MAX_DELAY_MS, Timers


def fired(timers: Timers) -> list[int]:
    """The timers' own numbers in the order in which they would fire."""
    order = []
    while (armed := timers.next()) is not None:
        timers.fire(armed)
        order.append(armed.timer)
    return order


@pytest.mark.contract("D06")
def test_timers_fire_by_due_time_then_in_the_order_they_were_set() -> None:
    timers = Timers()
    for timer, delay in [(1, 60), (2, 20), (3, 20), (4, 0)]:
        timers.set(0, timer, delay, now_ms=1_000)
    assert fired(timers) == [4, 2, 3, 1]


@pytest.mark.contract("D06")
def test_a_cleared_timer_never_fires_and_clearing_it_again_is_no_error() -> None:
    timers = Timers()
    timers.set(0, 1, 5, now_ms=0)
    timers.set(1, 1, 6, now_ms=0)
    timers.clear(0, 1)
    timers.clear(0, 1)
    timers.clear(0, 99)
    assert len(timers) == 1
    armed = timers.next()
    assert armed is not None
    assert (armed.context, armed.n) == (1, 2)


def test_timers_of_a_script_that_is_over_are_dropped() -> None:
    timers = Timers()
    timers.set(0, 1, 5, now_ms=0)
    timers.set(1, 1, 1, now_ms=0)
    timers.set(1, 2, 2, now_ms=0)
    timers.drop_context(1)
    assert fired(timers) == [1]
    assert len(timers) == 0


@pytest.mark.parametrize("delay", [math.nan, math.inf, -math.inf, -5.0, 0.0])
def test_a_delay_that_is_none_is_due_at_once(delay: float) -> None:
    timers = Timers()
    timers.set(0, 1, delay, now_ms=7)
    armed = timers.next()
    assert armed is not None
    assert armed.due_ms == 7


def test_a_delay_has_a_largest_value() -> None:
    timers = Timers()
    timers.set(0, 1, 1e300, now_ms=0)
    armed = timers.next()
    assert armed is not None
    assert armed.due_ms == MAX_DELAY_MS


def test_a_timer_that_is_set_twice_under_one_name_fires_once() -> None:
    timers = Timers()
    timers.set(0, 1, 5, now_ms=0)
    timers.set(0, 1, 9, now_ms=0)
    assert fired(timers) == [1]


@pytest.mark.contract("D04")
def test_the_scripts_clock_stands_still_until_it_is_moved_on_and_never_goes_back() -> None:
    elapsed = [0.0]
    clock = RunClock(5_000, wall_s=lambda: 1_000_000.0, elapsed_s=lambda: elapsed[0])
    assert clock.seen_ms == 5_000
    elapsed[0] = 1.5
    assert clock.seen_ms == 5_000
    assert clock.move_on() == 6_500
    elapsed[0] = 0.1
    assert clock.move_on() == 6_500
    assert clock.stamp() == iso(1_000_000_100)


def test_stamps_are_utc_with_milliseconds_and_z() -> None:
    assert iso(1_796_198_400_123) == "2026-12-02T08:00:00.123Z"
    assert iso(0) == "1970-01-01T00:00:00.000Z"


def test_a_run_without_a_recorded_start_starts_now() -> None:
    clock = RunClock(wall_s=lambda: 12.345, elapsed_s=lambda: 0.0)
    assert clock.started_ms == 12_345


def test_run_ids_are_ulids_that_sort_by_time() -> None:
    early, late = new_run_id(1_000), new_run_id(2_000)
    assert early < late
    assert len(early) == len("run_") + 26
    assert new_run_id(1_000) != early
    assert agent_id(7) == "a0007"
    assert agent_id(12_345) == "a12345"


@pytest.mark.contract("D04")
def test_a_nested_scripts_seed_follows_from_the_runs() -> None:
    seed = new_seed()
    assert 0 <= seed < 2**63
    assert context_seed(seed, 0) == seed
    assert context_seed(seed, 1) == context_seed(seed, 1) != context_seed(seed, 2)
    assert 0 <= context_seed(seed, 1) < 2**63
