"""`callsheet report`: a run as one HTML file."""

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


@click.command(name="report", short_help="Writes a run as one HTML file to look at and pass on.", epilog=RUN_HELP)
@run_argument
@click.option("--output", "-o", metavar="FILE|-", help="The file; - for standard output.  [default: RUN.html]")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--open", "is_opened", is_flag=True, help="Open it in the browser.")
@record_options
def report(
    run: str, *, output: str | None, force: bool, is_opened: bool, store: str | None, workspace: Path | None
) -> int:
    """Writes a run as one HTML file, which needs nothing else: figures, phases, graph, timeline, agents with their
    conversations, log, problems, result. Of a run that goes on, as things stand.

    Secrets are replaced; the file is readable by its owner alone. It has at most 1 MB for some hundreds of agents:
    what is long is cut, says so, and names the command that shows all of it.

    Exit status: 0, 1 where the record cannot be read or the file not be written, 2 wrong usage.
    """  # noqa: D205 - one sentence, as click shows it
    from callsheet.cli.boundary import guarded

    if is_opened and output == "-":
        raise click.UsageError("--open needs a file: leave out --output -.")
    return guarded(lambda: _report(where(store, workspace), run, output, is_forced=force, is_opened=is_opened))


def _report(place: Where, name: str, output: str | None, *, is_forced: bool, is_opened: bool) -> int:
    from callsheet.app.exporting import private_file
    from callsheet.web.clock import utc_now
    from callsheet.web.report import report_html

    with opened_run(place, name) as (runs, run):
        html = report_html(runs.record, run, written_at=utc_now())
    path = Path(output) if output is not None else Path(f"{run.run_id}.html")
    try:
        if output == "-":
            sys.stdout.write(html)
            sys.stdout.flush()
            return 0
        with private_file(path, replaces=is_forced) as stream:
            stream.write(html)
    except BrokenPipeError:
        silence(sys.stdout)
        return 0
    except OSError as fault:
        say(f"error: it could not be written: {fault.strerror}.")
        return 1
    goes_on = "" if run.is_over else ", as it stands now"
    say(f"the report of {run.run_id}{goes_on} is in {visible(str(path))}")
    return _open(path) if is_opened else 0


def _open(path: Path) -> int:
    import webbrowser

    if webbrowser.open(path.resolve().as_uri()):
        return 0
    say("error: no browser was found to open it with. Open the file yourself.")
    return 1
