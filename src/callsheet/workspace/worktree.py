"""A worktree of a run's own: HEAD with the workspace's uncommitted state, kept on a branch where it was changed.

The workspace is read, never written: neither its files nor its index nor its HEAD are touched. Files are copied rather
than checked out, so that they have the very bytes that they have there, whatever filters and line ends are configured.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from callsheet.errors import GitRefusedError
from callsheet.workspace.changes import Snapshot
from callsheet.workspace.copying import copy_files
from callsheet.workspace.excludes import user_excludes
from callsheet.workspace.git import Git, GitAnswer, GitPlace, git_place

BRANCHES = "callsheet/"
_LINK_MODE, _SUBMODULE_MODE = "120000", "160000"
_CLEAN_UP_WITHIN_S = 20.0
_BASE_INDEX = "callsheet-base"


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


class Worktree:
    """One worktree. Made by `make`; `close` is to be called when nobody works in it any more.

    Attributes:
        path: Its root, absolute and without links.
        branch: `callsheet/` and its name.
        notes: What is not in it, for people.
        git_data: The repository's own folder, which git needs to see when it works in the worktree.
    """

    def __init__(
        self, *, path: Path, branch: str, head: str, main: Git, own: Git, base_tree: str, index: Path, start: Snapshot,
        submodules: tuple[str, ...], notes: tuple[str, ...], git_data: Path,
    ) -> None:  # fmt: skip
        self.path = path
        self.branch = branch
        self.notes = notes
        self.git_data = git_data
        self._head = head
        self._main = main
        self._own = own
        self._base_tree = base_tree
        self._index = index
        self._start = start
        self._submodules = submodules

    @classmethod
    async def make(cls, root: Path, *, folder: Path, name: str, environ: Mapping[str, str]) -> Worktree:
        """Makes one. Cancelling, and every error, takes away what was made.

        Args:
            root: The workspace: the root of a git working tree.
            folder: Where worktrees of this workspace lie; made when it is not there.
            name: Of this one, new.
            environ: For `Git`.

        Raises:
            GitRefusedError: There is no git, no commit, or git would not; says what to do.
            WorkspacePathError: A file cannot be read.
        OSError: It could not be filled.
        """
        place = await git_place(root, environ)
        main = Git(place, environ, excludes=user_excludes(environ))
        head = await main.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        if head.exit_status != 0:
            raise GitRefusedError(f"{root} has no commit yet, and a worktree starts from one: commit something first.")
        commit = _line(head)
        state = await _State.read(main)
        path = _place_for(folder, name)
        branch = BRANCHES + name
        try:
            with anyio.CancelScope(shield=True):  # killed halfway it would leave a locked one; it copies nothing yet
                words = ("--no-checkout", "-b", branch, os.fspath(path), commit)
                made = await main.run("worktree", "add", *words, timeout_s=_CLEAN_UP_WITHIN_S)
            _checked(made, "make a worktree")
            return await _filled(cls, place, main, state, path=path, branch=branch, head=commit, environ=environ)
        except BaseException:
            with anyio.move_on_after(_CLEAN_UP_WITHIN_S, shield=True):
                await main.run("worktree", "remove", "--force", "--force", os.fspath(path))
                await main.run("update-ref", "-d", f"refs/heads/{branch}", commit)  # made even where the rest failed
            raise

    async def close(self) -> Outcome:
        """Removes it where nothing was changed, else commits what was to its branch, and removes the folder then.

        Whatever goes wrong, no change is lost: the folder stays, and the outcome says so. Nothing is raised.
        """
        try:
            after = await anyio.to_thread.run_sync(_snapshot, self.path)
            touched = after.differing(self._start)
            last = _line(_checked(await self._own.run("rev-parse", "HEAD"), "read the worktree's HEAD"))
            tree = await self._tree_of(touched) if touched else self._base_tree
            if tree == self._base_tree and last == self._head:
                await _remove(self._main, self.path, self.branch)
                return Outcome(changed=False, note=self._still_there())
            base = await self._keep(tree, last)
            await _remove(self._main, self.path, branch=None)
        except (GitRefusedError, OSError) as error:
            why = error.message if isinstance(error, GitRefusedError) else str(error)
            lost = f"the worktree's changes were not put on a branch, they lie in {self.path}: {why}"
            return Outcome(changed=True, folder=self.path, note=lost)
        note = self._still_there()
        return Outcome(changed=True, branch=self.branch, base=base, folder=self.path if note else None, note=note)

    def _still_there(self) -> str | None:
        if not os.path.lexists(self.path):
            return None
        return f"the worktree {self.path} could not be removed: git worktree remove --force {self.path}"

    async def _tree_of(self, touched: set[str]) -> str:
        """The tree of what there is now; what git is told to ignore stays out, but for what it keeps anyway."""
        words = ("-z", "-c", "-o", "--exclude-standard")
        listed = _split(_checked(await self._own.run("ls-files", *words, index=self._index), "list files").output)
        apart = (*self._submodules, *(path.rstrip("/") for path in listed if path.endswith("/")))
        for path in sorted(touched):
            if any(path.startswith(f"{folder}/") for folder in apart):
                raise GitRefusedError(f"{path} lies in a repository within it, of which a branch holds no files.")
        await _update(self._own, sorted(touched.intersection(listed)), self._index)
        return _line(_checked(await self._own.run("write-tree", index=self._index), "write down the changes"))

    async def _keep(self, tree: str, last: str) -> str:
        """Commits a tree to the branch: on one commit with the workspace's uncommitted state, where there was some."""
        base = self._head
        if self._base_tree != await _tree(self._own, self._head):
            base = await self._commit(self._base_tree, (self._head,), "Uncommitted state of the workspace")
        parents = (base,) if last == self._head else (base, last)
        if tree != self._base_tree or len(parents) > 1:
            final = await self._commit(tree, parents, f"Changes of {self.path.name}")
        else:
            final = base
        _checked(await self._own.run("update-ref", f"refs/heads/{self.branch}", final), f"keep {self.branch}")
        return base

    async def _commit(self, tree: str, parents: Iterable[str], message: str) -> str:
        words = [word for parent in parents for word in ("-p", parent)]
        return _line(_checked(await self._own.run("commit-tree", tree, *words, "-m", message), "commit the changes"))


