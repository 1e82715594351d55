"""`callsheet doctor`: what this machine has, and what would help."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from callsheet.cli.streams import quietly, say
from callsheet.views.safe_text import one_line

if TYPE_CHECKING:
    from callsheet.app.doctor import Health

_MARKS = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}
_HELD = {"kernel": "kernel ", "watched": "watched", "no": "no     "}


@click.command(name="doctor", short_help="Says what this machine has, and what would help.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", help="How it is printed.")
def doctor(output: str) -> int:
    """Tries what holds scripts and commands here, and looks at settings, trust and the record of this folder.

    Exit status: 0 runs can work here, 1 something keeps them from it.
    """
    from callsheet.cli.boundary import guarded

    return guarded(lambda: _doctor(output))


def _doctor(output: str) -> int:
    import json

    import anyio

    from callsheet.app.doctor import examine
    from callsheet.app.plan import Surroundings

    health = anyio.run(examine, Surroundings())
    lines = [*_lines(health)] if output == "text" else [json.dumps(health.public, ensure_ascii=False)]
    fault = quietly(sys.stdout, lines)
    if fault is not None:
        say(f"error: it could not be written: {fault.strerror}.")
    return 0 if health.is_well and fault is None else 1


def _lines(health: Health) -> Iterator[str]:
    for check in health.checks:
        yield f"{_MARKS[check.state]} {check.name:<12} {one_line(check.detail)}"
        if check.remedy:
            yield f"{'':>20} → {one_line(check.remedy)}"
    for tried in health.confinements:
        if tried.failure is not None:
            yield f"\n{tried.name}: does not work here: {one_line(tried.failure)}"
            yield f"  → {tried.remedy}"
            continue
        works = "works" if tried.name != "none" else "rules and limits alone, where nothing better works"
        yield f"\n{tried.name}: {works}. What commands are kept from:"
        for row in tried.coverage:
            yield f"  {_HELD[row.held]} {row.area:<13} {row.detail}"
