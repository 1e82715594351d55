"""The record against a model of it: whatever is written, however it crashes, what is read is what must be there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from callsheet.model.records import AgentRow, DeliveredRow, EventRow, Row
from callsheet.model.values import JsonValue
from callsheet.store.reader import read_agents, read_events
from tests.support.record_machine import RecordMachine
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


class StoreMachine(RecordMachine[State]):
    """Rows of agents and events, all of them as they were written."""

    def nothing(self) -> State:
        return State()

    def read(self, record: Path) -> State:
        state = State()
        for found in read_agents(record, RUN_ID):
            state.agents[found.agent.call] = found.agent
            if found.delivered is not None:
                state.delivered[found.agent.call] = found.delivered
        state.events = {event.seq: event.payload for event in read_events(record, RUN_ID)}
        return state

    def next_event(self, text: str) -> Row:
        return event_row(len(self.now.events) + 1, message=text)

    @rule(agent=AGENTS, status=STATUSES, text=TEXTS, durable=st.booleans())
    def write_agent_and_event(self, agent: int, status: str, text: str, durable: bool) -> None:
        self.write([agent_row(agent, status=status, result=text), self.next_event(text)], durable=durable)

    @rule(text=TEXTS, durable=st.booleans())
    def write_event(self, text: str, durable: bool) -> None:
        self.write([self.next_event(text)], durable=durable)

    @rule(agent=AGENTS, seq=st.integers(1, 9), durable=st.booleans())
    def deliver(self, agent: int, seq: int, durable: bool) -> None:
        if agent in self.now.agents:
            self.write([delivered_row(agent, delivered_seq=seq)], durable=durable)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
