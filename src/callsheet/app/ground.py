"""The ground that a run's agents work on: the workspace, alone or shared, or a worktree of its own (DESIGN 17)."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import anyio

from callsheet.app import places
from callsheet.app.trees import FOLDER as TREES
from callsheet.errors import LeaseHeldError, StoreError, UsageError
from callsheet.groups import lone_error
from callsheet.model.dataclass import dataclass
from callsheet.model.run import RunResult, RunWorktree, WorkspaceUse

Patience: TypeAlias = Callable[[LeaseHeldError], Awaitable[None]]
"""Waits a moment while others hold the workspace, and is told who; raising gives the waiting up."""


_WORKTREES = "worktrees"
_END_WITHIN_S = 60.0
_HASTY_END_WITHIN_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a run wants to stand to others on its workspace.

    Attributes:
        wait_s: How long it waits for others to end; 0 not at all, infinite without an end.
        is_reading: Its agents have tools alone that change nothing: it is in nobody's way, and nobody in its. Only for
            scripts that come with Callsheet.
    """

    use: WorkspaceUse = "alone"
    wait_s: float = 0.0
    is_reading: bool = False


def terms_of(*, share: bool, wait: bool | float | None, worktree: bool) -> Terms:
    """What was asked for, as terms.

    Args:
        share: Work beside others that share the workspace too.
        wait: Seconds to wait for others, True for as long as it takes.
        worktree: Work in a worktree of the run's own.

    Raises:
        UsageError: Two that exclude each other, or a time that is none.
    """
    wait_s = math.inf if wait is True else float(wait or 0)
    if not wait_s >= 0:
        raise UsageError(f"--wait is {wait_s:g}; it is a number of seconds, 0 or more.")
    if worktree and (share or wait_s):
        other = "--share" if share else "--wait"
        raise UsageError(f"--worktree and {other} exclude each other: a worktree of its own is nobody else's.")
    return Terms(use="worktree" if worktree else "share" if share else "alone", wait_s=wait_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where a run's agents work.

    Attributes:
        root: The workspace, or the worktree in its place.
        notes: What people should know about it.
        visible: What lies elsewhere and agents' commands must be able to read.
        finish: To be called with the result when no agent is at work any more; adds what became of the ground.
    """

    root: Path
    notes: tuple[str, ...] = ()
    visible: tuple[Path, ...] = ()
    finish: Callable[[RunResult], Awaitable[RunResult]] | None = None


@asynccontextmanager
async def open_ground(
    root: Path,
    terms: Terms,
    *,
    may_write: bool,
    run_id: str,
    environ: Mapping[str, str],
    patience: Patience | None = None,
) -> AsyncGenerator[Ground]:
    """Makes sure of the ground for as long as the context lasts: holds the workspace's lease, or has a worktree.

    Agents that write nothing need neither; a worktree is made where it was asked for all the same.

    Args:
        root: The workspace.
        terms: What was asked for.
        may_write: Agents may change files.
        run_id: For others to be told, and the name of the worktree.
        environ: The host's.
        patience: Waits a moment while others hold the workspace, where it is to be waited for.

    Raises:
        LeaseHeldError: Others hold it, and the time is up.
        ConfigError: There can be no worktree.
        StoreError: There is no place for lease or worktree.
    """
    state = places.state_folder(root, environ)
    reaped = await places.reap_worktrees(root, folder=state / TREES, environ=environ)
    if terms.use == "worktree":
        folder = state / _WORKTREES
        async with (
            _held(folder, terms, run_id=run_id, patience=patience),  # tells its worktree from those of the dead
            _own_worktree(root, folder, run_id, environ) as ground,
        ):
            yield replace(ground, notes=(*ground.notes, *reaped))
        return
    async with AsyncExitStack() as stack:
        if may_write:
            held = _held(state, terms, run_id=run_id, patience=patience)
            await stack.enter_async_context(held)
        yield Ground(root=root, notes=reaped)


@asynccontextmanager
async def _held(folder: Path, terms: Terms, *, run_id: str, patience: Patience | None) -> AsyncGenerator[None]:
    is_shared = terms.use != "alone"
    lease = places.lease(folder, run_id=run_id, is_shared=is_shared, wait_s=terms.wait_s, patience=patience)
    with lone_error():
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(lease)
            except OSError as fault:
                raise StoreError(
                    f"The lease on the workspace cannot be taken in {folder} ({fault.strerror or fault}): runs that "
                    "write need to know of each other. Make that folder writable."
                ) from None
            yield


@asynccontextmanager
async def _own_worktree(root: Path, folder: Path, run_id: str, environ: Mapping[str, str]) -> AsyncGenerator[Ground]:
    left_behind = _left_behind(folder)
    tree = await places.worktree(root, folder=folder, name=run_id, environ=environ)
    ends: list[RunWorktree] = []

    async def end(within_s: float) -> RunWorktree:
        if not ends:
            ends.append(RunWorktree(changed=True, path=str(tree.path), note="there was no time to look at it"))
            with anyio.move_on_after(within_s, shield=True):
                came = await tree.close()
                left = None if came.folder is None else str(came.folder)
                ends[:] = [
                    RunWorktree(changed=came.changed, branch=came.branch, base=came.base, path=left, note=came.note)
                ]
        return ends[0]

    async def finish(result: RunResult) -> RunResult:
        is_hasty = result.status in {"cancelled", "interrupted"}
        return replace(result, worktree=await end(_HASTY_END_WITHIN_S if is_hasty else _END_WITHIN_S))

    said = f"agents work in a worktree at {tree.path}: HEAD with the uncommitted state, without what git ignores."
    try:
        notes = (said, *(f"{note}." for note in tree.notes), *left_behind)
        yield Ground(root=tree.path, notes=notes, visible=(tree.git_data,), finish=finish)
    finally:
        await end(_HASTY_END_WITHIN_S)


def _left_behind(folder: Path) -> list[str]:
    """A line for the worktrees of runs that are gone and could not tidy up."""
    alive = places.lease_holders(folder)
    dead = sorted(each for each in folder.glob("run_*") if each.name not in alive)
    if not dead:
        return []
    names = ", ".join(str(each) for each in dead[:5])
    return [
        f"worktrees of runs that ended in the middle, or could not keep their changes on a branch, are still there "
        f"({names}): take what you want of them, then git worktree remove --force PATH."
    ]
