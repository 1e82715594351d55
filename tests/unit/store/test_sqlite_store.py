from __future__ import annotations

import json
import queue
import sqlite3
import stat
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import anyio
import anyio.lowlevel
import pytest

from callsheet.errors import StoreClosedError, StoreError
from callsheet.model.records import CancelledRow, MessageRow, Row, TimerRow, ToolCallRow
from callsheet.store.reader import (
    list_runs,
    read_agents,
    read_events,
    read_messages,
    read_run,
    read_timers,
    read_tool_calls,
)
from callsheet.store.rows import _STATEMENTS
from callsheet.store.sqlite import SqliteStore, connect_record, open_store
from callsheet.store.writer import StoreLimits
from tests.support.deadline import within
from tests.support.store_rows import AT, RUN_ID, agent_row, delivered_row, event_row, run_end_row, run_row

pytestmark = pytest.mark.anyio

PUBLIC_COLUMNS = {
    "runs": "run_id workflow script_text script_path args seed parent_run_id status result error started_at ended_at"
    " settings version",
    "agent_runs": "run_id agent_id call key occurrence label phase task_description options files_accessed"
    " files_changed tools_called status result error model backend mode attempts input_tokens output_tokens"
    " cache_read_tokens cache_write_tokens token_count cost_usd timestamp_start timestamp_end delivered_seq"
    " delivered_at spent_after",
    "events": "run_id seq at event payload",
    "approvals": "workflow path decision at",
    "checkpoints": "run_id n commit_id at",
    "agent_messages": "run_id agent_id n attempt person payload",
    "timers": "run_id n delivered_seq",
    "tool_calls": "run_id agent_id n attempt tool input state at",
}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / ".callsheet" / "callsheet.db"


