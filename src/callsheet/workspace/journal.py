"""What a run has made outside its record, so that whoever comes after a crash can take it away: nothing else is.

Each run has a file of its own, locked as long as its process lives. It names its process for good (host, boot, start
time) and every worktree before that is made. What no such file names was made by somebody else, and is left alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal, Self, TypeAlias

import anyio
import anyio.to_thread

from callsheet.errors import GitRefusedError
from callsheet.model.dataclass import dataclass
from callsheet.workspace.git import Git, git_place
from callsheet.workspace.git_words import checked
from callsheet.workspace.lease import Holder, is_alive, read_holder, this_process
from callsheet.workspace.spares import SPARE

FOLDER = "journals"
_ENDING = ".journal"
_MOST_BYTES = 4 * 1024 * 1024
_NAMED = 5
_YOUNG_S = 60.0
"""A file without a first line may be one that is being made."""

TreeState = Literal["made", "kept", "gone", "over"]

Recorded: TypeAlias = Callable[[str], Collection[str] | None]
"""The agents of a run of which it is on record how they ended; None where nothing is known of the run."""


class Journal:
    """The file of one run. Made by `open`; `close` is to be called when nothing of it is left."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._there: set[Path] = set()

    @classmethod
    def open(cls, folder: Path, run_id: str) -> Self:
        """Makes and locks it.

        Raises:
            OSError: The folder cannot be written.
        """
        place = folder / FOLDER
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = place / f"{run_id}{_ENDING}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            journal = cls(path, descriptor)
            journal._append(asdict(this_process(run_id, "shared")))
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return journal

    def note(self, state: TreeState, *, path: Path, branch: str, agent_id: str | None = None) -> None:
        """Says how things stand with a worktree; on disk when this returns.

        Args:
            state: `made` before it is; `kept` once its branch holds the work of an agent that ended; `gone` when it is,
                or is a person's to look after; `over` when its branch is gone too.
            path: Its root.
            branch: Its branch.
            agent_id: Of the agent that ended.

        Raises:
            OSError: It cannot be written.
        """
        (self._there.discard if state in ("gone", "over") else self._there.add)(path)
        self._append({"state": state, "path": os.fspath(path), "branch": branch, "agent": agent_id})
        os.fdatasync(self._descriptor)

    def _append(self, said: Mapping[str, object]) -> None:
        os.write(self._descriptor, json.dumps(said).encode("utf-8") + b"\n")

    def close(self, *, is_over: bool = True) -> None:
        """Takes the file away, unless something is still there, for whoever comes later.

        Args:
            is_over: Nothing is, besides the worktrees that it knows of.
        """
        if is_over and not self._there:
            self._path.unlink(missing_ok=True)
        with suppress(OSError):
            os.close(self._descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    path: Path
    branch: str
    is_there: bool = True
    agents: frozenset[str] = frozenset()


async def reap(root: Path, folder: Path, environ: Mapping[str, str], *, recorded: Recorded) -> tuple[str, ...]:
    """Takes away the worktrees of runs whose process is gone, and their branches.

    A branch stays where it holds the work of an agent whose end is on record: a resumed run does not ask it again.

    Args:
        root: The workspace.
        folder: Where its worktrees lie.
        environ: For `Git`.
        recorded: What is on record.

    Returns:
        Lines for people: what was taken away, and what could not be.
    """
    notes: list[str] = []
    git: Git | None = None
    real = Path(await anyio.to_thread.run_sync(os.path.realpath, folder))
    for path in sorted((folder / FOLDER).glob(f"*{_ENDING}")):
        descriptor = _taken(path)
        if descriptor is None:
            continue
        try:
            trees = _trees(os.pread(descriptor, _MOST_BYTES, 0))
            known = await anyio.to_thread.run_sync(recorded, path.stem) if trees else None
            if trees and git is None:
                git = Git(await git_place(root, environ), environ)
            for tree in trees:
                assert git is not None
                await _remove(git, tree, real, known)
            if names_of := [tree.path.name for tree in trees if tree.is_there]:
                names = ", ".join(names_of[:_NAMED])
                more = f" and {len(names_of) - _NAMED} more" if len(names_of) > _NAMED else ""
                notes.append(f"worktrees of {path.stem}, which ended in the middle, were taken away: {names}{more}")
            await anyio.to_thread.run_sync(_clear_rest, folder, path.stem)
            path.unlink(missing_ok=True)
        except (GitRefusedError, OSError) as error:
            why = error.message if isinstance(error, GitRefusedError) else str(error)
            notes.append(f"worktrees of {path.stem}, which ended in the middle, could not be taken away: {why}")
        finally:
            os.close(descriptor)
    return tuple(notes)


def _taken(path: Path) -> int | None:
    """The file, locked for us; None where its run lives, or is none of this machine's."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        owner = _owner(os.pread(descriptor, _MOST_BYTES, 0))
        if owner is None and time.time() - os.fstat(descriptor).st_mtime > _YOUNG_S:
            return descriptor
        if owner is not None and (owner.host == socket.gethostname() and not is_alive(owner)):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _owner(text: bytes) -> Holder | None:
    """Whose file it is; None where the first line was cut short, and no worktree can have been made yet."""
    return read_holder(text.partition(b"\n")[0])


def _trees(text: bytes) -> tuple[_Tree, ...]:
    """The worktrees that are there, or may be."""
    found: dict[str, _Tree] = {}
    for path, branch, state, agent in _entries(text):
        tree = found.setdefault(path, _Tree(path=Path(path), branch=branch))
        if state == "over":
            del found[path]
        elif state == "gone":
            found[path] = replace(tree, is_there=False)
        elif agent is not None:
            found[path] = replace(tree, agents=tree.agents | {agent})
    return tuple(found.values())


def _entries(text: bytes) -> Iterator[tuple[str, str, str, str | None]]:
    for entry in text.split(b"\n")[1:]:
        with suppress(ValueError, KeyError, TypeError):  # the last line may be cut short
            said = json.loads(entry)
            agent = said["agent"]
            yield str(said["path"]), str(said["branch"]), str(said["state"]), None if agent is None else str(agent)


async def _remove(git: Git, tree: _Tree, folder: Path, known: Collection[str] | None) -> None:
    if tree.path.parent != folder or not tree.branch.startswith("callsheet/"):
        raise GitRefusedError(f"the journal names {tree.path}, which is not one of {folder}.")
    if tree.is_there:
        await git.run("worktree", "remove", "--force", "--force", os.fspath(tree.path))
        await anyio.to_thread.run_sync(_clear, git.place.common_dir, tree.path)
    is_kept = bool(tree.agents) and (known is None or not tree.agents.isdisjoint(known))
    if not is_kept:
        checked(await git.run("update-ref", "-d", f"refs/heads/{tree.branch}"), f"remove {tree.branch}")


def _clear_rest(folder: Path, run_id: str) -> None:
    """Removes what was needed for merging, and folders that were to be used again."""
    for left in (*folder.glob(f"merge-{run_id}-*"), *folder.glob(f"{SPARE}{run_id}-*")):
        shutil.rmtree(left, ignore_errors=True)


def _clear(common_dir: Path, path: Path) -> None:
    """Removes what git did not: it knows nothing of one that was being made, or removed."""
    shutil.rmtree(path, ignore_errors=True)
    for data in (common_dir / "worktrees").glob("*"):
        with suppress(OSError):
            said = (data / "gitdir").read_text(encoding="utf-8", errors="surrogateescape").strip()
            if said == f"{path}/.git":
                shutil.rmtree(data, ignore_errors=True)
    if os.path.lexists(path):
        raise GitRefusedError(f"{path} cannot be removed.")
