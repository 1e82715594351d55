"""A worktree: HEAD with the workspace's uncommitted state, its changes kept on a branch.

The workspace is read, never written: neither its files nor its index nor its HEAD are touched. Files are copied rather
than checked out, so that they have the very bytes that they have there, whatever filters and line ends are configured.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import anyio
import anyio.to_thread

from callsheet.errors import GitRefusedError
from callsheet.model.dataclass import dataclass
from callsheet.workspace.beginning import State, copy_index, included, link_folders, together
from callsheet.workspace.changes import Snapshot
from callsheet.workspace.excludes import user_excludes
from callsheet.workspace.git import Git, GitPlace, git_place
from callsheet.workspace.git_words import checked, committed, line, split, tree_of, update_index, written_tree
from callsheet.workspace.spares import Filled, Spares, fill, refill

BRANCHES = "callsheet/"
_CLEAN_UP_WITHIN_S = 20.0
_BASE_INDEX = "callsheet-base"
_PATTERNS = "callsheet-include"
_PATCH_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a worktree.

    Attributes:
        changed: Its files are other than they were at the start, or there are commits.
        branch: Where the changes are committed; None where there are none, or they could not be.
        folder: Where they lie still; None where the folder was removed.
        base: The commit that the changes are made on: HEAD, or one of ours that holds the uncommitted state.
        note: What could not be done, and what to do; None where all is well.
    """

    changed: bool
    branch: str | None = None
    folder: Path | None = None
    base: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What a worktree gets besides the files of the workspace that git does not ignore.

    Attributes:
        includes: Whether files that the workspace's `.worktreeinclude` names are copied.
        links: Folders of the workspace that are linked, relative.
        prepare: Called with the new worktree once its files are there; what it changes there is no change of an
            agent's. Raising undoes the making.
    """

    includes: bool = False
    links: tuple[str, ...] = ()
    prepare: Callable[[Worktree], Awaitable[None]] | None = None


class Worktree:
    """One worktree. Made by `make`; `close` is to be called when nobody works in it any more.

    Attributes:
        path: Its root, absolute and without links.
        branch: `callsheet/` and its name.
        notes: What is not in it, for people.
        git_data: The repository's own folder, which git needs to see when it works in the worktree.
        links: Folders of the workspace that are linked into it, relative.
        base: The commit that changes are made on; None while none were kept.
        tip: The last commit that was kept, HEAD before.
    """

    def __init__(
        self, *, path: Path, branch: str, head: str, main: Git, own: Git, tree: str, index: Path,
        filled: Filled, spares: Spares | None, state: State, links: tuple[str, ...], git_data: Path,
    ) -> None:  # fmt: skip
        self.path = path
        self.branch = branch
        self.notes = state.notes()
        self.git_data = git_data
        self.links = links
        self.base: str | None = None
        self.tip = head
        self._main = main
        self._own = own
        self._tree = tree
        self._index = index
        self._filled = filled
        self._spares = spares
        self._start = filled.copies
        self._submodules = state.submodules

    @property
    def place(self) -> GitPlace:
        """Where git finds it."""
        return self._own.place

    @classmethod
    async def make(
        cls,
        root: Path,
        *,
        folder: Path,
        name: str,
        environ: Mapping[str, str],
        branch: str | None = None,
        place: GitPlace | None = None,
        extras: Extras | None = None,
        spares: Spares | None = None,
    ) -> Worktree:
        """Makes one. Cancelling, and every error, takes away what was made.

        Args:
            root: The workspace: the root of a git working tree.
            folder: Where worktrees of this workspace lie; made when it is not there.
            name: Of this one, new.
            environ: For `Git`.
            branch: Its branch; `callsheet/` and the name unless given.
            place: The workspace's, as it was before any agent started; it is looked at now without one.
            extras: What it gets besides.
            spares: Where its folder can come from, and goes when it is closed.

        Raises:
            GitRefusedError: There is no git, no commit, or git would not; says what to do.
            WorkspacePathError: A file cannot be read.
            OSError: It could not be filled.
        """
        place = place or await git_place(root, environ)
        main = Git(place, environ, excludes=user_excludes(environ))
        head = await main.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        if head.exit_status != 0:
            raise GitRefusedError(f"{root} has no commit yet, and a worktree starts from one: commit something first.")
        commit = line(head)
        state = await State.read(main)
        path = place_for(folder, name)
        branch = branch or BRANCHES + name
        try:
            with anyio.CancelScope(shield=True):  # killed halfway it would leave a locked one; it copies nothing yet
                words = ("--no-checkout", "-b", branch, os.fspath(path), commit)
                made = await main.run("worktree", "add", *words, timeout_s=_CLEAN_UP_WITHIN_S)
            checked(made, "make a worktree")
            making = _Making(place, main, state, path=path, branch=branch, head=commit, environ=environ, spares=spares)
            return await making.filled(extras or Extras())
        except BaseException:
            with anyio.move_on_after(_CLEAN_UP_WITHIN_S, shield=True):
                await main.run("worktree", "remove", "--force", "--force", os.fspath(path))
                await main.run("update-ref", "-d", f"refs/heads/{branch}", commit)  # made even where the rest failed
            raise

    async def keep(self, *, goes_on: bool = True) -> bool:
        """Commits to the branch what was changed since it was made, or last kept.

        Args:
            goes_on: Others will work in it: git then shows them what was kept as committed.

        Returns:
            Whether anything was changed since.

        Raises:
            GitRefusedError: Git would not; nothing is lost.
            OSError: A file cannot be read.
        """
        after = await anyio.to_thread.run_sync(_snapshot, self.path)
        touched = after.differing(self._start).difference(self.links)
        last = line(checked(await self._own.run("rev-parse", "HEAD"), "read the worktree's HEAD"))
        tree = await self._tree_of(touched) if touched else self._tree
        if tree == self._tree and last == self.tip:
            return False
        parent = self.tip
        if self.base is None:
            parent = self.base = await self._commit_of_start()
        parents = (parent,) if last == self.tip else (parent, last)
        tip = await committed(self._own, tree, parents, f"Changes of {self.path.name}")
        checked(await self._own.run("update-ref", f"refs/heads/{self.branch}", tip), f"keep {self.branch}")
        self.tip, self._tree, self._start = tip, tree, after
        if goes_on:
            head = await self._own.run("symbolic-ref", "HEAD", f"refs/heads/{self.branch}")
            checked(head, "put the worktree on its branch")
            checked(await self._own.run("read-tree", "--reset", tip), "read what was kept")
        return True

    async def prepared(self) -> None:
        """Takes the files as they are now for those that it began with.

        Raises:
            GitRefusedError: Git would not.
            OSError: A file cannot be read.
        """
        after = await anyio.to_thread.run_sync(_snapshot, self.path)
        if touched := after.differing(self._start).difference(self.links):
            self._tree = await self._tree_of(touched)
        self._start = after

    async def patch(self) -> bytes | None:
        """All changes that were kept, as a patch on `base`; None where there are none, or they are too large for one.

        Raises:
            GitRefusedError: Git would not.
        """
        if self.base is None:
            return None
        words = ("--binary", "--full-index", "--no-renames", self.base, self.tip)
        answer = checked(await self._own.run("diff", *words), "write a patch")
        return answer.output if len(answer.output) <= _PATCH_BYTES else None

    async def close(self, *, is_merged: bool = False) -> Outcome:
        """Removes it where nothing was changed, else commits what was to its branch, and removes the folder then.

        Whatever goes wrong, no change is lost: the folder stays, and the outcome says so. Nothing is raised.

        Args:
            is_merged: What was kept lies elsewhere too: where nothing more was changed, its branch goes as well.
        """
        try:
            is_new = await self.keep(goes_on=False)
            if self.base is None or (is_merged and not is_new):
                await self._leave(self.branch)
                return Outcome(changed=self.base is not None, base=self.base, note=self._still_there())
            await self._leave(None)
        except (GitRefusedError, OSError) as error:
            why = error.message if isinstance(error, GitRefusedError) else str(error)
            lost = f"the worktree's changes were not put on a branch, they lie in {self.path}: {why}"
            return Outcome(changed=True, folder=self.path, note=lost)
        note = self._still_there()
        return Outcome(changed=True, branch=self.branch, base=self.base, folder=self.path if note else None, note=note)

    async def _leave(self, branch: str | None) -> None:
        spare = None if self._spares is None else self._spares.set_aside(self.path, self._filled)
        try:
            removed = await self._main.run("worktree", "remove", "--force", os.fspath(self.path))
        except BaseException:
            if spare is not None:
                spare.path.rename(self.path)  # a person is told that it lies there
            raise
        if spare is not None and self._spares is not None:
            self._spares.add(spare)
        if branch is not None and removed.exit_status == 0:
            await self._main.run("branch", "-D", branch)

    def _still_there(self) -> str | None:
        if not os.path.lexists(self.path):
            return None
        return f"the worktree {self.path} could not be removed: git worktree remove --force {self.path}"

    async def _tree_of(self, touched: set[str]) -> str:
        """The tree of what there is now; what git is told to ignore stays out, but for what it keeps anyway."""
        words = ("-z", "-c", "-o", "--exclude-standard")
        listed = split(checked(await self._own.run("ls-files", *words, index=self._index), "list files").output)
        apart = (*self._submodules, *(path.rstrip("/") for path in listed if path.endswith("/")))
        for path in sorted(touched):
            if any(path.startswith(f"{folder}/") for folder in apart):
                raise GitRefusedError(f"{path} lies in a repository within it, of which a branch holds no files.")
        await update_index(self._own, sorted(touched.intersection(listed)), self._index)
        return await written_tree(self._own, self._index)

    async def _commit_of_start(self) -> str:
        """HEAD, or where there was more, one commit on it with the workspace's uncommitted state."""
        if self._tree == await tree_of(self._own, self.tip):
            return self.tip
        return await committed(self._own, self._tree, (self.tip,), "Uncommitted state of the workspace")


