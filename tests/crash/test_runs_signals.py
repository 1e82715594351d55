"""Signals at any moment: once the run ends in order, twice at once; either way nothing answered is lost."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from callsheet.model.counts import MAX_CALLS
from tests.support import waves
from tests.support.deadline import within
from tests.support.examples import times
from tests.support.live_run import LiveRun, NewCommand, has_engine, is_confined, live_run, play_all
from tests.support.recorded import assert_closed, assert_nothing_is_missing, assert_sound, record_of, recorded, runs_in
from tests.surfaces.command import Command

pytestmark = pytest.mark.anyio

IN_ORDER_S = 5.0
AT_ONCE_S = 0.5
CHANCE = random.Random(815)

LINES = "for (let i = 0; ; i++) { log('line ' + i); await 0 }"
CALLS = "for (let i = 0; ; i++) { agent('more', { label: 'more ' + i }).catch(() => 0); await 0 }"
ANSWERS = (*waves.answers(CHANCE), waves.FOREVER | {"label": "more *"})

WAITS = waves.FOREVER | {"label": "w*"}

ENDINGS = {signal.SIGINT: (130, "cancelled"), signal.SIGTERM: (6, "interrupted")}


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When a run is told to end: at the nth event of this name of this script."""

    number: signal.Signals
    body: str
    event: str
    nth: int


MOMENTS = {
    "Ctrl-C, waves of agents": Moment(
        number=signal.SIGINT, body=waves.BODY, event="agent.finished", nth=CHANCE.randint(1, waves.AGENTS // 2)
    ),
    "termination, waves of agents": Moment(
        number=signal.SIGTERM, body=waves.BODY, event="agent.finished", nth=CHANCE.randint(1, waves.AGENTS // 2)
    ),
    "Ctrl-C, a flood of lines": Moment(number=signal.SIGINT, body=LINES, event="log", nth=CHANCE.randint(1, 400)),
    "termination, a flood of calls": Moment(
        number=signal.SIGTERM, body=CALLS, event="agent.queued", nth=CHANCE.randint(1, 400)
    ),
}


async def test_one_signal_ends_a_run_in_order(new_command: NewCommand) -> None:
    await play_all({name: partial(told_once, moment) for name, moment in MOMENTS.items()}, new_command)


async def test_two_signals_end_a_run_at_once_and_nothing_answered_is_missing(new_command: NewCommand) -> None:
    await play_all({name: partial(told_twice, moment) for name, moment in list(MOMENTS.items())[1:]}, new_command)


async def test_a_signal_that_comes_as_the_sandbox_starts_leaves_no_run_half_open(new_command: NewCommand) -> None:
    cases = {
        "Ctrl-C as its engine starts": partial(told_early, signal.SIGINT, has_engine),
        "termination as it has confined itself": partial(told_early, signal.SIGTERM, is_confined),
    }
    await play_all(cases, new_command)


@pytest.mark.contract("A13", "L03", "R01")
async def test_a_run_with_thousands_of_waiting_calls_ends_in_order_with_each_of_them_recorded(
    command: Command, record: Path
) -> None:
    """Nothing of it may cost more for a call that waits than for one that works: five seconds are for all of them."""
    waiting = min(times(2_000), MAX_CALLS)
    body = f"await Promise.all(Array.from({{ length: {waiting} }}, (_, i) => agent('do ' + i, {{ label: 'w' + i }})))"
    async with live_run(command, body, "--max-agents", str(waiting), answers=(WAITS,)) as run:
        with within(60):
            await until_queued(run, waiting)
        run.strike(run.pid, signal.SIGINT)
        ended = await run.ended(IN_ORDER_S)

    assert (ended.status, ended.result["status"]) == ENDINGS[signal.SIGINT]
    assert len(ended.result["agents"]) == waiting
    found = recorded(record, run.run_id)
    assert_closed(found, ended.events, "cancelled")
    assert len(found.having("cancelled")) == waiting
    assert all(agent.error for agent in found.agents.values())
    assert_sound(record)


async def until_queued(run: LiveRun, calls: int) -> None:
    """Reads until so many calls were accepted."""
    while calls and (event := await run.next()) is not None:
        calls -= event["event"] == "agent.queued"
    assert calls == 0, run.err


async def told_once(moment: Moment, command: Command) -> None:
    """A run that gets one signal."""
    record = record_of(command)
    async with live_run(command, moment.body + waves.THEN_REST, answers=ANSWERS) as run:
        await run.until(moment.event, nth=moment.nth)
        run.strike(run.pid, moment.number)
        ended = await run.ended(IN_ORDER_S)

    assert (ended.status, ended.result["status"]) == ENDINGS[moment.number]
    assert_closed(recorded(record, run.run_id), ended.events, ENDINGS[moment.number][1])
    assert_sound(record)


async def told_twice(moment: Moment, command: Command) -> None:
    """A run that gets another signal at once."""
    record = record_of(command)
    async with live_run(command, moment.body + waves.THEN_REST, answers=ANSWERS) as run:
        await run.until(moment.event, nth=moment.nth)
        run.strike(run.pid, moment.number)
        run.strike(run.pid, signal.SIGINT if moment.number == signal.SIGTERM else signal.SIGTERM)
        ended = await run.ended(AT_ONCE_S)

    assert ended.status == 130
    assert_nothing_is_missing(recorded(record, run.run_id), ended.events)
    assert_sound(record)


async def told_early(number: signal.Signals, is_so: Callable[[int], bool], command: Command) -> None:
    """A run that gets a signal before it has begun, or just when it begins."""
    async with live_run(command, waves.BODY + waves.THEN_REST, answers=ANSWERS) as run:
        await run.sandbox(is_so)
        run.strike(run.pid, number)
        ended = await run.ended(IN_ORDER_S)

    assert ended.status in {130, ENDINGS[number][0]}
    assert list(runs_in(record_of(command)).values()) in ([], [ENDINGS[number][1]])


async def test_a_sandbox_that_is_stopped_does_not_keep_a_run_from_ending(command: Command, record: Path) -> None:
    async with live_run(command, waves.BODY + waves.THEN_SPIN, answers=ANSWERS) as run:
        await run.until("agent.finished", nth=5)
        run.strike(await run.sandbox(), signal.SIGSTOP)
        run.strike(run.pid, signal.SIGINT)
        ended = await run.ended(IN_ORDER_S)

    assert ended.status == 130
    assert_closed(recorded(record, run.run_id), ended.events, "cancelled")
