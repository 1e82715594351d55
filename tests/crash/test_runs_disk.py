"""The record's disk takes no more, or is held by somebody else, in the middle of a run."""

from __future__ import annotations

import random
import resource
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import pytest

from tests.support import waves
from tests.support.live_run import NewCommand, live_run, play_all
from tests.support.recorded import assert_answers_are_there, assert_closed, assert_sound, record_of, recorded
from tests.support.small_disk import run_with_room_for
from tests.surfaces.command import Command

pytestmark = pytest.mark.anyio

CHANCE = random.Random(28)
ANSWERS = waves.answers(CHANCE)


@pytest.mark.contract("R01")
async def test_a_disk_that_is_full_interrupts_the_run_and_what_was_recorded_before_is_safe(
    new_command: NewCommand,
) -> None:
    answers = CHANCE.sample(range(1, waves.WAVES), 3)
    await play_all({f"after answer {nth}": partial(full_after, nth) for nth in answers}, new_command)


async def full_after(nth: int, command: Command) -> None:
    """A run whose disk takes no more after so many answers."""
    record = record_of(command)
    async with live_run(command, waves.BODY + waves.THEN_REST, answers=ANSWERS) as run:
        await run.until("agent.finished", nth=nth)
        size = record.with_name(f"{record.name}-wal").stat().st_size
        resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (size, size))
        ended = await run.ended(5)

    assert (ended.status, ended.result["status"], ended.result["error"]["kind"]) == (6, "interrupted", "internal")
    message = ended.result["error"]["message"]
    assert str(record) in message and "the disk may be full" in message and f"callsheet resume {run.run_id}" in message
    found = recorded(record, run.run_id)
    assert found.end is None
    assert_answers_are_there(found, ended.events)
    given = {agent["label"] for agent in ended.result["agents"] if agent["status"] == "ok"}
    assert len(given) >= nth
    assert given == found.having("ok")
    assert_sound(record)


@pytest.mark.parametrize("free_bytes", [0, 4096, 8192, 16384, 40960])
def test_a_disk_that_is_full_from_the_start_is_a_failure_of_the_machine_that_names_the_place_and_the_way_out(
    command: Command, record: Path, free_bytes: int
) -> None:
    script = command.script("return 1")

    done = run_with_room_for(free_bytes, command, "run", script, "--backend", "offline", "--output", "json")

    assert (done.status, done.json["status"], done.json["error"]["kind"]) == (1, "failed", "internal"), done.err
    message = done.json["error"]["message"]
    assert str(record) in message and "then run again" in message
    assert any(word in message for word in ("make room", "the disk may be full", "no file grow further")), message
    assert f"error: {message}" in done.err
    assert "Traceback" not in done.err


def test_a_run_that_found_the_disk_full_leaves_nothing_that_spoils_the_next(command: Command, record: Path) -> None:
    script = command.script("return 1")
    run_with_room_for(0, command, "run", script, "--backend", "offline")

    done = command("run", script, "--backend", "offline")

    assert done.status == 0, done.err
    assert record.with_name(".gitignore").read_text(encoding="utf-8") == "*\n"
    assert_sound(record)


@pytest.mark.contract("R01")
async def test_a_record_that_is_removed_interrupts_the_run_before_its_script_sees_what_is_not_recorded(
    command: Command, record: Path
) -> None:
    async with live_run(command, waves.BODY + waves.THEN_REST, answers=ANSWERS) as run:
        await run.until("agent.finished", nth=5)
        kept = record.parent.rename(record.parent.with_name("kept")) / record.name
        ended = await run.ended(5)

    assert (ended.status, ended.result["status"]) == (6, "interrupted")
    assert f"{record}: it was moved or removed" in ended.result["error"]["message"]
    assert_answers_are_there(recorded(kept, run.run_id), ended.events)
    assert_sound(kept)


async def test_a_record_that_another_program_holds_locked_is_waited_for_and_loses_nothing(
    command: Command, record: Path
) -> None:
    async with live_run(command, waves.BODY, answers=ANSWERS) as run:
        await run.until("agent.finished", nth=1)
        with closing(sqlite3.connect(record, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            shown = len(run.events)
            with anyio.move_on_after(0.5):
                while await run.next() is not None:
                    pass
            db.execute("ROLLBACK")
        ended = await run.ended()

    assert len(ended.events) > shown
    assert (ended.status, ended.result["status"]) == (0, "completed")
    assert_closed(recorded(record, run.run_id), ended.events, "completed")
