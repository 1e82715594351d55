"""`callsheet config`: every setting that would hold for a run here, and where it was said."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from callsheet.cli.streams import quietly, say
from callsheet.views.safe_text import one_line

if TYPE_CHECKING:
    from callsheet.app.shown_settings import ShownSettings
    from callsheet.model.values import JsonValue


@click.command(name="config", short_help="Prints every setting, and where it was said.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), metavar="FILE", help="A run's own config.")
@click.option("--workspace", type=click.Path(path_type=Path), help="Where agents work.  [default: the git root]")
@click.option("--trust", is_flag=True, help="As if what the workspace's own files ask for took effect.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", help="How it is printed.")
def config(*, config_file: Path | None, workspace: Path | None, trust: bool, output: str) -> int:
    """Prints every setting that would hold for a run started here, and where it was said.

    Sources, the later wins: defaults, callsheet.toml (or [tool.callsheet] in pyproject.toml) of the workspace, your own
    config.toml, --config FILE, CALLSHEET_* in the environment; of a run also its flags. What takes no effect is said on
    standard error.

    Exit status: 0, 2 where a file cannot be read or says what cannot hold.
    """
    from callsheet.cli.boundary import guarded

    def work() -> int:
        from callsheet.app.plan import Surroundings
        from callsheet.app.shown_settings import show_settings

        shown = show_settings(Surroundings(), config=config_file, workspace=workspace, trust=trust)
        if output == "json":
            return _printed([json.dumps(shown.public, ensure_ascii=False)])
        say(*(f"note: {one_line(note)}" for note in shown.notes))
        return _printed([*_lines(shown)])

    return guarded(work)


def _printed(lines: list[str]) -> int:
    fault = quietly(sys.stdout, lines)
    if fault is not None:
        say(f"error: it could not be written: {fault.strerror}.")
    return 0 if fault is None else 1


def _lines(shown: ShownSettings) -> Iterator[str]:
    rows = [(one_line(each.key), one_line(_text(each.value), 200), one_line(each.source)) for each in shown.settings]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    yield f"workspace: {one_line(shown.workspace)}"
    for key, value, source in rows:
        yield f"{key:<{widths[0]}}  {value:<{min(widths[1], 40)}}  {source}"


def _text(value: JsonValue) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
