"""Records that were cut, flipped, emptied or left half written: what is there is read, and nothing breaks."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from callsheet.errors import StoreError
from callsheet.store.record import Record, open_record
from callsheet.store.sqlite import open_store
from tests.support.deadline import within
from tests.support.store_rows import RUN_ID, agent_row, event_row, run_end_row, run_row
from tests.support.users import unprivileged

pytestmark = pytest.mark.anyio

RUNS, AGENTS = 6, 40


@pytest.fixture
async def whole(tmp_path: Path) -> bytes:
    """The bytes of a record with some runs, of many pages."""
    path = tmp_path / "whole.db"
    with within():
        async with open_store(path) as store:
            for number in range(RUNS):
                run_id = f"run_{number}"
                await store.write(
                    [run_row(run_id=run_id, started_ms=number), run_end_row(run_id=run_id)], durable=False
                )
                agents = [agent_row(each, run_id=run_id, task_description="x" * 500) for each in range(1, AGENTS)]
                events = [event_row(seq, run_id=run_id) for seq in range(1, AGENTS)]
                await store.write([*agents, *events], durable=False)
    return path.read_bytes()


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


def look(record: Record) -> tuple[int, int]:
    """Reads all there is; how many runs and agents that were."""
    runs = record.runs()
    agents = 0
    for run in runs:
        record.run(run.run_id)
        calls = record.calls(run.run_id)
        agents += len(calls)
        for call in calls[:2]:
            record.agent(run.run_id, call.agent_id)
            record.messages(run.run_id, call.agent_id)
        record.events(run.run_id)
        record.last_event(run.run_id, "log")
        record.tool_calls(run.run_id)
        record.timers(run.run_id)
    return len(runs), agents


async def test_a_whole_record_has_no_damage(whole: bytes, tmp_path: Path) -> None:
    with open_record(tmp_path / "whole.db") as record:
        assert look(record) == (RUNS, RUNS * (AGENTS - 1))
        assert record.damage is None


@pytest.mark.parametrize("part", [0.3, 0.5, 0.9, 0.99])
async def test_of_a_record_that_was_cut_off_the_beginning_is_read(whole: bytes, tmp_path: Path, part: float) -> None:
    path = tmp_path / "cut.db"
    path.write_bytes(whole[: int(len(whole) * part)])

    with open_record(path) as record:
        runs, _ = look(record)
        assert record.damage is not None and "is damaged" in record.damage
    assert runs == RUNS


@pytest.mark.parametrize("pages", [3, 8, 12, 16])
async def test_of_a_small_record_the_first_pages_are_enough_to_name_its_runs(tmp_path: Path, pages: int) -> None:
    path = tmp_path / "small.db"
    with within():
        async with open_store(path) as store:
            await store.write([run_row(), agent_row(), event_row(1), run_end_row()], durable=True)
    data = path.read_bytes()
    assert len(data) >= 17 * 4096
    path.write_bytes(data[: pages * 4096])

    with open_record(path) as record:
        runs, agents = look(record)
        assert record.damage is not None
    assert (runs, agents) == (1, 1 if pages > 8 else 0)


async def test_a_page_that_is_rubbish_costs_what_stood_on_it(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "page.db"
    pages = len(whole) // 4096
    for page in range(1, pages):
        path.write_bytes(whole[: page * 4096] + b"\xa5" * 4096 + whole[(page + 1) * 4096 :])
        try:
            with open_record(path) as record:
                look(record)
                assert record.damage is not None
        except StoreError as error:  # all of the runs stood on it, or all of a table's way
            assert "damaged" in error.message


async def test_whatever_bits_are_flipped_reading_ends_in_rows_or_in_words(whole: bytes, tmp_path: Path) -> None:
    chance = random.Random(7)
    path = tmp_path / "flipped.db"
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 8, 200])):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        try:
            with open_record(path) as record:
                look(record)
        except StoreError as error:
            assert str(path) in error.message


async def test_a_run_that_writes_is_read_while_it_writes_and_leaves_no_file_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "callsheet.db"
    with within():
        async with open_store(path) as store:
            await store.write([run_row()], durable=True)
            with open_record(path) as record:
                assert [run.status for run in record.runs()] == ["running"]
                await store.write([run_end_row()], durable=True)
                assert [run.status for run in record.runs()] == ["completed"]
    assert names(tmp_path) == ["callsheet.db"]
    with open_record(path) as record:
        assert [run.run_id for run in record.runs()] == [RUN_ID]
    assert names(tmp_path) == ["callsheet.db"]


async def test_a_record_that_is_written_after_it_was_opened_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "callsheet.db"
    with within():
        async with open_store(path) as store:
            await store.write([run_row()], durable=True)
        with open_record(path) as record:
            assert len(record.runs()) == 1
            async with open_store(path) as store:
                await store.write([replace(run_row(), run_id="run_2")], durable=True)
                assert len(record.runs()) == 2


async def test_in_a_folder_that_cannot_be_written_a_left_log_is_named(shared_path: Path) -> None:
    folder = shared_path / "archive"
    path = folder / "callsheet.db"
    with unprivileged():
        folder.mkdir()
        with within():
            async with open_store(path) as store:
                await store.write([run_row()], durable=True)
            async with open_store(path) as store:
                await store.write([replace(run_row(), run_id="run_2")], durable=True)
                log = (folder / "callsheet.db-wal").read_bytes()
                still = path.read_bytes()
        path.write_bytes(still)
        (folder / "callsheet.db-wal").write_bytes(log)
        folder.chmod(0o500)
        with open_record(path) as record:
            assert "run_2" in {run.run_id for run in record.runs()} or "may be missing here" in str(record.damage)
        folder.chmod(0o700)


async def test_of_a_row_whose_end_is_lost_the_beginning_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.db"
    with within():
        async with open_store(path) as store:
            await store.write([run_row(script_text="x" * 200_000), agent_row(), event_row(1)], durable=True)
    path.write_bytes(path.read_bytes()[:-100_000])

    with open_record(path) as record:
        found = record.run(RUN_ID)
        assert look(record) == (1, 1)
        assert record.damage is not None and "is damaged" in record.damage
    assert found is not None
    assert (found.run.seed, found.run.workflow, found.run.script_text) == (7, "review", "")
    assert found.is_altered


async def test_runs_of_which_only_agents_are_left_are_there_without_a_script(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.db"
    path.write_bytes(whole)
    with closing(sqlite3.connect(path)) as connection:
        names = ("runs", "sqlite_autoindex_runs_1")
        pages = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name IN (?, ?)", names).fetchall()
    data = bytearray(whole)
    for (page,) in pages:
        data[(page - 1) * 4096 : page * 4096] = b"\xa5" * 4096
    path.write_bytes(data)

    with open_record(path) as record:
        assert look(record) == (RUNS, RUNS * (AGENTS - 1))
        found = record.run("run_3")
    assert found is not None
    assert (found.end, found.is_altered, found.run.started_at) == (None, True, agent_row().timestamp_queued)


async def test_a_record_whose_header_is_lost_is_read(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "header.db"
    path.write_bytes(bytes(100) + whole[100:])
    with open_record(path) as record:
        assert look(record) == (RUNS, RUNS * (AGENTS - 1))
        assert record.damage is not None and "is damaged" in record.damage
