"""Checkpoints of a workspace: its files as they were at a moment, and the way back to them.

They lie in a git folder of our own (`callsheet.workspace.stock`). The workspace is read to take one, and written only
to restore one. What git ignores is neither kept nor touched, and neither are `.git` and `.callsheet`.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import anyio
import anyio.to_thread

from callsheet.errors import CheckpointError, GitRefusedError
from callsheet.model.dataclass import dataclass
from callsheet.workspace.changes import Changes
from callsheet.workspace.excludes import user_excludes
from callsheet.workspace.folders import bring_back_folders, on_the_way
from callsheet.workspace.git import GitPlace
from callsheet.workspace.looking import Seen, wanted
from callsheet.workspace.restoring import bring_back, folders_of, sweep
from callsheet.workspace.stock import Entry, Manifest, Stock
from callsheet.workspace.survey import Limits, Survey

CHANGED_SINCE = "someone else changed it since"

_NAMED = 10
_EMPTY = Manifest(entries={}, left_out={})

States: TypeAlias = Mapping[str, Entry | None]
"""How some files are, by path; None for one that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One that was taken.

    Attributes:
        number: 0 is the state before the run.
        commit: In the git folder of the checkpoints.
        at: Seconds of Unix time.
    """

    number: int
    commit: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore did. Paths are relative, sorted.

    Attributes:
        written: Files and links that have their old bytes and mode again.
        removed: Those that were not there then, and are not now.
        left: Those that are not as they were then, and why.
        checkpoint: Of the workspace as it is now; None where other agents may be at work in it.
    """

    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    left: tuple[tuple[str, str], ...] = ()
    checkpoint: Checkpoint | None = None


@asynccontextmanager
async def open_checkpoints(
    root: Path,
    *,
    folder: Path,
    environ: Mapping[str, str],
    user: GitPlace | None = None,
    limits: Limits | None = None,
) -> AsyncGenerator[Checkpoints]:
    """The checkpoints of one run on a workspace, for one process at a time.

    Args:
        root: The workspace: with git or without.
        folder: Where they lie, for nobody else's eyes; made when it is not there.
        environ: The host's.
        user: The workspace's repository as it was before any agent started; None where it has none, or is not to be
            asked. What it holds already is not kept twice, and files that it tracks are kept even if ignored.
        limits: Of what is kept; None for none.

    Raises:
        GitRefusedError: Git is not installed, or would not: there are no checkpoints then.
        CheckpointError: Another process has them open, or they are damaged.
        OSError: The folder cannot be written.
    """
    lock = await anyio.to_thread.run_sync(_locked, folder)
    try:
        excludes = user_excludes(environ)
        real = Path(await anyio.to_thread.run_sync(os.path.realpath, root))
        stock = await Stock.open(folder / "git", root=real, user=user, environ=environ, excludes=excludes)
        survey = Survey(real, stock, environ=environ, excludes=excludes, user=user, limits=limits)
        checkpoints = Checkpoints(real, stock, survey)
        await checkpoints.begin()
        yield checkpoints
    finally:
        os.close(lock)


def _locked(folder: Path) -> int:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        why = f"the checkpoints in {folder} are in use by another process: is the run still going?"
        raise CheckpointError(why) from None
    return lock


