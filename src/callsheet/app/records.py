"""What was run in a folder, read from its record: found by name, listed, one run or one agent whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app import places
from callsheet.app.naming import find_run
from callsheet.errors import NotFoundError, UsageError
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue
from callsheet.permissions.redact import Redactor
from callsheet.store.record import CallLine, Record, RunLine, open_record

if TYPE_CHECKING:
    from callsheet.store.reader import AgentRecord

RUNNING = "running"
_NEAR = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Whose record is meant.

    Attributes:
        store: The record, or its folder, where it was named; else that of the workspace.
        workspace: The workspace; None for the one around `start`.
    """

    store: str | None = None
    workspace: Path | None = None
    start: Path = field(default_factory=Path.cwd)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def root(self) -> Path:
        """The workspace's root.

        Raises:
            UsageError: There is no such folder.
        """
        return places.workspace(self.start, self.workspace).root

    @property
    def record(self) -> Path:
        """Where the record lies, if there is one; nothing is made.

        Raises:
            UsageError: There is no such workspace.
            ConfigError: A settings file cannot be read.
        """
        store = str(self.start / Path(self.store).expanduser()) if self.store is not None else None
        if store is None and not self.environ.get("CALLSHEET_STORE"):
            from callsheet.app.own_store import store_of_settings

            store = store_of_settings(self.root, self.start, self.environ)
        return places.record_to_read(self.root, store, self.environ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A run in a list.

    Attributes:
        status: How it ended; `running` while its process is there, `interrupted` where that died.
        is_known: False where it cannot be told whether its process is there: its workspace cannot be looked at.
    """

    line: RunLine
    status: str
    is_known: bool = True

    @property
    def run_id(self) -> str:
        """Its name."""
        return self.line.run_id

    @property
    def is_over(self) -> bool:
        """Whether nothing is to come: it neither goes on nor can be taken up where it was broken off."""
        return self.status not in (RUNNING, "interrupted")

    @property
    def duration_ms(self) -> int | None:
        """From its start to its end, to now while it goes on, to its last event where it died; None without a time."""
        goes_on = self.status == RUNNING and self.is_known
        return milliseconds(self.line.started_at, self.line.ended_at or (_now() if goes_on else self.line.last_at))


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat()


def milliseconds(start: str | None, end: str | None) -> int | None:
    """From one recorded time to another; None where one is missing or is none."""
    from datetime import datetime

    try:
        taken = datetime.fromisoformat(end or "") - datetime.fromisoformat(start or "")
    except (ValueError, TypeError):
        return None
    return max(0, round(taken.total_seconds() * 1000))


class Runs:
    """The runs of one record."""

    def __init__(self, record: Record, where: Where) -> None:
        self.record = record
        self._where = where
        self._living: dict[Path, frozenset[str]] = {}

    def listed(self, *, limit: int = -1, prefix: str = "", before: str | None = None) -> tuple[Listed, ...]:
        """Runs, newest first.

        Args:
            limit: At most so many; negative for all.
            prefix: Only those whose id begins so.
            before: Only those that come after this one in the list: its id.
        """
        return tuple(map(self._listed, self.record.runs(limit=limit, prefix=prefix, before=before)))

    def find(self, name: str) -> Listed:
        """The run that a name means: an id, the beginning of one, or `last`.

        Raises:
            NotFoundError: There is none.
            UsageError: Several begin so.
        """
        return find_run(name, self.listed, record=self.record.path)

    def root_of(self, run_id: str) -> Path | None:
        """Where the agents of a run worked; None where the record does not say."""
        run = self.record.run(run_id)
        started = self.record.last_event(run_id, "run.started")
        said = started.payload.get("workspace") if started is not None else None
        named = (run.run.workspace if run is not None else None) or (said if isinstance(said, str) else "")
        return Path(named) if named.startswith(os.sep) else None

    def is_here(self, root: Path) -> bool:
        """Whether a folder that the record names is this workspace, or lies in it or in its state folders."""
        here = (self._where.root, *places.state_folders(self._where.root, self._where.environ))
        return any(root.resolve().is_relative_to(folder.resolve()) for folder in here)

    def patch(self, path: str) -> Path | None:
        """The file of a patch that the record names, if it is one that Callsheet keeps; None for any other file."""
        return places.patch_of(path, self.record.path, self._where.root, self._where.environ)

    def _listed(self, line: RunLine) -> Listed:
        if line.status != RUNNING:
            return Listed(line=line, status=line.status)
        is_alive = self._is_alive(line.run_id)
        return Listed(line=line, status="interrupted" if is_alive is False else RUNNING, is_known=is_alive is not None)

    def _is_alive(self, run_id: str) -> bool | None:
        """Whether the process of a run that has not ended is there; None where that cannot be told."""
        root = self.root_of(run_id) or self._where.root
        # A run's own worktree lies in its state folder, one below the top.
        state = root.parent.parent
        if any(run_id in self._living_in(each) for each in (self._where.root, root)) or (
            run_id in places.living_in(state)
        ):
            return True
        return False if root.is_dir() or (state / "callsheet.db").exists() else None

    def _living_in(self, root: Path) -> frozenset[str]:
        if root not in self._living:
            self._living[root] = places.live_runs(root, self._where.environ)
        return self._living[root]


@contextmanager
def open_runs(where: Where | None = None, *, is_checked: bool = True, as_written: bool = False) -> Iterator[Runs]:
    """The runs of a record, open to be read; a run that writes it goes on undisturbed, and nothing is made.

    Secrets of `where.environ` are hidden in all that is read, whatever was known of them when it was written.

    Args:
        where: Whose; that of the current folder unless given.
        is_checked: As for `open_record`.
        as_written: Nothing is hidden: for who acts by it and shows nothing.

    Raises:
        UsageError: There is no such workspace.
        StoreError: There is no record, or it cannot be read.
    """
    where = where or Where()
    hiding = None if as_written else Redactor(where.environ)
    with open_record(where.record, is_checked=is_checked, hiding=hiding) as record:
        yield Runs(record, where)


# --- public JSON ------------------------------------------------------------------------------------------------------


def run_json(run: Listed) -> dict[str, JsonValue]:
    """A run in a list, as public JSON. A cost that is not known is null, never 0."""
    line = run.line
    return {
        "run_id": line.run_id,
        "workflow": line.workflow,
        "script": line.script_path,
        "parent_run_id": line.parent_run_id,
        "status": run.status,
        "started_at": line.started_at,
        "ended_at": line.ended_at,
        "duration_ms": run.duration_ms,
        "usage": {
            "agents": line.agents,
            "input_tokens": line.input_tokens,
            "output_tokens": line.output_tokens,
            "cache_read_tokens": line.cache_read_tokens,
            "cache_write_tokens": line.cache_write_tokens,
            "cost_usd": None if line.unpriced else line.cost_usd,
            "cost_known": not line.unpriced,
        },
    }


# --- agents by name ---------------------------------------------------------------------------------------------------


def find_call(calls: Sequence[CallLine], name: str, *, run_id: str) -> CallLine:
    """The agent of a run that a name means: its id (`a0007`), its number (`7`), or its label.

    Raises:
        NotFoundError: There is none.
        UsageError: Several have that label.
    """
    wanted = f"a{int(name):04}" if name.isascii() and name.isdigit() and len(name) < 9 else name
    by_id = [call for call in calls if call.agent_id == wanted]
    by_label = [call for call in calls if call.label == name]
    found = by_id or by_label or [call for call in calls if name.casefold() in call.label.casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        named = ", ".join(f"{call.agent_id} ({call.label})" for call in found[:_NEAR])
        more = f" and {len(found) - _NEAR} more" if len(found) > _NEAR else ""
        raise UsageError(f"{name!r} is the label of several agents of {run_id}: {named}{more}. Name one by its id.")
    from difflib import get_close_matches

    near = tuple(get_close_matches(name, [call.label for call in calls], n=3))
    hint = f" Did you mean {near[0]!r}?" if near else f" callsheet show {run_id} lists them."
    raise NotFoundError(f"{run_id} has no agent {name!r}.{hint}", name=name, near=near)


def agent_of(record: Record, run_id: str, agent_id: str) -> AgentRecord:
    """An agent that is there.

    Raises:
        NotFoundError: It is not (any more).
    """
    found = record.agent(run_id, agent_id)
    if found is None:
        raise NotFoundError(f"{run_id} has no agent {agent_id}.", name=agent_id)
    return found
