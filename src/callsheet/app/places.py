"""The places of a run, made of the classes of workspace and store: folder, lease, worktrees, record."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import to_thread

from callsheet.app.naming import LAST, find_run
from callsheet.errors import ConfigError, GitRefusedError, LeaseHeldError, RunGoingError, StoreError
from callsheet.groups import lone_error
from callsheet.model.outcome import Usage
from callsheet.model.past import Past, PastAgent
from callsheet.programs import host_path

if TYPE_CHECKING:
    from callsheet.model.conversation import SpokenTurn
    from callsheet.model.past import Past
    from callsheet.ports import Store
    from callsheet.store.place import StoreChoice
    from callsheet.store.reader import AgentRecord, RunRecord, RunSummary
    from callsheet.workspace.lease import LeaseMode
    from callsheet.workspace.root import Workspace
    from callsheet.workspace.worktree import Worktree

SCRIPTS = "scripts"
"""Below the state folder: scripts that came as text, and may be edited there."""


def workspace(start: Path, explicit: Path | None) -> Workspace:
    """Where agents work.

    Raises:
        UsageError: The folder does not exist.
    """
    from callsheet.workspace.root import find_workspace

    return find_workspace(start, explicit)


def state_folder(root: Path, environ: Mapping[str, str]) -> Path:
    """Where runs on a workspace know of each other.

    Raises:
        StoreError: There is no place for it.
    """
    from callsheet.store.place import state_folder as folder

    return folder(root, environ, avoid=_why_not_inside(root, environ))


def record_of(root: Path, explicit: str | None, environ: Mapping[str, str]) -> StoreChoice:
    """Where the record of a workspace lies (FORMATS 4).

    Raises:
        StoreError: No place is fit for it.
    """
    from callsheet.store.place import choose_store_path

    named = Path(explicit) if explicit is not None else None
    return choose_store_path(root, named, environ, avoid=_why_not_inside(root, environ))


def record_to_read(root: Path, explicit: str | None, environ: Mapping[str, str]) -> Path:
    """Where the record of a workspace lies, if there is one; makes nothing."""
    from callsheet.store.place import find_store_path

    named = Path(explicit) if explicit is not None else None
    return find_store_path(root, named, environ, avoid=_why_not_inside(root, environ))


def live_runs(root: Path, environ: Mapping[str, str]) -> frozenset[str]:
    """The runs of a workspace whose process is there; makes and locks nothing."""
    return frozenset(run for folder in state_folders(root, environ) for run in living_in(folder))


def state_folders(root: Path, environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Where the state folder of a workspace can lie; makes nothing."""
    from callsheet.store.place import state_folders as folders

    return folders(root, environ)


def in_state(root: Path, environ: Mapping[str, str], name: str) -> Path:
    """Where something of the state folder is, or would be looked for first; makes nothing."""
    found = [folder / name for folder in state_folders(root, environ)]
    if _why_not_inside(root, environ) is not None:
        found.reverse()
    return next((each for each in found if os.path.lexists(each)), found[0])


def living_in(folder: Path) -> frozenset[str]:
    """The runs that a state folder says are alive; makes and locks nothing."""
    from callsheet.workspace.lease import living

    return living(folder / RUNNING)


def patch_of(path: str, record: Path, root: Path, environ: Mapping[str, str]) -> Path | None:
    """The file of a patch that a record names, where it is one that Callsheet keeps; None for any other file.

    A repository could bring a record along that names a file of the user's.
    """
    from callsheet.app.trees import PATCHES

    folders = [folder / PATCHES for folder in (*state_folders(root, environ), record.parent)]
    try:
        file = Path(path).resolve(strict=True)
        is_ours = any(file.is_relative_to(folder.resolve()) for folder in folders)
        return file if is_ours and file.is_file() else None
    except (OSError, ValueError):
        return None


def _why_not_inside(root: Path, environ: Mapping[str, str]) -> str | None:
    """Why what agents must not see cannot lie in the workspace; None where it can.

    Looks only at what is installed, so that all runs on a machine come to the same place at no cost: bubblewrap hides
    any folder, Landlock none inside of one that may be written.
    """
    import shutil

    if shutil.which("bwrap", path=host_path(environ.get("PATH"), outside=(root,))) is not None:
        return None
    from callsheet.confinement.landlock import OLDEST_ABI, landlock_abi

    if landlock_abi() < OLDEST_ABI:
        return None
    return "cannot be hidden from agents' commands: Landlock is all that holds them here (install bubblewrap)"


