"""`callsheet do`: a task in plain words, and one answer to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from callsheet.authoring.briefing import SIZES
from callsheet.authoring.doing import DO
from callsheet.cli.run_options import RUN_OPTIONS, with_options, without
from callsheet.cli.status import COMPLETED, FAILED
from callsheet.cli.streams import say
from callsheet.errors import CallsheetError
from callsheet.model.call import EFFORTS
from callsheet.views.safe_text import visible

if TYPE_CHECKING:
    from callsheet.app.doing import DoOrder
    from callsheet.model.run import RunResult


@click.command(name="do", short_help="Does a task in plain words with workflows that a model writes; answers.")
@click.argument("words", metavar="TASK|-", nargs=-1, required=True)
@with_options(
    click.option(
        "--size",
        type=click.Choice(list(SIZES)),
        help="Agents that each workflow may have: 5, 25, 150, or any number.  [default: medium]",
    ),
    click.option(
        "--rounds", type=int, default=5, metavar="N", help="Workflows at most, one after the other.  [default: 5]"
    ),
    click.option("--model", metavar="MODEL", help="The orchestrator's: alias or id.  [default: opus]"),
    click.option(
        "--effort",
        type=click.Choice(EFFORTS, case_sensitive=False),
        help="How hard it thinks, where the model has it.  [default: xhigh]",
    ),
    click.option("--yes", "-y", is_flag=True, help="Run the workflows without asking about each."),
    click.option("--save-as", metavar="NAME", help="Keep the last script that it wrote, as callsheet /NAME."),
    click.option("--user", "is_user", is_flag=True, help="With --save-as: in your own ~/.claude/workflows."),
    click.option("--force", is_flag=True, help="With --save-as: replace a file that is there."),
    click.option("--json", "as_json", is_flag=True, help="As --output json."),
    *without(RUN_OPTIONS, "args_text", "pairs", "model", "config_from"),
)
def do(**flags: Any) -> int:
    """A model reads the workspace and does TASK: it writes a workflow, agents carry it out, it reads what came of that
    and goes on, until it answers. - reads the task from standard input.

    Each script is checked, rehearsed, and at a terminal shown to you first: run it, run all that come, or decline it,
    with words that the model goes by. --yes, --headless, CI and programs are not asked. --budget holds for all of it,
    the model's own use too. The answer goes to standard output: what it rests on is cited by agent, and where agents
    contradict each other it says so, and why one was taken.

    All of it is one run: callsheet resume goes on with one that was interrupted or ran out of budget.

    Exit status: as callsheet run. Without an answer: 4 the budget is spent, 5 you declined a workflow, else 1.
    """  # noqa: D205 - one sentence, as click shows it
    from callsheet.cli.boundary import guarded

    return guarded(lambda: _do(flags))


def _do(flags: dict[str, Any]) -> int:
    from callsheet.app.doing import order_of
    from callsheet.app.plan import Surroundings
    from callsheet.cli.do_result import TaskPrinter
    from callsheet.cli.job import Told
    from callsheet.cli.run_command import Manner, RunCommand

    flags["output"] = "json" if flags["as_json"] else flags["output"]
    _check(flags)
    order, around = _order(flags), Surroundings()
    printer = TaskPrinter(flags["output"], is_quiet=flags["quiet"])
    manner = Manner(
        output=flags["output"],
        is_quiet=flags["quiet"],
        is_headless=flags["headless"],
        fail_on=flags["fail_on"],
        is_detached=flags["detach"] or flags["watch"],
        is_watched=flags["watch"],
        told=Told.by_flags(flags, os.environ),
        is_agreed=flags["yes"],
    )
    status = RunCommand(lambda: order_of(order, around), script=DO, manner=manner, printer=printer).run()
    if flags["save_as"] is not None and printer.result is not None:
        status = _save(printer.result, printer.record, flags) or status
    return status


def _check(flags: Mapping[str, Any]) -> None:
    """Sees that flags go together.

    Raises:
        UsageError: They do not.
    """
    from callsheet.app.shelving import checked_name
    from callsheet.errors import UsageError

    if flags["save_as"] is None:
        return
    checked_name(flags["save_as"])
    if flags["detach"] or flags["watch"]:
        raise UsageError("--save-as does not go with --detach and --watch. Later: callsheet save RUN --as NAME.")


def _order(flags: Mapping[str, Any]) -> DoOrder:
    from callsheet.app.doing import DoOrder
    from callsheet.cli.author_command import task_of
    from callsheet.cli.order import order_of as run_order_of

    none = {"script": "", "args_text": None, "pairs": (), "words": (), "model": None, "config_from": None}
    return DoOrder(
        task=task_of(flags["words"]),
        run=run_order_of({**flags, **none}),
        size=flags["size"],
        workflows=flags["rounds"],
        model=flags["model"],
        effort=flags["effort"],
    )


def _save(result: RunResult, record: str | None, flags: Mapping[str, Any]) -> int:
    """Keeps the last script that was run as a workflow with a name; says on standard error where it is."""
    from callsheet.app.shelving import saved
    from callsheet.cli.reading import opened_run, where
    from callsheet.cli.save_command import shelved_lines, target

    place = target(flags["workspace"], is_user=flags["is_user"], is_forced=flags["force"])
    try:
        with opened_run(where(record, flags["workspace"]), result.run_id, as_written=True) as (runs, run):
            say(*shelved_lines(saved(runs, run, place, name=flags["save_as"]), verb="saved"))
    except CallsheetError as fault:
        say(f"error: {visible(fault.message)}")
        return FAILED
    return COMPLETED
