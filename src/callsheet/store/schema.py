"""The tables of the record (FORMATS 4) and how an older record becomes a newer one.

Names of tables and columns are public. Their order is not: what can be large stands last, because SQLite must walk
through a large value to reach the columns behind it.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x43_41_4C_4C
"""Stands in the header of every record (`CALL`), so that another program's database is never taken for one."""

_FIRST = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    """
    CREATE TABLE runs (
        run_id TEXT NOT NULL PRIMARY KEY,
        workflow TEXT,
        script_path TEXT,
        seed INTEGER NOT NULL,
        parent_run_id TEXT,
        status TEXT NOT NULL,
        started_at TEXT NOT NULL,
        started_ms INTEGER NOT NULL,
        ended_at TEXT,
        version TEXT NOT NULL,
        error TEXT,
        settings TEXT NOT NULL,
        args TEXT,
        result TEXT,
        script_text TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE agent_runs (
        run_id TEXT NOT NULL,
        agent_id TEXT NOT NULL,
        call INTEGER NOT NULL,
        key TEXT NOT NULL,
        occurrence INTEGER NOT NULL,
        status TEXT NOT NULL,
        backend TEXT NOT NULL,
        mode TEXT NOT NULL,
        model TEXT,
        attempts INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        cache_read_tokens INTEGER NOT NULL,
        cache_write_tokens INTEGER NOT NULL,
        token_count INTEGER NOT NULL,
        cost_usd REAL,
        timestamp_queued TEXT NOT NULL,
        timestamp_start TEXT,
        timestamp_end TEXT,
        delivered_seq INTEGER,
        delivered_at INTEGER,
        spent_after INTEGER,
        label TEXT NOT NULL,
        phase TEXT,
        workflow TEXT,
        tools_called TEXT NOT NULL,
        files_accessed TEXT NOT NULL,
        files_changed TEXT NOT NULL,
        error TEXT,
        options TEXT NOT NULL,
        task_description TEXT NOT NULL,
        result TEXT,
        PRIMARY KEY (run_id, agent_id)
    ) STRICT
    """,
    """
    CREATE TABLE events (
        run_id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        at TEXT NOT NULL,
        event TEXT NOT NULL,
        payload TEXT NOT NULL,
        PRIMARY KEY (run_id, seq)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE agent_messages (
        run_id TEXT NOT NULL,
        agent_id TEXT NOT NULL,
        n INTEGER NOT NULL,
        payload TEXT NOT NULL,
        PRIMARY KEY (run_id, agent_id, n)
    ) STRICT
    """,
    """
    CREATE TABLE tool_calls (
        run_id TEXT NOT NULL,
        agent_id TEXT NOT NULL,
        n INTEGER NOT NULL,
        tool TEXT NOT NULL,
        state TEXT NOT NULL,
        at TEXT NOT NULL,
        detail TEXT,
        input TEXT NOT NULL,
        PRIMARY KEY (run_id, agent_id, n)
    ) STRICT
    """,
    """
    CREATE TABLE timers (
        run_id TEXT NOT NULL,
        n INTEGER NOT NULL,
        delivered_seq INTEGER NOT NULL,
        delivered_at INTEGER NOT NULL,
        PRIMARY KEY (run_id, n)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE checkpoints (
        run_id TEXT NOT NULL,
        n INTEGER NOT NULL,
        commit_id TEXT NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (run_id, n)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE approvals (
        workflow TEXT NOT NULL,
        path TEXT,
        decision TEXT NOT NULL,
        at TEXT NOT NULL
    ) STRICT
    """,
)

_ATTEMPTS = (
    "ALTER TABLE agent_messages RENAME TO old_messages",
    """
    CREATE TABLE agent_messages (
        run_id TEXT NOT NULL,
        agent_id TEXT NOT NULL,
        n INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        person TEXT,
        payload TEXT NOT NULL,
        PRIMARY KEY (run_id, agent_id, n)
    ) STRICT
    """,
    "INSERT INTO agent_messages SELECT run_id, agent_id, n, 1, NULL, payload FROM old_messages",
    "DROP TABLE old_messages",
    "ALTER TABLE tool_calls RENAME TO old_calls",
    """
    CREATE TABLE tool_calls (
        run_id TEXT NOT NULL,
        agent_id TEXT NOT NULL,
        n INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        tool TEXT NOT NULL,
        state TEXT NOT NULL,
        at TEXT NOT NULL,
        detail TEXT,
        input TEXT NOT NULL,
        PRIMARY KEY (run_id, agent_id, n)
    ) STRICT
    """,
    "INSERT INTO tool_calls SELECT run_id, agent_id, n, 1, tool, state, at, detail, input FROM old_calls",
    "DROP TABLE old_calls",
)

