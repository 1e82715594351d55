"""`callsheet diff`: what a run changed, and who did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from callsheet.cli.reading import (
    RUN_HELP,
    columns,
    json_line,
    json_option,
    opened_run,
    printed,
    record_options,
    run_argument,
    where,
)
from callsheet.cli.status import DEGRADED

if TYPE_CHECKING:
    from callsheet.app.diffing import Lines, RunDiff
    from callsheet.app.records import Where

_PATH_CHARS = 200
_LABEL_CHARS = 60


@click.command(name="diff", short_help="Says which files a run changed, and which agent did.", epilog=RUN_HELP)
@run_argument
@json_option
@record_options
def diff(run: str, *, as_json: bool, store: str | None, workspace: Path | None) -> int:
    """Says which files a run changed, by which agent, inside or outside of its declared scope, with the lines added and
    removed where the record tells; and which files were changed while it was going on and no agent reported.

    Exit status: 0, 3 where something was changed outside of a declared scope, 1 where the record cannot be read,
    2 where there is no such run.
    """  # noqa: D205 - one sentence, as click shows it
    from callsheet.cli.boundary import guarded

    return guarded(lambda: _diff(where(store, workspace), run, as_json=as_json))


def _diff(place: Where, name: str, *, as_json: bool) -> int:
    from callsheet.app.diffing import diff_of

    with opened_run(place, name) as (runs, run):
        found = diff_of(runs, run)
    status = printed([json_line(found.public)], is_json=True) if as_json else printed(list(_lines(found)))
    return status or (DEGRADED if found.outside else 0)


def _lines(found: RunDiff) -> Iterator[str]:
    from callsheet.app.diffing import total
    from callsheet.views.safe_text import one_line

    rows = []
    for path, changes in found.files.items():
        agents = ", ".join(
            f"{one_line(one.agent_id)} {one_line(one.label, _LABEL_CHARS)}"
            f"{f' (on branch {one_line(one.branch)})' if one.branch else ''}"
            for one in changes
        )
        rows.append((one_line(path, _PATH_CHARS), _figures(found.counted.get(path, total(changes))), agents))
    yield from columns(rows) if rows else ["No agent changed a file."]
    for one in found.outside:
        scope = ", ".join(found.scopes[one.agent_id]) or "nothing"
        yield (
            f"error: {one_line(one.agent_id)} {one_line(one.label, _LABEL_CHARS)} changed "
            f"{one_line(one.path, _PATH_CHARS)}, outside of its declared scope ({one_line(scope, _PATH_CHARS)})"
        )
    if found.unreported:
        yield "changed by nobody known, while the run was going on:"
        yield from (f"  {one_line(path, _PATH_CHARS)}" for path in found.unreported)
    yield from (f"note: {one_line(note)}" for note in found.notes)


def _figures(lines: Lines) -> str:
    from callsheet.cli.summary import lines_words

    return lines_words(lines.added, lines.removed)
