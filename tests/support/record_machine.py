"""What state machines over the record share: writing, closing, crashing, and that what is read is what was written."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import anyio.from_thread
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from callsheet.model.records import Row
from callsheet.store.sqlite import SqliteStore, open_store
from callsheet.store.writer import StoreLimits
from tests.support.deadline import within


class Modelled(Protocol):
    """What a record holds after some writes, as far as a machine looks at it. Compared by value."""

    def after(self: ModelT, rows: list[Row]) -> ModelT:
        """What it holds after some more."""


ModelT = TypeVar("ModelT", bound=Modelled)


class RecordMachine(RuleBasedStateMachine, Generic[ModelT]):
    """Writes of one or several rows, durable or not; crashes and restarts; after each the record is a state that was.

    `states` are the states after each write since the last one known to be on disk, that one first: after a crash the
    record must be in one of them. In which one depends on the moment, so that nothing that is drawn may depend on it: a
    rule that has nothing to do does nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="callsheet-test-"))
        self.copies = 0
        self.states: list[ModelT] = [self.nothing()]
        self.portal_context = anyio.from_thread.start_blocking_portal()
        self.portal = self.portal_context.__enter__()
        self.open()

    def nothing(self) -> ModelT:
        """The state of a new record."""
        raise NotImplementedError

    def read(self, record: Path) -> ModelT:
        """The state of a record, read once."""
        raise NotImplementedError

    def read_at_rest(self, record: Path) -> ModelT:
        """The state at one moment: a record is read in several steps, while rows may be on their way."""
        state = self.read(record)
        while state != (again := self.read(record)):
            state = again
        return state

    def do(self, action: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        async def bounded() -> None:
            with within(20):
                await action(*args, **kwargs)

        self.portal.call(bounded)

    def open(self) -> None:
        self.record = self.folder / str(self.copies) / "callsheet.db"
        self.store_context = self.portal.wrap_async_context_manager(
            open_store(self.record, limits=StoreLimits(linger_s=0.02, queue_rows=12))
        )
        self.store: SqliteStore = self.store_context.__enter__()

    @property
    def now(self) -> ModelT:
        """The state after all that was written."""
        return self.states[-1]

    def write(self, rows: list[Row], *, durable: bool) -> None:
        self.do(self.store.write, rows, durable=durable)
        after = self.now.after(rows)
        self.states = [after] if durable else [*self.states, after]

    @rule()
    def wait_for_the_disk(self) -> None:
        self.write([], durable=True)

    @rule()
    def close_and_reopen(self) -> None:
        self.store_context.__exit__(None, None, None)
        self.states = self.states[-1:]
        self.open()

    @rule(torn_bytes=st.sampled_from([0, 0, 1, 24, 3_000, 9_000]))
    def crash_and_reopen(self, torn_bytes: int) -> None:
        """The files as they lie at this moment are what a machine that lost power would find.

        Args:
            torn_bytes: So much of a transaction that was on its way stands at the end of the log, as rubbish.
        """
        before = self.record.parent
        self.copies += 1
        after = self.folder / str(self.copies)
        # By another process: closing a file of the record here would drop SQLite's locks on it.
        subprocess.run(["mkdir", after], check=True)
        # The log first: it only grows, so that what is copied is how the files were at some moment.
        for name in ("callsheet.db-wal", "callsheet.db"):
            if (before / name).exists():
                subprocess.run(["cp", before / name, after / name], check=True)
        if torn_bytes and (log := after / "callsheet.db-wal").exists():
            with log.open("ab") as file:
                file.write(os.urandom(torn_bytes))
        self.store_context.__exit__(None, None, None)
        self.open()
        found = self.read_at_rest(self.record)
        assert found in self.states
        self.states = [state for state in self.states if state == found][:1]

    @invariant()
    def what_is_read_was_written(self) -> None:
        if self.record.exists():
            assert self.read_at_rest(self.record) in self.states

    def teardown(self) -> None:
        self.store_context.__exit__(None, None, None)
        self.portal_context.__exit__(None, None, None)
        shutil.rmtree(self.folder)
