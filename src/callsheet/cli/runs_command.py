"""`callsheet runs`: what was run in this folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from callsheet.cli.reading import columns, json_line, json_option, opened, printed, record_options, where

if TYPE_CHECKING:
    from callsheet.app.records import Listed, Where

_NAME_CHARS = 40


@click.command(name="runs", short_help="Lists the runs of this folder, newest first.")
@click.option(
    "--limit", "-n", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="At most so many."
)
@click.option("--all", "every", is_flag=True, help="All of them.")
@json_option
@record_options
def runs(*, limit: int, every: bool, as_json: bool, store: str | None, workspace: Path | None) -> int:
    """Lists the runs of this folder, newest first: id, status, workflow, agents, tokens, cost, duration and age.

    A run whose process died is `interrupted`. Exit status: 0, 1 where the record cannot be read, 2 wrong usage.
    """
    from callsheet.cli.boundary import guarded

    return guarded(lambda: _runs(where(store, workspace), -1 if every else limit, as_json=as_json))


def _runs(place: Where, limit: int, *, as_json: bool) -> int:
    from callsheet.app.records import run_json
    from callsheet.cli.streams import say

    if place.store is None and not place.record.is_file():
        say("No run yet: this folder has no record.")
        return printed([json_line({"record": None, "runs": []})], is_json=True) if as_json else 0
    with opened(place) as found:
        listed = found.listed(limit=limit)
        if as_json:
            value = {"record": str(found.record.path), "runs": [run_json(run) for run in listed]}
            return printed([json_line(value)], is_json=True)
    if not listed:
        say("No run yet.")
        return 0
    status = printed(columns(map(_row, listed), right=frozenset({3, 4, 5, 6, 7})))
    if len(listed) == limit:
        say(f"the newest {limit}; --all lists all of them")
    return status


def _row(run: Listed) -> tuple[str, ...]:
    from callsheet.views.figures import age, count, duration, money, tokens
    from callsheet.views.safe_text import one_line

    line = run.line
    return (
        one_line(line.run_id, _NAME_CHARS),
        one_line(run.status if run.is_known else "unknown", _NAME_CHARS),
        one_line(line.workflow or line.script_path or "?", _NAME_CHARS),
        count(line.agents, "agent"),
        f"{tokens(line.input_tokens)} in, {tokens(line.output_tokens)} out",
        money(None if line.unpriced else line.cost_usd),
        "" if run.duration_ms is None else duration(run.duration_ms / 1000),
        age(line.started_at),
    )