def recorded_run(record: Path, name: str | None, root: Path) -> RunRecord | None:
    """A run of a record by its id or the beginning of one; without a name, or for `last`, the workspace's last one.

    None where the workspace has none.

    Raises:
        NotFoundError: No run of the record is called so.
        UsageError: Several begin so.
        StoreError: There is no record, or it cannot be read.
    """
    from callsheet.store.record import open_record

    with open_record(record, is_checked=False) as opened:
        if name is None or name == LAST:
            run_id = opened.last_run(str(root))
        else:
            run_id = find_run(name, opened.runs, record=record).run_id
        return None if run_id is None else opened.run(run_id)


def conversations(record: Path, continues: Mapping[str, tuple[str, str]]) -> Mapping[str, tuple[SpokenTurn, ...]]:
    """What was said in conversations of earlier runs that others go on with, by their names there.

    Raises:
        NotFoundError: The record has no such turn (any more).
        StoreError: There is no record, or it cannot be read.
    """
    from callsheet.store.spoken import read_conversation

    return {name: read_conversation(record, *at) for name, at in continues.items()}


def recorded_names(record: Path) -> tuple[str, ...]:
    """The names of the newest runs of a record.

    Raises:
        StoreError: There is no record, or it cannot be read.
    """
    from callsheet.store.reader import list_runs

    return tuple(run.run_id for run in list_runs(record, limit=100))


def recorded_agents(record: Path, run_id: str) -> tuple[AgentRecord, ...]:
    """The agents of a run.

    Raises:
        StoreError: There is no record, or it cannot be read.
    """
    from callsheet.store.reader import read_agents

    return read_agents(record, run_id)


def last_seq(record: Path, run_id: str) -> int:
    """The number of a run's last event; 0 without one.

    Raises:
        StoreError: There is no record, or it cannot be read.
    """
    from callsheet.store.reader import read_last_seq

    return read_last_seq(record, run_id)


def past(record: Path, run_id: str, *, root: Path, environ: Mapping[str, str]) -> Past:
    """What is on record of a run that goes on; a damaged record is mended first, unless others write it now (R06).

    Raises:
        StoreError: The record, or the run in it, is not there (any more), or cannot be read.
    """
    from callsheet.store.mending import mended
    from callsheet.store.past import read_past

    def is_alone() -> bool:
        return lease_holders(state_folder(root, environ) / RUNNING) <= {run_id}

    note = mended(record, is_alone=is_alone)
    found = read_past(record, run_id)
    if found is None:
        raise StoreError(f"The record {record}: {run_id} is not in it any more.", kind="config")
    notes = found.notes if note is None else (*found.notes, note)
    return replace(found, agents=tuple(_with_lost(agent) for agent in found.agents), notes=notes)


def _with_lost(agent: PastAgent) -> PastAgent:
    """An agent whose end is not on record, with what requests that were cut off may have cost (CONTRACT R01)."""
    if not agent.lost:
        return agent
    from callsheet.pricing.prices import cost_usd

    used = agent.outcome.usage
    for model, tokens in agent.lost:
        cost = None if model is None else cost_usd(model, input_tokens=0, output_tokens=tokens)
        used += Usage(output_tokens=tokens, cost_usd=cost, estimated_usd=cost or 0.0)
    return replace(agent, outcome=replace(agent.outcome, usage=used))


OFFERED_FOR = timedelta(days=14)
"""A run that was interrupted longer ago is not spoken of any more; it can be resumed all the same."""


def found_before(record: Path, root: Path, environ: Mapping[str, str], *, run_id: str) -> tuple[str, ...]:
    """What a run that begins finds in its record, in lines: damage, which is mended unless others write it now (R06).

    And runs that ended early, by themselves or with their process. One whose process is gone says nothing of its end:
    it is known by nobody holding it any more.
    """
    from callsheet.store.mending import mended
    from callsheet.store.reader import unfinished_runs

    since = (datetime.now(UTC) - OFFERED_FOR).isoformat()

    def going_on() -> frozenset[str]:
        return lease_holders(state_folder(root, environ) / RUNNING)

    try:
        if not record.is_file():
            return ()
        note = mended(record, is_alone=lambda: going_on() <= {run_id})
        found = unfinished_runs(record, since=since)
        held = going_on() if found else frozenset()
    except (StoreError, OSError):
        return ()  # whoever opens the record next says it better
    notes = () if note is None else (note,)
    left = [run for run in found if run.run_id not in held]
    return (*notes, _left_line(left)) if left else notes


def _left_line(left: Sequence[RunSummary]) -> str:
    newest, more = left[0], len(left) - 1
    begun = f"begun {newest.started_at[:16].replace('T', ' ')} UTC"
    which = f"{newest.run_id} ({begun if newest.workflow is None else f'{newest.workflow}, {begun}'})"
    others = "" if not more else f", and {more} more before it,"
    return f"{which}{others} ended early: callsheet resume {newest.run_id}"


