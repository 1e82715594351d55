"""The circuit of a model service, without a clock, a network or an event loop (CONTRACT K01, K02, L02)."""

from __future__ import annotations

import math
import sys
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from callsheet.agents.anthropic import circuit
from callsheet.agents.anthropic.circuit import (
    MAX_OUTAGE_S,
    PROBE_S,
    RETRIES_IN_A_ROW,
    UNPROVEN_AT_WORK,
    UNPROVEN_S,
    Away,
    Circuit,
    Stage,
    Ticket,
)
from callsheet.agents.anthropic.faults import Fault
from callsheet.agents.anthropic.patience import Patience

RATE = Fault(kind="again", cause="rate_limit", message="slow down")
OUT = Fault(kind="again", cause="outage", message="overloaded")
KEY = Fault(kind="run", cause="authentication", message="wrong key")


def named(seconds: float) -> Fault:
    return Fault(kind="again", cause="rate_limit", message="slow down", retry_after_s=seconds)


class Bench:
    """A circuit, its clock, and everybody who asks it."""

    def __init__(self, *, cap: int = 256, proven: bool = True) -> None:
        self.now_s = 100.0
        self.circuit = Circuit(now=lambda: self.now_s, chance=lambda: 0.0, cap=cap)
        if proven:
            self.circuit.ask()
            (one,) = self.admitted()
            self.circuit.answered(one)

    def is_away(self) -> bool:
        return self.circuit.away is not None

    def ask(self, count: int) -> list[Ticket]:
        return [self.circuit.ask() for _ in range(count)]

    def admitted(self) -> list[Ticket]:
        found = []
        while (ticket := self.circuit.admit()) is not None:
            found.append(ticket)
        return found

    def sent(self, count: int) -> list[Ticket]:
        self.ask(count)
        return self.admitted()

    def wake(self) -> list[Ticket]:
        """Lets time pass until the circuit wakes by itself."""
        seconds = self.circuit.wakes_s
        assert seconds is not None
        self.now_s += seconds
        return self.admitted()

    def recover(self) -> None:
        """The first after a pause is answered."""
        self.ask(1)
        (probe,) = self.wake()
        self.circuit.answered(probe)


# --- pauses


@pytest.mark.contract("K02")
def test_a_failure_pauses_all_and_one_goes_first_when_the_pause_is_over() -> None:
    bench = Bench()
    first, *_ = bench.sent(8)
    bench.circuit.failed(first, OUT)
    assert bench.circuit.ask(goes_first=True).stage is Stage.WAITING
    bench.ask(5)
    assert bench.admitted() == []
    assert bench.circuit.wakes_s == 0.5
    (probe,) = bench.wake()
    assert bench.admitted() == []
    bench.circuit.opened(probe)
    assert len(bench.admitted()) == 5


@pytest.mark.contract("K02")
def test_the_time_that_the_service_names_is_the_pause_of_all() -> None:
    bench = Bench()
    (one,) = bench.sent(1)
    bench.circuit.failed(one, named(7))
    bench.ask(3)
    assert (bench.circuit.wakes_s, bench.circuit.is_limited) == (7, True)
    bench.now_s += 6.9
    assert bench.admitted() == []


@pytest.mark.contract("K02")
def test_what_was_on_its_way_neither_ends_a_pause_nor_makes_it_longer_unless_the_service_names_a_time() -> None:
    bench = Bench()
    one, two, three, four = bench.sent(4)
    bench.circuit.failed(one, OUT)
    bench.circuit.failed(two, OUT)
    bench.circuit.answered(three)
    bench.ask(1)
    assert bench.circuit.wakes_s == 0.5
    bench.circuit.failed(four, named(9))
    assert bench.circuit.wakes_s == 9


