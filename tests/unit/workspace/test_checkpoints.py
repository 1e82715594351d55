from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from callsheet.errors import CheckpointError, GitRefusedError
from callsheet.workspace.checkpoints import Checkpoints, Restored, open_checkpoints
from callsheet.workspace.git import git_place
from tests.support.deadline import within
from tests.unit.workspace.test_git import by_hand
from tests.unit.workspace.test_worktree import content, root, state, write

__all__ = ["root"]

pytestmark = pytest.mark.anyio


def folder_of(root: Path) -> Path:
    return root.parent / "checkpoints"


class opening:
    """The checkpoints of a workspace with git, within the time that a test may take."""

    def __init__(self, root: Path, *, git: bool = True) -> None:
        self._root, self._git = root, git

    async def __aenter__(self) -> Checkpoints:
        user = await git_place(self._root, os.environ) if self._git else None
        self._open = open_checkpoints(self._root, folder=folder_of(self._root), environ=os.environ, user=user)
        return await self._open.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        await self._open.__aexit__(None, None, None)


def mess_up(root: Path) -> None:
    """What agents may do to a checkout."""
    write(root, "a.txt", "other\n")
    (root / "run.sh").chmod(0o640)
    (root / "staged.txt").unlink()
    write(root, "gone.txt", "there again\n")
    (root / "link").unlink()
    write(root, "link", "no link\n")
    (root / "new" / "untracked.txt").unlink()
    (root / "new" / "other").symlink_to("../a.txt")
    shutil.rmtree(root / "src")
    write(root, "src", "a file where a folder was\n")
    (root / "added.txt").unlink()
    write(root, "added.txt/deep/er", "a folder where a file was\n")
    write(root, "more/of/it", "new\n")


async def test_everything_comes_back_byte_for_byte_and_nothing_enters_the_users_repository(root: Path) -> None:
    (root / "new" / "untracked.txt").chmod(0o600)
    with within(60):
        before, objects = state(root), sorted((root / ".git").rglob("*"))
        async with opening(root) as checkpoints:
            assert (await checkpoints.take()).number == 0
            mess_up(root)
            middle = content(root)
            await checkpoints.take()
            restored = await checkpoints.restore(0)
            assert restored.left == ()
            assert state(root) == before
            assert sorted((root / ".git").rglob("*")) == objects
            assert not (root / "more").exists()
            assert restored.checkpoint is not None and restored.checkpoint.number == 2
            assert (await checkpoints.changes(0, 2)).all == ()
            assert set((await checkpoints.changes(0, 1)).added) >= {
                "gone.txt",
                "more/of/it",
                "src",
                "added.txt/deep/er",
            }
            await checkpoints.restore(1)
            assert content(root) == middle


async def test_no_filter_and_no_line_end_has_a_say(root: Path, tmp_path: Path) -> None:
    write(root, ".gitattributes", "* text=auto eol=lf filter=trap ident\n")
    by_hand(root, "config", "filter.trap.clean", f"touch {tmp_path}/sprung; tr a-z A-Z")
    by_hand(root, "config", "core.autocrlf", "input")
    (root / "crlf.txt").write_bytes(b"one\r\n$Id$\r\n")
    with within(60):
        before = content(root)
        async with opening(root) as checkpoints:
            await checkpoints.take()
            (root / "crlf.txt").write_bytes(b"two\r\n")
            await checkpoints.take()
            await checkpoints.restore(0)
    assert content(root) == before
    assert not (tmp_path / "sprung").exists()


async def test_nested_repositories_are_files_and_what_is_ignored_is_neither_kept_nor_touched(root: Path) -> None:
    (root / "inner" / "more").mkdir(parents=True)
    for folder in (root / "inner", root / "inner" / "more"):
        by_hand(folder, "init", "-q")
        write(folder, "kept.txt", "kept\n")
    with (root / "big.bin").open("wb") as file:
        file.truncate(51 * 1024 * 1024)
    with within(60):
        async with opening(root) as checkpoints:
            await checkpoints.take()
            assert await checkpoints.left_out(0) == {"big.bin": "larger than 50 MB"}
            write(root, "inner/kept.txt", "changed\n")
            write(root, "inner/more/kept.txt", "changed\n")
            write(root, "src/kept.log", "tracked though ignored, and changed\n")
            write(root, "ignored.log", "changed\n")
            write(root, "build/out", "changed\n")
            write(root, "big.bin", "small now\n")
            await checkpoints.take()
            restored = await checkpoints.restore(0)
    assert (root / "inner/kept.txt").read_text() == (root / "inner/more/kept.txt").read_text() == "kept\n"
    assert (root / "src/kept.log").read_text() == "kept\n"
    assert (root / "ignored.log").read_text() == (root / "build/out").read_text() == "changed\n"
    assert restored.left == (("big.bin", "larger than 50 MB"),)
    assert (root / "big.bin").read_text() == "small now\n"


