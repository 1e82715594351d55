from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from callsheet.workspace import copying
from callsheet.workspace.spares import SPARE, Spares
from callsheet.workspace.worktree import Extras, Worktree
from tests.support.deadline import within
from tests.unit.workspace.test_git import by_hand
from tests.unit.workspace.test_worktree import content, root, write

__all__ = ["root"]

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a test are as young as the test; what is not younger than its copy is old enough here."""
    monkeypatch.setattr(copying, "_FRESH_NS", 0)


async def made(root: Path, name: str, spares: Spares, extras: Extras | None = None) -> Worktree:
    folder = root.parent / "wt"
    return await Worktree.make(root, folder=folder, name=name, environ=os.environ, spares=spares, extras=extras)


def unignored(root: Path) -> dict[str, tuple[int, bytes]]:
    return {path: said for path, said in content(root).items() if path not in ("ignored.log", "build/out")}


async def test_the_next_one_has_the_files_of_the_last_and_nothing_that_an_agent_left(root: Path) -> None:
    (root / "src" / "sub").mkdir()
    write(root, "src/sub/same.txt", "same\n")
    with within(60):
        spares = Spares(SPARE)
        first = await made(root, "one", spares)
        stamps = {path: _stamp(first.path / path) for path in unignored(root)}
        work = first.path
        write(work, "a.txt", "agent\n")
        os.utime(work / "a.txt", ns=((root / "a.txt").stat().st_atime_ns, (root / "a.txt").stat().st_mtime_ns))
        (work / "run.sh").chmod(0o600)
        (work / "staged.txt").unlink()
        (work / "staged.txt").mkdir()
        shutil.rmtree(work / "new")
        (work / "new").symlink_to(root)
        write(work, "src/deep/made.txt", "agent\n")
        write(work, "build/out", "agent\n")
        by_hand(work / "src", "init", "-q")
        (work / "src" / "deep").chmod(0o500)
        (work / "empty" / "er").mkdir(parents=True)
        assert (await first.close()).branch == "callsheet/one"
        assert not first.path.exists()
        write(root, "added.txt", "by the user, since\n")
        write(root, "later/new.txt", "by the user, since\n")
        (root / "link").unlink()
        second = await made(root, "two", spares)
        assert unignored(second.path) == unignored(root)
        assert folders(second.path) == folders(root) - {"build"}
        same = {path for path, stamp in stamps.items() if stamp == _stamp(second.path / path)}
        assert same >= {".gitignore", "src/deep/b.py", "src/kept.log", "src/sub/same.txt"}
        assert not same & {"a.txt", "run.sh", "staged.txt", "added.txt", "new/untracked.txt"}
        assert by_hand(second.path, "status", "--porcelain") == by_hand(root, "status", "--porcelain")
        assert (await second.close()).changed is False
        spares.clear()
        assert list((root.parent / "wt").iterdir()) == []
        assert by_hand(root, "worktree", "list").count("\n") == 1


def folders(root: Path) -> set[str]:
    found = {os.path.relpath(folder, root) for folder, _, _ in os.walk(root)}
    return {folder for folder in found if not folder.startswith(".git")}


def _stamp(path: Path) -> tuple[int, int] | None:
    """What no other file has: a number is given again, but not with the same time of change."""
    stat = path.lstat() if os.path.lexists(path) else None
    return None if stat is None else (stat.st_ino, stat.st_ctime_ns)


async def test_what_was_copied_a_moment_after_it_changed_is_copied_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_FRESH_NS", 3600 * 10**9)
    with within(60):
        spares = Spares(SPARE)
        first = await made(root, "one", spares)
        inode = (first.path / "a.txt").stat().st_ino
        await first.close()
        kept = next((root.parent / "wt").glob(f"{SPARE}*"))
        (kept / "held").hardlink_to(kept / "a.txt")  # or the new file could get the old one's number
        (kept / "held").rename(root.parent / "held")
        second = await made(root, "two", spares)
        assert (second.path / "a.txt").stat().st_ino != inode
        await second.close()
        spares.clear()


async def test_one_that_cannot_be_taken_away_by_git_lies_where_it_is_said_to(root: Path) -> None:
    with within(60):
        spares = Spares(SPARE)
        tree = await made(root, "one", spares)
        write(tree.path, "a.txt", "agent\n")
        by_hand(root, "config", "filter.x.clean", "cat")
        came = await tree.close()
        assert came.folder == tree.path
        assert (tree.path / "a.txt").read_text(encoding="utf-8") == "agent\n"
        assert spares.is_empty
