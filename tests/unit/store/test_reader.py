from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from callsheet.errors import StoreError
from callsheet.model.events import Event, Log
from callsheet.model.public import event_json
from callsheet.model.records import EventRow
from callsheet.store.reader import list_runs, read_agents, read_events, read_run
from callsheet.store.schema import APPLICATION_ID
from callsheet.store.sqlite import open_store
from tests.support.deadline import within
from tests.support.store_rows import AT, RUN_ID, agent_row, delivered_row, event_row, run_end_row, run_row
from tests.support.users import unprivileged

pytestmark = pytest.mark.anyio


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "callsheet.db"


def content(record: Path) -> bytes:
    return record.read_bytes()


async def test_runs_are_listed_newest_first_with_their_agents(record: Path) -> None:
    with within():
        async with open_store(record) as store:
            for number in range(1, 4):
                await store.write([run_row(run_id=f"run_{number}", started_ms=number)], durable=False)
            await store.write([run_end_row(run_id="run_1"), replace(agent_row(), run_id="run_2")], durable=False)
    runs = list_runs(record)
    assert [(run.run_id, run.status, run.agents) for run in runs] == [
        ("run_3", "running", 0),
        ("run_2", "running", 1),
        ("run_1", "completed", 0),
    ]
    assert list_runs(record, limit=1) == runs[:1]


async def test_agents_come_in_the_order_of_their_calls(record: Path) -> None:
    with within():
        async with open_store(record) as store:
            await store.write([agent_row(number) for number in (10, 2, 1)], durable=False)
            await store.write([delivered_row(2)], durable=False)
    assert [(found.agent.call, found.delivered is not None) for found in read_agents(record, RUN_ID)] == [
        (1, False),
        (2, True),
        (10, False),
    ]


async def test_events_can_be_followed_from_where_one_was(record: Path) -> None:
    with within():
        async with open_store(record) as store:
            await store.write([event_row(seq) for seq in range(1, 11)], durable=True)
            assert [event.seq for event in read_events(record, RUN_ID, after=7)] == [8, 9, 10]
            assert [event.seq for event in read_events(record, RUN_ID, after=2, limit=2)] == [3, 4]


async def test_an_event_is_kept_without_what_its_columns_say_and_read_back_whole(record: Path) -> None:
    event = Event(run_id=RUN_ID, seq=1, at=AT, body=Log(level="info", message="ü"))
    public = json.dumps(event_json(event), ensure_ascii=False, separators=(",", ":"))
    compact = EventRow(run_id=RUN_ID, seq=1, at=AT, event=event.name, payload=public)
    spaced = replace(event_row(2), payload=json.dumps(json.loads(event_row(2).payload)))
    with within():
        async with open_store(record) as store:
            await store.write([compact, spaced], durable=True)
    with closing(sqlite3.connect(record)) as reading:
        (kept,) = reading.execute("SELECT payload FROM events WHERE seq = 1").fetchone()
    assert json.loads(kept) == {"level": "info", "message": "ü", "workflow": None, "by": None}
    assert [event.payload for event in read_events(record, RUN_ID)] == [
        json.loads(row.payload) for row in (compact, spaced)
    ]


async def test_a_run_that_is_not_there_is_none(record: Path) -> None:
    with within():
        async with open_store(record):
            pass
    assert read_run(record, "run_x") is None
    assert read_agents(record, "run_x") == ()
    assert list_runs(record) == ()


def test_a_record_that_is_not_there_is_named_and_not_made(record: Path) -> None:
    with pytest.raises(StoreError, match=r"callsheet\.db: there is none yet; a run makes it"):
        list_runs(record)
    assert not record.exists()


def test_an_empty_file_and_a_foreign_one_are_told_apart(record: Path) -> None:
    record.touch()
    with pytest.raises(StoreError, match="it is empty"):
        list_runs(record)
    record.write_text("notes " * 1_000, encoding="utf-8")
    with pytest.raises(StoreError, match="it is not a record: move it away"):
        list_runs(record)


async def test_reading_leaves_the_record_as_it_was(record: Path) -> None:
    with within():
        async with open_store(record) as store:
            await store.write([run_row()], durable=True)
    before = content(record)
    assert read_run(record, RUN_ID) is not None
    assert content(record) == before


async def test_a_record_on_a_read_only_place_can_be_read(shared_path: Path) -> None:
    record = shared_path / "archive" / "callsheet.db"
    with unprivileged():
        with within():
            async with open_store(record) as store:
                await store.write([run_row()], durable=True)
        record.parent.chmod(0o500)
        assert [run.run_id for run in list_runs(record)] == [RUN_ID]


def test_a_record_whose_writer_was_killed_while_it_was_made_is_empty_and_not_read_only(tmp_path: Path) -> None:
    """Its rollback journal is still there, and is to be rolled back before anything can be read."""
    record, copy = tmp_path / "callsheet.db", tmp_path / "copy" / "callsheet.db"
    copy.parent.mkdir()
    with closing(sqlite3.connect(record, isolation_level=None)) as writing:
        writing.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        writing.execute("PRAGMA cache_size = 1")
        writing.execute("BEGIN IMMEDIATE")
        writing.execute("CREATE TABLE many (text)")
        writing.executemany("INSERT INTO many VALUES (?)", [("x" * 4_000,)] * 100)
        for name in ("callsheet.db", "callsheet.db-journal"):
            shutil.copy(tmp_path / name, copy.parent / name)
        writing.execute("ROLLBACK")
    assert (copy.parent / "callsheet.db-journal").stat().st_size > 0
    with pytest.raises(StoreError, match="it is empty"):
        list_runs(copy)
