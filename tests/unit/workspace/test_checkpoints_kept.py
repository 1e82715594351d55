"""What could be lost between a checkpoint and the way back to it, and is not."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from callsheet.errors import CheckpointError
from callsheet.workspace.checkpoints import open_checkpoints
from callsheet.workspace.survey import Limits
from tests.support.deadline import within
from tests.unit.workspace.test_checkpoints import folder_of, opening
from tests.unit.workspace.test_git import by_hand
from tests.unit.workspace.test_worktree import content, root, write

__all__ = ["root"]

pytestmark = pytest.mark.anyio


async def test_what_was_staged_and_never_committed_survives_that_git_drops_it(root: Path) -> None:
    write(root, "work.txt", "a day's work, staged\n")
    by_hand(root, "add", "work.txt")
    with within(60):
        async with opening(root) as checkpoints:
            await checkpoints.take()
            write(root, "work.txt", "agent\n")
            await checkpoints.take()
            by_hand(root, "add", "-A")
            by_hand(root, "gc", "-q", "--prune=now")
            await checkpoints.restore(0)
    assert (root / "work.txt").read_text() == "a day's work, staged\n"


async def test_a_file_too_large_to_be_kept_is_named_when_it_is_gone(root: Path) -> None:
    with (root / "big.bin").open("wb") as file:
        file.truncate(51 * 1024 * 1024)
    with within(60):
        async with opening(root) as checkpoints:
            await checkpoints.take()
            (root / "big.bin").unlink()
            await checkpoints.take()
            restored = await checkpoints.restore(0)
    assert restored.left == (("big.bin", "it is gone, and was not kept: larger than 50 MB"),)


async def test_a_file_of_which_nothing_can_be_told_counts_as_unknown_and_not_as_gone(root: Path) -> None:
    with (root / "big.bin").open("wb") as file:
        file.truncate(51 * 1024 * 1024)
    with within(60):
        async with opening(root) as checkpoints:
            await checkpoints.take()
            seen = await checkpoints.look(["big.bin", "none.txt", ".git/config", "/etc/passwd", "../outside"])
    assert seen == {"none.txt": None}


async def test_empty_folders_come_back_with_their_modes_and_those_that_came_are_gone(root: Path) -> None:
    (root / "empty" / "below").mkdir(parents=True)
    (root / "empty" / "below").chmod(0o700)
    (root / "out").mkdir()
    with within(60):
        async with opening(root) as checkpoints:
            await checkpoints.take()
            write(root, "out/made.txt", "agent\n")
            (root / "empty" / "below").rmdir()
            (root / "empty").rmdir()
            (root / "agents" / "own").mkdir(parents=True)
            await checkpoints.take()
            await checkpoints.restore(0)
    assert (root / "out").is_dir() and not [*(root / "out").iterdir()]
    assert stat.S_IMODE((root / "empty" / "below").stat().st_mode) == 0o700
    assert not (root / "agents").exists()


async def test_a_file_keeps_its_owner_where_the_host_may_give_files_away(root: Path) -> None:
    owner = (12_345, 12_346) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(root / "a.txt", *owner)
    (root / "a.txt").chmod(0o4755)
    with within(60):
        async with opening(root) as checkpoints:
            await checkpoints.take()
            write(root, "a.txt", "agent\n")
            os.chown(root / "a.txt", *owner)
            await checkpoints.take()
            await checkpoints.restore(0)
    found = (root / "a.txt").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (*owner, 0o4755)


ONE_NAME = """
import anyio, os, sys
from pathlib import Path
from callsheet.workspace.checkpoints import open_checkpoints

async def main():
    root, folder = Path(sys.argv[1]), Path(sys.argv[2])
    unlink = os.unlink
    def both(name, **more):
        unlink(name, **more)
        if name == "A.txt":
            unlink("a.txt", **more)
    os.unlink = both
    async with open_checkpoints(root, folder=folder, environ=os.environ) as checkpoints:
        await checkpoints.restore(0)

anyio.run(main)
"""


def restored_with_one_name(root: Path) -> None:
    command = [sys.executable, "-c", ONE_NAME, str(root), str(folder_of(root))]
    subprocess.run(command, check=True, timeout=120)


async def test_where_two_names_are_one_file_removing_one_does_not_lose_the_other(root: Path) -> None:
    with within(60):
        async with opening(root) as checkpoints:
            await checkpoints.take()
            before = content(root)
            write(root, "A.txt", "agent\n")
            await checkpoints.take()
    restored_with_one_name(root)
    assert content(root) == before


async def test_what_nobody_asked_to_be_kept_is_bounded_and_says_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    for name in ("a", "b", "c"):
        write(folder, name, "x" * 1000)
    for limits, why in (
        (Limits(files=2, size_bytes=10_000, remedy="Ask for it."), "more than 2 files that no repository has. Ask for"),
        (Limits(files=9, size_bytes=2_500, remedy="Ask for it."), "larger than 0 MB together. Ask for it"),
    ):
        with within(60):
            async with open_checkpoints(
                folder, folder=tmp_path / "kept", environ=os.environ, limits=limits
            ) as checkpoints:
                with pytest.raises(CheckpointError, match=why):
                    await checkpoints.take()
                assert not checkpoints.taken


async def test_the_lines_between_two_checkpoints_are_counted(root: Path) -> None:
    with within(60):
        async with opening(root) as checkpoints:
            await checkpoints.take()
            write(root, "a.txt", "one\nmore\nlines\n")
            write(root, "mäh .bin", "a\0b")
            (root / "run.sh").chmod(0o700)
            await checkpoints.take()
            assert await checkpoints.lines(0, 1) == {"a.txt": (2, 1), "mäh .bin": (None, None), "run.sh": (0, 0)}