async def mark_files(root: Path, paths: Sequence[str]) -> Mapping[str, str]:
    """What files of the workspace look like now, for a later resume (CONTRACT R03)."""
    from callsheet.workspace.marks import marks_of

    return await to_thread.run_sync(marks_of, root, paths)


def changed_since(past: Past, root: Path, *, script: str | None) -> frozenset[str]:
    """Files that anyone else changed since a run stopped, as far as its recorded agents read or changed them.

    Where one of those ran commands, which may have read anything, all files count.

    Args:
        past: The run.
        root: Where its agents work.
        script: The file of its script, which people edit to resume with it.
    """
    from callsheet.engine.effects import ran_commands
    from callsheet.workspace.marks import changed_since, new_since

    answered = sorted((agent for agent in past.agents if agent.has_answer), key=lambda agent: agent.ended_at or "")
    marks = {path: mark for agent in answered for path, mark in agent.marks.items()}
    changed = changed_since(root, marks, past.last_ms)
    if any(ran_commands(agent) for agent in answered):
        changed |= new_since(root, past.last_ms, but=[] if script is None else [Path(script)])
    return changed


RUNNING = "running"
"""Where in the state folder every run that goes on is known, whether its agents may write or not."""


@asynccontextmanager
async def going(root: Path, *, run_id: str, environ: Mapping[str, str]) -> AsyncGenerator[None]:
    """Within it others know that this run goes on, here: nobody resumes it meanwhile (CONTRACT R06).

    Raises:
        RunGoingError: It goes on already.
        StoreError: There is no place to say so.
    """
    folder = state_folder(root, environ) / RUNNING
    with lone_error():
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(lease(folder, run_id=run_id, is_shared=True, wait_s=0.0, patience=None))
            except LeaseHeldError as held:
                raise RunGoingError(
                    f"{run_id} is still going: {_who(held, run_id)}. Let it end, or stop it "
                    f"(callsheet stop {run_id}), then resume it."
                ) from None
            except OSError as fault:
                raise StoreError(
                    f"That the run goes on cannot be noted in {folder} ({fault.strerror or fault}). Make that folder "
                    "writable."
                ) from None
            yield


def _who(held: LeaseHeldError, run_id: str) -> str:
    return next((line for line in held.holders if line.startswith(f"{run_id} ")), "in another process")


def open_record(path: Path) -> AbstractAsyncContextManager[Store]:
    """Opens a record for writing.

    Raises:
        StoreError: It cannot be opened.
    """
    from callsheet.store.sqlite import open_store

    return open_store(path)


def lease(
    folder: Path,
    *,
    run_id: str,
    is_shared: bool,
    wait_s: float,
    patience: Callable[[LeaseHeldError], Awaitable[None]] | None,
) -> AbstractAsyncContextManager[object]:
    """The workspace's lease, of those that its state folder knows of (DESIGN 17)."""
    from callsheet.workspace.lease import open_lease

    mode: LeaseMode = "shared" if is_shared else "exclusive"
    return open_lease(folder, run_id=run_id, mode=mode, wait_s=wait_s, patience=patience)


def lease_holders(folder: Path) -> frozenset[str]:
    """The runs that hold a lease there now."""
    from callsheet.workspace.lease import holders

    return frozenset(holder.run_id for holder in holders(folder))


async def worktree(root: Path, *, folder: Path, name: str, environ: Mapping[str, str]) -> Worktree:
    """A worktree of a run's own.

    Raises:
        ConfigError: It cannot be made; says why.
    """
    from callsheet.workspace.errors import WorkspacePathError
    from callsheet.workspace.worktree import Worktree

    try:
        return await Worktree.make(root, folder=folder, name=name, environ=environ)
    except (GitRefusedError, WorkspacePathError) as fault:
        why = fault.message
    except OSError as fault:
        why = str(fault)
    raise ConfigError(f"--worktree: the run's worktree cannot be made: {why}")


async def reap_worktrees(root: Path, *, folder: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Takes away agents' worktrees of runs that died; lines on what was."""
    if not await to_thread.run_sync(folder.is_dir):  # no agent ever had one here
        return ()
    from callsheet.workspace.journal import reap

    def recorded(run_id: str) -> Collection[str] | None:
        from callsheet.model.outcome import AGENT_STATUSES
        from callsheet.store.reader import read_agents, read_run

        try:
            record = record_of(root, None, environ).path
            if read_run(record, run_id) is None:
                return None
            ended = {
                found.agent.agent_id for found in read_agents(record, run_id) if found.agent.status in AGENT_STATUSES
            }
        except StoreError:
            return None
        return ended

    return await reap(root, folder, environ, recorded=recorded)
