"""What files look like, and which are other than they were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from callsheet.workspace.marks import MOST_FILES, SLACK_MS, changed_since, marks_of, new_since

pytestmark = pytest.mark.contract("R03")

STOPPED_MS = 1_000_000_000_000


def put(root: Path, path: str, text: str, *, later_s: float = 0.0) -> None:
    """Writes a file, dated so long after the run stopped."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="utf-8")
    date(root / path, later_s)


def date(path: Path, later_s: float) -> None:
    when = STOPPED_MS / 1000 + later_s
    os.utime(path, (when, when))


def test_a_file_is_another_where_its_content_is_and_it_was_changed_since(tmp_path: Path) -> None:
    for name in ("same", "new", "touched", "during", "gone"):
        put(tmp_path, name, "before")
    marks = marks_of(tmp_path, ["same", "new", "touched", "during", "gone", "nowhere"])
    assert marks["nowhere"] == "-" and len(set(marks.values())) == 2
    put(tmp_path, "new", "after", later_s=60)
    put(tmp_path, "touched", "before", later_s=60)
    put(tmp_path, "during", "after", later_s=SLACK_MS / 1000 - 1)
    (tmp_path / "gone").unlink()
    put(tmp_path, "nowhere", "after", later_s=60)
    assert changed_since(tmp_path, marks, STOPPED_MS) == {"new", "gone", "nowhere"}


def test_links_folders_and_what_is_not_the_workspaces_have_no_mark(tmp_path: Path) -> None:
    put(tmp_path, "folder/file", "x")
    put(tmp_path, ".git/config", "x")
    (tmp_path / "link").symlink_to("folder/file")
    (tmp_path / "way").symlink_to("folder")
    assert list(marks_of(tmp_path, ["folder", "link", "way/file", ".git/config", "../up", "folder/file"])) == [
        "folder/file"
    ]


def test_of_many_files_so_many_are_marked(tmp_path: Path) -> None:
    assert len(marks_of(tmp_path, [f"f{n}" for n in range(2 * MOST_FILES)])) == MOST_FILES


def test_all_that_is_new_is_found_but_the_script_and_the_configuration(tmp_path: Path) -> None:
    put(tmp_path, "src/old.py", "x")
    put(tmp_path, "src/new.py", "x", later_s=60)
    put(tmp_path, "flow.js", "x", later_s=60)
    put(tmp_path, ".claude/workflows/flow.js", "x", later_s=60)
    assert new_since(tmp_path, STOPPED_MS, but=[tmp_path / "flow.js"]) == {"src/new.py"}
