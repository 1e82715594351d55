"""Whatever happens to a workspace, each checkpoint brings back its bytes, modes, links and what was not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TypeAlias

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callsheet.workspace.checkpoints import open_checkpoints
from callsheet.workspace.git import git_place
from tests.support.deadline import within
from tests.support.examples import times
from tests.unit.workspace.test_git import by_hand
from tests.unit.workspace.test_worktree import content

NAMES = ["a", "b", "d/a", "d/e/f", "d/e", "mäh \n", "x.txt", "n/.git-not", "n/y"]
Act: TypeAlias = tuple[str, str, int]

paths = st.sampled_from(NAMES)
act = st.one_of(
    st.tuples(st.just("write"), paths, st.integers(0, 5)),
    st.tuples(st.just("remove"), paths, st.just(0)),
    st.tuples(st.just("mode"), paths, st.sampled_from([0o644, 0o755, 0o600, 0o664, 0o444, 0o711])),
    st.tuples(st.just("link"), paths, st.integers(0, 3)),
    st.tuples(st.just("append"), paths, st.integers(0, 5)),
    st.tuples(st.just("folder"), paths, st.sampled_from([0o755, 0o700])),
    st.tuples(st.just("checkpoint"), st.just(""), st.just(0)),
)


def do(root: Path, what: str, name: str, value: int) -> None:
    path = root / name
    if any(parent.is_symlink() for parent in path.relative_to(root).parents if parent != Path()):
        return
    for parent in reversed(path.relative_to(root).parents):
        if (root / parent).is_symlink() or (root / parent).is_file():
            (root / parent).unlink()
    is_file = path.is_file() and not path.is_symlink()
    if what in ("write", "remove", "link", "folder"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
    if what in ("write", "link", "folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
    if what == "write":
        path.write_bytes(b"%d\r\n\0" % value * value)
    elif what == "link":
        path.symlink_to(["a", "/etc", "../outside", "d"][value])
    elif what == "folder":
        path.mkdir()
        path.chmod(value)
    elif what == "mode" and is_file:
        path.chmod(value)
    elif what == "append" and is_file:
        mode = path.stat().st_mode
        path.chmod(0o644)
        with path.open("ab") as file:
            file.write(b"more")
        path.chmod(mode)


def empty(root: Path) -> dict[str, int]:
    """Folders with nothing in them, and their modes."""
    walked = ((Path(here), found, files) for here, found, files in os.walk(root) if not found and not files)
    return {
        str(here.relative_to(root)): here.stat().st_mode
        for here, _, _ in walked
        if here != root and ".git" not in here.relative_to(root).parts
    }


async def in_time(base: Path, is_git: bool, start: list[Act], acts: list[Act], back_to: int) -> None:
    with within(60):
        await tried(base, is_git, start, acts, back_to)


async def tried(base: Path, is_git: bool, start: list[Act], acts: list[Act], back_to: int) -> None:
    root = base / "root"
    root.mkdir()
    (base / "outside").mkdir()
    (base / "outside" / "kept").write_text("kept", encoding="utf-8")
    for each in start:
        do(root, *each)
    user = None
    if is_git:
        by_hand(root, "init", "-q")
        by_hand(root, "add", "-A")
        user = await git_place(root, os.environ)
    async with open_checkpoints(root, folder=base / "checkpoints", environ=os.environ, user=user) as checkpoints:
        await checkpoints.take()
        states = [(content(root), empty(root))]
        for each in acts:
            if each[0] == "checkpoint":
                await checkpoints.take()
                states.append((content(root), empty(root)))
            do(root, *each)
        await checkpoints.take()
        states.append((content(root), empty(root)))
        number = back_to % len(states)
        restored = await checkpoints.restore(number)
        assert restored.left == ()
        assert (content(root), empty(root)) == states[number]
        await checkpoints.restore(len(states) - 1)
        assert (content(root), empty(root)) == states[-1]
    assert (base / "outside" / "kept").read_text(encoding="utf-8") == "kept"
    assert content(base / "outside").keys() == {"kept"}


@settings(max_examples=times(15), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    is_git=st.booleans(), start=st.lists(act, max_size=8), acts=st.lists(act, max_size=12), back_to=st.integers(0, 9)
)
def test_each_checkpoint_brings_back_what_it_saw(is_git: bool, start: list[Act], acts: list[Act], back_to: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(in_time, Path(folder).resolve(), is_git, start, acts, back_to)
