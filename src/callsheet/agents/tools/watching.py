"""Which files of a workspace a command changed: what was there before, and what is there afterwards."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import anyio
from anyio import to_thread

from callsheet.model.dataclass import dataclass

MOST_FILES = 200_000
_LEFT_OUT = frozenset({".git", ".callsheet"})
_AFTER_S = 20.0

_Snapshot: TypeAlias = dict[str, tuple[int, int, int, int]]


@dataclass(slots=True, kw_only=True)
class Changes:
    """What a command did to a workspace; filled in when the watching ends.

    Attributes:
        paths: Files that it made, changed or removed, relative to the root, sorted.
        notes: For the agent: what was put back as it was, because it may not be changed.
    """

    paths: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


Watch: TypeAlias = Callable[[Path], AbstractAsyncContextManager[Changes]]
"""Watches the workspace with this root while a command runs within the context, however it ends."""


@asynccontextmanager
async def watch_files(root: Path) -> AsyncIterator[Changes]:
    """Compares names, sizes, times and inodes before and after. Git's own folder and the record are left out."""
    changes = Changes()
    before = await to_thread.run_sync(_snapshot, root, abandon_on_cancel=True)
    try:
        yield changes
    finally:
        with anyio.move_on_after(_AFTER_S, shield=True):
            after = await to_thread.run_sync(_snapshot, root, abandon_on_cancel=True)
            changes.paths = tuple(sorted({path for path, _ in before.items() ^ after.items()}))


def _snapshot(root: Path) -> _Snapshot:
    found: _Snapshot = {}
    pending = [""]
    while pending and len(found) < MOST_FILES:
        here = pending.pop()
        try:
            with os.scandir(root / here) as entries:
                for entry in entries:
                    if entry.name in _LEFT_OUT:
                        continue
                    path = f"{here}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{path}/")
                        continue
                    stat = entry.stat(follow_symlinks=False)
                    found[path] = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_mode)
        except OSError:
            continue  # it was removed meanwhile, or is nobody's to look at
    return found
