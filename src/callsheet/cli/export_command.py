"""`callsheet export`: one file with everything of a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from callsheet.cli.reading import RUN_HELP, opened_run, record_options, run_argument, where
from callsheet.cli.streams import say, silence
from callsheet.views.safe_text import visible

if TYPE_CHECKING:
    from callsheet.app.records import Where


@click.command(name="export", short_help="Writes everything of a run into one file.", epilog=RUN_HELP)
@run_argument
@click.option("--output", "-o", metavar="FILE|-", help="The file; - for standard output.  [default: RUN.json]")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@record_options
def export(run: str, *, output: str | None, force: bool, store: str | None, workspace: Path | None) -> int:
    """Writes everything of a run into one file of JSON: script, settings, result, every agent with its prompt, answer,
    tool calls and conversation, all events. Secrets are replaced; the file is readable by its owner alone.

    Exit status: 0, 1 where the record cannot be read or the file not be written, 2 wrong usage.
    """  # noqa: D205 - one sentence, as click shows it
    from callsheet.cli.boundary import guarded

    return guarded(lambda: _export(where(store, workspace), run, output, is_forced=force))


def _export(place: Where, name: str, output: str | None, *, is_forced: bool) -> int:
    from callsheet.app.exporting import export as write
    from callsheet.app.exporting import private_file

    with opened_run(place, name) as (runs, run):
        try:
            if output == "-":
                write(runs, run, sys.stdout)
                sys.stdout.flush()
                return 0
            path = Path(output) if output is not None else Path(f"{run.run_id}.json")
            with private_file(path, replaces=is_forced) as stream:
                write(runs, run, stream)
        except BrokenPipeError:
            silence(sys.stdout)
            return 0
        except OSError as fault:
            say(f"error: it could not be written: {fault.strerror}.")
            return 1
    say(f"everything of {run.run_id} is in {visible(str(path))}")
    return 0
