"""What a run changed: lines of edits, writes and patches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from callsheet.app.diffing import RunDiff, diff_of
from callsheet.app.records import Where, open_runs
from callsheet.model.records import EventRow, Row, ToolCallRow
from callsheet.store.sqlite import open_store
from tests.support.deadline import within
from tests.support.store_rows import AT, RUN_ID, agent_row, run_row

pytestmark = pytest.mark.anyio

PATCH = """\
diff --git a/src/a.py b/src/a.py
index 1..2 100644
--- a/src/a.py
+++ b/src/a.py
@@ -1,3 +1,4 @@
 one
--- two
+++ three
+four
 five
diff --git a/gone.txt b/gone.txt
deleted file mode 100644
--- a/gone.txt
+++ /dev/null
@@ -1 +0,0 @@
-bye
"""


def tool(n: int, name: str, state: str = "done", **given: Any) -> ToolCallRow:
    return ToolCallRow(run_id=RUN_ID, agent_id="a0001", n=n, tool=name, input=json.dumps(given), state=state, at=AT)


async def diff(folder: Path, *rows: Row, files: list[str], tools: list[str], **agent: Any) -> RunDiff:
    path = folder / "callsheet.db"
    row = agent_row(1, files_changed=json.dumps(files), tools_called=json.dumps(tools), **agent)
    with within():
        async with open_store(path) as store:
            await store.write([run_row(workspace=str(folder / "gone")), row, *rows], durable=True)
    with open_runs(Where(store=str(path), workspace=folder, start=folder, environ={"HOME": str(folder)})) as runs:
        return diff_of(runs, runs.find("last"))


def lines(found: RunDiff) -> dict[str, tuple[int | None, int | None]]:
    return {change.path: (change.lines.added, change.lines.removed) for change in found.changes}


async def test_the_lines_of_edits_are_counted_by_what_they_replaced(tmp_path: Path) -> None:
    found = await diff(
        tmp_path,
        tool(1, "edit", file_path="a.py", old_string="x\ny\n", new_string="x\nz\nw\n"),
        tool(2, "edit", file_path=f"{tmp_path}/gone/a.py", old_string="q", new_string="r"),
        tool(3, "edit", "failed", file_path="a.py", old_string="no", new_string="never\nwas"),
        tool(4, "write", file_path="b.py", content="1\n2\n3\n"),
        files=["a.py", "b.py"],
        tools=["edit", "write"],
    )

    assert lines(found) == {"a.py": (3, 2), "b.py": (3, None)}


async def test_what_a_replacement_of_all_or_a_command_did_is_not_known(tmp_path: Path) -> None:
    every = tool(1, "edit", file_path="a.py", old_string="x", new_string="y", replace_all=True)
    assert lines(await diff(tmp_path, every, files=["a.py"], tools=["edit"])) == {"a.py": (None, None)}


async def test_an_agent_with_a_shell_may_have_changed_more_than_it_edited(tmp_path: Path) -> None:
    one = tool(1, "edit", file_path="a.py", old_string="x", new_string="y")
    assert lines(await diff(tmp_path, one, files=["a.py"], tools=["edit", "bash"])) == {"a.py": (None, None)}


async def test_the_patch_of_a_worktree_says_it_exactly(tmp_path: Path) -> None:
    patch = tmp_path / ".callsheet" / "patches" / "a.patch"
    patch.parent.mkdir(parents=True)
    patch.write_text(PATCH, encoding="utf-8")
    agent: dict[str, Any] = {
        "agent_id": "a0001", "call": 1, "label": "review:bugs", "phase": None, "workflow": None, "status": "ok",
        "reused": False, "model": None, "backend": "scripted", "attempts": 1, "usage": {}, "files_read": [],
        "files_changed": [], "tools_called": [], "queued_at": AT, "started_at": AT, "ended_at": AT, "error": None,
        "worktree": {"branch": "callsheet/run/a0001", "patch": str(patch), "merged": False},
    }  # fmt: skip
    event = EventRow(run_id=RUN_ID, seq=1, at=AT, event="agent.finished", payload=json.dumps(agent))

    found = await diff(tmp_path, event, files=["src/a.py", "gone.txt"], tools=["bash"])

    assert lines(found) == {"src/a.py": (2, 1), "gone.txt": (0, 1)}
    assert {change.branch for change in found.changes} == {"callsheet/run/a0001"}


async def test_where_the_workspace_is_gone_it_is_said_that_no_more_is_known(tmp_path: Path) -> None:
    found = await diff(tmp_path, files=[], tools=[])

    assert found.unreported == ()
    assert "is not there (any more)" in found.notes[0]


async def test_a_file_that_is_no_patch_of_ours_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "private.txt").write_text(PATCH, encoding="utf-8")
    payload = {"agent_id": "a0001", "worktree": {"branch": "b", "patch": str(tmp_path / "private.txt")}}
    event = EventRow(run_id=RUN_ID, seq=1, at=AT, event="agent.finished", payload=json.dumps(payload))
    path = tmp_path / "callsheet.db"
    with within():
        async with open_store(path) as store:
            await store.write([run_row(), event], durable=True)
    with open_runs(Where(store=str(path), workspace=tmp_path, start=tmp_path, environ={"HOME": "/"})) as runs:
        assert runs.patch(str(tmp_path / "private.txt")) is None
        assert runs.patch("/dev/zero") is None
        assert runs.patch("\0") is None
