"""A record that cannot be opened says which, why, and what to do."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from callsheet.errors import StoreError
from callsheet.model.records import MessageRow, ToolCallRow
from callsheet.store.place import prepare_folder
from callsheet.store.reader import read_messages, read_tool_calls
from callsheet.store.schema import APPLICATION_ID, MIGRATIONS, migrate
from callsheet.store.sqlite import connect_record, open_store
from callsheet.store.writer import StoreLimits
from tests.support.deadline import within
from tests.support.store_rows import event_row
from tests.support.users import unprivileged

pytestmark = pytest.mark.anyio


async def refusal(record: Path, *, limits: StoreLimits | None = None) -> str:
    """What opening, or else the first write, is refused with."""
    with within(), pytest.raises(StoreError) as refused:
        async with open_store(record, limits=limits) as store:
            await store.write([event_row(1)], durable=True)
    assert str(record) in refused.value.message or str(record.parent) in refused.value.message
    return refused.value.message


def made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    connect_record(path).close()
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_an_unwritable_folder_is_named_with_the_way_out(shared_path: Path) -> None:
    with unprivileged():
        folder = shared_path / "closed"
        folder.mkdir(mode=0o500)
        message = await refusal(folder / "callsheet.db")
    assert "its folder is not writable: make it writable, or name another place with --store PATH" in message


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = await refusal(tmp_path / "file" / ".callsheet" / "callsheet.db")
    assert "a part of its path is a file, not a folder" in message


async def test_a_state_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".callsheet").touch()
    message = await refusal(tmp_path / ".callsheet" / "callsheet.db")
    assert "a part of its path is a file, not a folder" in message


async def test_a_read_only_file_is_refused_and_stays_read_only(shared_path: Path) -> None:
    with unprivileged():
        record = made(shared_path / "mine" / "callsheet.db")
        record.chmod(0o400)
        message = await refusal(record)
        assert record.stat().st_mode & 0o777 == 0o400
    assert "it is read-only: make file and folder writable, or name another place" in message


async def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    record = tmp_path / "notes.txt"
    record.write_text("not a database, but somebody's notes\n" * 100, encoding="utf-8")
    before = record.read_bytes()
    assert "it is not a record: move it away" in await refusal(record)
    assert record.read_bytes() == before


async def test_the_database_of_another_program_is_refused_and_kept(tmp_path: Path) -> None:
    record = tmp_path / "app.db"
    with closing(sqlite3.connect(record)) as other:
        other.execute("CREATE TABLE customers(name TEXT)")
    before = record.read_bytes()
    assert "it is not a record of Callsheet (another program made it)" in await refusal(record)
    assert record.read_bytes() == before


@pytest.mark.parametrize(
    "hostile",
    [
        "CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM runs; END",
        "CREATE VIEW v AS SELECT 1",
    ],
)
async def test_a_record_that_would_run_sql_of_its_own_is_refused(tmp_path: Path, hostile: str) -> None:
    record = made(tmp_path / "callsheet.db")
    with closing(sqlite3.connect(record)) as other:
        other.execute(hostile)
    assert "it holds triggers or views, which a record never has" in await refusal(record)


async def test_a_record_of_a_newer_version_is_refused_with_both_versions(tmp_path: Path) -> None:
    record = made(tmp_path / "callsheet.db")
    with closing(sqlite3.connect(record)) as other:
        other.execute("PRAGMA user_version = 99")
    message = await refusal(record)
    assert f"a newer Callsheet wrote it (format 99; this one knows {len(MIGRATIONS)}): update Callsheet" in message


@pytest.mark.contract("R06")
async def test_a_damaged_record_is_found_out_and_the_way_to_its_rest_is_named(tmp_path: Path) -> None:
    record = tmp_path / "callsheet.db"
    with within():
        async with open_store(record) as store:
            for seq in range(1, 200):
                await store.write([event_row(seq, padding="x" * 500)], durable=False)
    pages = bytearray(record.read_bytes())
    pages[4096:] = b"\xa5" * (len(pages) - 4096)
    record.write_bytes(pages)
    message = await refusal(record)
    assert "it is damaged: move it away" in message
    assert ".recover" in message


async def test_a_link_in_place_of_the_state_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".callsheet").symlink_to("elsewhere")
    message = await refusal(tmp_path / ".callsheet" / "callsheet.db")
    assert "is a symbolic link, and could lead the record anywhere" in message
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_a_link_to_nowhere_in_place_of_the_state_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".callsheet").symlink_to("elsewhere")
    assert "is a symbolic link" in await refusal(tmp_path / ".callsheet" / "callsheet.db")
    assert not (tmp_path / "elsewhere").exists()


async def test_a_link_in_place_of_the_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "callsheet.db").symlink_to("target.db")
    assert "is a symbolic link: name the file itself" in await refusal(tmp_path / "callsheet.db")
    assert not (tmp_path / "target.db").exists()


async def test_a_folder_in_place_of_the_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "callsheet.db").mkdir()
    assert "is not a file" in await refusal(tmp_path / "callsheet.db")


def test_a_state_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / ".callsheet"
    folder.mkdir()
    with pytest.raises(StoreError, match=r"belongs to another user \(uid \d+\): run as that user"):
        prepare_folder(folder, user=os.geteuid() + 1)
    assert list(folder.iterdir()) == []


async def test_a_gitignore_that_is_there_is_kept(tmp_path: Path) -> None:
    ignore = tmp_path / ".callsheet" / ".gitignore"
    ignore.parent.mkdir()
    ignore.write_text("mine\n", encoding="utf-8")
    prepare_folder(ignore.parent)
    assert ignore.read_text(encoding="utf-8") == "mine\n"


@pytest.mark.parametrize("name", ["plain.db", "a b?mode=memory#x%41.db", "ünï.db"])
async def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    with within():
        async with open_store(tmp_path / name) as store:
            await store.write([event_row(1)], durable=True)
    assert names_in(tmp_path) == [name]


def steps(*tables: str) -> tuple[tuple[str, ...], ...]:
    first = f"PRAGMA application_id = {APPLICATION_ID}"
    return tuple((first, f"CREATE TABLE {table}(x)") for table in tables)


def tables_of(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM sqlite_schema ORDER BY rowid")]


def test_an_older_record_is_brought_forward_step_by_step_and_only_once(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as connection:
        migrate(connection, steps=steps("a"))
        migrate(connection, steps=steps("a", "b", "c"))
        migrate(connection, steps=steps("a", "b", "c"))
        assert tables_of(connection) == ["a", "b", "c"]
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)


def test_a_step_that_fails_leaves_nothing_of_itself_and_keeps_those_before(tmp_path: Path) -> None:
    broken = (*steps("a"), ("CREATE TABLE b(x)", "CREATE TABLE a(x)"))
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as connection:
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, steps=broken)
        assert tables_of(connection) == ["a"]
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert not connection.in_transaction


async def test_a_record_of_the_first_version_keeps_its_conversations_and_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "callsheet.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, steps=MIGRATIONS[:1])
        connection.execute("INSERT INTO agent_messages VALUES ('r', 'a0001', 1, '{}')")
        connection.execute("INSERT INTO tool_calls VALUES ('r', 'a0001', 1, 'bash', 'done', 'now', 'fine', '{}')")
    message = MessageRow(run_id="r", agent_id="a0001", n=1, payload="{}")
    call = ToolCallRow(
        run_id="r", agent_id="a0001", n=1, tool="bash", input="{}", state="done", at="now", detail="fine"
    )
    assert (read_messages(path, "r", "a0001"), read_tool_calls(path, "r", "a0001")) == ((message,), (call,))
    with within():
        async with open_store(path) as store:
            later = replace(message, n=2, attempt=2, person="ada")
            await store.write([later], durable=True)
    assert read_messages(path, "r", "a0001") == (message, later)
    assert read_tool_calls(path, "r", "a0001") == (call,)
