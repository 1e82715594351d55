"""The host is killed at any moment: no process outlives it, and all that the script can have seen is in the record."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from callsheet.store.reader import read_tool_calls
from tests.support import waves
from tests.support.live_run import (
    Case,
    NewCommand,
    gone,
    has_engine,
    has_used_cpu,
    is_born,
    is_confined,
    live_run,
    play_all,
)
from tests.support.recorded import Recorded, assert_nothing_is_missing, assert_sound, recorded, runs_in
from tests.surfaces.command import Command

pytestmark = pytest.mark.anyio

KILLS = 6
CHANCE = random.Random(4_711)


@pytest.mark.contract("R01")
async def test_whenever_hosts_are_killed_the_record_they_share_keeps_all_that_their_scripts_saw(
    command: Command, record: Path
) -> None:
    for kill in range(KILLS):
        answers = waves.answers(CHANCE, writing=True)
        async with live_run(command, waves.BODY + waves.THEN_SPIN, answers=answers) as run:
            if kill % 2:
                await run.read(CHANCE.randint(1, waves.EVENTS))
            else:
                await run.writes(record, nth=CHANCE.randint(1, waves.WAVES))
            sandbox = await run.sandbox()
            run.strike(run.pid, signal.SIGKILL)
            await gone([sandbox])
            ended = await run.ended()

        assert ended.status == -signal.SIGKILL
        assert_sound(record)
        if run.run_id not in runs_in(record):  # it was killed before its first rows were written
            assert "agent.finished" not in {event["event"] for event in ended.events}
            continue
        found = recorded(record, run.run_id)
        assert found.end is None
        assert_nothing_is_missing(found, ended.events)
        assert_intents_came_first(record, run.run_id, found, command.folder / "notes")

    async with live_run(command, waves.BODY, answers=waves.answers(CHANCE)) as run:
        ended = await run.ended()
    assert (ended.status, ended.result["status"]) == (0, "completed")
    assert len(recorded(record, run.run_id).having("ok")) == waves.AGENTS


def assert_intents_came_first(record: Path, run_id: str, found: Recorded, notes: Path) -> None:
    """Whatever the agents of a run have written is in the record of what they were about to do."""
    for note in notes.glob("*.md"):
        (call,) = read_tool_calls(record, run_id, found.agents[note.stem].agent_id)
        assert call.state in {"intent", "done"}
        note.unlink()


async def test_a_sandbox_does_not_outlive_its_host(new_command: NewCommand) -> None:
    moments = {
        "as it is started": is_born,
        "as its engine starts": has_engine,
        "as it has confined itself": is_confined,
        "while it spins": has_used_cpu(0.2),
    }
    cases: dict[str, Case] = {name: partial(orphaned, moment) for name, moment in moments.items()}
    await play_all(cases | {"while it is stopped": orphaned_and_stopped}, new_command)


async def orphaned(moment: Callable[[int], bool], command: Command) -> None:
    """A sandbox whose host is killed at a moment."""
    async with live_run(command, "for (;;);") as run:
        sandbox = await run.sandbox(moment)
        run.strike(run.pid, signal.SIGKILL)
        await gone([sandbox])
        assert await run.status() == -signal.SIGKILL


async def orphaned_and_stopped(command: Command) -> None:
    """A sandbox that does nothing, whose host is killed."""
    async with live_run(command, "await agent('for ever', { label: 'for ever' })") as run:
        await run.until("agent.started")
        sandbox = await run.sandbox()
        run.strike(sandbox, signal.SIGSTOP)
        run.strike(run.pid, signal.SIGKILL)
        await gone([sandbox])
