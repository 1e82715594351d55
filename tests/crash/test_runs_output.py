"""Whoever reads a run's output goes away, stands still, or has no room: the run goes on, and its record is whole."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support import waves
from tests.support.live_run import live_run
from tests.support.recorded import assert_sound, recorded, runs_in
from tests.surfaces.command import LIMIT_S, Command

pytestmark = pytest.mark.anyio

CHANCE = random.Random(99)
ENDS_WITHIN_S = 5.0
ANSWERS = waves.answers(CHANCE)


def assert_all_answered(record: Path) -> None:
    """The one run of the record has completed, with every answer."""
    ((run_id, status),) = runs_in(record).items()
    found = recorded(record, run_id)
    assert (status, len(found.having("ok")), found.having("cancelled")) == ("completed", waves.AGENTS, {"for ever"})
    assert found.events[-1].event == "run.finished"
    assert_sound(record)


def test_a_reader_that_has_seen_enough_in_a_shell_does_not_end_the_run(command: Command, record: Path) -> None:
    words = ["run", command.script(waves.BODY), "--backend", command.answers(*ANSWERS), "--output", "jsonl"]
    shell = 'set -o pipefail; "$@" 2>err.txt | head -1; echo "${PIPESTATUS[@]}"'
    done = subprocess.run(
        ["bash", "-c", shell, "bash", *command.line(*words)],
        cwd=command.folder,
        env=command.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT_S,
        check=True,
    )

    first, statuses = done.stdout.decode().splitlines()
    assert (json.loads(first)["event"], statuses) == ("run.started", "0 0")
    assert "Traceback" not in (command.folder / "err.txt").read_text(encoding="utf-8")
    assert_all_answered(record)


async def test_a_reader_that_goes_away_in_the_middle_does_not_end_the_run(command: Command, record: Path) -> None:
    async with live_run(command, waves.BODY, answers=ANSWERS) as run:
        await run.read(CHANCE.randint(2, waves.EVENTS // 2))
        await run.close_output()
        assert await run.status() == 0
        assert "Traceback" not in run.err
    assert_all_answered(record)


def test_output_that_finds_no_room_is_said_and_the_record_is_whole(command: Command, record: Path) -> None:
    words = ["run", command.script(waves.BODY), "--backend", command.answers(*ANSWERS), "--output", "jsonl"]
    with Path("/dev/full").open("wb") as full:
        process = command.start(*words, stdout=full)
        _, err = process.communicate(timeout=LIMIT_S)

    assert process.returncode == 1
    assert "could not be written: No space left on device" in err.decode()
    assert_all_answered(record)


async def test_a_reader_that_stands_still_neither_slows_the_run_nor_keeps_the_command_from_being_ended(
    command: Command, record: Path
) -> None:
    body = waves.BODY + "for (let i = 0; i < 2_000; i++) log('line ' + 'x'.repeat(100)); log('last')"
    async with live_run(command, body, answers=ANSWERS) as run:
        await run.writes_until(record, lambda: "completed" in runs_in(record).values())
        run.strike(run.pid, signal.SIGINT)
        status = await run.status(ENDS_WITHIN_S)
        assert "Traceback" not in run.err
    assert status in {0, 130}
    assert_all_answered(record)
