"""Folders of worktrees that are over, for those to come: most of their files are what the next one begins with.

Making ten thousand files costs seconds on some disks, looking at them a fraction of it. A file of a spare one is used
again only where neither it nor the file that it was copied from has changed since, by what the system says of both
(the time of the last change of anything cannot be set back); all else in it is removed, and copied anew.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from callsheet.model.dataclass import dataclass
from callsheet.workspace.changes import LEFT_OUT, Snapshot, Stamp, stamp
from callsheet.workspace.copying import copy_files, new_folder_mode, stamps_of

SPARE = "spare-"
"""What the names of all spare folders begin with."""

MOST = 4
"""Spare ones that are kept: about as many as are asked for before the next one is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What a folder was filled with.

    Attributes:
        copies: Its files, just then.
        sources: The files that they were copied from, where those were sure not to be changing.
    """

    copies: Snapshot
    sources: Mapping[str, Stamp]


@dataclass(frozen=True, slots=True)
class Spare:
    """A folder, and what it was filled with before an agent worked in it."""

    path: Path
    filled: Filled


class Spares:
    """Those of one run.

    Args:
        prefix: What the names of spare folders begin with, beside the worktrees.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._number = 0
        self._there: list[Spare] = []

    def set_aside(self, path: Path, filled: Filled) -> Spare | None:
        """Moves the folder of a worktree in which nobody works any more, unless there are enough already.

        Returns:
            Where it is, to be given to `add`; None where it stayed.
        """
        if len(self._there) >= MOST:
            return None
        self._number += 1
        spare = path.with_name(f"{self._prefix}{self._number}")
        try:
            path.rename(spare)
        except OSError:
            return None
        return Spare(spare, filled)

    def add(self, spare: Spare) -> None:
        """One that can be used again."""
        self._there.append(spare)

    def take(self) -> Spare | None:
        """One of them, which is the caller's from now on."""
        return self._there.pop() if self._there else None

    @property
    def is_empty(self) -> bool:
        """None is there."""
        return not self._there

    def clear(self) -> None:
        """Removes all. For a worker thread."""
        while self._there:
            shutil.rmtree(self._there.pop().path, ignore_errors=True)


def fill(source: Path, path: Path, wanted: Sequence[str], folders: Iterable[str]) -> Filled:
    """Copies files to a new worktree, and makes some empty folders in it.

    Raises:
        WorkspacePathError: A folder cannot be read.
        OSError: A file cannot be read or written.
    """
    for folder in folders:
        (path / folder).mkdir(parents=True, exist_ok=True)
    sources = copy_files(source, path, wanted)
    return Filled(copies=Snapshot.take(path, skip=()), sources=sources)


def refill(source: Path, path: Path, spare: Spare, wanted: Sequence[str], folders: Collection[str]) -> Filled:
    """Makes a spare folder the one of a new worktree, as `fill` would have it.

    Raises:
        WorkspacePathError: As `fill`.
        OSError: As `fill`; the folder may hold anything then.
    """
    _move_in(spare.path, path)
    there = Snapshot.take(path, skip=())
    if _open_folders(path, there):
        there = Snapshot.take(path, skip=())
    now, before = stamps_of(source, wanted), spare.filled
    good = {
        name for name in wanted
        if name in before.sources and before.sources[name] == now.get(name)
        and name in there.files and there.files[name] == before.copies.files.get(name)
    }  # fmt: skip
    for name in there.files.keys() - good:
        (path / name).unlink()
    needed = _on_the_way([*wanted, *(f"{folder}/" for folder in folders)])
    _remove_folders(path, there.present, needed)
    for folder in folders:
        (path / folder).mkdir(parents=True, exist_ok=True)
    missing = [name for name in wanted if name not in good]
    sources = {name: before.sources[name] for name in good} | dict(copy_files(source, path, missing))
    files = {name: there.files[name] for name in good}
    for name in missing:
        with suppress(FileNotFoundError):  # gone before it was copied
            files[name] = stamp(os.lstat(path / name))
    present = frozenset({".git", *needed})
    return Filled(copies=Snapshot(files=files, present=present, unread=frozenset()), sources=sources)


def _move_in(spare: Path, path: Path) -> None:
    """Git has made the new one, with nothing but its `.git`, which takes the place of the old one's."""
    old = spare / ".git"
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old)
    (path / ".git").replace(old)
    path.rmdir()
    spare.rename(path)


def _open_folders(path: Path, there: Snapshot) -> bool:
    """Gives folders the mode that they were made with; whether an agent had changed that of one."""
    mode = new_folder_mode()
    is_usual = all(
        folder.rpartition("/")[2] in LEFT_OUT or stat.S_IMODE(os.lstat(path / folder).st_mode) == mode
        for folder in ("", *there.present)
    )
    if is_usual:
        return False
    waiting = [path]
    while waiting:
        waiting[-1].chmod(mode)
        with os.scandir(waiting.pop()) as entries:
            waiting += [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return True


def _remove_folders(path: Path, present: Iterable[str], needed: Collection[str]) -> None:
    """The deepest first: what is empty then, and repositories that an agent made."""
    for folder in sorted(present, key=len, reverse=True):
        if folder.rpartition("/")[2] in LEFT_OUT:
            if folder != ".git":
                found = path / folder
                shutil.rmtree(found) if found.is_dir() and not found.is_symlink() else found.unlink()
        elif folder not in needed:
            (path / folder).rmdir()


def _on_the_way(paths: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for folder in {path.rpartition("/")[0] for path in paths}:
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found
