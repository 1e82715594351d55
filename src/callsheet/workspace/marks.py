"""What files looked like when an agent had worked with them, and which are other now (CONTRACT R03)."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from callsheet.workspace.changes import LEFT_OUT, Snapshot
from callsheet.workspace.errors import WorkspacePathError
from callsheet.workspace.files import open_beneath

MOST_FILES = 500
"""So many files of one agent are marked; beyond them nothing is said."""

_MOST_BYTES = 64 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024
_HEX = 16
SLACK_MS = 2_000
"""So much later than the run's last sign of life a file must have been changed to have been changed since."""

_NOT_THERE = "-"
_CONFIGURATION = (".claude/",)


def marks_of(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """A mark for the content of each file, `-` for one that is not there. Links and folders have none.

    For a worker thread: it reads every file, of one that is large the beginning.

    Args:
        root: The workspace.
        paths: Relative to it.
    """
    found: dict[str, str] = {}
    for path in list(paths)[:MOST_FILES]:
        mark = _mark(root, path)
        if mark is not None:
            found[path] = mark
    return found


def changed_since(root: Path, marks: Mapping[str, str], since_ms: int) -> frozenset[str]:
    """Of marked files those whose content is another, and was changed later than the run's last sign of life.

    What was changed before is the work of agents that were in the middle of it.

    Args:
        root: The workspace.
        marks: The last one of each file, as `marks_of` gave it.
        since_ms: Milliseconds since the epoch.
    """
    return frozenset(
        path for path, mark in marks.items() if _mark(root, path) not in (None, mark) and _is_new(root, path, since_ms)
    )


def new_since(root: Path, since_ms: int, *, but: Iterable[Path] = ()) -> frozenset[str]:
    """All files that were changed later than the run's last sign of life; the workspace's configuration is none.

    Args:
        root: The workspace.
        since_ms: Milliseconds since the epoch.
        but: Absolute paths that do not count: the script that is being edited.
    """
    left_out = {os.path.relpath(path, root) for path in but}
    later_ns = (since_ms + SLACK_MS) * 1_000_000
    taken = Snapshot.take(root)
    return frozenset(
        path
        for path, (_, changed_ns, *_) in taken.files.items()
        if changed_ns > later_ns and path not in left_out and not path.startswith(_CONFIGURATION)
    )


def mark_of_bytes(data: bytes) -> str:
    """The mark of a file that holds this, of at most 64 MiB."""
    return hashlib.sha256(data).hexdigest()[:_HEX]


def _mark(root: Path, path: str) -> str | None:
    names = path.split("/")
    if ".." in names or not LEFT_OUT.isdisjoint(names):
        return None
    try:
        descriptor = open_beneath(root, path, os.O_RDONLY)
    except WorkspacePathError:
        return None if os.path.lexists(root / path) else _NOT_THERE
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        digest, left = hashlib.sha256(), _MOST_BYTES
        while left > 0 and (piece := os.read(descriptor, min(_PIECE_BYTES, left))):
            digest.update(piece)
            left -= len(piece)
        if not left:
            digest.update(str(os.fstat(descriptor).st_size).encode())
        return digest.hexdigest()[:_HEX]
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _is_new(root: Path, path: str, since_ms: int) -> bool:
    """Whether a file, or where it is gone its folder, was changed since."""
    place = root / path
    with suppress(OSError):
        return place.lstat().st_mtime_ns > (since_ms + SLACK_MS) * 1_000_000
    while place != root:
        place = place.parent
        with suppress(OSError):
            return place.stat().st_mtime_ns > (since_ms + SLACK_MS) * 1_000_000
    return True
