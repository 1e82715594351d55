"""`callsheet init`: a repository is made ready for workflows."""

from __future__ import annotations

from pathlib import Path

import click

_SAID = {
    "made": "made",
    "there": "there already",
    "updated": "brought up to date",
    "kept": "kept as it is (it is not what would be made)",
}


@click.command(name="init", short_help="Makes a repository ready for workflows.")
@click.option("--force", "is_forced", is_flag=True, help="Replace an editor file that was changed.")
@click.option("--workspace", type=click.Path(path_type=Path), help="Which.  [default: the git root]")
def init(*, is_forced: bool, workspace: Path | None) -> int:
    """Makes .claude/workflows with the types that editors complete from, and callsheet.toml with nothing set. What is
    there stays.

    Exit status: 0, 2 where something cannot be made.
    """  # noqa: D205 - one sentence, as click shows it
    from callsheet.cli.boundary import guarded

    return guarded(lambda: _init(workspace, is_forced=is_forced))


def _init(workspace: Path | None, *, is_forced: bool) -> int:
    from callsheet.app.beginning import prepare
    from callsheet.app.plan import Surroundings
    from callsheet.cli.reading import printed
    from callsheet.views.safe_text import one_line

    around = Surroundings()
    found = prepare(start=around.start, environ=around.environ, workspace=workspace, is_forced=is_forced)
    lines = [f"{_SAID[each.state]}: {one_line(str(each.path))}" for each in found]
    return printed([*lines, "callsheet new NAME makes a workflow, callsheet list shows what can be run."])
