"""The runs there are: those that go on anywhere on this machine, and those on this folder's record. Knows no screen."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from callsheet.app.control import live_runs
from callsheet.app.records import RUNNING, Listed, Where, open_runs
from callsheet.control.places import Reach
from callsheet.errors import CallsheetError
from callsheet.model.dataclass import dataclass
from callsheet.tui.cells import Cell
from callsheet.tui.lines import NARROW, WIDE, run_style
from callsheet.views.figures import age, duration, money, tokens
from callsheet.views.progress import seconds_between
from callsheet.views.safe_text import one_line

MOST = 200
"""So many runs of the record are listed, the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """A run in the list.

    Attributes:
        reach: Where it goes on and can be reached.
        listed: As a record has it; None where that cannot be read.
        is_here: It is on this folder's record.
    """

    run_id: str
    reach: Reach | None
    listed: Listed | None
    is_here: bool

    @property
    def status(self) -> str:
        """How things stand with it."""
        if self.reach is not None:
            return RUNNING
        return "?" if self.listed is None else self.listed.status

    @property
    def run(self) -> str | Reach:
        """As a feed takes it."""
        return self.reach or self.run_id


def entries(where: Where) -> tuple[RunEntry, ...]:
    """The runs, those that go on first, newest first."""
    live = {reach.run_id: reach for reach in live_runs(where)}
    here = {listed.run_id: listed for listed in _on_record(where, limit=MOST)}
    found = []
    for run_id, reach in live.items():
        elsewhere = Where(store=reach.record, workspace=None, start=where.start, environ=where.environ)
        listed = here.get(run_id) or next(iter(_on_record(elsewhere, prefix=run_id)), None)
        found.append(RunEntry(run_id=run_id, reach=reach, listed=listed, is_here=run_id in here))
    rest = [
        RunEntry(run_id=run_id, reach=None, listed=listed, is_here=True)
        for run_id, listed in here.items()
        if run_id not in live
    ]
    return (*found, *sorted(rest, key=lambda entry: entry.status != RUNNING))


def _on_record(where: Where, *, limit: int = -1, prefix: str = "") -> tuple[Listed, ...]:
    try:
        with open_runs(where, is_checked=False) as runs:
            return runs.listed(limit=limit, prefix=prefix)
    except CallsheetError:  # no run yet, or somebody else's record; `problem` says what is wrong with one's own
        return ()


def runs_head(width: int) -> list[Cell]:
    """What the columns are."""
    cells = [Cell("", 1), Cell("status", 11), Cell("workflow")]
    if width >= NARROW:
        cells += [Cell("agents", 6, is_right=True), Cell("tokens", 6, is_right=True), Cell("cost", 8, is_right=True)]
    if width >= WIDE:
        cells += [Cell("run", 30), Cell("folder", 24)]
    return [*cells, Cell("time", 9, is_right=True), Cell("began", 10, is_right=True)]


def run_cells(entry: RunEntry, width: int) -> list[Cell]:
    """A row of a run."""
    line = None if entry.listed is None else entry.listed.line
    mark = "●" if entry.status == RUNNING else "✓" if entry.status == "completed" else "✗"
    style = run_style(entry.status)
    name = (line.workflow or line.script_path) if line is not None else entry.reach.workflow if entry.reach else None
    folder = "" if entry.is_here or entry.reach is None else f" in {Path(entry.reach.workspace).name}"
    workflow = f"{one_line(name or '?', 80)}{'' if width >= WIDE else one_line(folder, 60)}"
    cells = [Cell(mark, 1, style), Cell(one_line(entry.status, 40), 11, style), Cell(workflow)]
    if width >= NARROW:
        used = line.output_tokens if line is not None else 0
        paid = "" if line is None else "?" if line.unpriced else money(line.cost_usd)
        cells += [
            Cell("" if line is None else f"{line.agents:,}", 6, is_right=True),
            Cell("" if line is None else tokens(used), 6, "dim", is_right=True),
            Cell(paid, 8, "dim", is_right=True),
        ]
    if width >= WIDE:
        where = entry.reach.workspace if entry.reach is not None else "here"
        cells += [
            Cell(one_line(entry.run_id, 60), 30, "dim"),
            Cell("here" if entry.is_here else one_line(where, 200), 24, "dim"),
        ]
    began = line.started_at if line is not None else entry.reach.started_at if entry.reach is not None else ""
    return [*cells, Cell(_took(entry, began), 9, is_right=True), Cell(age(began), 10, "dim", is_right=True)]


def _took(entry: RunEntry, began: str) -> str:
    if entry.reach is not None:
        return duration(seconds_between(began or None, datetime.now(UTC)))
    taken_ms = None if entry.listed is None else entry.listed.duration_ms
    return "" if taken_ms is None else duration(taken_ms / 1000)


def problem(where: Where) -> str | None:
    """Why this folder's runs cannot be listed; None where they can, or there are none yet."""
    try:
        if where.store is None and not where.record.is_file():
            return None
        with open_runs(where, is_checked=False):
            return None
    except CallsheetError as fault:
        return fault.message
