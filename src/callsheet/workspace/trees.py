"""The worktrees of one run's agents: one for a call, or one for all calls of a name (CONTRACT A07, A16)."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import field, replace
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from callsheet.errors import CallsheetError, GitRefusedError, WorktreeError
from callsheet.model.call import AgentTask, WorkspaceRef
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import AgentOutcome, AgentWorktree
from callsheet.model.reports import Remark, Waiting
from callsheet.ports import AgentReporter, WorkPlace, Workspaces
from callsheet.workspace.errors import WorkspacePathError
from callsheet.workspace.git import Git, GitPlace, git_place
from callsheet.workspace.git_words import checked
from callsheet.workspace.journal import Journal, TreeState
from callsheet.workspace.merging import Hold, MergeConflictError, Merger
from callsheet.workspace.spares import SPARE, Spares
from callsheet.workspace.worktree import BRANCHES, Extras, Worktree, place_for

AT_A_TIME = 2
"""Worktrees that are being made at once: all of them read and write the same disk."""

_LEAVE_WITHIN_S = 60.0
_HASTY_WITHIN_S = 2.0
_NOT_A_REF = re.compile(r"\.\.+|\.lock(?=\.|$)|\.$")


@dataclass(slots=True, kw_only=True, eq=False)
class _Tree:
    """A worktree, and what was kept of it.

    Attributes:
        name: As calls give it; None with `isolation`.
        writer: Held by the agent that works in it.
        tree: None before it is made, and when it is closed.
        merged: The commit up to which it is merged.
        kept: What is known of its changes.
    """

    name: str | None
    label: str
    writer: anyio.Lock = field(default_factory=anyio.Lock)
    tree: Worktree | None = None
    merged: str | None = None
    kept: AgentWorktree | None = None


class Trees(Workspaces):
    """Makes them, keeps them, merges them; `end` when no agent works any more.

    Args:
        root: The workspace.
        folder: Where worktrees of the workspace lie, for nobody else's eyes.
        patches: Where the patches of what was changed are put.
        run_id: The run's name.
        branches: What the names of branches begin with, after `callsheet/`.
        environ: The host's.
        extras: What each gets besides the workspace's files; for a task, so that a command can be run as its agent.
        hold: Keeps files of the workspace from other agents while they are merged.
        made: Told of each new one before an agent works in it.
    """

    def __init__(
        self,
        root: Path,
        *,
        folder: Path,
        patches: Path,
        run_id: str,
        branches: str,
        environ: Mapping[str, str],
        extras: Callable[[AgentTask, AgentReporter], Extras],
        hold: Hold,
        made: Callable[[Worktree], None],
    ) -> None:
        self._root = root
        self._folder = folder
        self._patches = patches
        self._run_id = run_id
        self._branches = branches
        self._environ = environ
        self._extras = extras
        self._hold = hold
        self._made = made
        self._place: GitPlace | None = None
        self._refusal: str | None = None
        self._journal: Journal | None = None
        self._merger: Merger | None = None
        self._named: dict[str, _Tree] = {}
        self._all: dict[str, _Tree] = {}
        self._spares = Spares(f"{SPARE}{run_id}-")
        self._making = anyio.Semaphore(AT_A_TIME)
        self._has_noted = False
        self._before: dict[str, AgentWorktree] = {}

    async def prepare(self) -> None:
        """Looks at the repository. To be called before any agent starts: what they change later is not believed."""
        try:
            self._place = await git_place(self._root, self._environ)
        except (GitRefusedError, OSError) as error:
            self._refusal = error.message if isinstance(error, GitRefusedError) else str(error)

    def bring_back(self, kept: Iterable[AgentWorktree]) -> None:
        """Worktrees shared by name begin with what an earlier attempt at the run kept of them (CONTRACT A16, R07).

        Args:
            kept: What is on record of them, in order; what is merged is in the workspace.
        """
        for tree in kept:
            if tree.name is not None:
                self._before[tree.name] = tree

    @asynccontextmanager
    async def open(self, task: AgentTask, reporter: AgentReporter) -> AsyncGenerator[WorkPlace]:
        tree = self._tree_for(task)
        async with AsyncExitStack() as stack:
            await self._take(tree, reporter)
            stack.callback(tree.writer.release)
            made = tree.tree or await self._make(tree, task, reporter)
            workspace = WorkspaceRef(root=os.fspath(made.path), cwd=task.workspace.cwd, commit=made.tip)
            place = _Place(self, tree, task, workspace)
            try:
                yield place
            finally:
                if not place.is_settled:
                    with anyio.move_on_after(_HASTY_WITHIN_S, shield=True):
                        await self._keep(tree, task.agent_id)

    def _tree_for(self, task: AgentTask) -> _Tree:
        name = task.options.worktree
        if name is not None and name in self._named:
            return self._named[name]
        wanted = label = _NOT_A_REF.sub("-", name or task.agent_id)
        number = 2
        while label.casefold() in self._all:
            label, number = f"{wanted}-{number}", number + 1
        tree = self._all[label.casefold()] = _Tree(name=name, label=label)
        if name is not None:
            self._named[name] = tree
        return tree

    async def _take(self, tree: _Tree, reporter: AgentReporter) -> None:
        """Waits in line; meanwhile the agent's place is another's, or those who wait could keep the writer from its."""
        try:
            tree.writer.acquire_nowait()
        except anyio.WouldBlock:
            await reporter.report(Waiting(why="worktree", until=None))
            async with AsyncExitStack() as undo:
                async with reporter.aside():
                    await tree.writer.acquire()
                    undo.callback(tree.writer.release)
                undo.pop_all()

    async def _make(self, tree: _Tree, task: AgentTask, reporter: AgentReporter) -> Worktree:
        if self._place is None:
            why = self._refusal or "git was not looked at before the run began"
            raise WorktreeError(f"the worktree cannot be made: {why}")
        async with self._making:
            try:
                if self._journal is None:
                    self._journal = Journal.open(self._folder, self._run_id)
                journal = self._journal
                branch = await self._branch_for(tree, self._place)
                path = place_for(self._folder, f"{self._run_id}-{tree.label}")
                await anyio.to_thread.run_sync(lambda: journal.note("made", path=path, branch=branch))
                try:
                    made = await Worktree.make(
                        self._root, folder=self._folder, name=path.name, branch=branch, environ=self._environ,
                        place=self._place, extras=self._extras(task, reporter), spares=self._spares,
                    )  # fmt: skip
                except BaseException:
                    with anyio.CancelScope(shield=True):
                        if not await anyio.to_thread.run_sync(os.path.lexists, path):
                            journal.note("over", path=path, branch=branch)
                    raise
            except (GitRefusedError, WorkspacePathError, WorktreeError) as error:
                raise WorktreeError(f"the worktree cannot be made: {error.message}") from None
            except OSError as error:
                raise WorktreeError(f"the worktree cannot be made: {error}") from None
        tree.tree = made
        self._made(made)
        await self._bring(tree, made, reporter)
        if made.notes and not self._has_noted:
            self._has_noted = True
            for note in made.notes:
                await reporter.report(Remark(level="warn", message=note))
        return made

    async def _bring(self, tree: _Tree, made: Worktree, reporter: AgentReporter) -> None:
        before = self._before.get(tree.name or "")
        if before is None or before.branch is None or before.base is None or before.merged:
            return
        tip = f"refs/heads/{before.branch}"
        git = Git(made.place, self._environ)
        if (await git.run("rev-parse", "--verify", "--quiet", f"{tip}^{{commit}}")).exit_status != 0:
            message = f"the branch {before.branch} is gone: worktree '{tree.name}' begins without what was kept on it"
            await reporter.report(Remark(level="warn", message=message))
            return
        merger = Merger(made.place, folder=self._folder, name=self._run_id, environ=self._environ, hold=self._hold)
        try:
            await merger.merge(base=before.base, tip=tip)
        except (CallsheetError, OSError) as error:
            said = error.message if isinstance(error, CallsheetError) else str(error)
            await self._close(tree)
            raise WorktreeError(f"what was kept on branch {before.branch} cannot be brought back: {said}") from None

    async def _branch_for(self, tree: _Tree, place: GitPlace) -> str:
        """A new branch: one of that name may be there from before the run was resumed."""
        branch = f"{BRANCHES}{self._branches}{tree.label}"
        git = Git(place, self._environ)
        found = checked(await git.run("for-each-ref", "--format=%(refname)", f"refs/heads/{branch}*"), "list branches")
        taken = set(found.output.decode("utf-8", "replace").split())
        number, name = 2, branch
        while f"refs/heads/{name}" in taken:
            name, number = f"{branch}-{number}", number + 1
        tree.label += name.removeprefix(branch)
        return name

    # --- an agent has ended

    async def _settle(self, tree: _Tree, task: AgentTask, outcome: AgentOutcome) -> AgentOutcome:
        fault = await self._keep(tree, task.agent_id)
        if task.options.merge and outcome.status == "ok":
            outcome = _conflict(outcome, fault) if fault is not None else await self._merge(tree, outcome)
        if tree.name is None and fault is None:
            await self._close(tree)
        return replace(outcome, worktree=tree.kept)

    async def _keep(self, tree: _Tree, agent_id: str) -> str | None:
        """Puts what was changed on the branch; gives why that could not be done."""
        assert tree.tree is not None
        try:
            if await tree.tree.keep():
                await self._note("kept", tree.tree, agent_id)
                patch = await self._write_patch(tree)
                tree.kept = AgentWorktree(
                    name=tree.name, branch=tree.tree.branch, base=tree.tree.base, patch=patch, merged=False
                )
        except (CallsheetError, OSError) as error:
            why = error.message if isinstance(error, CallsheetError) else str(error)
            path = os.fspath(tree.tree.path)
            note = f"the worktree's changes were not put on a branch, they lie in {path}: {why}"
            before = tree.kept or AgentWorktree(name=tree.name)
            tree.kept = replace(before, path=path, note=note, merged=False)
            return note
        return None

    async def _write_patch(self, tree: _Tree) -> str | None:
        assert tree.tree is not None
        text = await tree.tree.patch()
        if text is None:
            return None
        path = self._patches / f"{self._run_id}-{tree.label}.patch"

        def write() -> None:
            self._patches.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(text)

        await anyio.to_thread.run_sync(write)
        return os.fspath(path)

    async def _merge(self, tree: _Tree, outcome: AgentOutcome) -> AgentOutcome:
        made = tree.tree
        assert made is not None and self._place is not None
        since = tree.merged or made.base
        if since is None or made.base is None or made.tip == tree.merged:
            return outcome
        if self._merger is None:
            self._merger = Merger(
                self._place, folder=self._folder, name=self._run_id, environ=self._environ, hold=self._hold
            )
        try:
            files = await self._merger.merge(base=since, tip=made.tip)
        except MergeConflictError as error:
            why = f"its changes do not fit the workspace: {error.message}"
        except (CallsheetError, OSError) as error:
            said = error.message if isinstance(error, CallsheetError) else str(error)
            why = f"its changes could not be merged: {said}"
        else:
            tree.merged = made.tip
            assert tree.kept is not None
            tree.kept = replace(tree.kept, branch=None, merged=True)
            return replace(outcome, files_changed=tuple(sorted({*outcome.files_changed, *files})))
        return _conflict(outcome, f"{why}. They are on branch {made.branch}")

    async def _close(self, tree: _Tree) -> None:
        """Takes the folder away, and the branch where nothing is on it that lies nowhere else."""
        made = tree.tree
        if made is None:
            return
        came = await made.close(is_merged=tree.merged is not None and tree.merged == made.tip)
        tree.tree = None
        if came.note is not None or came.branch is not None:
            before = tree.kept or AgentWorktree(name=tree.name)
            tree.kept = replace(
                before,
                branch=came.branch or before.branch,
                base=came.base or before.base,
                path=None if came.folder is None else os.fspath(came.folder),
                merged=before.merged and came.branch is None,
                note=came.note,
            )
        with suppress(OSError):  # whoever comes later finds by himself that it is gone
            await self._note("gone" if came.branch is not None or came.folder is not None else "over", made)

    async def _note(self, state: TreeState, made: Worktree, agent_id: str | None = None) -> None:
        if (journal := self._journal) is not None:
            note = partial(journal.note, state, path=made.path, branch=made.branch, agent_id=agent_id)
            await anyio.to_thread.run_sync(note)

    # --- the run ends

    async def end(self, *, within_s: float = _LEAVE_WITHIN_S) -> tuple[AgentWorktree, ...]:
        """Closes those that are still there. Idempotent; one that cannot be closed in time is taken away later.

        Returns:
            What became of all in which something was changed.
        """
        with anyio.move_on_after(within_s, shield=True):
            for tree in self._all.values():
                await self._close(tree)
            await anyio.to_thread.run_sync(self._spares.clear)
        if self._journal is not None:
            self._journal.close(is_over=self._spares.is_empty)
            self._journal = None
        return tuple(tree.kept for tree in self._all.values() if tree.kept is not None)


def _conflict(outcome: AgentOutcome, why: str) -> AgentOutcome:
    return replace(outcome, status="conflict", value=None, error=why)


class _Place(WorkPlace):
    """A worktree, for as long as one agent works in it."""

    def __init__(self, trees: Trees, tree: _Tree, task: AgentTask, workspace: WorkspaceRef) -> None:
        self._trees = trees
        self._tree = tree
        self._task = task
        self._workspace = workspace
        self.is_settled = False

    @property
    def workspace(self) -> WorkspaceRef:
        return self._workspace

    @property
    def kept(self) -> AgentWorktree | None:
        return self._tree.kept

    async def settle(self, outcome: AgentOutcome) -> AgentOutcome:
        settled = await self._trees._settle(self._tree, self._task, outcome)
        self.is_settled = True
        return settled
