"""The scheduler against a model of itself that is too simple to be wrong."""

from __future__ import annotations

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

from callsheet.engine.scheduler import Scheduler


class SchedulerMachine(RuleBasedStateMachine):
    """Adds, takes, releases and withdraws at will; the model is a plain list that is sorted at every look."""

    @initialize(max_parallel=st.integers(1, 4), max_agents=st.integers(1, 60))
    def make(self, max_parallel: int, max_agents: int) -> None:
        self.scheduler = Scheduler(max_parallel=max_parallel, max_agents=max_agents, max_calls=80)
        self.waiting: list[tuple[float, int]] = []
        self.working: list[int] = []
        self.parked: list[int] = []
        self.returning: list[int] = []
        self.started: list[int] = []
        self.withdrawn: list[int] = []
        self.calls = 0
        self.accepted: list[int] = []

    @rule(priority=st.sampled_from([-1.0, 0.0, 0.0, 0.0, 2.5]))
    def call(self, priority: float) -> None:
        self.calls += 1
        number = self.scheduler.count_call()
        assert number == (self.calls if self.calls <= 80 else None)
        assert self.scheduler.is_full == (len(self.accepted) >= self.scheduler.max_agents)
        if number is None or self.scheduler.is_full:
            return
        self.accepted.append(number)
        assert self.scheduler.add(number, priority) == len(self.accepted)
        self.waiting.append((-priority, number))

    @rule()
    def take(self) -> None:
        number = self.scheduler.take()
        room = self.scheduler.max_parallel - len(self.working)
        if room <= len(self.returning) or not self.waiting:
            assert number is None, "those that come back go first"
            return
        first = min(self.waiting)
        assert number == first[1], "highest priority first, then first come"
        self.waiting.remove(first)
        self.working.append(first[1])
        self.started.append(first[1])

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def park(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.working))
        self.scheduler.park(number)
        self.working.remove(number)
        self.parked.append(number)

    @precondition(lambda self: self.parked)
    @rule(data=st.data())
    def want_back(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.parked))
        self.scheduler.want_back(number)
        self.parked.remove(number)
        self.returning.append(number)

    @rule()
    def take_back(self) -> None:
        number = self.scheduler.take_back()
        if len(self.working) >= self.scheduler.max_parallel or not self.returning:
            assert number is None
            return
        assert number == self.returning.pop(0), "first come back first"
        self.working.append(number)

    @precondition(lambda self: self.working or self.parked or self.returning)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from([*self.working, *self.parked, *self.returning]))
        self.scheduler.release(number)
        for place in (self.working, self.parked, self.returning):
            if number in place:
                place.remove(number)

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.accepted))
        waits = [entry for entry in self.waiting if entry[1] == number]
        assert self.scheduler.withdraw(number) == bool(waits)
        if waits:
            self.waiting.remove(waits[0])
            self.withdrawn.append(number)

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        assert self.scheduler.working == len(self.working) <= self.scheduler.max_parallel
        assert self.scheduler.begun == len(self.working) + len(self.parked) + len(self.returning)
        assert self.scheduler.waiting == len(self.waiting)
        assert self.scheduler.accepted == len(self.accepted) <= self.scheduler.max_agents

    def teardown(self) -> None:
        """Whatever happened: what still waits starts, each accepted call starts or is withdrawn, and only once."""
        if not hasattr(self, "scheduler"):
            return
        for number in [*self.working, *self.parked, *self.returning]:
            self.scheduler.release(number)
        while (taken := self.scheduler.take()) is not None:
            self.started.append(taken)
            self.scheduler.release(taken)
        assert sorted(self.started + self.withdrawn) == self.accepted


@pytest.mark.contract("A12", "L01", "L03")
def test_cap_order_and_exactly_once_hold_over_random_histories() -> None:
    run_state_machine_as_test(
        SchedulerMachine, settings=settings(max_examples=60, stateful_step_count=60, deadline=None)
    )


@pytest.mark.parametrize("max_parallel", [0, 257])
@pytest.mark.contract("L01")
def test_a_cap_outside_1_to_256_is_refused(max_parallel: int) -> None:
    with pytest.raises(ValueError, match="1 to 256"):
        Scheduler(max_parallel=max_parallel, max_agents=1)


def test_a_run_of_no_agents_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Scheduler(max_parallel=1, max_agents=0)


@pytest.mark.contract("L02")
def test_a_step_costs_at_most_the_logarithm_of_the_number_waiting() -> None:
    def comparisons(waiting: int) -> int:
        """How many comparisons of heap entries it takes to serve ten calls while so many wait."""
        counted = 0

        class Priority(float):
            def __neg__(self) -> Priority:
                return self

            def __lt__(self, other: object) -> bool:
                nonlocal counted
                counted += 1
                return float(self) < float(other)  # type: ignore[arg-type]

            def __eq__(self, other: object) -> bool:
                return False

            __hash__ = float.__hash__

        scheduler = Scheduler(max_parallel=1, max_agents=100_000, max_calls=100_000)
        for number in range(waiting):
            scheduler.add(number, Priority(number))
        counted = 0
        for _ in range(10):
            taken = scheduler.take()
            assert taken is not None
            scheduler.release(taken)
        return counted

    assert comparisons(16) <= 10 * 2 * 4
    assert comparisons(16_000) <= 10 * 2 * 14


def test_withdrawing_thousands_keeps_no_trace_of_them() -> None:
    scheduler = Scheduler(max_parallel=1, max_agents=10_000)
    for number in range(5_000):
        scheduler.add(number, 0)
    assert all(scheduler.withdraw(number) for number in range(4_999))
    assert len(scheduler._heap) < 200
    assert scheduler.take() == 4_999