_RESUMED = (
    "ALTER TABLE runs ADD COLUMN attempts INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE runs ADD COLUMN workspace TEXT",
    "ALTER TABLE runs ADD COLUMN head TEXT",
    "ALTER TABLE runs ADD COLUMN program TEXT",
    "ALTER TABLE agent_runs RENAME TO old_agents",
    """
    CREATE TABLE agent_runs (
        run_id TEXT NOT NULL,
        agent_id TEXT NOT NULL,
        call INTEGER NOT NULL,
        key TEXT NOT NULL,
        occurrence INTEGER NOT NULL,
        status TEXT NOT NULL,
        backend TEXT NOT NULL,
        mode TEXT NOT NULL,
        model TEXT,
        attempts INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        cache_read_tokens INTEGER NOT NULL,
        cache_write_tokens INTEGER NOT NULL,
        token_count INTEGER NOT NULL,
        cost_usd REAL,
        timestamp_queued TEXT NOT NULL,
        timestamp_start TEXT,
        timestamp_end TEXT,
        delivered_seq INTEGER,
        delivered_at INTEGER,
        spent_after INTEGER,
        cost_after REAL,
        label TEXT NOT NULL,
        phase TEXT,
        workflow TEXT,
        tools_called TEXT NOT NULL,
        files_accessed TEXT NOT NULL,
        files_changed TEXT NOT NULL,
        parts TEXT,
        details TEXT,
        error TEXT,
        options TEXT NOT NULL,
        task_description TEXT NOT NULL,
        result TEXT,
        PRIMARY KEY (run_id, agent_id)
    ) STRICT
    """,
    """
    INSERT INTO agent_runs
    SELECT run_id, agent_id, call, key, occurrence, status, backend, mode, model, attempts, input_tokens, output_tokens,
        cache_read_tokens, cache_write_tokens, token_count, cost_usd, timestamp_queued, timestamp_start, timestamp_end,
        delivered_seq, delivered_at, spent_after, NULL, label, phase, workflow, tools_called, files_accessed,
        files_changed, NULL, NULL, error, options, task_description, result
    FROM old_agents
    """,
    "DROP TABLE old_agents",
    "ALTER TABLE timers ADD COLUMN delay_ms REAL",
    "ALTER TABLE timers ADD COLUMN spent_after INTEGER",
    "ALTER TABLE timers ADD COLUMN cost_after REAL",
)

_MARKED = ("ALTER TABLE agent_runs ADD COLUMN marks TEXT",)

_SPENDING = (
    """
    CREATE TABLE spending (
        run_id TEXT NOT NULL,
        n INTEGER NOT NULL,
        agent_id TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        model TEXT,
        state TEXT NOT NULL,
        at TEXT NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        cache_read_tokens INTEGER NOT NULL,
        cache_write_tokens INTEGER NOT NULL,
        cost_usd REAL,
        estimated_usd REAL NOT NULL,
        reserved_tokens INTEGER,
        reserved_usd REAL,
        PRIMARY KEY (run_id, n)
    ) STRICT, WITHOUT ROWID
    """,
)

_CHECKED = (
    "ALTER TABLE runs ADD COLUMN checksum INTEGER",
    "ALTER TABLE agent_runs ADD COLUMN checksum INTEGER",
)

_REPLAYED = (
    """
    CREATE TABLE refusals (
        run_id TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        call INTEGER NOT NULL,
        asked TEXT NOT NULL,
        name TEXT NOT NULL,
        spent_after INTEGER NOT NULL,
        cost_after REAL NOT NULL,
        message TEXT NOT NULL,
        value TEXT,
        PRIMARY KEY (run_id, attempt, call)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE nested_scripts (
        run_id TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        n INTEGER NOT NULL,
        same_as INTEGER,
        asked TEXT NOT NULL,
        workflow TEXT,
        script_path TEXT,
        error TEXT,
        script_text TEXT,
        PRIMARY KEY (run_id, attempt, n)
    ) STRICT
    """,
)

_APPROVED_NESTED = (
    "ALTER TABLE nested_scripts ADD COLUMN decision TEXT",
    "ALTER TABLE nested_scripts ADD COLUMN decided_by TEXT",
    "ALTER TABLE nested_scripts ADD COLUMN words TEXT",
    "ALTER TABLE nested_scripts ADD COLUMN args_sha256 TEXT",
)

_OPENED = ("ALTER TABLE agent_messages ADD COLUMN opening TEXT",)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    _FIRST, _ATTEMPTS, _RESUMED, _SPENDING, _MARKED, _CHECKED, _REPLAYED, _APPROVED_NESTED, _OPENED
)  # fmt: skip
"""Step n takes a record of version n to version n + 1. A step that was released is never changed."""


class ForeignDatabaseError(Exception):
    """The file is a database, but not a record of this program. `reason` says how that shows."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NewerRecordError(Exception):
    """The record was written by a later version of this program."""

    def __init__(self, *, found: int, known: int) -> None:
        super().__init__(f"version {found}, this program knows {known}")
        self.found = found
        self.known = known


def record_version(connection: sqlite3.Connection, *, known: int = len(MIGRATIONS)) -> int:
    """The version of a record; 0 for an empty file. Changes nothing.

    Raises:
        ForeignDatabaseError: Something else's database, or one that was tampered with.
        NewerRecordError: Made by a later version.
    """
    connection.execute("BEGIN")
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        kinds = {kind for (kind,) in connection.execute("SELECT DISTINCT type FROM sqlite_schema")}
    finally:
        connection.rollback()  # nothing where SQLite has done so itself, as it does when the disk is full
    if application != APPLICATION_ID and (kinds or version or application):
        raise ForeignDatabaseError("another program made it")
    # A record that came with a repository could otherwise run its own SQL at each of our writes.
    if not kinds <= {"table", "index"}:
        raise ForeignDatabaseError("it holds triggers or views, which a record never has")
    if version > known:
        raise NewerRecordError(found=version, known=known)
    return int(version)


def migrate(connection: sqlite3.Connection, *, steps: tuple[tuple[str, ...], ...] = MIGRATIONS) -> None:
    """Brings a record to the newest version, each step in a transaction of its own.

    Several processes may do this at once: each step is taken by whoever holds the write lock first.

    Raises:
        ForeignDatabaseError, NewerRecordError: As `record_version`.
        sqlite3.Error: The step did not work; it left nothing behind.
    """
    while (version := record_version(connection, known=len(steps))) < len(steps):
        connection.execute("BEGIN IMMEDIATE")
        try:
            (now,) = connection.execute("PRAGMA user_version").fetchone()
            if now == version:
                for statement in steps[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise
