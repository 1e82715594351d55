"""Several runs at once in one workspace and one record: what becomes of one is nothing to the others."""

from __future__ import annotations

import random
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from tests.support import waves
from tests.support.live_run import Ended, LiveRun, live_run
from tests.support.recorded import assert_closed, assert_nothing_is_missing, assert_sound, recorded
from tests.surfaces.command import Command

pytestmark = pytest.mark.anyio

CHANCE = random.Random(3)
LASTING = waves.BODY + waves.THEN_REST


async def all_ended(runs: list[LiveRun]) -> list[Ended]:
    """How each ended, in their order."""
    ended: dict[int, Ended] = {}

    async def wait(number: int) -> None:
        ended[number] = await runs[number].ended()

    async with anyio.create_task_group() as tasks:
        for number in range(len(runs)):
            tasks.start_soon(wait, number)
    return [ended[number] for number in range(len(runs))]


async def test_three_runs_that_start_at_once_share_a_record_and_lose_nothing(command: Command, record: Path) -> None:
    async with AsyncExitStack() as stack:
        answers = waves.answers(CHANCE, writing=True)
        runs = [
            await stack.enter_async_context(live_run(command, waves.BODY, "--share", answers=answers)) for _ in range(3)
        ]
        for run, ended in zip(runs, await all_ended(runs), strict=True):
            assert (ended.status, ended.result["status"]) == (0, "completed")
            found = recorded(record, run.run_id)
            assert_closed(found, ended.events, "completed")
            assert (len(found.having("ok")), found.having("cancelled")) == (waves.AGENTS, {"for ever"})
    assert_sound(record)


async def test_of_three_runs_one_loses_its_host_one_its_sandbox_and_the_third_completes(
    command: Command, record: Path
) -> None:
    async with AsyncExitStack() as stack:
        answers = waves.answers(CHANCE, writing=True)
        bodies = {"whole.js": waves.BODY, "headless.js": LASTING, "childless.js": LASTING}
        runs = [
            await stack.enter_async_context(live_run(command, body, "--share", answers=answers, name=name))
            for name, body in bodies.items()
        ]
        whole, headless, childless = runs
        await headless.until("agent.finished", nth=10)
        headless.strike(headless.pid, signal.SIGKILL)
        await childless.until("agent.finished", nth=10)
        childless.strike(await childless.sandbox(), signal.SIGKILL)
        ended = await all_ended(runs)

    assert [one.status for one in ended] == [0, -signal.SIGKILL, 1]
    assert_closed(recorded(record, whole.run_id), ended[0].events, "completed")
    assert len(recorded(record, whole.run_id).having("ok")) == waves.AGENTS
    assert_nothing_is_missing(recorded(record, headless.run_id), ended[1].events)
    assert_closed(recorded(record, childless.run_id), ended[2].events, "failed")
    assert_sound(record)