# --- the state that it starts from ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
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
    async def read(cls, git: Git) -> _State:
        answers: dict[str, bytes] = {}

        async def ask(what: str, *words: str) -> None:
            answers[what] = _checked(await git.run("ls-files", "-z", *words), "list files").output

        await _together(
            partial(ask, "staged", "-s"),
            partial(ask, "new", "-o", "--exclude-standard"),
            partial(ask, "changed", "-m", "-d"),
        )
        staged = [entry.partition("\t") for entry in _split(answers["staged"])]
        submodules = {path for said, _, path in staged if said.startswith(_SUBMODULE_MODE)}
        unmerged = {path for said, _, path in staged if not said.endswith(" 0")}
        new = _split(answers["new"])
        nested = {path for path in new if path.endswith("/")}
        fresh = set(new) - nested
        changed = (set(_split(answers["changed"])) | unmerged) - submodules
        return cls(
            files=tuple(sorted({path for _, _, path in staged} - submodules | fresh)),
            differing=tuple(sorted(changed | fresh)),
            submodules=tuple(sorted(submodules)),
            nested=tuple(sorted(nested)),
        )

    def notes(self) -> tuple[str, ...]:
        apart = [*self.submodules, *(path.rstrip("/") for path in self.nested)]
        if not apart:
            return ()
        return (f"submodules and nested repositories are empty in the worktree: {', '.join(apart[:10])}",)


async def _filled(
    cls: type[Worktree], place: GitPlace, main: Git, state: _State, *, path: Path, branch: str, head: str,
    environ: Mapping[str, str],
) -> Worktree:  # fmt: skip
    own_place = await git_place(path, environ)
    index = own_place.git_dir / _BASE_INDEX
    await anyio.to_thread.run_sync(_copy_index, place.git_dir, own_place.git_dir)
    trees: list[str] = []
    starts: list[Snapshot] = []

    async def write_base() -> None:
        await _update(main, state.differing, index)
        trees.append(_line(_checked(await main.run("write-tree", index=index), "write down the uncommitted state")))

    async def fill() -> None:
        starts.append(await anyio.to_thread.run_sync(_fill, place.work_tree, path, state))

    await _together(write_base, fill)
    return cls(
        path=path,
        branch=branch,
        git_data=place.common_dir,
        head=head,
        main=main,
        own=Git(own_place, environ, excludes=user_excludes(environ)),
        base_tree=trees[0],
        index=index,
        start=starts[0],
        submodules=state.submodules,
        notes=state.notes(),
    )


def _fill(source: Path, path: Path, state: _State) -> Snapshot:
    for folder in state.submodules:
        (path / folder).mkdir(parents=True, exist_ok=True)
    copy_files(source, path, state.files)
    return _snapshot(path)


async def _together(*works: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Does all at a time; the first error ends the others and comes out as itself."""
    try:
        async with anyio.create_task_group() as tasks:
            for work in works:
                tasks.start_soon(work)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


def _copy_index(source: Path, target: Path) -> None:
    """The index as it is for the worktree, and once more to write trees with: nobody else uses that one."""
    for shared in source.glob("sharedindex.*"):
        shutil.copy2(shared, target / shared.name)
    if (source / "index").exists():
        shutil.copy2(source / "index", target / "index")
        shutil.copy2(source / "index", target / _BASE_INDEX)


def _snapshot(path: Path) -> Snapshot:
    return Snapshot.take(path, skip=())


async def _update(git: Git, paths: Iterable[str], index: Path) -> None:
    paths = list(paths)
    if paths:
        words = ("--add", "--remove", "--replace", "-z", "--stdin")
        _checked(await git.run("update-index", *words, stdin=_lines(paths), index=index), "look at the files")


async def _tree(git: Git, commit: str) -> str:
    return _line(_checked(await git.run("rev-parse", f"{commit}^{{tree}}"), "read HEAD"))


def _place_for(folder: Path, name: str) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder.resolve() / name


async def _remove(git: Git, path: Path, branch: str | None) -> None:
    removed = await git.run("worktree", "remove", "--force", os.fspath(path))
    if branch is not None and removed.exit_status == 0:
        await git.run("branch", "-D", branch)


# --- git's words ------------------------------------------------------------------------------------------------------


def _checked(answer: GitAnswer, what: str) -> GitAnswer:
    if answer.exit_status != 0:
        said = answer.errors.strip().splitlines()
        raise GitRefusedError(f"git could not {what}: {said[-1] if said else f'status {answer.exit_status}'}")
    return answer


def _line(answer: GitAnswer) -> str:
    return answer.output.decode("ascii", "replace").strip()


def _split(output: bytes) -> list[str]:
    return [os.fsdecode(each) for each in output.split(b"\0") if each]


def _lines(paths: Iterable[str]) -> bytes:
    return b"".join(os.fsencode(path) + b"\0" for path in paths)
