"""What a worktree begins with: the workspace's files as they are, and what its owner wants in it besides."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from callsheet.errors import GitRefusedError
from callsheet.model.dataclass import dataclass
from callsheet.workspace.errors import WorkspacePathError
from callsheet.workspace.files import read_bytes_beneath
from callsheet.workspace.git import Git
from callsheet.workspace.git_words import checked, split

INCLUDE_FILE = ".worktreeinclude"
MOST_INCLUDED = 10_000
_INCLUDE_BYTES = 1024 * 1024
_SUBMODULE_MODE = "160000"
_STATE_FOLDER = ".callsheet/"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The workspace's files as git sees them.

    Attributes:
        files: To be copied: what is tracked and what is new, unless it is ignored.
        differing: Those of which the index says something else, or nothing.
        submodules, nested: Folders that are repositories of their own.
    """

    files: tuple[str, ...]
    differing: tuple[str, ...]
    submodules: tuple[str, ...]
    nested: tuple[str, ...]

    @classmethod
    async def read(cls, git: Git) -> State:
        """Asks git; nothing is changed.

        Raises:
            GitRefusedError: Git would not.
        """
        answers: dict[str, bytes] = {}

        async def ask(what: str, *words: str) -> None:
            answers[what] = checked(await git.run("ls-files", "-z", *words), "list files").output

        await together(
            partial(ask, "staged", "-s"),
            partial(ask, "new", "-o", "--exclude-standard"),
            partial(ask, "changed", "-m", "-d"),
        )
        staged = [entry.partition("\t") for entry in split(answers["staged"])]
        submodules = {path for said, _, path in staged if said.startswith(_SUBMODULE_MODE)}
        unmerged = {path for said, _, path in staged if not said.endswith(" 0")}
        new = split(answers["new"])
        nested = {path for path in new if path.endswith("/")}
        fresh = set(new) - nested
        changed = (set(split(answers["changed"])) | unmerged) - submodules
        return cls(
            files=tuple(sorted({path for _, _, path in staged} - submodules | fresh)),
            differing=tuple(sorted(changed | fresh)),
            submodules=tuple(sorted(submodules)),
            nested=tuple(sorted(nested)),
        )

    def notes(self) -> tuple[str, ...]:
        """Lines on what is not in a worktree."""
        apart = [*self.submodules, *(path.rstrip("/") for path in self.nested)]
        if not apart:
            return ()
        return (f"submodules and nested repositories are empty in the worktree: {', '.join(apart[:10])}",)


async def included(git: Git, root: Path, patterns: Path) -> tuple[str, ...]:
    """Files that the workspace's `.worktreeinclude` names and git does not track.

    Args:
        git: Of the workspace.
        root: The workspace.
        patterns: A file to be made, of nobody else's, that git reads the patterns from.

    Raises:
        GitRefusedError: Git would not, or they are too many.
        WorkspacePathError: The file cannot be read.
    """
    try:
        text = read_bytes_beneath(root, INCLUDE_FILE, limit_bytes=_INCLUDE_BYTES)
    except WorkspacePathError as error:
        if error.fault == "missing":
            return ()
        raise
    await anyio.to_thread.run_sync(patterns.write_bytes, text)
    words = ("-z", "-o", "-i", f"--exclude-from={patterns}")
    listed = split(checked(await git.run("ls-files", *words), f"read {INCLUDE_FILE}").output)
    found = tuple(path for path in listed if not path.endswith("/") and not path.startswith(_STATE_FOLDER))
    if len(found) > MOST_INCLUDED:
        raise GitRefusedError(
            f"{INCLUDE_FILE} names {len(found):,} files, more than {MOST_INCLUDED:,}: name fewer, or link folders "
            "with worktree.link."
        )
    return found


def link_folders(source: Path, path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Links folders of the workspace into a worktree; those that are not there, or are already, are left out.

    Agents can read what lies there. What they write would be the workspace's: file tools do not follow a link out of
    the worktree, and commands find it read-only where they are confined.

    Returns:
        Those that were linked.
    """
    linked = []
    for name in names:
        target, link = source / name, path / name
        is_ours = target.is_dir() and Path(os.path.realpath(target)).is_relative_to(source)
        if not is_ours or os.path.lexists(link) or os.path.realpath(link.parent) != os.fspath(link.parent):
            continue
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.realpath(target), target_is_directory=True)
        linked.append(name)
    return tuple(linked)


def copy_index(source: Path, target: Path, *names: str) -> None:
    """The index of one working tree for another, under one name or several."""
    for shared in source.glob("sharedindex.*"):
        shutil.copy2(shared, target / shared.name)
    if (source / "index").exists():
        for name in names:
            shutil.copy2(source / "index", target / name)


async def together(*works: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Does all at a time; the first error ends the others and comes out as itself."""
    try:
        async with anyio.create_task_group() as tasks:
            for work in works:
                tasks.start_soon(work)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
