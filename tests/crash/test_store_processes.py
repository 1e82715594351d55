"""What is acknowledged is on disk, whatever becomes of the process; several processes share a record."""

from __future__ import annotations

import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from callsheet.store.reader import read_agents, read_events
from tests.support.deadline import within

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


async def start(record: Path, run_id: str, *, writes: int, largest_file_bytes: int | None = None) -> Process:
    limit = [] if largest_file_bytes is None else [str(largest_file_bytes)]
    return await anyio.open_process(
        [sys.executable, "-m", "tests.crash.store_writer", str(record), run_id, str(writes), *limit],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )


async def said(process: Process, *, kill_after: int | None = None) -> list[str]:
    """All whole lines of a process until its end, which comes by SIGKILL after so many of them."""
    assert process.stdout is not None
    text = ""
    async with aclosing(process):
        async for piece in TextReceiveStream(process.stdout):
            text += piece
            if kill_after is not None and text.count("\n") >= kill_after and process.returncode is None:
                process.kill()
        await process.wait()
    return text.split("\n")[:-1]


def found_whole(record: Path, run_id: str) -> set[int]:
    """The numbers of the writes that are in the record, each of them whole."""
    agents = {found.agent.call for found in read_agents(record, run_id)}
    events = [event.seq for event in read_events(record, run_id)]
    assert sorted(events) == sorted(seq for number in agents for seq in (2 * number - 1, 2 * number))
    return agents


@pytest.mark.contract("R01")
@pytest.mark.parametrize("kill_after", [1, 20, 300])
async def test_what_was_acknowledged_survives_a_kill_and_nothing_is_there_by_half(
    tmp_path: Path, kill_after: int
) -> None:
    record = tmp_path / ".callsheet" / "callsheet.db"
    with within(30):
        for run_id in ("run_1", "run_2"):  # the second meets what the killed first has left behind
            lines = await said(await start(record, run_id, writes=100_000), kill_after=kill_after)
            acknowledged = {int(line) for line in lines}
            assert len(acknowledged) >= kill_after
            assert acknowledged <= found_whole(record, run_id)
            # At most one write of each of its tasks can have been on disk and not yet acknowledged.
            assert len(found_whole(record, run_id) - acknowledged) <= 8


@pytest.mark.contract("R01")
async def test_processes_that_start_at_once_make_one_record_and_lose_nothing(tmp_path: Path) -> None:
    record = tmp_path / ".callsheet" / "callsheet.db"
    lines: dict[str, list[str]] = {}

    async def run(run_id: str) -> None:
        lines[run_id] = await said(await start(record, run_id, writes=100))

    with within(60):
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(run, f"run_{number}")
    for run_id in ("run_0", "run_1", "run_2"):
        assert {int(line) for line in lines[run_id]} == found_whole(record, run_id) == set(range(1, 101))


async def test_a_disk_that_takes_no_more_is_told_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    record = tmp_path / "callsheet.db"
    with within(30):
        process = await start(record, "run_1", writes=100_000, largest_file_bytes=400_000)
        lines = await said(process)
    *acknowledged, refused = lines
    assert refused.startswith(f"refused: The record {record}: ")
    assert "the disk may be full, over quota or failing" in refused
    assert acknowledged
    assert {int(line) for line in acknowledged} == found_whole(record, "run_1")
