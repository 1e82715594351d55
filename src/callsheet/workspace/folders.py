"""Empty folders of a workspace: git knows none, and a file that comes or goes makes or takes one."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from callsheet.workspace.changes import LEFT_OUT
from callsheet.workspace.errors import WorkspacePathError
from callsheet.workspace.files import folder_beneath

MOST = 1_000
"""So many are known; of more nothing is said."""


def on_the_way(paths: Iterable[str]) -> set[str]:
    """All folders that hold these files, the root among them."""
    found = {""}
    for folder in {path.rpartition("/")[0] for path in paths}:
        while folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def empty_folders(root: Path, paths: Iterable[str]) -> dict[str, int]:
    """Folders without any file, in those that hold files of ours: their modes, by path. For a worker thread."""
    found: dict[str, int] = {}
    waiting = [*(known := on_the_way(paths))]
    while waiting and len(found) < MOST:
        folder = waiting.pop()
        below = _folders_in(root / folder)
        prefix = f"{folder}/" if folder else ""
        if folder in known:
            waiting += [prefix + name for name in below.names if prefix + name not in known]
        elif below.is_all:
            waiting += [prefix + name for name in below.names]
            if not below.names:
                with suppress(OSError):
                    found[folder] = stat.S_IMODE((root / folder).lstat().st_mode)
    return found


class _Below:
    """The folders in a folder; `is_all` where there is nothing else in it."""

    def __init__(self, names: list[str], *, is_all: bool) -> None:
        self.names = names
        self.is_all = is_all


def _folders_in(folder: Path) -> _Below:
    names, is_all = [], True
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name in LEFT_OUT or not entry.is_dir(follow_symlinks=False):
                    is_all = False
                else:
                    names.append(entry.name)
    except OSError:
        return _Below([], is_all=False)
    return _Below(names, is_all=is_all)


def bring_back_folders(root: Path, wanted: Mapping[str, int], others: Collection[str], needed: Collection[str]) -> None:
    """Makes empty folders, gives them their modes, and removes others that are empty still. For a worker thread.

    Args:
        root: The workspace.
        wanted: Modes by path.
        others: To be removed, and what is above them and empty then.
        needed: What stays.
    """
    for folder in others:
        while folder not in needed:
            folder, _, name = folder.rpartition("/")
            try:
                with folder_beneath(root, folder or ".") as here:
                    os.rmdir(name, dir_fd=here)
            except (OSError, WorkspacePathError):
                break
    for folder, mode in sorted(wanted.items()):
        with suppress(OSError, WorkspacePathError), folder_beneath(root, folder, make=True) as here:
            os.fchmod(here, mode)