@pytest.mark.contract("K01")
def test_pauses_grow_to_a_cap_and_after_ten_tries_in_vain_all_are_sent_away() -> None:
    bench = Bench()
    pauses, away = [], None
    (ticket,) = bench.sent(1)
    others = bench.ask(0)
    while away is None:
        away = bench.circuit.failed(ticket, OUT)
        if away is None:
            bench.circuit.ask(goes_first=True)
            others += bench.ask(1)
            pauses.append(bench.circuit.wakes_s)
            (ticket,) = bench.wake()
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert (away.tries, away.since_s, away.is_named) == (RETRIES_IN_A_ROW + 1, 100.0, False)
    assert {other.stage for other in others} == {Stage.OVER}
    assert bench.circuit.waiting == 0


@pytest.mark.contract("K05")
def test_after_all_were_sent_away_nobody_goes_before_the_time_and_one_failure_more_sends_all_away_again() -> None:
    bench = Bench()
    (one,) = bench.sent(1)
    away = bench.circuit.failed(one, named(7200))
    assert away is not None
    assert (away.until_s, away.is_named) == (bench.now_s + 7200, True)
    assert bench.is_away()
    bench.now_s += 7200
    assert not bench.is_away()
    bench.ask(3)
    (probe,) = bench.admitted()
    again = bench.circuit.failed(probe, OUT)
    assert again is not None
    assert again.since_s == away.since_s


@pytest.mark.contract("K05")
def test_an_outage_of_many_days_costs_one_request_a_try_and_breaks_nothing() -> None:
    bench = Bench()
    (ticket,) = bench.sent(1)
    for _ in range(2000):
        bench.circuit.failed(ticket, OUT)
        bench.now_s += 300
        (ticket,) = bench.sent(1)
    bench.circuit.answered(ticket)
    assert len(bench.sent(5)) == 5


@pytest.mark.contract("K01")
def test_an_outage_of_fifteen_minutes_sends_all_away_before_ten_tries() -> None:
    bench = Bench()
    (ticket,) = bench.sent(1)
    for _ in range(2):
        assert bench.circuit.failed(ticket, named(MAX_OUTAGE_S / 2 - 1)) is None
        bench.ask(1)
        (ticket,) = bench.wake()
    assert bench.circuit.failed(ticket, named(30)) is not None


@pytest.mark.contract("K05")
def test_a_wrong_key_sends_all_away_and_whoever_comes_then_is_tried_alone() -> None:
    bench = Bench()
    one, *_ = bench.sent(4)
    away = bench.circuit.failed(one, KEY)
    assert away is not None
    assert away.until_s is None
    bench.ask(5)
    assert len(bench.admitted()) == 1


@pytest.mark.contract("K02")
def test_a_first_one_that_is_given_up_or_stays_unanswered_lets_another_go_first() -> None:
    bench = Bench()
    (one,) = bench.sent(1)
    bench.circuit.failed(one, OUT)
    bench.ask(3)
    (probe,) = bench.wake()
    bench.circuit.leave(probe)
    (second,) = bench.admitted()
    assert bench.circuit.wakes_s == PROBE_S
    (third,) = bench.wake()
    bench.circuit.opened(second)
    assert third.stage is Stage.AT_WORK


@pytest.mark.contract("K04", "K05")
def test_silence_to_one_agent_is_its_own_and_to_several_without_a_reply_an_outage() -> None:
    bench = Bench()
    one, two, three, four, five = bench.sent(5)
    assert bench.circuit.silent(one, "a", is_again=False) is None
    assert bench.circuit.silent(two, "a", is_again=True) is None
    bench.circuit.answered(three)
    assert bench.circuit.silent(four, "b", is_again=True) is None, "there was a reply in between"
    away = bench.circuit.silent(five, "a", is_again=True)
    assert away is not None
    assert away.fault.cause == "outage"


@pytest.mark.contract("K01")
def test_one_agent_whose_requests_always_fail_does_not_take_the_service_from_the_others() -> None:
    bench = Bench()
    poisoned, patience, answered = bench.circuit.ask(), Patience(), 0
    bench.ask(30)
    at_work = bench.admitted()
    while at_work:
        ticket = at_work.pop(0)
        if ticket is not poisoned:
            bench.circuit.answered(ticket)
            answered += 1
        else:
            assert bench.circuit.failed(ticket, OUT) is None
            if patience.failed_too_often():
                break
            poisoned = bench.circuit.ask(goes_first=patience.goes_first)
            bench.ask(2)
        at_work += bench.admitted() or (bench.wake() if bench.circuit.wakes_s is not None and not at_work else [])
    assert patience.failures == RETRIES_IN_A_ROW + 1
    assert answered >= 30


