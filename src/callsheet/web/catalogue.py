"""Which runs there are to be shown: what goes on in any process of this user on this machine, and the folder's record.

All of it looks at files: it is called in worker threads. Records are opened to be read, and closed at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from callsheet.app.control import live_runs
from callsheet.app.records import RUNNING, Listed, Runs, Where, open_runs
from callsheet.control.places import Reach
from callsheet.errors import CallsheetError, NotFoundError
from callsheet.model.dataclass import dataclass

MOST_LISTED = 200
_MOST_REMEMBERED = 500

Entry: TypeAlias = dict[str, Any]
"""A run in a list, as public JSON."""

Place: TypeAlias = tuple[Path, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Runs, newest first.

    Attributes:
        note: What could not be read; None where all was.
    """

    runs: tuple[Entry, ...]
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A run that is there.

    Attributes:
        reach: How it is reached; None where it does not go on, or serves no socket.
        where: Whose record it is in.
    """

    run_id: str
    reach: Reach | None
    where: Where


class Catalogue:
    """The runs there are.

    Attributes:
        where: Whose record is shown besides what goes on.
    """

    def __init__(self, where: Where) -> None:
        self.where = where
        self._record: Path | None = None
        self._elsewhere: dict[str, Where] = {}
        self._said: dict[str, tuple[str, str]] = {}

    @property
    def record(self) -> Path:
        """Where the folder's record lies, or would; found once, when it is there: settings are read for it."""
        if self._record is not None:
            return self._record
        record = self.where.record
        if record.is_file():
            self._record = record
            self.where = replace(self.where, store=str(record))
        return record

    # --- one run ----------------------------------------------------------------------------------------------------

    def find(self, run_id: str) -> Found:
        """A run by its whole id.

        Raises:
            NotFoundError: There is none.
            StoreError: The record cannot be read.
        """
        for reach in live_runs(self.where):
            if reach.run_id == run_id:
                self._remember(reach)
                return Found(run_id=run_id, reach=reach, where=_of(reach, self.where))
        where = self._elsewhere.get(run_id, self.where)
        if where.record.is_file():
            with open_runs(where, is_checked=False) as runs:
                if any(line.run_id == run_id for line in runs.record.runs(prefix=run_id)):
                    return Found(run_id=run_id, reach=None, where=where)
        raise NotFoundError(f"There is no run {run_id} here: it neither goes on nor is it on record.", name=run_id)

    def last_seq(self, run_id: str, where: Where) -> int:
        """The number of the last event that a run has on record; 0 where there is none, or no record yet."""
        if not where.record.is_file():
            return 0
        with open_runs(where, is_checked=False) as runs:
            return runs.record.last_seq(run_id)

    def has_more(self, run_id: str, where: Where, seq: int) -> bool:
        """Whether a run that was over has been gone on with since."""
        return any(reach.run_id == run_id for reach in live_runs(self.where)) or self.last_seq(run_id, where) != seq

    # --- all of them ------------------------------------------------------------------------------------------------

    def listing(self, *, limit: int, before: str | None = None) -> Listing:
        """Runs as a list shows them, newest first.

        Args:
            limit: At most so many of the folder's record; on the first page with those besides that go on elsewhere,
                or did since this server began.
            before: The last run of the page before.
        """
        live = {reach.run_id: reach for reach in live_runs(self.where)}
        for reach in live.values():
            self._remember(reach)
        entries: dict[str, Entry] = {}
        note = None
        try:
            entries = self._recorded(live, limit=limit, before=before)
        except CallsheetError as fault:
            note = fault.message
        if before is None:
            for run_id, where in list(self._elsewhere.items()):
                if run_id not in entries:
                    entry = self._elsewhere_entry(run_id, where, live.get(run_id))
                    if entry is not None:
                        entries[run_id] = entry
        newest = sorted(entries.values(), key=lambda entry: (entry["started_at"] or "", entry["run_id"]), reverse=True)
        return Listing(runs=tuple(newest), note=note)

    def places(self) -> tuple[object, ...]:
        """What is other when the list may be: runs that can be reached, and when their records were written to."""
        live = live_runs(self.where)
        files = {Path(str(where.store)) for where in self._elsewhere.values()}
        files.add(self.record)
        stamps = [_stamp(path.with_name(path.name + end)) for path in sorted(files) for end in ("", "-wal")]
        return tuple(reach.run_id for reach in live), tuple(stamps)

    # --- behind it --------------------------------------------------------------------------------------------------

    def _recorded(self, live: dict[str, Reach], *, limit: int, before: str | None) -> dict[str, Entry]:
        if not self.record.is_file():
            return {}
        with open_runs(self.where, is_checked=False) as runs:
            listed = runs.listed(limit=limit, before=before)
            return {run.run_id: self._entry(runs, run, live.get(run.run_id)) for run in listed}

    def _elsewhere_entry(self, run_id: str, where: Where, reach: Reach | None) -> Entry | None:
        try:
            with open_runs(where, is_checked=False) as runs:
                for run in runs.listed(prefix=run_id):
                    if run.run_id == run_id:
                        return self._entry(runs, run, reach)
        except CallsheetError:
            pass  # its record is gone, or not there yet
        return None if reach is None else _begun(reach)

    def _entry(self, runs: Runs, run: Listed, reach: Reach | None) -> Entry:
        line = run.line
        description, workspace = self._said_of(runs, run.run_id)
        is_live = reach is not None
        return {
            "run_id": run.run_id,
            "workflow": line.workflow,
            "description": description,
            "status": RUNNING if is_live else run.status,
            "started_at": line.started_at,
            "ended_at": None if is_live else line.ended_at,
            "duration_ms": run.duration_ms,
            "workspace": workspace,
            "agents": line.agents,
            "tokens": line.output_tokens,
            "input_tokens": line.input_tokens,
            "cost_usd": None if line.unpriced else line.cost_usd,
            "is_live": is_live,
        }

    def _said_of(self, runs: Runs, run_id: str) -> tuple[str, str]:
        """What a run's first event says of it, which does not change: its description and workspace."""
        if run_id not in self._said:
            first: Sequence[Any] = runs.record.events(run_id, limit=1)
            payload = first[0].payload if first and first[0].event == "run.started" else None
            if payload is None:
                return "", ""
            while len(self._said) > _MOST_REMEMBERED:
                del self._said[next(iter(self._said))]
            self._said[run_id] = str(payload.get("description") or ""), str(payload.get("workspace") or "")
        return self._said[run_id]

    def _remember(self, reach: Reach) -> None:
        """Where a run of another folder is, so that it is found when it is over."""
        if reach.run_id in self._elsewhere or Path(reach.record) == self.record:
            return
        while len(self._elsewhere) >= _MOST_REMEMBERED:
            del self._elsewhere[next(iter(self._elsewhere))]
        self._elsewhere[reach.run_id] = _of(reach, self.where)


def _begun(reach: Reach) -> Entry:
    """A run that has nothing on record yet, or whose record cannot be read."""
    return {
        "run_id": reach.run_id,
        "workflow": reach.workflow,
        "description": "",
        "status": RUNNING,
        "started_at": reach.started_at,
        "ended_at": None,
        "duration_ms": None,
        "workspace": reach.workspace,
        "agents": 0,
        "tokens": 0,
        "input_tokens": 0,
        "cost_usd": None,
        "is_live": True,
    }


def _of(reach: Reach, where: Where) -> Where:
    return replace(where, store=reach.record, workspace=Path(reach.workspace))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)
