"""The Python API of what was run: `callsheet.runs()`, `recorded("last")`, `replay("last")`, `apply("last")`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app.naming import LAST
from callsheet.app.records import Listed, Where, open_runs
from callsheet.app.retelling import retold
from callsheet.model.replayed import Ignorable, ReplayResult
from callsheet.model.run import RunResult

if TYPE_CHECKING:
    from callsheet.app.applying import RunApplied


def runs(
    *, limit: int | None = None, workspace: str | PathLike[str] | None = None, store: str | PathLike[str] | None = None
) -> tuple[Listed, ...]:
    """The runs of a workspace, newest first. Only reads: also while runs are at work, and where nothing can be written.

    Args:
        limit: At most so many; None for all.
        workspace: Whose; None for the one around the current folder.
        store: The record; None for that of the workspace.

    Raises:
        UsageError: There is no such workspace.
        StoreError: There is no record, or it cannot be read.
    """
    with open_runs(_where(workspace, store)) as found:
        return found.listed(limit=-1 if limit is None else limit)


def recorded(
    run: str = LAST, *, workspace: str | PathLike[str] | None = None, store: str | PathLike[str] | None = None
) -> RunResult:
    """How a run ended, as it was told then; of one that has not ended what is recorded so far.

    Args:
        run: Its id, the beginning of one, or `last`.
        workspace: Whose; None for the one around the current folder.
        store: The record; None for that of the workspace.

    Raises:
        NotFoundError: There is no such run.
        UsageError: There is no such workspace, or several runs begin so.
        StoreError: There is no record, or it cannot be read.
    """
    with open_runs(_where(workspace, store)) as found:
        return retold(found.record, found.find(run))


async def replay(
    run: str = LAST,
    *,
    script: str | PathLike[str] | None = None,
    ignore: Collection[Ignorable] = (),
    workspace: str | PathLike[str] | None = None,
    store: str | PathLike[str] | None = None,
) -> ReplayResult:
    """Runs a recorded run again from its record alone: no agent is asked, nothing costs, no file is touched.

        result = await callsheet.replay("last", script="review.js")
        assert result.status == "same", result.differences

    Args:
        run: Its id, the beginning of one, `last`, or a file of `callsheet export`.
        script: A script to be held against the record, by path or name; None for the recorded one.
        ignore: What may be other than recorded: `"labels"`, `"phases"`, `"limits"`, `"logs"`, `"result"`.
        workspace: Whose record; None for the one around the current folder. It is only looked for the record.
        store: The record; None for that of the workspace.

    Returns:
        What it came to; a difference is no exception. Cancelling ends it at once.

    Raises:
        NotFoundError: There is no such run, or no such script.
        UsageError: Several runs begin so; the file is no exported run.
        ScriptRefusedError: The script cannot be run.
        StoreError: The record cannot be read.
        SandboxError: The sandbox does not start.
    """
    from callsheet.app.plan import Surroundings
    from callsheet.app.replaying import ReplayOrder
    from callsheet.app.replaying import replay as run_again

    order = ReplayOrder(
        run=run, script=None if script is None else fspath(script), ignore=ignore, where=_where(workspace, store)
    )
    return await run_again(order, Surroundings())


async def apply(
    run: str = LAST,
    *,
    agents: Sequence[str] = (),
    workspace: str | PathLike[str] | None = None,
    store: str | PathLike[str] | None = None,
) -> RunApplied:
    """Merges what agents of a run left on branches into the files of its workspace; what is uncommitted there stays.

    Args:
        run: Its id, the beginning of one, or `last`. It goes on no more.
        agents: Only what these left, by id, number or label; all without it.
        workspace: Whose; None for the one around the current folder.
        store: The record; None for that of the workspace.

    Returns:
        What became of each branch; `is_whole` where all of it is in the workspace.

    Raises:
        NotFoundError: There is no such run or agent.
        RunGoingError: The run goes on.
        LeaseHeldError: Others work in the workspace.
        UsageError: Nothing lies on a branch; there is no such workspace.
        GitRefusedError: Git would not.
        StoreError: There is no record, or it cannot be read or written.
    """
    from callsheet.app.applying import ApplyOrder, apply_run
    from callsheet.app.plan import Surroundings

    where = _where(workspace, store)
    order = ApplyOrder(run=run, agents=tuple(agents), workspace=where.workspace, store=where.store)
    return await apply_run(order, Surroundings())


def _where(workspace: str | PathLike[str] | None, store: str | PathLike[str] | None) -> Where:
    return Where(
        store=None if store is None else fspath(store), workspace=None if workspace is None else Path(workspace)
    )
