"""A workspace looked at for its checkpoints: what git does not ignore, each file told by its bytes, all bytes kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio.to_thread

from callsheet.errors import CheckpointError, GitRefusedError
from callsheet.model.dataclass import dataclass
from callsheet.workspace.folders import empty_folders
from callsheet.workspace.git import Git, GitPlace, own_place
from callsheet.workspace.git_words import checked, split
from callsheet.workspace.looking import MOST_BYTES, Seen, read, unchanged, wanted
from callsheet.workspace.stock import Manifest, Stock

_MOST_NESTED = 1_000
_FEW = 4
"""So few files are read sooner than it is found out whether they have to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may be kept where nobody asked for it. Beyond it nothing is, and `remedy` says what to do.

    Attributes:
        files: So many that the user's repository does not track.
        size_bytes: So large together.
        listed_within_s: Listing them takes no longer.
    """

    files: int
    size_bytes: int
    remedy: str
    listed_within_s: float = 20.0


class Survey:
    """Looks, and remembers what it saw, so that what has not changed is not read again. One call works at a time.

    Args:
        root: The workspace, without links.
        stock: Where bytes are kept.
        environ: For `Git`.
        excludes: The user's own file of what is ignored everywhere.
        user: The workspace's repository as it was before any agent started.
        limits: Of what is kept; None for none.
    """

    def __init__(
        self,
        root: Path,
        stock: Stock,
        *,
        environ: Mapping[str, str],
        excludes: Path | None,
        user: GitPlace | None,
        limits: Limits | None = None,
    ) -> None:
        self._limits = limits
        self._root = root
        self._stock = stock
        self._environ = environ
        self._excludes = excludes
        self._user = user
        self._tracked: frozenset[str] = frozenset()
        self._held: set[str] = set()
        self._known: dict[str, Seen] = {}
        self._left_out: dict[str, str] = {}

    async def begin(self) -> None:
        """Reads what the user's repository tracks. Part of opening."""
        if self._user is None:
            return
        git = Git(self._user, self._environ)
        staged = checked(await git.run("ls-files", "-z", "-s"), "list files").output
        blobs: dict[str, str] = {}
        for entry in split(staged):
            said, _, path = entry.partition("\t")
            blobs[path] = said.split(" ")[1]
        self._tracked = frozenset(blobs)
        # What is staged and not committed is nobody's as soon as something else is staged: git may drop it then.
        differing = await git.run("diff-index", "--cached", "-r", "-z", "--name-only", "--no-renames", "HEAD")
        uncommitted = split(differing.output) if differing.exit_status == 0 else [*blobs]
        self._held = {blobs[path] for path in blobs.keys() - set(uncommitted)}

    def hold(self, manifest: Manifest) -> None:
        """The bytes of a checkpoint are kept."""
        self._held |= {entry.blob for entry in manifest.entries.values()}

    def forget(self) -> None:
        """Keeps all bytes anew: the user's index can name what is not in the repository."""
        self._held, self._known = set(), {}

    @property
    def known(self) -> Mapping[str, Seen]:
        """The files as `everything` saw them last."""
        return self._known

    @property
    def left_out(self) -> Mapping[str, str]:
        """What was there then and could not be kept: why, by path."""
        return self._left_out

    async def everything(self, more: Iterable[str]) -> Manifest:
        """The workspace as it is, all its bytes kept.

        Args:
            more: Files that are looked at besides, ignored or not.

        Raises:
            CheckpointError: It is more than may be kept.
            GitRefusedError: Git would not.
            OSError: The workspace cannot be read.
        """
        listed = {*await self._listed(self._root, "")}
        if self._limits is not None:
            await anyio.to_thread.run_sync(_check, self._root, listed - self._tracked, self._limits)
        paths = {*self._tracked, *more, *listed}
        seen, faults = await self.some(wanted(paths))
        self._known, self._left_out = seen, faults
        folders = await anyio.to_thread.run_sync(empty_folders, self._root, [*seen, *faults])
        entries = {path: each.entry for path, each in seen.items()}
        return Manifest(entries=entries, left_out=faults, folders=folders)

    async def some(self, paths: Iterable[str], *, keep: bool = True) -> tuple[dict[str, Seen], dict[str, str]]:
        """Some files as they are; and why others cannot be told.

        Args:
            paths: Those.
            keep: Their bytes are kept.

        Raises:
            GitRefusedError: Git would not.
            OSError: The workspace cannot be read.
        """
        seen: dict[str, Seen] = {}
        rest = list(paths)
        if len(rest) > _FEW:
            look = partial(unchanged, self._root, rest, self._known)
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
                if keep and each.seen.entry.blob not in self._held:
                    contents[each.seen.entry.blob] = each.content
            if contents:
                await self._stock.put(contents.values())
                self._held |= contents.keys()
        return seen, faults

    async def unseen(self, paths: Collection[str]) -> frozenset[str]:
        """Of paths those that `everything` does not see: git ignores them, or there is no such file.

        Raises:
            GitRefusedError: Git would not.
        """
        return frozenset({*paths}.difference(self._tracked, await self._listed(self._root, "")) if paths else ())

    def _git(self, root: Path) -> Git:
        place = own_place(root, self._stock.git.place.git_dir)
        return Git(place, self._environ, excludes=self._excludes)

    async def _listed(self, root: Path, prefix: str) -> list[str]:
        """What git does not ignore, repositories within it opened up."""
        git = self._git(root)
        no_index = git.place.git_dir / "no-index"
        within_s = 60.0 if self._limits is None else self._limits.listed_within_s
        answer = await git.run("ls-files", "-z", "-o", "--exclude-standard", index=no_index, timeout_s=within_s)
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


def _check(root: Path, paths: Collection[str], limits: Limits) -> None:
    """Raises CheckpointError where it is more than may be kept."""
    if len(paths) > limits.files:
        raise CheckpointError(f"there are more than {limits.files:,} files that no repository has. {limits.remedy}")
    size = 0
    for path in paths:
        with suppress(OSError):
            found = (root / path).lstat().st_size
            size += found if found <= MOST_BYTES else 0
        if size > limits.size_bytes:
            most = limits.size_bytes // 1024**2
            raise CheckpointError(f"files that no repository has are larger than {most:,} MB together. {limits.remedy}")
