"""Changes of a worktree, merged into the workspace's files as they are now (CONTRACT A16).

Git does the merging, between trees: the workspace's index, HEAD and branch are never touched, and nothing is written
before all of it is known to fit. A file that somebody changes meanwhile makes it begin again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias

import anyio
import anyio.to_thread

from callsheet.errors import CallsheetError, GitRefusedError
from callsheet.model.dataclass import dataclass
from callsheet.workspace.beginning import State, copy_index
from callsheet.workspace.errors import WorkspacePathError
from callsheet.workspace.excludes import user_excludes
from callsheet.workspace.files import open_beneath, write_bytes_beneath
from callsheet.workspace.git import Git, GitPlace
from callsheet.workspace.git_words import checked, committed, line, lines, split, update_index, written_tree

Hold: TypeAlias = Callable[[Sequence[Path]], AbstractAsyncContextManager[object]]
"""Keeps files from other agents' tools while the context lasts; `WorktreeError` where others do not let go of one."""

_TRIES = 3
_NOTHING, _LINK, _SUBMODULE, _EXECUTABLE = "000000", "120000", "160000", "100755"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_NAMED = 10


class MergeConflictError(CallsheetError):
    """Changes do not fit the workspace as it is. Nothing of them was written."""


@dataclass(frozen=True, slots=True)
class _Change:
    """One file that merging makes other than it is in the workspace."""

    old_mode: str
    mode: str
    path: str


class Merger:
    """Merges into one workspace, one at a time.

    Args:
        place: Of the workspace, as it was before any agent started.
        folder: For what is needed on the way; made when it is needed.
        name: What the names of all that begins there begin with, after `merge-`.
        environ: For `Git`.
        hold: Keeps files from others.
    """

    def __init__(self, place: GitPlace, *, folder: Path, name: str, environ: Mapping[str, str], hold: Hold) -> None:
        self._place = place
        self._root = place.work_tree
        self._folder = folder
        self._prefix = f"merge-{name}-"
        self._git = Git(place, environ, excludes=user_excludes(environ))
        self._hold = hold
        self._one = anyio.Lock()

    async def tip_of(self, branch: str) -> str | None:
        """The commit of a branch; None where there is none. Raises GitRefusedError."""
        found = await self._git.run("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}")
        return line(found) if found.exit_status == 0 else None

    async def merge(self, *, base: str, tip: str) -> tuple[str, ...]:
        """Brings what was changed between two commits into the workspace's files.

        Returns:
            The files that were changed, relative.

        Raises:
            MergeConflictError: They do not fit; the workspace is as it was.
            GitRefusedError: Git would not; the workspace is as it was.
            WorkspacePathError: A file cannot be written; those before it are.
            OSError: As before.
        """
        async with self._one:
            scratch = await anyio.to_thread.run_sync(self._scratch)
            try:
                for _ in range(_TRIES):
                    changed = await self._try(base, tip, scratch)
                    if changed is not None:
                        return changed
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(partial(shutil.rmtree, scratch, ignore_errors=True))
        raise MergeConflictError("others went on changing the same files in the workspace meanwhile")

    def _scratch(self) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=self._prefix, dir=self._folder))

    async def _try(self, base: str, tip: str, scratch: Path) -> tuple[str, ...] | None:
        """None where a file was changed meanwhile."""
        index, git = scratch / "index", self._git
        await anyio.to_thread.run_sync(copy_index, self._place.git_dir, scratch, "index")
        await update_index(git, (await State.read(git)).differing, index)
        ours = await written_tree(git, index)
        merged = await self._merged(ours, base, tip)
        answer = checked(await git.run("diff-tree", "-r", "-z", "--raw", "--no-renames", ours, merged), "compare")
        changes = tuple(_changes(split(answer.output)))
        if not changes:
            return ()
        if any(_SUBMODULE in (change.mode, change.old_mode) for change in changes):
            raise MergeConflictError("a submodule was changed, which is not merged")
        staged = await self._staged(merged, changes, scratch)
        paths = sorted(change.path for change in changes)
        async with self._hold([self._root / path for path in paths]):
            await update_index(git, paths, index)
            if await written_tree(git, index) != ours:
                return None
            with anyio.CancelScope(shield=True):  # bounded by the number of files; half a merge is nobody's wish
                await anyio.to_thread.run_sync(_write, self._root, staged, changes)
        return tuple(paths)

    async def _merged(self, ours: str, base: str, tip: str) -> str:
        """The tree of both, without a conflict."""
        mine = await committed(self._git, ours, (base,), "The workspace")
        words = ("--write-tree", "--name-only", "--no-messages", "-z", mine, tip)
        answer = await self._git.run("merge-tree", *words)
        tree, *files = split(answer.output) or [""]
        if answer.exit_status == 1:
            more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
            raise MergeConflictError(f"both sides changed {', '.join(files[:_NAMED])}{more}")
        if answer.exit_status != 0 and ("usage:" in answer.errors or "unknown option" in answer.errors):
            raise GitRefusedError("merging needs git 2.38 or newer.")
        checked(answer, "merge")
        return tree

    async def _staged(self, merged: str, changes: Sequence[_Change], scratch: Path) -> Path:
        """A folder with the new content of all files, as git checks them out."""
        index, staged = scratch / "merged", scratch / "staged"
        await anyio.to_thread.run_sync(partial(shutil.rmtree, staged, ignore_errors=True))
        checked(await self._git.run("read-tree", merged, index=index), "read what is merged")
        wanted = lines(change.path for change in changes if change.mode != _NOTHING)
        words = ("-z", "--stdin", f"--prefix={staged}/")
        checked(await self._git.run("checkout-index", *words, stdin=wanted, index=index), "write what is merged")
        return staged