# --- how many at a time


@pytest.mark.contract("K02")
def test_a_rate_limit_halves_the_number_at_work_once_however_many_fail_of_it() -> None:
    bench = Bench()
    sent = bench.sent(40)
    for ticket in sent[:30]:
        bench.circuit.failed(ticket, RATE)
    assert bench.circuit.limit == 20
    for ticket in sent[30:]:
        bench.circuit.answered(ticket)
    bench.recover()
    assert len(bench.sent(100)) == 20


@pytest.mark.contract("K02")
def test_the_number_at_work_grows_back_step_by_step_and_no_further_than_it_is_used() -> None:
    bench = Bench()
    sent = bench.sent(40)
    for ticket in sent:
        bench.circuit.failed(ticket, RATE)
    bench.recover()
    bench.ask(2000)
    at_work, most = bench.admitted(), []
    for _ in range(12):
        most.append(len(at_work))
        for ticket in at_work:
            bench.circuit.answered(ticket)
            at_work = [*at_work[1:], *bench.admitted()]
    assert most[0] == 20
    assert all(0 <= later - earlier <= 3 for earlier, later in pairwise(most))
    assert most[8] >= 38
    before = bench.circuit.limit
    for ticket in at_work[1:]:
        bench.circuit.leave(ticket)
    bench.circuit.answered(at_work[0])
    assert bench.circuit.limit == before, "what is not used up does not grow"


def test_an_outage_leaves_the_number_at_work_alone() -> None:
    bench = Bench()
    one, *_ = bench.sent(40)
    bench.circuit.failed(one, OUT)
    assert bench.circuit.limit == 256


@pytest.mark.contract("K05")
def test_a_service_that_has_not_answered_yet_is_sent_few_until_it_does_or_takes_its_time() -> None:
    bench = Bench(proven=False)
    first, *_ = bench.sent(200)
    assert bench.circuit.at_work == UNPROVEN_AT_WORK
    assert bench.circuit.wakes_s == UNPROVEN_S
    bench.circuit.opened(first)
    assert len(bench.admitted()) == 200 - UNPROVEN_AT_WORK
    bench = Bench(proven=False)
    bench.sent(200)
    assert len(bench.wake()) == 200 - UNPROVEN_AT_WORK


# --- any order of events


