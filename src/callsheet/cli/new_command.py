"""`callsheet new`: a workflow to begin from."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="new", short_help="Makes a workflow to begin from.")
@click.argument("name")
@click.option("--user", "is_user", is_flag=True, help="In your own ~/.claude/workflows, for all your repositories.")
@click.option("--force", "is_forced", is_flag=True, help="Replace a file that is there.")
@click.option("--workspace", type=click.Path(path_type=Path), help="For which.  [default: the git root]")
def new(name: str, *, is_user: bool, is_forced: bool, workspace: Path | None) -> int:
    """Makes a commented workflow called NAME in .claude/workflows. It runs as it is, and callsheet check finds nothing
    in it.

    Exit status: 0, 2 where it cannot be made.
    """  # noqa: D205 - one sentence, as click shows it
    from callsheet.cli.boundary import guarded

    return guarded(lambda: _new(name, workspace, is_user=is_user, is_forced=is_forced))


def _new(name: str, workspace: Path | None, *, is_user: bool, is_forced: bool) -> int:
    from callsheet.app.shelving import begun
    from callsheet.cli.save_command import print_shelved, target

    return print_shelved(begun(name, target(workspace, is_user=is_user, is_forced=is_forced)), verb="made")
