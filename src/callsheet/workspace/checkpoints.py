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
from functools import partial
from pathlib import Path
from typing import TypeAlias

import anyio
import anyio.to_thread

from callsheet.errors import CheckpointError, GitRefusedError
from callsheet.model.dataclass import dataclass
from callsheet.workspace.changes import Changes
from callsheet.workspace.excludes import user_excludes
from callsheet.workspace.git import Git, GitPlace, own_place
from callsheet.workspace.git_words import checked, split
from callsheet.workspace.looking import Seen, read, unchanged, wanted
from callsheet.workspace.restoring import folders_of, put_back, sweep, take_away
from callsheet.workspace.stock import Entry, Manifest, Stock

_NAMED = 10
_MOST_NESTED = 1_000
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
    root: Path, *, folder: Path, environ: Mapping[str, str], user: GitPlace | None = None
) -> AsyncGenerator[Checkpoints]:
    """The checkpoints of one run on a workspace, for one process at a time.

    Args:
        root: The workspace: with git or without.
        folder: Where they lie, for nobody else's eyes; made when it is not there.
        environ: The host's.
        user: The workspace's repository as it was before any agent started; None where it has none, or is not to be
            asked. What it holds already is not kept twice, and files that it tracks are kept even if ignored.

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
        checkpoints = Checkpoints(real, stock, environ=environ, excludes=excludes, user=user)
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

    def __init__(
        self, root: Path, stock: Stock, *, environ: Mapping[str, str], excludes: Path | None, user: GitPlace | None
    ) -> None:
        self._root = root
        self._stock = stock
        self._environ = environ
        self._excludes = excludes
        self._user = user
        self._one = anyio.Lock()
        self._taken: dict[int, Checkpoint] = {}
        self._tracked: frozenset[str] = frozenset()
        self._held: set[str] = set()
        self._known: dict[str, Seen] = {}
        self._last: Manifest = _EMPTY

    async def begin(self) -> None:
        """Reads what is there already. Part of opening."""
        staged = b""
        if self._user is not None:
            git = Git(self._user, self._environ)
            staged = checked(await git.run("ls-files", "-z", "-s"), "list files").output
        blobs: dict[str, str] = {}
        for entry in split(staged):
            said, _, path = entry.partition("\t")
            blobs[path] = said.split(" ")[1]
        self._tracked = frozenset(blobs)
        self._held = set(blobs.values())
        for number, (commit, at) in sorted((await self._stock.commits()).items()):
            self._taken[number] = Checkpoint(number=number, commit=commit, at=at)
        if self._taken:
            last = self._taken[max(self._taken)]
            self._last = await self._stock.load(last.commit)
            self._held |= {entry.blob for entry in self._last.entries.values()}

    @property
    def taken(self) -> tuple[Checkpoint, ...]:
        """All, by number."""
        return tuple(self._taken[number] for number in sorted(self._taken))

    async def take(self) -> Checkpoint:
        """Takes one more. Agents may be at work: each file is kept as it was when it was read.

        Raises:
            GitRefusedError: Git would not; nothing is changed.
            OSError: As before.
        """
        async with self._one:
            return await self._take(await self._kept_now())

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
            after = (await (self._kept_now() if later is None else self._load(later))).entries
        return Changes(
            added=tuple(sorted(after.keys() - before.keys())),
            removed=tuple(sorted(before.keys() - after.keys())),
            changed=tuple(sorted(path for path in before.keys() & after.keys() if before[path] != after[path])),
        )

    async def look(self, paths: Iterable[str]) -> States:
        """How files are now, kept so that `take_back` can compare and restore them.

        Raises:
            GitRefusedError: Git would not.
            OSError: The workspace cannot be read.
        """
        async with self._one:
            paths = wanted(paths)
            seen, _ = await self._seen(paths)
        return {path: seen[path].entry if path in seen else None for path in paths}

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
            now = await self._kept_now(target.entries)
            known = {**self._last.entries, **(expected or {})}
            differing = {
                path for path in target.entries.keys() | now.entries.keys()
                if target.entries.get(path) != now.entries.get(path) and _is_asked(path, only)
            }  # fmt: skip
            apart = {path: why for each in (self._last, now, target) for path, why in each.left_out.items()}
            left = {path: apart[path] for path in differing & apart.keys()}
            differing -= left.keys()
            if wrong := sorted(path for path in differing if now.entries.get(path) != known.get(path)):
                if not even_changed:
                    raise _changed_since(wrong)
                await self._take(now)
            restored = await self._bring_back({path: target.entries.get(path) for path in differing}, left, self._known)
            return replace(restored, checkpoint=await self._take(await self._kept_now()))

    async def take_back(self, paths: Iterable[str], *, before: int, after: States) -> Restored:
        """Takes back one agent's own changes. Others may be at work on other files.

        Args:
            paths: The files that it changed, and nobody else did since the checkpoint.
            before: The last checkpoint before it began.
            after: How it left them, as `look` said; a file that is other now, or of which nothing is said, is left.

        Raises:
            CheckpointError: There is no such checkpoint, or it is damaged.
            GitRefusedError: Git would not; nothing was changed.
            OSError: The workspace cannot be read.
        """
        async with self._one:
            target = await self._load(before)
            paths = wanted(paths)
            seen, faults = await self._seen(paths)
            left = {path: why for path, why in {**target.left_out, **faults}.items() if path in paths}
            back: dict[str, Entry | None] = {}
            for path in paths:
                now = seen[path].entry if path in seen else None
                if path in left or now == target.entries.get(path):
                    continue
                if path not in after or after[path] != now:
                    left[path] = "someone else changed it since"
                else:
                    back[path] = target.entries.get(path)
            return await self._bring_back(back, left, seen)

    # --- looking

    async def _take(self, now: Manifest) -> Checkpoint:
        number = max(self._taken, default=-1) + 1
        before = (self._taken[number - 1].commit, self._last) if self._taken else None
        at = int(time.time())
        try:
            commit = await self._stock.commit(number, now, before=before, at_s=at)
        except GitRefusedError:
            # The user's index can name what is not in the repository: then all of it is put here.
            self._held, self._known = set(), {}
            now = await self._kept_now()
            commit = await self._stock.commit(number, now, before=before, at_s=at)
        self._last = now
        self._taken[number] = Checkpoint(number=number, commit=commit, at=at)
        return self._taken[number]

    async def _kept_now(self, more: Iterable[str] = ()) -> Manifest:
        """The workspace as it is, all its bytes kept."""
        paths = {*self._tracked, *self._last.entries, *more, *await self._listed(self._root, "")}
        seen, faults = await self._seen(wanted(paths))
        self._known = seen
        return Manifest(entries={path: each.entry for path, each in seen.items()}, left_out=faults)

    async def _seen(self, paths: Iterable[str]) -> tuple[dict[str, Seen], dict[str, str]]:
        look = partial(unchanged, self._root, list(paths), self._known)
        seen, rest = await anyio.to_thread.run_sync(look)
        faults: dict[str, str] = {}
        while rest:
            found, rest = await anyio.to_thread.run_sync(read, self._root, rest, self._stock.name_of)
            contents: dict[str, bytes] = {}
            for each in found:
                if each.seen is None:
                    faults[each.path] = each.fault or "it cannot be read"
                    continue
                seen[each.path] = each.seen
                if each.seen.entry.blob not in self._held:
                    contents[each.seen.entry.blob] = each.content
            if contents:
                await self._stock.put(contents.values())
                self._held |= contents.keys()
        return seen, faults

    async def _listed(self, root: Path, prefix: str) -> list[str]:
        """What git does not ignore, repositories within it opened up."""
        place = own_place(root, self._stock.git.place.git_dir)
        git = Git(place, self._environ, excludes=self._excludes)
        no_index = place.git_dir / "no-index"
        answer = await git.run("ls-files", "-z", "-o", "--exclude-standard", index=no_index)
        found: list[str] = []
        nested: list[str] = []
        for path in split(checked(answer, "list files").output):
            (nested if path.endswith("/") else found).append(prefix + path)
        if len(nested) > _MOST_NESTED:
            raise GitRefusedError(f"there are more than {_MOST_NESTED:,} repositories within {root}.")
        for path in nested:
            folder = self._root / path
            if not folder.is_symlink() and "/.callsheet/" not in f"/{path}":
                found += await self._listed(folder, path)
        return found

    async def _load(self, number: int) -> Manifest:
        if number not in self._taken:
            numbers = ", ".join(map(str, self._taken)) or "none"
            raise CheckpointError(f"there is no checkpoint {number}; there are: {numbers}.")
        return self._last if number == max(self._taken) else await self._stock.load(self._taken[number].commit)

    # --- writing

    async def _sweep(self, target: Manifest) -> None:
        folders = folders_of((*target.entries, *self._last.entries))
        await anyio.to_thread.run_sync(sweep, self._root, folders)

    async def _bring_back(self, back: States, left: dict[str, str], seen: Mapping[str, Seen]) -> Restored:
        """Removals first: they make room. All bytes are known to be good before the first file is touched."""
        by_blob: dict[str, list[tuple[str, Entry]]] = {}
        for path, entry in sorted(back.items()):
            if entry is not None:
                by_blob.setdefault(entry.blob, []).append((path, entry))
        async for _ in self._stock.contents(by_blob):
            pass
        gone = tuple(sorted(path for path, entry in back.items() if entry is None))

        def remove() -> None:
            for path in gone:
                if (why := take_away(self._root, path, expect=seen.get(path))) is not None:
                    left[path] = why

        def write(entries: list[tuple[str, Entry]], content: bytes) -> None:
            for path, entry in entries:
                if (why := put_back(self._root, path, entry, content, expect=seen.get(path))) is not None:
                    left[path] = why

        with anyio.CancelScope(shield=True):  # bounded by the number of files; half of it is nobody's wish
            await anyio.to_thread.run_sync(remove)
            async for blob, content in self._stock.contents(by_blob):
                await anyio.to_thread.run_sync(write, by_blob[blob], content)
        return Restored(
            written=tuple(path for path, entry in sorted(back.items()) if entry is not None and path not in left),
            removed=tuple(path for path in gone if path not in left),
            left=tuple(sorted(left.items())),
        )


def _is_asked(path: str, only: Collection[str] | None) -> bool:
    if only is None or path in only:
        return True
    folders = path.split("/")[:-1]
    return any("/".join(folders[: count + 1]) in only for count in range(len(folders)))


def _changed_since(paths: list[str]) -> CheckpointError:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return CheckpointError(
        f"nothing was restored: {', '.join(paths[:_NAMED])}{more} changed since the last checkpoint, and that would be "
        "lost. Move or commit what you want to keep, or restore other files alone.",
        paths=tuple(paths),
    )