class Checkpoints:
    """Those of one run. Made by `open_checkpoints`; safe to call from several tasks, one call works at a time."""

    def __init__(self, root: Path, stock: Stock, survey: Survey) -> None:
        self._root = root
        self._stock = stock
        self._survey = survey
        self._one = anyio.Lock()
        self._taken: dict[int, Checkpoint] = {}
        self._last: Manifest = _EMPTY

    async def begin(self) -> None:
        """Reads what is there already. Part of opening."""
        await self._survey.begin()
        for number, (commit, at) in sorted((await self._stock.commits()).items()):
            self._taken[number] = Checkpoint(number=number, commit=commit, at=at)
        if self._taken:
            last = self._taken[max(self._taken)]
            self._last = await self._stock.load(last.commit)
            self._survey.hold(self._last)

    @property
    def taken(self) -> tuple[Checkpoint, ...]:
        """All, by number."""
        return tuple(self._taken[number] for number in sorted(self._taken))

    async def take(self) -> Checkpoint:
        """Takes one more. Agents may be at work: each file is kept as it was when it was read.

        Raises:
            CheckpointError: There is more than may be kept.
            GitRefusedError: Git would not; nothing is changed.
            OSError: As before.
        """
        async with self._one:
            return await self._take(await self._everything())

    async def left_out(self, number: int) -> Mapping[str, str]:
        """Files that were there and are not in a checkpoint: why, by path.

        Raises:
            CheckpointError: There is no such checkpoint, or it is damaged.
            GitRefusedError: Git would not.
        """
        async with self._one:
            return (await self._load(number)).left_out

    async def changes(self, earlier: int, later: int | None = None) -> Changes:
        """What changed between two checkpoints.

        Args:
            earlier: The number of one.
            later: That of another; None for the workspace as it is now.

        Raises:
            CheckpointError: There is no such checkpoint, or it is damaged.
            GitRefusedError: Git would not.
            OSError: The workspace cannot be read.
        """
        async with self._one:
            before = (await self._load(earlier)).entries
            after = (await (self._everything() if later is None else self._load(later))).entries
        return Changes(
            added=tuple(sorted(after.keys() - before.keys())),
            removed=tuple(sorted(before.keys() - after.keys())),
            changed=tuple(sorted(path for path in before.keys() & after.keys() if before[path] != after[path])),
        )

    async def lines(self, earlier: int, later: int) -> Mapping[str, tuple[int | None, int | None]]:
        """The lines that were added and removed between two checkpoints, by file; None for what is no text.

        Raises as `changes`.
        """
        changed = await self.changes(earlier, later)
        async with self._one:
            counted = await self._stock.lines(*(self._taken[number].commit for number in (earlier, later)))
        return {path: counted.get(path, (0, 0)) for path in changed.all}

    async def differs(self, number: int) -> bool:
        """Whether the workspace is other than at a checkpoint. Raises as `changes`."""
        found = await self.changes(number)
        return bool(found.added or found.removed or found.changed)

    async def look(self, paths: Iterable[str], *, keep: bool = True) -> States:
        """How files are now. What is neither file nor link is as what is not there.

        Args:
            paths: Those; of what cannot be read or is too large, and of what is git's or ours, nothing is said.
            keep: So that `take_back` can restore them, and not only compare.

        Raises:
            GitRefusedError: Git would not.
            OSError: The workspace cannot be read.
        """
        async with self._one:
            paths = wanted(paths)
            seen, faults = await self._survey.some(paths, keep=keep)
        return {path: seen[path].entry if path in seen else None for path in paths if path not in faults}

    async def restore(
        self,
        to: int,
        *,
        only: Collection[str] | None = None,
        expected: States | None = None,
        even_changed: bool = False,
    ) -> Restored:
        """Brings the workspace back to a checkpoint; no agent may be at work. Repeatable where it was cut short.

        Args:
            to: The number of the checkpoint.
            only: Files and folders to be brought back; None for all.
            expected: How files were left, where that is known better than by the last checkpoint.
            even_changed: Also what was changed since then; a checkpoint of it is taken first.

        Raises:
            CheckpointError: There is no such checkpoint; it is damaged; or files were changed since the last one, by
                whomever: `paths` names them, and nothing was changed.
            GitRefusedError: Git would not; nothing was changed.
            OSError: The workspace cannot be read.
        """
        async with self._one:
            target = await self._load(to)
            await self._sweep(target)
            now = await self._everything((*target.entries, *target.left_out))
            known = {**self._last.entries, **(expected or {})}
            differing = {
                path for path in target.entries.keys() | now.entries.keys()
                if target.entries.get(path) != now.entries.get(path) and _is_asked(path, only)
            }  # fmt: skip
            apart = {path: why for each in (self._last, now, target) for path, why in each.left_out.items()}
            gone = {path for path in target.left_out if path not in now.left_out and _is_asked(path, only)}
            left = {path: apart[path] for path in differing & apart.keys()}
            left |= {
                path: f"it is gone, and was not kept: {target.left_out[path]}" for path in gone - now.entries.keys()
            }
            differing -= left.keys()
            if wrong := sorted(path for path in differing if now.entries.get(path) != known.get(path)):
                if not even_changed:
                    raise _changed_since(wrong)
                await self._take(now)
            back = {path: target.entries.get(path) for path in differing}
            await self._clear_folders(target, only)  # a file may come in place of one
            restored = await self._bring_back(back, left, self._survey.known)
            await self._bring_back_folders(target, only)
            after = await self._everything()
            if lost := self._lost(target, after, left, only):
                await self._bring_back(lost, left, {})
                after = await self._everything()
            return replace(restored, left=tuple(sorted(left.items())), checkpoint=await self._take(after))

    async def take_back(self, before: States, after: States, *, strict: bool = False) -> Restored:
        """Takes back one agent's own changes. Others may be at work on other files. Repeatable where it was cut short.

        Args:
            before: How the files were that it changed, as `look` said.
            after: How it left them; a file that is neither so nor as before, or of which nothing is said, is left.
            strict: One that would be left is an error; no agent may be at work.

        Raises:
            CheckpointError: What was there is damaged; or with `strict` files were changed since: `paths` names them.
                Nothing was changed.
            GitRefusedError: Git would not; nothing was changed.
            OSError: The workspace cannot be read.
        """
        async with self._one:
            paths = wanted(before)
            seen, left = await self._survey.some(paths)
            back: dict[str, Entry | None] = {}
            for path in paths:
                now = seen[path].entry if path in seen else None
                if path in left or now == before[path]:
                    continue
                if path not in after or after[path] != now:
                    left[path] = CHANGED_SINCE
                else:
                    back[path] = before[path]
            if left and strict:
                raise _changed_since(sorted(left), since="that agent left them")
            return await self._bring_back(back, left, seen)

    async def look_at_all(self) -> States:
        """How all files are now, kept as `look` does.

        Raises:
            GitRefusedError: Git would not.
            OSError: The workspace cannot be read.
        """
        async with self._one:
            return (await self._everything()).entries

    async def unseen(self, paths: Collection[str]) -> frozenset[str]:
        """Of files those that checkpoints do not hold: git ignores them, they are too large, or they are gone.

        Raises:
            GitRefusedError: Git would not.
        """
        async with self._one:
            return await self._survey.unseen(paths) | self._last.left_out.keys() | self._survey.left_out.keys()

    @property
    def last(self) -> States:
        """The files of the last checkpoint."""
        return self._last.entries

    # --- looking

    async def _everything(self, more: Iterable[str] = ()) -> Manifest:
        return await self._survey.everything((*self._last.entries, *more))

    async def _take(self, now: Manifest) -> Checkpoint:
        number = max(self._taken, default=-1) + 1
        before = (self._taken[number - 1].commit, self._last) if self._taken else None
        at = int(time.time())
        try:
            commit = await self._stock.commit(number, now, before=before, at_s=at)
        except GitRefusedError:
            self._survey.forget()
            now = await self._everything()
            commit = await self._stock.commit(number, now, before=before, at_s=at)
        self._last = now
        self._taken[number] = Checkpoint(number=number, commit=commit, at=at)
        return self._taken[number]

    async def _load(self, number: int) -> Manifest:
        if number not in self._taken:
            numbers = ", ".join(map(str, self._taken)) or "none"
            raise CheckpointError(f"there is no checkpoint {number}; there are: {numbers}.")
        return self._last if number == max(self._taken) else await self._stock.load(self._taken[number].commit)

    @staticmethod
    def _lost(target: Manifest, now: Manifest, left: Collection[str], only: Collection[str] | None) -> States:
        """What went with another file that was removed: where `A` and `a` are one, say."""
        paths = target.entries.keys() - now.entries.keys() - now.left_out.keys()
        return {path: target.entries[path] for path in paths if path not in left and _is_asked(path, only)}

    # --- writing

    async def _sweep(self, target: Manifest) -> None:
        folders = folders_of((*target.entries, *self._last.entries))
        await anyio.to_thread.run_sync(sweep, self._root, folders)

    async def _clear_folders(self, target: Manifest, only: Collection[str] | None) -> None:
        """Empty ones that are new in the last checkpoint are removed."""
        new = {path for path in self._last.folders.keys() - target.folders.keys() if _is_asked(path, only)}
        needed = on_the_way((*target.entries, *(f"{path}/" for path in target.folders)))
        await anyio.to_thread.run_sync(bring_back_folders, self._root, {}, new, needed)

    async def _bring_back_folders(self, target: Manifest, only: Collection[str] | None) -> None:
        """Empty ones of the checkpoint are made."""
        await self._clear_folders(target, only)
        wanted = {path: mode for path, mode in target.folders.items() if _is_asked(path, only)}
        await anyio.to_thread.run_sync(bring_back_folders, self._root, wanted, (), ())

    async def _bring_back(self, back: States, left: dict[str, str], seen: Mapping[str, Seen]) -> Restored:
        await bring_back(self._root, self._stock, back, left, seen)
        done = {path: entry for path, entry in sorted(back.items()) if path not in left}
        return Restored(
            written=tuple(path for path, entry in done.items() if entry is not None),
            removed=tuple(path for path, entry in done.items() if entry is None),
            left=tuple(sorted(left.items())),
        )


def _is_asked(path: str, only: Collection[str] | None) -> bool:
    if only is None or path in only:
        return True
    folders = path.split("/")[:-1]
    return any("/".join(folders[: count + 1]) in only for count in range(len(folders)))


def _changed_since(paths: list[str], *, since: str = "the last checkpoint") -> CheckpointError:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return CheckpointError(
        f"nothing was restored: {', '.join(paths[:_NAMED])}{more} changed since {since}, and that would be "
        "lost. Move or commit what you want to keep, or restore other files alone.",
        paths=tuple(paths),
    )
