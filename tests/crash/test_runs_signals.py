"""Signals at any moment: once the run ends in order, twice at once; either way nothing answered is lost."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import waves
from tests.support.live_run import LiveRun, has_engine, is_confined, live_run
from tests.support.recorded import assert_closed, assert_nothing_is_missing, assert_sound, recorded, runs_in
from tests.surfaces.command import Command

pytestmark = pytest.mark.anyio

IN_ORDER_S = 5.0
AT_ONCE_S = 0.5
CHANCE = random.Random(815)

LINES = "for (let i = 0; ; i++) { log('line ' + i); await 0 }"
CALLS = "for (let i = 0; ; i++) { agent('more', { label: 'more ' + i }).catch(() => 0); await 0 }"
ANSWERS = (*waves.answers(CHANCE), waves.FOREVER | {"label": "more *"})

ENDINGS = {signal.SIGINT: (130, "cancelled"), signal.SIGTERM: (6, "interrupted")}


async def in_the_middle(run: LiveRun, record: Path, body: str) -> None:
    """Some moment of the script's work."""
    if body == waves.BODY:
        await run.until("agent.finished", nth=CHANCE.randint(1, waves.AGENTS // 2))
    else:
        await run.until("log" if body == LINES else "agent.queued", nth=CHANCE.randint(1, 400))


@pytest.mark.parametrize(
    ("number", "body"),
    [
        pytest.param(signal.SIGINT, waves.BODY, id="Ctrl-C, waves of agents"),
        pytest.param(signal.SIGTERM, waves.BODY, id="termination, waves of agents"),
        pytest.param(signal.SIGINT, LINES, id="Ctrl-C, a flood of lines"),
        pytest.param(signal.SIGTERM, CALLS, id="termination, a flood of calls"),
    ],
)
async def test_one_signal_ends_a_run_in_order_in_the_middle_of(
    command: Command, record: Path, number: signal.Signals, body: str
) -> None:
    async with live_run(command, body + waves.THEN_REST, answers=ANSWERS) as run:
        await in_the_middle(run, record, body)
        run.strike(run.pid, number)
        ended = await run.ended(IN_ORDER_S)

    assert (ended.status, ended.result["status"]) == ENDINGS[number]
    assert_closed(recorded(record, run.run_id), ended.events, ENDINGS[number][1])
    assert_sound(record)


@pytest.mark.parametrize("body", [waves.BODY, CALLS], ids=["waves of agents", "a flood of calls"])
async def test_two_signals_end_a_run_at_once_in_the_middle_of(command: Command, record: Path, body: str) -> None:
    first, second = CHANCE.choices(list(ENDINGS), k=2)
    async with live_run(command, body + waves.THEN_REST, answers=ANSWERS) as run:
        await in_the_middle(run, record, body)
        run.strike(run.pid, first)
        run.strike(run.pid, second)
        ended = await run.ended(AT_ONCE_S)

    assert ended.status in {130, ENDINGS[first][0]}
    assert_nothing_is_missing(recorded(record, run.run_id), ended.events)
    assert_sound(record)


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        pytest.param(signal.SIGINT, has_engine, id="starts its engine"),
        pytest.param(signal.SIGTERM, is_confined, id="has confined itself"),
    ],
)
async def test_a_signal_leaves_no_run_half_open_when_it_comes_as_the_sandbox(
    command: Command, record: Path, number: signal.Signals, moment: Callable[[int], bool]
) -> None:
    async with live_run(command, waves.BODY + waves.THEN_REST, answers=ANSWERS) as run:
        await run.sandbox(moment)
        run.strike(run.pid, number)
        ended = await run.ended(IN_ORDER_S)

    assert ended.status in {130, ENDINGS[number][0]}
    assert list(runs_in(record).values()) in ([], [ENDINGS[number][1]])


async def test_a_sandbox_that_is_stopped_does_not_keep_a_run_from_ending(command: Command, record: Path) -> None:
    async with live_run(command, waves.BODY + waves.THEN_SPIN, answers=ANSWERS) as run:
        await run.until("agent.finished", nth=5)
        run.strike(await run.sandbox(), signal.SIGSTOP)
        run.strike(run.pid, signal.SIGINT)
        ended = await run.ended(IN_ORDER_S)

    assert ended.status == 130
    assert_closed(recorded(record, run.run_id), ended.events, "cancelled")
