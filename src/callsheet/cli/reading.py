"""What the commands that read the record share: their options, the record's faults, and how they print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from callsheet.cli.status import COMPLETED, FAILED
from callsheet.cli.streams import quietly, say
from callsheet.views.safe_text import defused, defused_json, under_github, visible

if TYPE_CHECKING:
    from callsheet.app.records import Listed, Runs, Where

_Command = TypeVar("_Command", bound=Callable[..., Any])

RUN_HELP = "RUN is a run's id, its beginning, or `last`."


def record_options(command: _Command) -> _Command:
    """`--store` and `--workspace`: whose record is read."""
    for option in (
        click.option("--workspace", type=click.Path(path_type=Path), help="Whose record.  [default: the git root]"),
        click.option("--store", metavar="PATH", help="The record.  [default: .callsheet/callsheet.db]"),
    ):
        command = option(command)
    return command


def run_argument(command: _Command) -> _Command:
    """The argument RUN, the newest run without it."""
    return click.argument("run", default="last")(command)


def is_run_name(name: str) -> bool:
    """Whether words mean a run rather than a workflow."""
    return name == "last" or name.startswith("run_")


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")


def where(store: str | None, workspace: Path | None) -> Where:
    """Whose record the options mean."""
    from callsheet.app.records import Where

    return Where(store=store, workspace=workspace)


@contextmanager
def opened(place: Where, *, as_written: bool = False) -> Iterator[Runs]:
    """The runs of a record, as `open_runs` has them; that it is damaged is said on standard error, once."""
    from callsheet.app.records import open_runs

    with open_runs(place, as_written=as_written) as runs:
        said = runs.record.damage
        if said is not None:
            say(f"warning: {visible(said)}")
        yield runs
        if said is None and runs.record.damage is not None:
            say(f"warning: {visible(runs.record.damage)}")


@contextmanager
def opened_run(place: Where, name: str, *, as_written: bool = False) -> Iterator[tuple[Runs, Listed]]:
    """As `opened`, with the run that is named."""
    with opened(place, as_written=as_written) as runs:
        yield runs, runs.find(name)


def printed(lines: Iterable[str], *, is_json: bool = False) -> int:
    """Prints lines on standard output, already made safe; the exit status."""
    if under_github():
        lines = map(defused_json if is_json else defused, lines)
    fault = quietly(sys.stdout, list(lines))
    if fault is not None:
        say(f"error: it could not be written: {fault.strerror}.")
    return COMPLETED if fault is None else FAILED


def json_line(value: object) -> str:
    """One line of JSON in ASCII: nothing in it can act on a terminal, whatever an agent put there."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def columns(rows: Iterable[tuple[str, ...]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Rows as lines, each column as wide as its widest cell; `right` are those that stand to the right."""
    every = list(rows)
    widths = [max(map(len, cells)) for cells in zip(*every, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in every
    ]