class CircuitMachine(RuleBasedStateMachine):
    """Requests come, go, succeed and fail in any order; what must hold holds after each step."""

    @initialize(cap=st.integers(1, 64))
    def begin(self, cap: int) -> None:
        self.bench = Bench(cap=cap, proven=False)
        self.cap = cap
        self.at_work: list[Ticket] = []
        self.waiting: list[Ticket] = []
        self.no_request_before_s = -math.inf
        self.halved_for: set[int] = set()

    def sync(self) -> None:
        """Takes in who went: in order, none in a pause."""
        for ticket in self.bench.admitted():
            assert self.bench.now_s >= self.no_request_before_s, "a request went in a pause"
            assert ticket is next(one for one in self.waiting if one.stage is not Stage.OVER)
            self.waiting.remove(ticket)
            self.at_work.append(ticket)
        self.waiting = [one for one in self.waiting if one.stage is Stage.WAITING]

    def took(self, away: Away | None) -> None:
        until_s = self.bench.circuit.paused_until_s
        if until_s is not None:
            self.no_request_before_s = max(self.no_request_before_s, until_s)
        if away is not None:
            assert self.bench.circuit.waiting == 0
        self.sync()

    @precondition(lambda self: self.bench.circuit.away is None)
    @rule(goes_first=st.booleans())
    def ask(self, goes_first: bool) -> None:
        ticket = self.bench.circuit.ask(goes_first=goes_first)
        self.waiting.insert(0 if goes_first else len(self.waiting), ticket)
        self.sync()

    @precondition(lambda self: self.at_work)
    @rule(data=st.data())
    def open(self, data: st.DataObject) -> None:
        self.bench.circuit.opened(data.draw(st.sampled_from(self.at_work)))
        self.sync()

    def end(self, data: st.DataObject) -> Ticket:
        return self.at_work.pop(data.draw(st.integers(0, len(self.at_work) - 1)))

    @precondition(lambda self: self.at_work)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        before = self.bench.circuit.limit
        self.bench.circuit.answered(self.end(data))
        assert before <= self.bench.circuit.limit <= self.cap
        self.sync()

    @precondition(lambda self: self.at_work)
    @rule(data=st.data(), fault=st.sampled_from([RATE, OUT, KEY, named(3), named(0), named(5000)]))
    def fail(self, data: st.DataObject, fault: Fault) -> None:
        ticket, before = self.end(data), self.bench.circuit.limit
        away = self.bench.circuit.failed(ticket, fault)
        if self.bench.circuit.limit < before:
            assert fault.cause == "rate_limit"
            assert self.bench.circuit.limit >= before // 2 or self.bench.circuit.limit >= len(self.at_work) // 2
            assert ticket.sent_in not in self.halved_for, "one event halves once"
            self.halved_for.add(ticket.sent_in)
        self.took(away)

    @precondition(lambda self: self.at_work)
    @rule(data=st.data(), agent=st.sampled_from("abc"), is_again=st.booleans())
    def be_silent(self, data: st.DataObject, agent: str, is_again: bool) -> None:
        self.took(self.bench.circuit.silent(self.end(data), agent, is_again=is_again))

    @precondition(lambda self: self.at_work or self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.at_work + self.waiting))
        self.bench.circuit.leave(ticket)
        self.bench.circuit.leave(ticket)
        self.at_work = [one for one in self.at_work if one is not ticket]
        self.sync()

    @precondition(lambda self: self.at_work and self.bench.circuit.away is None)
    @rule(data=st.data())
    def be_taken_back(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.at_work))
        is_paused = self.bench.circuit.paused_until_s is not None
        if self.bench.circuit.take_back(ticket):
            assert is_paused
            self.at_work.remove(ticket)
            self.waiting.insert(0, ticket)
        self.sync()

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 3.0, 20.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.bench.now_s += seconds
        self.sync()

    @precondition(lambda self: self.waiting)
    @rule()
    def wake(self) -> None:
        """Whoever waits, waits for the time, for one at work, or goes: nobody is forgotten."""
        seconds = self.bench.circuit.wakes_s
        if seconds is None:
            assert self.at_work, "waits for nothing"
            return
        went = len(self.at_work)
        self.bench.now_s += seconds
        self.sync()
        assert len(self.at_work) > went or len(self.at_work) >= int(self.bench.circuit.limit)

    @invariant()
    def counts_are_right(self) -> None:
        circuit = self.bench.circuit
        assert circuit.at_work == len(self.at_work)
        assert circuit.waiting == len(self.waiting)
        assert 1 <= circuit.limit <= self.cap
        assert circuit.at_work <= self.cap


@pytest.mark.contract("K02")
def test_no_request_goes_in_a_pause_and_nobody_is_forgotten_whatever_happens() -> None:
    run_state_machine_as_test(CircuitMachine, settings=settings(max_examples=60, stateful_step_count=50, deadline=None))


def lines_of_one_request(bench: Bench, at_work: Ticket) -> int:
    """How many lines of the circuit are run when one is answered and the next goes."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        count += event == "line" and frame.f_code.co_filename == circuit.__file__
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        bench.circuit.answered(at_work)
        assert bench.circuit.admit() is not None
    finally:
        sys.settrace(before)
    return count


@pytest.mark.contract("L02")
def test_a_request_costs_the_same_however_many_wait() -> None:
    counts = []
    for waiting in (16, 1000):
        bench = Bench(cap=1)
        (at_work,) = bench.sent(1)
        bench.ask(waiting)
        counts.append(lines_of_one_request(bench, at_work))
    assert counts[0] == counts[1]
