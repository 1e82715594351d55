"""What is gone of a recorded agent's changes is put back off the event loop, and nobody else is at it meanwhile."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.locks import FileLocks
from callsheet.app.putting_back import PuttingBack
from callsheet.app.trees import held
from callsheet.engine.effects import PutBack
from callsheet.model.outcome import AgentOutcome
from callsheet.model.past import Past, PastAgent
from callsheet.model.records import ToolCallRow
from callsheet.store.sqlite import open_store
from callsheet.workspace.marks import marks_of
from tests.support.deadline import within
from tests.support.store_rows import AT, RUN_ID, agent_row, run_row

pytestmark = [pytest.mark.anyio, pytest.mark.contract("R03")]

PATHS = frozenset({"a.txt"})


class Seen(type(Path())):  # type: ignore[misc]
    """A folder that knows which threads have opened it."""

    threads: set[int]

    def __fspath__(self) -> str:
        if "threads" in vars(self):
            self.threads.add(threading.get_ident())
        return str(super().__fspath__())


class Site:
    """A workspace in which a recorded agent had replaced a word of `a.txt`, which somebody has undone."""

    def __init__(self, root: Path, agent: PastAgent, bounds: Bounds) -> None:
        self.root, self.agent, self.bounds = root, agent, bounds
        self.file = root / "a.txt"
        self.wants_files = anyio.Event()
        past = Past(run_id=RUN_ID, seed=7, started_ms=0, agents=(agent,))
        self.putting_back = PuttingBack(root.parent / "record.db", past, root, hold=self._hold)

    @asynccontextmanager
    async def _hold(self, paths: Sequence[Path]) -> AsyncIterator[None]:
        self.wants_files.set()
        async with held(self.bounds, paths):
            yield

    async def is_waited_for(self) -> None:
        """Returns once it is about to be put back, and somebody else is at it."""
        await self.wants_files.wait()
        await anyio.wait_all_tasks_blocked()


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    root = Seen(tmp_path / "workspace")
    root.mkdir()
    (root / "a.txt").write_text("one new line\n", encoding="utf-8")
    marks = marks_of(root, PATHS)
    (root / "a.txt").write_text("one old line\n", encoding="utf-8")
    edit = ToolCallRow(
        run_id=RUN_ID, agent_id="a0001", n=1, tool="edit", state="done", at=AT,
        input='{"file_path": "a.txt", "old_string": "old", "new_string": "new"}',
    )  # fmt: skip
    async with open_store(tmp_path / "record.db") as store:
        await store.write((run_row(), agent_row(), edit), durable=True)
    agent = PastAgent(
        agent_id="a0001", call=1, key="k", occurrence=1, label="editor", phase=None, workflow=None, status="ok",
        backend="fake", outcome=AgentOutcome(status="ok", files_changed=("a.txt",)), queued_at=AT, started_at=AT,
        ended_at=AT, value_json='"done"', marks=marks,
    )  # fmt: skip
    root.threads = set()
    return Site(root, agent, Bounds(locks=tmp_path / "locks"))


async def test_files_are_read_and_written_in_a_worker_thread(site: Site) -> None:
    done = await site.putting_back(site.agent, PATHS)

    assert done == PutBack(written=("a.txt",), whole=PATHS)
    assert site.file.read_text(encoding="utf-8") == "one new line\n"
    assert isinstance(site.root, Seen)
    assert site.root.threads and threading.get_ident() not in site.root.threads


async def test_an_agent_that_is_at_a_file_comes_first_and_what_it_wrote_stands(site: Site) -> None:
    done: list[PutBack | None] = []

    async def put_back() -> None:
        done.append(await site.putting_back(site.agent, PATHS))

    with within(10):
        async with anyio.create_task_group() as tasks, site.bounds.locks.hold(site.file):
            tasks.start_soon(put_back)
            await site.is_waited_for()
            site.file.write_text("something else\n", encoding="utf-8")
    assert done == [None]
    assert site.file.read_text(encoding="utf-8") == "something else\n"


async def test_a_file_that_another_run_never_lets_go_of_is_not_put_back(site: Site, tmp_path: Path) -> None:
    site.bounds.locks = FileLocks(tmp_path / "locks", wait_s=0.01)
    with within(10):
        async with FileLocks(tmp_path / "locks").hold(site.file):
            assert await site.putting_back(site.agent, PATHS) is None
    assert site.file.read_text(encoding="utf-8") == "one old line\n"


async def test_cancelled_while_it_waits_for_a_file_it_writes_nothing(site: Site) -> None:
    async def put_back() -> None:
        await site.putting_back(site.agent, PATHS)

    with within(10):
        async with site.bounds.locks.hold(site.file), anyio.create_task_group() as tasks:
            tasks.start_soon(put_back)
            await site.is_waited_for()
            tasks.cancel_scope.cancel()
    assert site.file.read_text(encoding="utf-8") == "one old line\n"