@contextmanager
def locked(record: Path) -> Iterator[None]:
    """Another connection holds the write lock, as another process would."""
    with closing(sqlite3.connect(record, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


@asynccontextmanager
async def store_at(record: Path, **options: Any) -> AsyncGenerator[SqliteStore, None]:
    """A store, all that is done with it inside a time limit."""
    with within():
        async with open_store(record, **options) as store:
            yield store


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: mode_of(path) for path in folder.iterdir()}


def seqs(record: Path) -> list[int]:
    return [event.seq for event in read_events(record, RUN_ID)]


class Commits:
    """Opens a record and counts its transactions."""

    def __init__(self) -> None:
        self.count = 0

    def connect(self, path: Path) -> sqlite3.Connection:
        connection = connect_record(path)
        connection.set_trace_callback(self._trace)
        return connection

    def _trace(self, sql: str) -> None:
        if sql == "COMMIT":
            self.count += 1


def chmod(path: Path, mode: int) -> None:
    path.chmod(mode)


def take_away(record: Path, *, is_replaced: bool) -> Path:
    """Moves the record itself, not its log; where it now is."""
    kept = record.rename(record.with_name("kept.db"))
    if is_replaced:
        record.touch()
    return kept


def put_back(kept: Path, record: Path) -> None:
    kept.replace(record)


def small_disk(path: Path, *, pages: int) -> sqlite3.Connection:
    connection = connect_record(path)
    connection.execute(f"PRAGMA max_page_count = {pages}")
    return connection


async def test_tables_and_columns_are_those_of_the_format(record: Path) -> None:
    async with store_at(record):
        pass
    with closing(sqlite3.connect(record)) as reading:
        for table, names in PUBLIC_COLUMNS.items():
            found = {row[1] for row in reading.execute(f"PRAGMA table_info({table})")}
            assert set(names.split()) <= found, table


async def test_every_type_of_row_can_be_written() -> None:
    assert set(get_args(Row)) == set(_STATEMENTS)


async def test_folder_and_files_are_private_and_hidden_from_git(record: Path) -> None:
    async with store_at(record) as store:
        await store.write([run_row()], durable=True)
        modes = modes_in(record.parent)
    assert mode_of(record.parent) == 0o700
    assert modes == dict.fromkeys(["callsheet.db", "callsheet.db-wal", "callsheet.db-shm", ".gitignore"], 0o600)
    assert (record.parent / ".gitignore").read_text(encoding="utf-8") == "*\n"


async def test_a_folder_and_file_that_others_could_read_become_private(record: Path) -> None:
    async with store_at(record):
        pass
    chmod(record.parent, 0o755)
    chmod(record, 0o644)
    async with store_at(record):
        assert (mode_of(record.parent), mode_of(record)) == (0o700, 0o600)


async def test_a_folder_of_another_name_is_left_as_it_is(tmp_path: Path) -> None:
    chmod(tmp_path, 0o755)
    async with store_at(tmp_path / "mine.db"):
        pass
    assert mode_of(tmp_path) == 0o755
    assert modes_in(tmp_path) == {"mine.db": 0o600}


async def test_writes_are_synced_to_disk_at_each_commit(record: Path) -> None:
    with closing(connect_record(record)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


@pytest.mark.contract("R01")
async def test_what_was_written_is_read_back(record: Path) -> None:
    run = run_row(seed=2**64 - 3, args=None)
    agent = agent_row(
        status="ok",
        model="m",
        mode="fast",
        timestamp_start="s",
        timestamp_end="e",
        files_accessed='["a"]',
        result='"text"',
        attempts=2,
        input_tokens=100,
        output_tokens=50,
        cost_usd=0.25,
    )
    message = MessageRow(run_id=RUN_ID, agent_id="a0001", n=1, payload='{"role":"user"}')
    intent = ToolCallRow(run_id=RUN_ID, agent_id="a0001", n=1, tool="bash", input="{}", state="intent", at="t")
    done = ToolCallRow(run_id=RUN_ID, agent_id="a0001", n=1, tool="bash", input="{}", state="done", at="u", detail="0")
    timer = TimerRow(run_id=RUN_ID, n=1, delivered_seq=4, delivered_at=9)
    end = run_end_row(status="degraded")
    async with store_at(record) as store:
        await store.write([run, agent, event_row(1), message, intent], durable=False)
        await store.write([done, delivered_row(), timer, end], durable=True)

        found = read_run(record, RUN_ID)
        assert found is not None
        assert (found.run, found.end) == (run, end)
        (found_agent,) = read_agents(record, RUN_ID)
        assert (found_agent.agent, found_agent.delivered) == (agent, delivered_row())
        (event,) = read_events(record, RUN_ID)
        assert event.payload == json.loads(event_row(1).payload)
        assert read_messages(record, RUN_ID, "a0001") == (message,)
        assert read_tool_calls(record, RUN_ID, "a0001") == (done,)
        assert read_timers(record, RUN_ID) == (timer,)
        assert [(run.run_id, run.status, run.agents) for run in list_runs(record)] == [(RUN_ID, "degraded", 1)]


async def test_token_count_is_input_plus_output(record: Path) -> None:
    async with store_at(record) as store:
        await store.write([agent_row(input_tokens=100, output_tokens=50)], durable=True)
    with closing(sqlite3.connect(record)) as reading:
        assert reading.execute("SELECT token_count FROM agent_runs").fetchone() == (150,)


async def test_a_later_row_of_an_agent_replaces_the_earlier_and_keeps_its_delivery(record: Path) -> None:
    async with store_at(record) as store:
        await store.write([agent_row(), agent_row(status="running")], durable=True)
        (begun,) = read_agents(record, RUN_ID)
        assert begun.agent == agent_row(status="running")
        await store.write([delivered_row()], durable=True)
        await store.write([agent_row(status="ok")], durable=True)
    (found,) = read_agents(record, RUN_ID)
    assert found.agent == agent_row(status="ok")
    assert found.delivered == delivered_row()


async def test_an_agent_that_never_started_ends_with_all_else_of_its_row_kept(record: Path) -> None:
    end = CancelledRow(run_id=RUN_ID, agent_id="a0001", error="the run was stopped", timestamp_end=AT)
    other = replace(end, agent_id="a0002")
    async with store_at(record) as store:
        await store.write([agent_row(status="queued")], durable=True)
        await store.write([other, agent_row(2, status="queued"), end], durable=True)
    assert [found.agent for found in read_agents(record, RUN_ID)] == [
        agent_row(number, status="cancelled", error="the run was stopped", timestamp_end=AT) for number in (1, 2)
    ]


async def test_of_writes_in_one_transaction_the_last_stands(record: Path) -> None:
    async with store_at(record, limits=StoreLimits(linger_s=60)) as store:
        for status in ("queued", "running", "failed"):
            await store.write([agent_row(status=status)], durable=False)
        await store.write([agent_row(status="ok")], durable=True)
    (found,) = read_agents(record, RUN_ID)
    assert found.agent.status == "ok"


@pytest.mark.contract("R07")
async def test_a_resumed_run_keeps_its_seed_and_start_and_runs_again(record: Path) -> None:
    async with store_at(record) as store:
        await store.write([run_row(), run_end_row(status="interrupted")], durable=True)
        await store.write([run_row(seed=99, started_ms=5, script_text="edited")], durable=True)
    found = read_run(record, RUN_ID)
    assert found is not None
    assert found.run == run_row(script_text="edited")
    assert found.end is None


async def test_rows_take_effect_in_their_order_within_one_transaction(record: Path) -> None:
    async with store_at(record) as store:
        await store.write([run_row(), run_end_row(status="failed"), run_row()], durable=True)
        resumed = read_run(record, RUN_ID)
        await store.write([run_row(), run_end_row(status="failed"), run_row(), run_end_row()], durable=True)
        ended = read_run(record, RUN_ID)
    assert resumed is not None and resumed.end is None
    assert ended is not None and ended.end == run_end_row()


@pytest.mark.contract("R01")
async def test_writes_that_arrive_together_share_a_transaction(record: Path) -> None:
    commits = Commits()
    async with store_at(record, connect=commits.connect) as store:
        before = commits.count
        async with anyio.create_task_group() as tasks:
            for number in range(1, 101):
                tasks.start_soon(partial(store.write, [agent_row(number), event_row(number)], durable=True))
    assert len(read_agents(record, RUN_ID)) == 100
    assert commits.count - before < 20


async def test_rows_that_nobody_waits_for_reach_the_disk_by_themselves(record: Path) -> None:
    async with store_at(record) as store:
        await store.write([event_row(1)], durable=False)
        while seqs(record) != [1]:
            await anyio.lowlevel.checkpoint()


async def test_a_durable_write_of_nothing_waits_for_all_that_was_queued_before(record: Path) -> None:
    async with store_at(record, limits=StoreLimits(linger_s=60)) as store:
        await store.write([event_row(1)], durable=False)
        await store.write([], durable=True)
        assert seqs(record) == [1]


async def test_leaving_writes_what_is_queued(record: Path) -> None:
    async with store_at(record, limits=StoreLimits(linger_s=60)) as store:
        await store.write([event_row(1)], durable=False)
        await store.write([event_row(2)], durable=False)
    assert seqs(record) == [1, 2]


@pytest.mark.contract("L03")
@pytest.mark.parametrize("limits", [StoreLimits(queue_rows=10), StoreLimits(queue_bytes=4_000)], ids=["rows", "bytes"])
async def test_a_full_queue_holds_its_writers_until_there_is_room(record: Path, limits: StoreLimits) -> None:
    written = 0

    async def flood(store: SqliteStore) -> None:
        nonlocal written
        for seq in range(1, 101):
            await store.write([event_row(seq)], durable=False)
            written = seq

    async with store_at(record, limits=limits) as store, anyio.create_task_group() as tasks:
        with locked(record):
            tasks.start_soon(flood, store)
            await anyio.wait_all_tasks_blocked()
            assert 0 < written < 20
    assert written == 100
    assert seqs(record) == list(range(1, 101))


async def test_a_write_larger_than_the_queue_passes_alone(record: Path) -> None:
    async with store_at(record, limits=StoreLimits(queue_bytes=1_000)) as store:
        await store.write([event_row(1, padding="x" * 5_000_000)], durable=False)
        await store.write([event_row(2)], durable=False)
    assert seqs(record) == [1, 2]


@pytest.mark.parametrize("durable", [True, False])
async def test_cancelling_a_wait_does_not_take_the_rows_back(record: Path, durable: bool) -> None:
    async with store_at(record, limits=StoreLimits(queue_rows=1)) as store:
        with locked(record):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(store.write, [event_row(1), event_row(2)], durable=durable))
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
    assert seqs(record) == [1, 2]


async def test_several_stores_in_one_process_share_a_record(record: Path) -> None:
    async def write_run(number: int) -> None:
        async with store_at(record) as store:
            for seq in range(1, 21):
                await store.write([event_row(seq, run_id=f"run_{number}")], durable=seq % 3 == 0)

    with within(20):
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(write_run, number)
    for number in range(5):
        assert len(read_events(record, f"run_{number}")) == 20


@pytest.mark.parametrize(
    "text", ["a\0b", "half \ud83d of a pair", "‹ünïcode› 🎬", "x" * 5_000_000], ids=["nul", "surrogate", "wide", "long"]
)
async def test_any_json_text_survives(record: Path, text: str) -> None:
    async with store_at(record) as store:
        await store.write([agent_row(result=json.dumps(text, ensure_ascii=False))], durable=True)
    (found,) = read_agents(record, RUN_ID)
    assert found.agent.result is not None
    assert json.loads(found.agent.result) == text


async def test_a_row_that_does_not_fit_loses_its_write_whole_and_breaks_the_record(record: Path) -> None:
    async with store_at(record) as store:
        await store.write([agent_row(1)], durable=True)
        with pytest.raises(StoreError, match=r"a fault of Callsheet \(DeliveredRow") as first:
            await store.write([agent_row(2), event_row(1), delivered_row(3)], durable=True)
        with pytest.raises(StoreError) as second:
            await store.write([agent_row(3)], durable=False)
        assert second.value.message == first.value.message
    assert [found.agent.agent_id for found in read_agents(record, RUN_ID)] == ["a0001"]
    assert seqs(record) == []


async def test_a_full_disk_names_record_and_remedy_and_keeps_what_was_acknowledged(record: Path) -> None:
    acknowledged = []
    async with store_at(record, connect=partial(small_disk, pages=60)) as store:
        with pytest.raises(StoreError, match=r"callsheet\.db: the disk is full: make room, then run again") as first:
            for seq in range(1, 1_000):
                await store.write([event_row(seq, padding="x" * 4_000)], durable=True)
                acknowledged.append(seq)
        with pytest.raises(StoreError) as later:
            await store.write([event_row(1_000)], durable=True)
        assert later.value.message == first.value.message
    assert acknowledged
    assert seqs(record) == acknowledged


@pytest.mark.contract("R01")
@pytest.mark.parametrize("is_replaced", [False, True], ids=["gone", "another in its place"])
async def test_nothing_is_acknowledged_once_the_record_was_taken_away(record: Path, is_replaced: bool) -> None:
    async with store_at(record) as store:
        await store.write([event_row(1)], durable=True)
        kept = take_away(record, is_replaced=is_replaced)
        with pytest.raises(StoreError, match=f"^The record {record}: it was moved or removed"):
            await store.write([event_row(2)], durable=True)
    put_back(kept, record)
    assert seqs(record) == [1]


async def test_a_failure_that_no_call_could_tell_is_told_on_leaving(record: Path) -> None:
    with pytest.raises(StoreError, match="the disk is full"):
        async with store_at(record, connect=partial(small_disk, pages=40)) as store:
            await store.write([event_row(1, padding="x" * 500_000)], durable=False)


async def test_what_the_body_raises_is_not_hidden_by_a_failing_record(record: Path) -> None:
    with pytest.raises(KeyError):
        async with store_at(record, connect=partial(small_disk, pages=40)) as store:
            await store.write([event_row(1, padding="x" * 500_000)], durable=False)
            raise KeyError("body")


async def test_writers_that_wait_for_room_are_told_of_a_failure(record: Path) -> None:
    limits = StoreLimits(queue_rows=1)
    told = []

    async def write(store: SqliteStore, seq: int) -> None:
        with pytest.raises(StoreError, match="the disk is full"):
            await store.write([event_row(seq, padding="x" * 500_000), event_row(seq + 100)], durable=False)
        told.append(seq)

    async with (
        store_at(record, connect=partial(small_disk, pages=40), limits=limits) as store,
        anyio.create_task_group() as tasks,
    ):
        with locked(record):
            for seq in range(1, 4):
                tasks.start_soon(write, store, seq)
            await anyio.wait_all_tasks_blocked()
    assert sorted(told) == [1, 2, 3]


async def test_a_record_that_stays_locked_is_given_up(record: Path) -> None:
    async with store_at(record, limits=StoreLimits(busy_s=0.05)) as store:
        with locked(record), pytest.raises(StoreError, match="another process holds it locked: end that process"):
            await store.write([event_row(1)], durable=True)


async def test_closing_is_bounded_even_when_the_disk_does_not_answer(record: Path) -> None:
    async with store_at(record):
        pass
    with locked(record), pytest.raises(StoreError, match=r"could not be closed within 0\.05 s"):
        async with store_at(record, limits=StoreLimits(close_s=0.05)) as store:
            await store.write([event_row(1)], durable=False)


async def test_a_record_in_which_all_is_written_is_whole_however_long_it_takes_to_be_closed(record: Path) -> None:
    disk = threading.Event()

    class Slow(sqlite3.Connection):
        def close(self) -> None:  # it brings its log home
            disk.wait(60)
            super().close()

    def connect(path: Path) -> sqlite3.Connection:
        connect_record(path).close()
        return sqlite3.connect(path, factory=Slow, isolation_level=None)

    async with store_at(record, connect=connect, limits=StoreLimits(close_s=0.05)) as store:
        await store.write([event_row(1)], durable=True)
    disk.set()
    assert seqs(record) == [1]


async def test_closing_twice_is_once_and_writing_afterwards_a_fault(record: Path) -> None:
    async with store_at(record) as store:
        await store.aclose()
        await store.aclose()
        with pytest.raises(StoreClosedError):
            await store.write([event_row(1)], durable=False)


async def test_closing_in_a_cancelled_scope_still_writes(record: Path) -> None:
    with anyio.CancelScope() as scope:
        async with store_at(record, limits=StoreLimits(linger_s=60)) as store:
            await store.write([event_row(1)], durable=False)
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert seqs(record) == [1]


async def test_a_writer_that_breaks_down_tells_everybody(record: Path) -> None:
    class Broken(sqlite3.Connection):
        def executemany(self, *_: object) -> sqlite3.Cursor:
            raise MemoryError

    def connect(path: Path) -> sqlite3.Connection:
        connect_record(path).close()
        return sqlite3.connect(path, factory=Broken, isolation_level=None)

    thrown: queue.Queue[type[BaseException] | None] = queue.Queue()
    hook: Callable[[threading.ExceptHookArgs], object] = threading.excepthook
    threading.excepthook = lambda args: thrown.put(args.exc_type)
    try:
        async with store_at(record, connect=connect) as store:
            with pytest.raises(StoreError, match="its writer broke down"):
                await store.write([event_row(1)], durable=True)
            with pytest.raises(StoreError, match="its writer broke down"):
                await store.write([event_row(2)], durable=True)
        assert thrown.get(timeout=60) is MemoryError
    finally:
        threading.excepthook = hook