def _changes(entries: Sequence[str]) -> Iterator[_Change]:
    """Of `:old-mode new-mode old new status`, NUL, path, NUL."""
    for said, path in zip(entries[::2], entries[1::2], strict=True):
        old_mode, mode, *_ = said.removeprefix(":").split(" ")
        yield _Change(old_mode, mode, path)


def _write(root: Path, staged: Path, changes: Sequence[_Change]) -> None:
    # What goes first makes room: a folder may come in place of a file, or the other way round.
    for change in changes:
        if change.mode == _NOTHING or _LINK in (change.mode, change.old_mode):
            _remove(root, change.path)
    for change in changes:
        if change.mode == _LINK:
            _link(root, change.path, (staged / change.path).readlink())
        elif change.mode != _NOTHING:
            write_bytes_beneath(root, change.path, (staged / change.path).read_bytes())
            if (change.mode == _EXECUTABLE) != (change.old_mode == _EXECUTABLE):
                _set_executable(root, change.path, is_executable=change.mode == _EXECUTABLE)


def _remove(root: Path, path: str) -> None:
    """Removes a file, and the folders that it leaves empty."""
    folder, _, name = path.rpartition("/")
    with suppress(FileNotFoundError), _opened(root, folder) as here:
        os.unlink(name, dir_fd=here)
    while folder:
        folder, _, name = folder.rpartition("/")
        try:
            with _opened(root, folder) as here:
                os.rmdir(name, dir_fd=here)
        except OSError:
            return


def _link(root: Path, path: str, target: Path) -> None:
    write_bytes_beneath(root, path, b"")  # makes the folders on the way
    folder, _, name = path.rpartition("/")
    with _opened(root, folder) as here:
        os.unlink(name, dir_fd=here)
        os.symlink(target, name, dir_fd=here)


def _set_executable(root: Path, path: str, *, is_executable: bool) -> None:
    descriptor = open_beneath(root, path, os.O_RDONLY)
    try:
        mode = os.fstat(descriptor).st_mode & 0o777
        os.fchmod(descriptor, mode | (mode & 0o444) >> 2 if is_executable else mode & ~0o111)
    finally:
        os.close(descriptor)


class _opened:
    """A folder beneath a root, open as long as the context lasts."""

    def __init__(self, root: Path, folder: str) -> None:
        self._root, self._folder = root, folder

    def __enter__(self) -> int:
        try:
            self._descriptor = open_beneath(self._root, self._folder or ".", _FOLDER)
        except WorkspacePathError as error:
            if error.fault == "missing":
                raise FileNotFoundError(self._folder) from None
            raise
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
