"""The record against a model of it: whatever is written, however it crashes, what is read is what must be there."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio.from_thread
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from callsheet.model.records import AgentRow, DeliveredRow, EventRow, Row
from callsheet.model.values import JsonValue
from callsheet.store.reader import read_agents, read_events
from callsheet.store.sqlite import SqliteStore, open_store
from callsheet.store.writer import StoreLimits
from tests.support.deadline import within
from tests.support.store_rows import RUN_ID, agent_row, delivered_row, event_row

AGENTS = st.integers(1, 5)
STATUSES = st.sampled_from(["queued", "running", "ok", "failed"])
TEXTS = st.text(max_size=20) | st.just("x" * 20_000)


@dataclass(kw_only=True)
class State:
    """What a record holds after some writes: the model."""

    agents: dict[int, AgentRow] = field(default_factory=dict)
    delivered: dict[int, DeliveredRow] = field(default_factory=dict)
    events: dict[int, JsonValue] = field(default_factory=dict)

    def after(self, rows: list[Row]) -> State:
        state = State(agents=dict(self.agents), delivered=dict(self.delivered), events=dict(self.events))
        for row in rows:
            match row:
                case AgentRow():
                    state.agents[row.call] = row
                    if row.status == "queued":  # what is asked anew has not been delivered
                        state.delivered.pop(row.call, None)
                case DeliveredRow():
                    state.delivered[int(row.agent_id[1:])] = row
                case EventRow():
                    state.events[row.seq] = json.loads(row.payload)
                case _:
                    raise AssertionError(row)
        return state


def read_once(record: Path) -> State:
    state = State()
    for found in read_agents(record, RUN_ID):
        state.agents[found.agent.call] = found.agent
        if found.delivered is not None:
            state.delivered[found.agent.call] = found.delivered
    state.events = {event.seq: event.payload for event in read_events(record, RUN_ID)}
    return state


def state_of(record: Path) -> State:
    """The state at one moment: agents and events are read one after the other, while rows may be on their way."""
    state = read_once(record)
    while state != (again := read_once(record)):
        state = again
    return state


class StoreMachine(RuleBasedStateMachine):
    """Writes of one or several rows, durable or not; crashes and restarts; after each the record is a state that was.

    `states` are the states after each write since the last one known to be on disk, that one first: after a crash the
    record must be in one of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="callsheet-test-"))
        self.copies = 0
        self.states = [State()]
        self.portal_context = anyio.from_thread.start_blocking_portal()
        self.portal = self.portal_context.__enter__()

    def do(self, action: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        async def bounded() -> None:
            with within(20):
                await action(*args, **kwargs)

        self.portal.call(bounded)

    @initialize()
    def open(self) -> None:
        self.record = self.folder / str(self.copies) / "callsheet.db"
        self.store_context = self.portal.wrap_async_context_manager(
            open_store(self.record, limits=StoreLimits(linger_s=0.02, queue_rows=12))
        )
        self.store: SqliteStore = self.store_context.__enter__()

    def write(self, rows: list[Row], *, durable: bool) -> None:
        self.do(self.store.write, rows, durable=durable)
        after = self.states[-1].after(rows)
        self.states = [after] if durable else [*self.states, after]

    def next_event(self, text: str) -> Row:
        return event_row(len(self.states[-1].events) + 1, message=text)

    @rule(agent=AGENTS, status=STATUSES, text=TEXTS, durable=st.booleans())
    def write_agent_and_event(self, agent: int, status: str, text: str, durable: bool) -> None:
        self.write([agent_row(agent, status=status, result=text), self.next_event(text)], durable=durable)

    @rule(text=TEXTS, durable=st.booleans())
    def write_event(self, text: str, durable: bool) -> None:
        self.write([self.next_event(text)], durable=durable)

    @precondition(lambda self: self.states[-1].agents)
    @rule(data=st.data(), seq=st.integers(1, 9), durable=st.booleans())
    def deliver(self, data: st.DataObject, seq: int, durable: bool) -> None:
        agent = data.draw(st.sampled_from(sorted(self.states[-1].agents)))
        self.write([delivered_row(agent, delivered_seq=seq)], durable=durable)

    @rule()
    def wait_for_the_disk(self) -> None:
        self.write([], durable=True)

    @rule()
    def close_and_reopen(self) -> None:
        self.store_context.__exit__(None, None, None)
        self.states = self.states[-1:]
        self.open()

    @rule()
    def crash_and_reopen(self) -> None:
        """The files as they lie at this moment are what a machine that lost power would find."""
        before = self.record.parent
        self.copies += 1
        after = self.folder / str(self.copies)
        # By another process: closing a file of the record here would drop SQLite's locks on it.
        subprocess.run(["mkdir", after], check=True)
        # The log first: it only grows, so that what is copied is how the files were at some moment.
        for name in ("callsheet.db-wal", "callsheet.db"):
            if (before / name).exists():
                subprocess.run(["cp", before / name, after / name], check=True)
        self.store_context.__exit__(None, None, None)
        self.open()
        found = state_of(self.record)
        assert found in self.states
        self.states = [found]

    @invariant()
    def what_is_read_was_written(self) -> None:
        if self.record.exists():
            assert state_of(self.record) in self.states

    def teardown(self) -> None:
        self.store_context.__exit__(None, None, None)
        self.portal_context.__exit__(None, None, None)
        shutil.rmtree(self.folder)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
