"""`callsheet apply`: what agents left on branches, merged into the workspace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from callsheet.cli.reading import RUN_HELP, json_line, printed, record_options
from callsheet.cli.status import FAILED
from callsheet.views.figures import count
from callsheet.views.safe_text import one_line

if TYPE_CHECKING:
    from callsheet.app.applying import Applied, ApplyOrder, RunApplied

_SHOWN = 20


@click.command(name="apply", short_help="Merges what agents left on branches into the workspace.", epilog=RUN_HELP)
@click.argument("run", metavar="RUN")
@click.argument("agents", metavar="[AGENT]...", nargs=-1)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", help="How the answer is printed.")
@record_options
def apply(run: str, agents: tuple[str, ...], *, output: str, store: str | None, workspace: Path | None) -> int:
    """Merges what agents of a run left on branches of their worktrees into the files of the workspace.

    All of them, or those of the agents that are named, one after the other. What is uncommitted in the workspace stays:
    a branch that does not fit it is a conflict, nothing of it is written, and the others are merged all the same.
    Branches, index and HEAD stay as they are. A checkpoint is taken before: callsheet rollback RUN --to N leads back.

    Exit status: 0 all of it is in the workspace, 1 a branch was not merged, 2 wrong usage, or nothing is on a branch.
    """
    from callsheet.app.applying import ApplyOrder
    from callsheet.cli.boundary import guarded

    order = ApplyOrder(run=run, agents=agents, workspace=workspace, store=store)
    return guarded(lambda: _apply(order, is_json=output == "json"))


def _apply(order: ApplyOrder, *, is_json: bool) -> int:
    from functools import partial

    import anyio

    from callsheet.app.applying import apply_run
    from callsheet.app.plan import Surroundings

    done = anyio.run(partial(apply_run, order, Surroundings()))
    status = printed([json_line(done.public)] if is_json else list(_lines(done)), is_json=is_json)
    return status or (0 if done.is_whole else FAILED)


def _lines(done: RunApplied) -> Iterator[str]:
    for one in done.branches:
        yield from _branch_lines(one)
    yield from (f"note: {one_line(each, 400)}" for each in done.notes)
    if any(one.fate == "applied" for one in done.branches) and done.before is not None:
        yield f"back to what was there: callsheet rollback {done.run_id} --to {done.before}"
    if any(one.fate == "conflict" for one in done.branches):
        yield "what does not fit is still on its branch: git merge it by hand, or change the workspace and apply again"


def _branch_lines(one: Applied) -> Iterator[str]:
    who = ", ".join(map(one_line, one.branch.agents)) or "the run"
    name = f"{who} ({one_line(one.branch.name)})"
    match one.fate:
        case "applied":
            yield f"applied {name}: {count(len(one.files), 'file')}"
            yield from (f"  {one_line(path)}" for path in one.files[:_SHOWN])
            if len(one.files) > _SHOWN:
                yield f"  {len(one.files) - _SHOWN} more"
        case "already":
            yield f"nothing to do for {name}: {one_line(one.why or '')}"
        case "conflict":
            yield f"conflict {name}: {one_line(one.why or '', 400)}"
        case "gone":
            yield f"gone {name}: {one_line(one.why or '')}"