class _Making:
    """A worktree that git knows of, and that has no files yet."""

    def __init__(
        self, place: GitPlace, main: Git, state: State, *, path: Path, branch: str, head: str,
        environ: Mapping[str, str], spares: Spares | None,
    ) -> None:  # fmt: skip
        self._place = place
        self._main = main
        self._state = state
        self._path = path
        self._branch = branch
        self._head = head
        self._environ = environ
        self._spares = spares

    async def filled(self, extras: Extras) -> Worktree:
        own_place = await git_place(self._path, self._environ)
        index = own_place.git_dir / _BASE_INDEX
        root, state, main = self._place.work_tree, self._state, self._main
        await anyio.to_thread.run_sync(copy_index, self._place.git_dir, own_place.git_dir, "index", _BASE_INDEX)
        more: Sequence[str] = ()
        if extras.includes:
            more = await included(main, root, own_place.git_dir / _PATTERNS)
        trees: list[str] = []
        starts: list[tuple[Filled, tuple[str, ...]]] = []

        async def write_base() -> None:
            await update_index(main, state.differing, index)
            trees.append(await written_tree(main, index))

        def fill_and_link() -> tuple[Filled, tuple[str, ...]]:
            filled = self._put_files(list(dict.fromkeys((*state.files, *more))))
            return filled, link_folders(root, self._path, extras.links)

        async def put_files() -> None:
            starts.append(await anyio.to_thread.run_sync(fill_and_link))

        await together(write_base, put_files)
        tree = Worktree(
            path=self._path,
            branch=self._branch,
            head=self._head,
            main=main,
            own=Git(own_place, self._environ, excludes=user_excludes(self._environ)),
            tree=trees[0],
            index=index,
            filled=starts[0][0],
            spares=self._spares,
            state=state,
            links=starts[0][1],
            git_data=self._place.common_dir,
        )
        if extras.prepare is not None:
            await extras.prepare(tree)
            await tree.prepared()
        return tree

    def _put_files(self, wanted: list[str]) -> Filled:
        spare = None if self._spares is None else self._spares.take()
        source, folders = self._place.work_tree, self._state.submodules
        if spare is None:
            return fill(source, self._path, wanted, folders)
        try:
            return refill(source, self._path, spare, wanted, folders)
        finally:
            shutil.rmtree(spare.path, ignore_errors=True)  # it is there only where it could not be moved


def _snapshot(path: Path) -> Snapshot:
    return Snapshot.take(path, skip=())


def place_for(folder: Path, name: str) -> Path:
    """Where the worktree of a name lies in a folder, which is made where it is not there; without links."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder.resolve() / name
