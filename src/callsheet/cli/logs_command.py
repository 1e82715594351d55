"""`callsheet logs`: a run's events as lines, also while another process is at work on it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from callsheet.cli.reading import (
    RUN_HELP,
    json_line,
    opened_run,
    record_options,
    run_argument,
    where,
)
from callsheet.cli.status import STOPPED
from callsheet.cli.streams import say, silence, write_lines
from callsheet.views.safe_text import defused, defused_json, under_github

if TYPE_CHECKING:
    from callsheet.app.records import Where
    from callsheet.model.events import Event
    from callsheet.store.reader import EventRecord

Show = Callable[[Sequence["EventRecord"]], None]


@click.command(name="logs", short_help="Prints a run's events, and follows one that goes on.", epilog=RUN_HELP)
@run_argument
@click.option("--follow", "-f", is_flag=True, help="Goes on until the run ends.")
@click.option("--json", "as_json", is_flag=True, help="Each event as one line of JSON.")
@record_options
def logs(run: str, *, follow: bool, as_json: bool, store: str | None, workspace: Path | None) -> int:
    """Prints the events of a run as `callsheet run` does, without RUN those of the newest; the summary comes last.

    Exit status: 0, 1 where the record cannot be read, 2 where there is no such run.
    """
    from callsheet.cli.boundary import guarded

    return guarded(lambda: _logs(where(store, workspace), run, is_live=follow, as_json=as_json))


def _logs(place: Where, name: str, *, is_live: bool, as_json: bool) -> int:
    from callsheet.app.following import Followed

    with opened_run(place, name) as (_, run):
        followed = Followed(run_id=run.run_id)
    show = _print_json if as_json else _printer(followed.run_id if is_live else None)
    try:
        for events in followed.events(place, is_live=is_live):
            show(events)
        if not as_json:
            _end(place, followed.run_id)
    except KeyboardInterrupt:
        if is_live and followed.status == "running":
            say("", f"{followed.run_id} goes on. Stop it with: callsheet stop {followed.run_id}")
        return STOPPED
    except BrokenPipeError:
        silence(sys.stdout)
    except OSError as fault:
        silence(sys.stdout)
        say(f"error: it could not be written: {fault.strerror}.")
        return 1
    return 0


def _printer(followed: str | None) -> Show:
    """Prints events as lines; of a run that is followed also how a question is answered from here."""
    from callsheet.cli.plain import PlainLines
    from callsheet.model.recorded import recorded_event

    lines = PlainLines(sys.stdout)
    told: set[str] = set()

    def show(events: Sequence[EventRecord]) -> None:
        known = [event for found in events if (event := recorded_event(found.payload)) is not None]
        remarks = [] if followed is None else [*_how_to_answer(followed, known, told)]
        lines.show(known, remarks)

    return show


def _how_to_answer(run_id: str, events: Sequence[Event], told: set[str]) -> Iterator[str]:
    """A line for each question that is open after the events, and for which there was none yet."""
    from callsheet.model.events import ApprovalAnswered, ApprovalAsked, RunStarted

    begins = [at for at, event in enumerate(events) if isinstance(event.body, RunStarted)]
    events = events[begins[-1] if begins else 0 :]  # an attempt that was cut off asks nothing any more
    answered = {event.body.id for event in events if isinstance(event.body, ApprovalAnswered)}
    for event in events:
        body = event.body
        if isinstance(body, ApprovalAsked) and body.id not in told and body.id not in answered:
            told.add(body.id)
            words = "yes|no|always" if body.rules or body.kind != "permission" else "yes|no"
            words += "|AMOUNT" if body.kind == "cost" else ""
            yield f"{body.id} waits for an answer: callsheet answer {run_id} {body.id} {words}"


def _print_json(events: Sequence[EventRecord]) -> None:
    texts = [json_line(found.payload) for found in events]
    write_lines(sys.stdout, list(map(defused_json, texts)) if under_github() else texts)


def _end(place: Where, run_id: str) -> None:
    """The summary of a run that is over; of one that is not, how things stand."""
    from callsheet.app.records import open_runs
    from callsheet.app.retelling import retold
    from callsheet.cli.summary import summary_lines

    with open_runs(place, is_checked=False) as runs:
        run = runs.find(run_id)
        if run.line.status == "running":
            is_gone = run.status != "running"
            lines = [
                f"{run_id}: its process is gone. Go on with: callsheet resume {run_id}"
                if is_gone
                else f"{run_id} goes on. Follow it with: callsheet logs {run_id} -f"
            ]
        else:
            lines = [line.text for line in summary_lines(retold(runs.record, run), str(runs.record.path))]
    write_lines(sys.stdout, list(map(defused, lines)) if under_github() else lines)