async def test_what_the_user_changed_since_is_refused_by_name_unless_said_and_then_it_can_come_back(root: Path) -> None:
    with within(60):
        async with opening(root) as checkpoints:
            await checkpoints.take()
            mess_up(root)
            await checkpoints.take()
            write(root, "a.txt", "by hand\n")
            write(root, "mine.txt", "by hand\n")
            by_hand_now = content(root)
            with pytest.raises(CheckpointError, match=r"a\.txt, mine\.txt changed since") as refused:
                await checkpoints.restore(0)
            assert refused.value.paths == ("a.txt", "mine.txt")
            assert content(root) == by_hand_now
            await checkpoints.restore(0, only=["src", "run.sh"])
            assert (root / "src/deep/b.py").is_file() and (root / "a.txt").read_text() == "by hand\n"
            write(root, "mine.txt", "by hand again\n")
            by_hand_now = content(root)
            number = len(checkpoints.taken)
            await checkpoints.restore(0, even_changed=True)
            assert not (root / "mine.txt").exists()
            await checkpoints.restore(number)
            assert content(root) == by_hand_now


async def test_a_link_in_the_way_leads_nowhere(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write(outside, "deep/b.py", "outside\n")
    before = content(root)
    with within(60):
        async with opening(root) as checkpoints:
            await checkpoints.take()
            shutil.rmtree(root / "src")
            (root / "src").symlink_to(outside)
            (root / "a.txt").unlink()
            (root / "a.txt").symlink_to(outside / "deep" / "b.py")
            await checkpoints.take()
            assert "src/deep/b.py" in (await checkpoints.changes(0, 1)).removed
            await checkpoints.restore(0)
    assert content(root) == before
    assert (outside / "deep" / "b.py").read_text() == "outside\n"
    assert sorted(outside.rglob("*")) == [outside / "deep", outside / "deep" / "b.py"]


async def test_an_agents_own_changes_are_taken_back_and_what_others_changed_since_is_left(root: Path) -> None:
    with within(60):
        async with opening(root) as checkpoints:
            await checkpoints.take()
            write(root, "a.txt", "agent\n")
            write(root, "made.txt", "agent\n")
            (root / "run.sh").unlink()
            write(root, "staged.txt", "agent\n")
            paths = ["a.txt", "made.txt", "run.sh", "staged.txt"]
            before = {path: checkpoints.last.get(path) for path in [*paths, "new/untracked.txt", "unsaid"]}
            after = await checkpoints.look([*paths, "new/untracked.txt"])
            write(root, "staged.txt", "another agent\n")
            write(root, "elsewhere.txt", "another agent\n")
            restored = await checkpoints.take_back(before, after)
            with pytest.raises(CheckpointError, match="changed since that agent left them") as refused:
                await checkpoints.take_back(before, after, strict=True)
    assert refused.value.paths == ("staged.txt",)
    assert restored == Restored(
        written=("a.txt", "run.sh"), removed=("made.txt",), left=(("staged.txt", "someone else changed it since"),)
    )
    assert (root / "a.txt").read_text() == "one\nuncommitted\n"
    assert stat.S_IMODE((root / "run.sh").stat().st_mode) == 0o755
    assert (root / "staged.txt").read_text() == (root / "elsewhere.txt").read_text() == "another agent\n"


async def test_a_folder_without_git_has_them_too_and_they_are_found_again(tmp_path: Path) -> None:
    root = tmp_path / "plain"
    write(root, "one.txt", "one\n")
    write(root, ".gitignore", "*.log\n")
    write(root, 'mäh \n\x01"\\.txt', "odd\n")
    (root / os.fsdecode(b"\xff\xfe")).write_bytes(b"\0\xff")
    before = content(root)
    with within(60):
        async with opening(root, git=False) as checkpoints:
            await checkpoints.take()
            with pytest.raises(CheckpointError, match="in use by another process"):
                async with opening(root, git=False):
                    pass
        by_hand(root, "init", "-q")
        (root / os.fsdecode(b"\xff\xfe")).unlink()
        write(root, 'mäh \n\x01"\\.txt', "changed\n")
        async with opening(root, git=False) as checkpoints:
            assert [each.number for each in checkpoints.taken] == [0]
            await checkpoints.take()
            with pytest.raises(CheckpointError, match="no checkpoint 7; there are: 0, 1"):
                await checkpoints.restore(7)
            await checkpoints.restore(0)
    assert content(root) == before


async def test_a_repository_with_long_names_of_objects_has_them_too(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    by_hand(root, "init", "-q", "--object-format=sha256")
    write(root, "a.txt", "one\n")
    by_hand(root, "add", ".")
    by_hand(root, "commit", "-q", "-m", "first")
    with within(60):
        async with opening(root) as checkpoints:
            await checkpoints.take()
            (root / "a.txt").unlink()
            await checkpoints.take()
            await checkpoints.restore(0)
    assert (root / "a.txt").read_text() == "one\n"


async def test_what_the_index_names_and_the_repository_has_not_is_kept_all_the_same(root: Path) -> None:
    write(root, "empty.txt", "")
    by_hand(root, "add", "-N", "empty.txt")
    write(root, "lost.txt", "lost\n")
    by_hand(root, "add", "lost.txt")
    lost = by_hand(root, "rev-parse", ":lost.txt").strip()
    (root / ".git" / "objects" / lost[:2] / lost[2:]).unlink()
    before = content(root)
    with within(60):
        async with opening(root) as checkpoints:
            await checkpoints.take()
            mess_up(root)
            (root / "lost.txt").unlink()
            (root / "empty.txt").unlink()
            await checkpoints.take()
            await checkpoints.restore(0)
    assert content(root) == before


async def test_a_damaged_or_missing_file_of_a_checkpoint_changes_nothing(root: Path) -> None:
    with within(60):
        async with opening(root) as checkpoints:
            await checkpoints.take()
            mess_up(root)
            await checkpoints.take()
            after = content(root)
            blob = by_hand(root, "rev-parse", "HEAD:src/deep/b.py").strip()
            path = root / ".git" / "objects" / blob[:2] / blob[2:]
            good = path.read_bytes()
            path.chmod(0o600)
            path.unlink()
            with pytest.raises(CheckpointError, match="is missing"):
                await checkpoints.restore(0)
            assert content(root) == after
            path.write_bytes(good)
            await checkpoints.restore(0)
    assert (root / "src" / "deep" / "b.py").read_text() == "b\n"


async def test_without_git_on_the_machine_it_says_so(root: Path, tmp_path: Path) -> None:
    with within(60), pytest.raises(GitRefusedError, match="git is not installed"):
        environ = {"PATH": str(tmp_path)}
        async with open_checkpoints(root, folder=folder_of(root), environ=environ):
            pass


RESTORE = """
import anyio, os, sys
from pathlib import Path
from callsheet.workspace import restoring
from callsheet.workspace.checkpoints import open_checkpoints

async def main():
    root, folder, until = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    rename = os.rename
    def counted(*words, **more):
        nonlocal until
        until -= 1
        if until < 0:
            os.kill(os.getpid(), 9)
        rename(*words, **more)
    os.rename = counted
    async with open_checkpoints(root, folder=folder, environ=os.environ) as checkpoints:
        await checkpoints.restore(0)

anyio.run(main)
"""


def killed_after(root: Path, renames: int) -> int:
    command = [sys.executable, "-c", RESTORE, str(root), str(folder_of(root)), str(renames)]
    return subprocess.run(command, check=False, timeout=120).returncode


def everything(root: Path) -> list[str]:
    return [name for _, _, names in os.walk(root) for name in names]


@pytest.mark.parametrize("until", [0, 1, 3])
async def test_a_restore_that_was_killed_is_done_again(root: Path, until: int) -> None:
    before = content(root)
    with within(60):
        async with opening(root) as checkpoints:
            await checkpoints.take()
            mess_up(root)
            await checkpoints.take()
        assert killed_after(root, until) == -signal.SIGKILL
        assert any(name.startswith(".callsheet-restore-") for name in everything(root))
        async with opening(root) as checkpoints:
            await checkpoints.restore(0)
    assert content(root) == before
