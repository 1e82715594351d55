"""The use case behind `callsheet apply`: what agents left on branches, merged into the workspace after the run."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from callsheet.app import places
from callsheet.app.checkpointing import said
from callsheet.app.plan import Surroundings
from callsheet.app.records import Where, find_call, open_runs
from callsheet.app.retelling import ends, retold
from callsheet.app.rollback import StoppedRun, checkpoints_of, note, stopped_run
from callsheet.app.trees import FOLDER as TREES
from callsheet.errors import CallsheetError, CheckpointError, GitRefusedError, UsageError
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

if TYPE_CHECKING:
    from callsheet.model.records import Row
    from callsheet.workspace.checkpoints import Checkpoint, Checkpoints
    from callsheet.workspace.merging import Merger

Fate = Literal["applied", "already", "conflict", "gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyOrder:
    """What a caller asks for.

    Attributes:
        run: The run's id, the beginning of one, or `last`.
        agents: Only what these left, by id, number or label; all where there are none.
    """

    run: str = "last"
    agents: tuple[str, ...] = ()
    workspace: Path | None = None
    store: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A branch with changes that are not in the workspace yet, as is on record.

    Attributes:
        agents: Who worked on it, by id; nobody for the branch of a whole run.
        applied_at: When it was merged before; None where it was not.
    """

    name: str
    base: str
    agents: tuple[str, ...]
    applied_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of one branch.

    Attributes:
        fate: `applied`; `already` in the workspace; in `conflict` with it, nothing of it was written; or `gone`.
        files: Those that were changed by it.
        why: Why it was not merged, or when it was before; for people.
    """

    branch: Branch
    fate: Fate
    files: tuple[str, ...] = ()
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunApplied:
    """What came of all.

    Attributes:
        before, after: The checkpoints of the workspace; None where nothing was written, or none could be taken.
        notes: Why there is no checkpoint, say.
    """

    run_id: str
    branches: tuple[Applied, ...]
    before: int | None = None
    after: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Everything that was asked for is in the workspace."""
        return all(one.fate in ("applied", "already") for one in self.branches)

    @property
    def public(self) -> dict[str, JsonValue]:
        """As public JSON."""
        return {
            "run_id": self.run_id,
            "branches": [
                {
                    "branch": one.branch.name,
                    "agents": [*one.branch.agents],
                    "status": one.fate,
                    "files": [*one.files],
                    "why": one.why,
                }
                for one in self.branches
            ],
            "before": self.before,
            "after": self.after,
            "notes": [*self.notes],
        }


async def apply_run(order: ApplyOrder, around: Surroundings) -> RunApplied:
    """Merges what a run that goes on no more left on branches into the workspace's files, one branch after the other.

    What is uncommitted there stays: a branch that does not fit it is a conflict, and nothing of that branch is written.
    Branches stay, and so do index and HEAD. A checkpoint is taken before and after.

    Raises:
        NotFoundError: The record has no such run, or the run no such agent.
        RunGoingError: The run goes on.
        LeaseHeldError: Others work in the workspace.
        UsageError: Nothing lies on a branch; the run worked elsewhere.
        GitRefusedError: Git would not.
        StoreError: The record cannot be read or written.
    """
    run_id, branches = _branches(order, around)
    async with stopped_run(run_id, around, workspace=order.workspace, store=order.store) as stopped:
        work = _Work(stopped, around.environ)
        done: list[Applied] = []
        async with work.open():
            for branch in branches:
                done.append(await work.apply(branch))
        await work.note(done)
        return RunApplied(
            run_id=run_id, branches=tuple(done), before=work.number(work.before), after=work.number(work.after),
            notes=tuple(work.notes),
        )  # fmt: skip


def _branches(order: ApplyOrder, around: Surroundings) -> tuple[str, tuple[Branch, ...]]:
    """The run, and its branches: first that of a worktree of the run's own, then its agents' in their order."""
    where = Where(store=order.store, workspace=order.workspace, start=around.start, environ=around.environ)
    with open_runs(where, as_written=True) as runs:
        run = runs.find(order.run)
        calls = runs.record.calls(run.run_id)
        asked = {find_call(calls, name, run_id=run.run_id).agent_id for name in order.agents}
        applied = runs.record.applied(run.run_id)
        found: dict[str, Branch] = {}
        own = retold(runs.record, run).worktree
        if own is not None and own.branch is not None and own.base is not None and not asked:
            found[own.branch] = Branch(name=own.branch, base=own.base, agents=())
        ended = ends(runs.record, run.run_id)
        for call in calls:
            tree = None if call.agent_id not in ended else ended[call.agent_id].worktree
            if tree is None or tree.branch is None or tree.base is None:
                continue
            before = found.get(tree.branch)
            found[tree.branch] = Branch(
                name=tree.branch, base=before.base if before is not None else tree.base,
                agents=(*(() if before is None else before.agents), call.agent_id),
                applied_at=applied.get(call.agent_id),
            )  # fmt: skip
        chosen = tuple(each for each in found.values() if not asked or not asked.isdisjoint(each.agents))
        missing = sorted(asked.difference(*(each.agents for each in chosen)))
    if missing:
        raise UsageError(f"{', '.join(missing)} of {run.run_id} left nothing on a branch: callsheet diff {run.run_id}")
    if not chosen:
        raise UsageError(
            f"{run.run_id} left nothing on a branch: what its agents changed is in the workspace (callsheet diff "
            f"{run.run_id}). Only agents with isolation or a worktree leave branches, and runs with --worktree."
        )
    return run.run_id, chosen


