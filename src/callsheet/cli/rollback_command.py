"""`callsheet rollback`: the workspace as it was before a run, or at one of its checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from callsheet.cli.streams import quietly, say
from callsheet.views.safe_text import one_line

if TYPE_CHECKING:
    from callsheet.app.rollback import RollbackOrder, RolledBack

_SHOWN = 20


@click.command(name="rollback", short_help="Brings the workspace back to how it was before a run, or during it.")
@click.argument("run", metavar="RUN")
@click.option("--to", metavar="N", type=click.IntRange(min=0), default=0, help="The checkpoint.  [default: 0]")
@click.option("--agent", metavar="ID", help="Undo only what this agent changed.")
@click.option("--even-changed", is_flag=True, help="Also files that were changed since; they are kept in a checkpoint.")
@click.option("--workspace", type=click.Path(path_type=Path), help="Where agents worked.  [default: the git root]")
@click.option("--store", metavar="PATH", help="Where the record is.  [default: .callsheet/callsheet.db]")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", help="How the answer is printed.")
def rollback(
    run: str,
    *,
    to: int,
    agent: str | None,
    even_changed: bool,
    workspace: Path | None,
    store: str | None,
    output: str,
) -> int:
    """Brings the files of the workspace back to a checkpoint of a run that goes on no more.

    Checkpoint 0 is the state before the run, everything uncommitted and untracked with it. What git ignores stays as it
    is, and so do git's index, HEAD and branches. Agents whose changes were taken back run again when the run is
    resumed. What is there now is kept in a checkpoint as well: rollback --to leads back to it.

    With --agent only what that agent changed is undone: all of it, or nothing where somebody else has changed one of
    the same files since, or where it is not known how a file was before.

    Exit status: 0 all is as it was, 1 files were changed since (nothing was done) or could not be restored, 2 wrong
    usage.
    """
    from callsheet.app.rollback import RollbackOrder
    from callsheet.cli.boundary import guarded
    from callsheet.errors import UsageError

    def refuse() -> int:
        raise UsageError(
            "--agent goes with neither --to nor --even-changed: it undoes one agent's changes, as they are."
        )

    if agent is not None and (to or even_changed):
        return guarded(refuse)
    order = RollbackOrder(run=run, to=to, agent=agent, even_changed=even_changed, workspace=workspace, store=store)
    return guarded(lambda: _rollback(order, output))


def _rollback(order: RollbackOrder, output: str) -> int:
    import json
    from functools import partial

    import anyio

    from callsheet.app.plan import Surroundings
    from callsheet.app.rollback import roll_back
    from callsheet.errors import CheckpointError

    try:
        done = anyio.run(partial(roll_back, order, Surroundings()))
    except CheckpointError as fault:
        if fault.paths and order.agent is None:
            raise CheckpointError(
                f"{fault.message} Or pass --even-changed: what is there now is kept in a checkpoint first.",
                paths=fault.paths,
            ) from None
        raise
    lines = [*_lines(done)] if output == "text" else [json.dumps(done.public)]
    fault_of_output = quietly(sys.stdout, lines)
    if fault_of_output is not None:
        say(f"error: it could not be written: {fault_of_output.strerror}.")
    return 0 if not done.restored.left and fault_of_output is None else 1


def _lines(done: RolledBack) -> Iterator[str]:
    restored = done.restored
    yield from _some("restored", restored.written)
    yield from _some("removed", restored.removed)
    yield from (f"left {one_line(path)}: {one_line(why)}" for path, why in restored.left)
    if done.reverted:
        yield f"run again on callsheet resume {done.run_id}: {', '.join(done.reverted)}"
    back = done.after - 1 if done.before is None else done.before
    if done.agent is None:
        yield f"the workspace is as at checkpoint {done.to} of {done.run_id}"
    else:
        yield f"what {done.agent} of {done.run_id} changed is undone"
    yield f"back to what was there: callsheet rollback {done.run_id} --to {back}"


def _some(what: str, paths: tuple[str, ...]) -> Iterator[str]:
    yield from (f"{what} {one_line(path)}" for path in paths[:_SHOWN])
    if len(paths) > _SHOWN:
        yield f"{what} {len(paths) - _SHOWN} more"
