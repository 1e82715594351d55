"""What is in a record after a run, held against what the run has said."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callsheet.errors import StoreError
from callsheet.model.records import AgentRow, RunEndRow
from callsheet.store.reader import EventRecord, list_runs, read_agents, read_events, read_run
from tests.surfaces.command import Command

SAW = "saw "
"""How a script's log line begins that names the label of an agent whose answer it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One run as recorded.

    Attributes:
        end: None where it has not ended.
        agents: By their labels, which are unique in these tests.
    """

    end: RunEndRow | None
    agents: dict[str, AgentRow]
    events: tuple[EventRecord, ...]

    def having(self, status: str) -> set[str]:
        """The labels of the agents of a status."""
        return {label for label, agent in self.agents.items() if agent.status == status}


def record_of(command: Command) -> Path:
    """Where the record of a command's workspace lies."""
    return command.folder / ".callsheet" / "callsheet.db"


def recorded(record: Path, run_id: str) -> Recorded:
    """A run that must be in the record, with a stream of events that has no gap."""
    run = read_run(record, run_id)
    assert run is not None
    agents = [found.agent for found in read_agents(record, run_id)]
    events = read_events(record, run_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    by_label = {agent.label: agent for agent in agents}
    assert len(by_label) == len(agents)
    return Recorded(end=run.end, agents=by_label, events=events)


def runs_in(record: Path) -> dict[str, str]:
    """Status by name of the runs of a record, newest first; none where a process was killed while it made it."""
    try:
        return {run.run_id: run.status for run in list_runs(record)}
    except StoreError as error:
        assert "there is none yet" in error.message or "it is empty" in error.message
        return {}


def assert_sound(record: Path) -> None:
    """The database is whole."""
    with closing(sqlite3.connect(record)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def assert_nothing_is_missing(found: Recorded, printed: list[dict[str, Any]]) -> None:
    """Whatever the script or a reader can have known of an agent's answer is recorded, and the events before it."""
    ended = assert_answers_are_there(found, printed)
    for event in ended:
        agent = found.agents[event["label"]]
        assert (agent.status, agent.timestamp_end) == (event["status"], event["ended_at"])
    last_seq = ended[-1]["seq"] if ended else 0
    assert [event.payload for event in found.events[:last_seq]] == printed[:last_seq]


def assert_answers_are_there(found: Recorded, printed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every answer that was shown, and every one that the script says it has, is recorded; gives the ends of agents."""
    assert [event["seq"] for event in printed] == list(range(1, len(printed) + 1))
    ended = [event for event in printed if event["event"] == "agent.finished"]
    shown = {event["label"] for event in ended if event["status"] == "ok"}
    lines = [event["message"] for event in printed if event["event"] == "log"]
    seen = {line.removeprefix(SAW) for line in lines if line.startswith(SAW)}
    assert seen | shown <= found.having("ok")
    assert all(found.agents[label].result is not None for label in seen | shown)
    return ended


def assert_closed(found: Recorded, printed: list[dict[str, Any]], status: str) -> None:
    """The run's end is recorded: its status, every agent's outcome, every event that was printed."""
    assert found.end is not None
    assert found.end.status == status
    assert found.having("ok") | found.having("cancelled") == set(found.agents)
    assert all(agent.timestamp_end is not None for agent in found.agents.values())
    assert [event.payload for event in found.events] == printed
    assert_nothing_is_missing(found, printed)
