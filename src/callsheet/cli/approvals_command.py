"""`callsheet approvals`: which workflows run without a question, and no longer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from callsheet.cli.boundary import guarded
from callsheet.cli.reading import json_line, json_option, printed
from callsheet.cli.status import COMPLETED, FAILED
from callsheet.cli.streams import say
from callsheet.views.safe_text import one_line

if TYPE_CHECKING:
    from callsheet.permissions.approvals import Approval


@click.group(
    name="approvals", invoke_without_command=True, short_help="Lists and revokes what runs without being asked about."
)
@json_option
@click.pass_context
def approvals(ctx: click.Context, as_json: bool) -> int:
    """Which workflows run at a terminal without a question, since you said so before a run of them.

    Each holds for one name in one folder, for just the script that you saw and the terms that you saw it under. Without
    a command: as `list`.
    """
    return guarded(lambda: _list(as_json=as_json)) if ctx.invoked_subcommand is None else COMPLETED


@approvals.command(name="list", short_help="Lists them.")
@json_option
def list_approvals(as_json: bool) -> int:
    """All of them, of every folder."""
    return guarded(lambda: _list(as_json=as_json))


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """For completion: the names that are kept. It never says anything."""
    from callsheet.app.approvals import list_approvals
    from callsheet.errors import CallsheetError

    try:
        names = sorted({each.workflow for each in list_approvals()})
    except (CallsheetError, OSError):
        return []
    return [name for name in names if name.startswith(incomplete) and one_line(name) == name]


@approvals.command(name="revoke", short_help="Asks again from now on.")
@click.argument("name", required=False, shell_complete=_names)
@click.option("--all", "is_all", is_flag=True, help="Every workflow, instead of NAME.")
@click.option("--folder", type=click.Path(path_type=Path), help="Only what holds in this one.  [default: all folders]")
@json_option
def revoke(name: str | None, is_all: bool, folder: Path | None, as_json: bool) -> int:
    """You are asked again before the workflow NAME runs.

    Exit status: 0, 1 nothing of that name is kept, 2 wrong usage.
    """
    if (name is None) == (not is_all):
        raise click.UsageError("Name the workflow, or say --all.")
    return guarded(lambda: _revoke(name, folder, as_json=as_json))


def _list(*, as_json: bool) -> int:
    from callsheet.app.approvals import approval_json, list_approvals

    found = list_approvals()
    if as_json:
        return printed([json_line({"approvals": [approval_json(each) for each in found]})], is_json=True)
    if not found:
        return printed(["Nothing runs without a question: before a run at a terminal you are asked."])
    return printed(line for each in found for line in _lines(each))


def _lines(each: Approval) -> Iterator[str]:
    when = f"{each.at[:16].replace('T', ' ')} UTC"
    yield f"{one_line(each.workflow)} in {one_line(each.folder)}"
    yield f"  approved {one_line(when)}: script {one_line(each.sha256[:12])}, {one_line(', '.join(each.terms))}"


def _revoke(name: str | None, folder: Path | None, *, as_json: bool) -> int:
    from callsheet.app.approvals import approval_json, revoke_approvals

    gone = revoke_approvals(name, folder=folder)
    missing = FAILED if name is not None and not gone else COMPLETED
    if as_json:
        return printed([json_line({"revoked": [approval_json(each) for each in gone]})], is_json=True) or missing
    if missing:
        say(f"error: nothing is kept of {one_line(name or '')}. What is kept: callsheet approvals")
        return missing
    lines = [f"{one_line(each.workflow)} in {one_line(each.folder)} is asked about again." for each in gone]
    return printed(lines or ["There was nothing to revoke."])
