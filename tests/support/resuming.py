"""Runs on a stage that are resumed: what one has written into its record in memory, the next reads from a real one."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from callsheet.model.past import Past, Resumption, ReuseMode
from callsheet.store.past import read_past
from callsheet.store.rows import write_rows
from callsheet.store.schema import migrate
from tests.support.fake_backend import FakeBackend
from tests.support.fake_session import ScriptFn
from tests.support.memory_store import MemoryStore
from tests.unit.engine.stage import Played, play


def past_of(store: MemoryStore) -> Past:
    """What a record in memory says of its run, as it is read from a database."""
    with tempfile.TemporaryDirectory(prefix="callsheet-test-") as folder:
        path = Path(folder) / "callsheet.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            migrate(connection)
            connection.execute("BEGIN")
            for row in store.rows:
                write_rows(connection, [row])
            connection.execute("COMMIT")
        past = read_past(path, "run_test")
    assert past is not None
    return past


async def resumed(
    main: ScriptFn,
    store: MemoryStore,
    *,
    reuse: ReuseMode = "unchanged",
    rerun: Iterable[str] = (),
    changed_since: Iterable[str] = (),
    **how: Any,
) -> Played:
    """Plays a script as the next attempt at a recorded run; its rows go to the same record."""
    resumption = Resumption(
        past=past_of(store), reuse=reuse, rerun=frozenset(rerun), changed_since=frozenset(changed_since)
    )
    how.setdefault("backend", FakeBackend())
    return await play(main, store=store, resumption=resumption, **how)


def asked(played: Played) -> list[str]:
    """The labels of the agents that were asked, sorted."""
    return sorted(task.label for task in played.stage.backend.tasks)


def value(played: Played) -> Any:
    """What the script returned."""
    return played.result.result
