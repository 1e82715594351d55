"""What a command changed in the workspace, found by looking at it before and after.

Nobody but the command knows which files it writes. What others change meanwhile is found too and counts as the
command's: for what was read and changed that errs on the safe side.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import anyio
import anyio.to_thread

from callsheet.model.dataclass import dataclass
from callsheet.workspace.errors import WorkspacePathError
from callsheet.workspace.files import open_beneath

LEFT_OUT = frozenset({".git", ".callsheet"})
"""Never looked into, in whatever folder; that one is there is noticed."""

COARSE = frozenset(
    {"node_modules", ".venv", "venv", "__pycache__", ".tox", ".nox", ".mypy_cache", ".pytest_cache", ".ruff_cache",
     ".gradle", ".next", ".turbo", ".parcel-cache", ".yarn", ".pnpm-store", "bower_components"}
)  # fmt: skip
"""Folders that tools fill by the ten thousand: each counts as one file, named with a `/`, that changes when something
is put right in it or taken away. Packages bring protected names with them there, which is as it should be."""

MOST_FILES = 200_000
"""Then no further folder is looked into."""

Stamp: TypeAlias = tuple[int, int, int, int, int]
"""Size, times of the last change of content and of anything, inode, mode."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    r"""Paths relative to the workspace, sorted; a name that is no text has its bytes as `\xff`.

    Attributes:
        is_whole: Nothing was left out but what is left out on purpose: no limit, no folder that cannot be read.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    is_whole: bool = True

    @property
    def all(self) -> tuple[str, ...]:
        """Added, changed and removed in one."""
        return tuple(sorted((*self.added, *self.changed, *self.removed)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The files of a workspace at one moment. Links are files here, and never followed.

    Attributes:
        files: By path: size, times of the last change of content and of anything, inode, mode.
        present: Folders, and what is left out.
        unread: Folders that could not be read, or were not because there are too many files.
    """

    files: Mapping[str, Stamp]
    present: frozenset[str]
    unread: frozenset[str]

    @classmethod
    def take(cls, root: Path, *, skip: Iterable[str] = COARSE, most: int = MOST_FILES) -> Snapshot:
        """Looks at every file. For a worker thread: 10,000 files take some 50 ms.

        Args:
            root: The workspace.
            skip: Names of folders that count as one file each.
            most: Of files; then no further folder is looked into. Folders nearer to the root come first.
        """
        files: dict[str, Stamp] = {}
        present: set[str] = set()
        unread: set[str] = set()
        coarse = frozenset(skip)
        waiting = deque([""])
        base = f"{os.fspath(root)}/"
        while waiting:
            folder = waiting.popleft()
            if len(files) > most:
                unread.add(folder)
                continue
            try:
                with os.scandir(base + folder) as entries:
                    _look(folder, entries, files, present, waiting, coarse)
            except OSError:
                unread.add(folder)
        return cls(files=files, present=frozenset(present), unread=frozenset(unread))

    def changed_since(self, earlier: Snapshot) -> Changes:
        """What is other than it was. Below folders that were not read at either time nothing can be said."""
        before, now = earlier.files, self.files
        doubtful = _Below(earlier.unread | self.unread)
        return Changes(
            added=_texts(path for path in now.keys() - before.keys() if not doubtful.has(path)),
            changed=_texts(path for path, stamp in now.items() if before.get(path, stamp) != stamp),
            removed=_texts(path for path in before.keys() - now.keys() if not doubtful.has(path)),
            is_whole=not doubtful,
        )

    def differing(self, earlier: Snapshot) -> set[str]:
        """Paths as the system has them, of all that was added, changed or removed; nothing is left out as doubtful."""
        before, now = earlier.files, self.files
        return {path for path in now.keys() | before.keys() if now.get(path) != before.get(path)}

    def has(self, path: str) -> bool:
        """Whether there was something of that name."""
        return path in self.files or path in self.present


def stamp(found: os.stat_result, size: int | None = None) -> Stamp:
    """What tells one state of a file from another."""
    size = found.st_size if size is None else size
    return (size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_mode)


def _look(
    folder: str,
    entries: Iterable[os.DirEntry[str]],
    files: dict[str, Stamp],
    present: set[str],
    waiting: deque[str],
    coarse: frozenset[str],
) -> None:
    prefix = f"{folder}/" if folder else ""
    for entry in entries:
        name = entry.name
        path = prefix + name
        if name in LEFT_OUT:
            present.add(path)
            continue
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder:
            present.add(path)
            if name not in coarse:
                waiting.append(path)
                continue
            path += "/"
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:  # gone again
            continue
        files[path] = stamp(found, 0 if is_folder else found.st_size)


class _Below:
    """Whether a path lies in one of some folders."""

    def __init__(self, folders: frozenset[str]) -> None:
        self._folders = folders

    def __bool__(self) -> bool:
        return bool(self._folders)

    def has(self, path: str) -> bool:
        return bool(self._folders) and any(part in self._folders for part in ("", *_prefixes(path)))


def _prefixes(path: str) -> list[str]:
    """`a`, `a/b`, `a/b/c` of `a/b/c`."""
    parts = path.rstrip("/").split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _texts(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(_text(path) for path in paths))


def _text(path: str) -> str:
    return path if path.isascii() else os.fsencode(path).decode("utf-8", "backslashreplace")


# --- around a command -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A protected path that a command made.

    Attributes:
        path: In the workspace, relative.
        moved_to: Where it lies now; None where it could not be moved.
        fault: Why it could not.
    """

    path: str
    moved_to: Path | None
    fault: str | None = None

    def __str__(self) -> str:
        if self.moved_to is None:
            return f"{self.path} is protected, was made by a command, and could not be moved away ({self.fault})"
        return f"{self.path} is protected: a command made it, and it was moved to {self.moved_to}"


@dataclass(slots=True, kw_only=True)
class Watched:
    """What came of a command; complete once its context is left.

    Attributes:
        changes: What is other than before, without what was moved away.
        quarantined: Protected paths that it made.
        protected_changed: Protected paths that were there before and are other now, or gone. Confinement holds
            those, so this is for commands that ran without.
        unreadable: Folders that could be looked into before, or were not there, and cannot be now.
    """

    changes: Changes = Changes()
    quarantined: tuple[Quarantined, ...] = ()
    protected_changed: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the agent and for the run's log; none where all is as it should be."""
        lines = [f"{each}. Agents may not make such files: go another way." for each in self.quarantined]
        if self.protected_changed:
            lines.append(f"Protected files are other than before the command: {_some(self.protected_changed)}.")
        if self.unreadable:
            lines.append(f"What lies in {_some(self.unreadable)} is not known: it cannot be read, or is too much.")
        return tuple(lines)


def _some(paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(path or "the workspace" for path in paths[:_NAMED]) + more


@asynccontextmanager
async def watch_changes(
    root: Path, *, protected: Callable[[str], bool], quarantine: Path, skip: Iterable[str] = COARSE
) -> AsyncIterator[Watched]:
    """Finds out what a command changes; moves protected paths that it made out of the workspace.

    No confinement can hold names that are not there yet. So they are looked for once all processes of the command
    have ended, also when it failed or was cancelled, which the context does before it lets anything go on.

    Args:
        root: The workspace, without links.
        protected: Whether a relative path is protected.
        quarantine: A folder outside what agents reach, beside the record; made when it is needed.
        skip: As for `Snapshot.take`.

    Raises:
        OSError: The quarantine folder cannot be made.
    """
    coarse = tuple(skip)
    before = await anyio.to_thread.run_sync(lambda: Snapshot.take(root, skip=coarse))
    watched = Watched()
    try:
        yield watched
    finally:
        with anyio.CancelScope(shield=True):  # bounded by the number of files
            await anyio.to_thread.run_sync(_compare, watched, root, before, protected, quarantine, coarse)


def _compare(
    watched: Watched,
    root: Path,
    before: Snapshot,
    protected: Callable[[str], bool],
    quarantine: Path,
    coarse: tuple[str, ...],
) -> None:
    after = Snapshot.take(root, skip=coarse)
    made = _made(before, after, protected)
    gone, unseen = _Below(frozenset(made)), _Below(before.unread)
    moved = (_move_away(root, path, quarantine) for path in made)
    watched.quarantined = tuple(each for each in moved if each is not None)
    if made:
        after = Snapshot(
            files={path: stamp for path, stamp in after.files.items() if not gone.has(path)},
            present=after.present,
            unread=after.unread,
        )
    watched.changes = after.changed_since(before)
    late = (path for path in after.files if unseen.has(path))
    candidates = {*watched.changes.all, *_texts(late)}
    watched.protected_changed = tuple(sorted(path for path in candidates if protected(path.rstrip("/"))))
    watched.unreadable = _texts(after.unread - before.unread)


def _made(before: Snapshot, after: Snapshot, protected: Callable[[str], bool]) -> list[str]:
    """The outermost of what is protected and was not there; whole folders, rather than what is in them."""
    found: set[str] = set()
    doubtful = _Below(before.unread)
    for path in (after.files.keys() | after.present) - before.files.keys() - before.present:
        path = path.rstrip("/")
        if not protected(path) or doubtful.has(path):
            continue
        found.add(next(part for part in _prefixes(path) if protected(part) and not before.has(part)))
    return sorted(found)


def _move_away(root: Path, path: str, quarantine: Path) -> Quarantined | None:
    """Moves one; None where it has gone by itself, as when another command's watcher was first."""
    # The last name gets an ending, so that it means nothing where it lies either.
    parent, _, name = path.rpartition("/")
    target = quarantine / os.urandom(6).hex() / parent / f"{name}.quarantined"
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        # From the folder that was opened: a link that is put in the way now leads nowhere.
        folder = open_beneath(root, parent or ".", _FOLDER)
        try:
            _move(folder, name, target)
        finally:
            os.close(folder)
    except (OSError, shutil.Error, WorkspacePathError) as error:
        if not os.path.lexists(root / path):
            return None
        return Quarantined(path=_text(path), moved_to=None, fault=str(error))
    return Quarantined(path=_text(path), moved_to=target)


def _move(folder: int, name: str, target: Path) -> None:
    try:
        os.rename(name, target, src_dir_fd=folder)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.move(f"/proc/self/fd/{folder}/{name}", target)