@dataclass(slots=True)
class _Work:
    """The merging, and the checkpoints around it."""

    stopped: StoppedRun
    environ: Mapping[str, str]
    before: Checkpoint | None = None
    after: Checkpoint | None = None
    notes: list[str] = field(default_factory=list)
    news: list[Checkpoint] = field(default_factory=list)
    _merger: Merger | None = None
    _checkpoints: Checkpoints | None = None
    _has_looked: bool = False
    _is_changed: bool = False

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        from callsheet.workspace.git import git_place
        from callsheet.workspace.merging import Merger

        place = await git_place(self.stopped.root, self.environ)
        folder, run_id = self.stopped.state / TREES, self.stopped.run.run_id
        self._merger = Merger(place, folder=folder, name=run_id, environ=self.environ, hold=_held_by_nobody)
        async with AsyncExitStack() as stack:
            try:
                opened = await stack.enter_async_context(checkpoints_of(self.stopped, self.environ))
                self._checkpoints = opened[0]
            except (GitRefusedError, CheckpointError, OSError) as error:
                self.notes.append(f"no checkpoint is taken: {said(error)}")
            yield
            if self._checkpoints is not None and self._is_changed:
                self.after = await self._taken(self._checkpoints)

    async def apply(self, branch: Branch) -> Applied:
        from callsheet.workspace.merging import MergeConflictError

        assert self._merger is not None
        if branch.applied_at is not None:
            return Applied(branch=branch, fate="already", why=f"it was applied {branch.applied_at}")
        tip = await self._merger.tip_of(branch.name)
        if tip is None:
            return Applied(branch=branch, fate="gone", why="there is no such branch any more")
        await self._look()
        try:
            files = await self._merger.merge(base=branch.base, tip=tip)
        except MergeConflictError as error:
            return Applied(branch=branch, fate="conflict", why=error.message)
        except (CallsheetError, OSError) as error:
            self._is_changed = True  # a file could not be written, and others are: applied again, the rest follows
            return Applied(branch=branch, fate="conflict", why=said(error))
        if not files:
            return Applied(branch=branch, fate="already", why="the workspace has all of it")
        self._is_changed = True
        return Applied(branch=branch, fate="applied", files=files)

    async def _look(self) -> None:
        """Before the first branch is merged: a checkpoint of what is there, where the last one does not hold that."""
        if self._has_looked or self._checkpoints is None:
            return
        self._has_looked = True
        taken = self._checkpoints.taken
        if taken and not await self._checkpoints.differs(taken[-1].number):
            self.before = taken[-1]
        else:
            self.before = await self._taken(self._checkpoints)

    async def _taken(self, checkpoints: Checkpoints) -> Checkpoint | None:
        try:
            self.news.append(await checkpoints.take())
        except (GitRefusedError, CheckpointError, OSError) as error:
            self.notes.append(f"no checkpoint is taken: {said(error)}")
            return None
        return self.news[-1]

    def number(self, checkpoint: Checkpoint | None) -> int | None:
        return checkpoint.number if checkpoint is not None and self._is_changed else None

    async def note(self, done: Sequence[Applied]) -> None:
        """Writes down what was merged: it is in the workspace now, also for a run that is resumed."""
        agents = {agent for one in done if one.fate == "applied" for agent in one.branch.agents}
        await note(self.stopped, news=self.news, environ=self.environ, rows=[*self._rows(agents)])

    def _rows(self, agents: Iterable[str]) -> Iterable[Row]:
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        rows = {
            each.agent.agent_id: each.agent
            for each in places.recorded_agents(self.stopped.record, self.stopped.run.run_id)
        }
        for agent in agents:
            kept = json.loads(rows[agent].details or "{}")
            kept |= {"applied": at, "worktree": {**(kept.get("worktree") or {}), "merged": True}}
            yield replace(rows[agent], details=json.dumps(kept))


@asynccontextmanager
async def _held_by_nobody(_: Sequence[Path]) -> AsyncGenerator[None]:
    """No agent is at work: the lease says so."""
    yield
