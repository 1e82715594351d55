"""The life of a run against a model of it: after any crash, what a resumed run goes on from is what the live one was.

The model is what the engine holds in memory: who asked and how each ended, what the script was handed and in which
order, what was reserved and what was paid. It is read back as a resumed run does, by `read_past`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from callsheet.model.outcome import Usage
from callsheet.model.past import Past, Seen
from callsheet.model.records import (
    AgentRow,
    CancelledRow,
    DeliveredRow,
    MessageRow,
    Row,
    RunEndRow,
    RunRow,
    SpendingRow,
    TimerRow,
)
from callsheet.store.past import read_past
from callsheet.store.reader import read_run
from tests.support.record_machine import RecordMachine
from tests.support.store_rows import AT, RUN_ID, agent_row, run_end_row, run_row

MOST_AGENTS = 6
PICKS = st.integers(0, MOST_AGENTS - 1)
TOKENS = st.integers(0, 500)
STEPS = st.sampled_from(
    [
        *("call", "start", "reserve", "settle", "ok", "deliver") * 3,
        *("failed", "cancelled", "cancel", "fire", "ask again"),
    ]
)
LIVES = st.lists(st.tuples(STEPS, PICKS, TOKENS), min_size=20, max_size=40)
CUT_OFF = frozenset({"running", "cancelled"})


@dataclass(frozen=True, kw_only=True)
class Agent:
    """One agent of a live run.

    Attributes:
        used: By the number of the payment; what is reserved counts as that, which is what a crash makes of it.
        ended_with: What it used in all, once it has ended.
        replies: What the model has said to it.
    """

    status: str = "queued"
    result: str | None = None
    seen: Seen | None = None
    used: tuple[tuple[int, Usage], ...] = ()
    reserved: int | None = None
    ended_with: Usage | None = None
    replies: tuple[str, ...] = ()

    @property
    def usage(self) -> Usage:
        return self.ended_with or sum((usage for _, usage in self.used), Usage(cost_usd=0.0))


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What of an agent a resumed run knows."""

    status: str
    result: str | None
    seen: Seen | None
    usage: Usage
    kept: tuple[str, ...]


@dataclass(kw_only=True)
class Live:
    """A run as its engine has it. `deliveries` counts outcomes and timers that the script was handed."""

    attempts: int = 0
    status: str | None = None
    agents: dict[int, Agent] = field(default_factory=dict)
    timers: dict[int, Seen] = field(default_factory=dict)
    payments: int = 0
    deliveries: int = 0

    def of(self, *statuses: str) -> list[int]:
        return [number for number, agent in self.agents.items() if agent.status in statuses]

    def after(self, rows: list[Row]) -> Live:
        live = replace(self, agents=dict(self.agents), timers=dict(self.timers))
        for row in rows:
            live.take(row)
        return live

    def take(self, row: Row) -> None:
        match row:
            case RunRow():
                self.attempts, self.status = row.attempts, "running"
            case RunEndRow():
                self.status = row.status
            case AgentRow():
                self._agent(row)
            case CancelledRow():
                self._change(row.agent_id, status="cancelled", ended_with=Usage(cost_usd=0.0))
            case SpendingRow():
                self.payments = max(self.payments, row.n)
                used = dict(self.agents[number_of(row.agent_id)].used) | {row.n: usage_of(row)}
                reserved = row.n if row.state == "reserved" else None
                self._change(row.agent_id, used=tuple(used.items()), reserved=reserved)
            case MessageRow():
                replies = self.agents[number_of(row.agent_id)].replies
                self._change(row.agent_id, replies=(*replies, row.payload))
            case DeliveredRow():
                self.deliveries = row.delivered_seq
                self._change(row.agent_id, seen=seen_of(row))
            case TimerRow():
                self.deliveries = row.delivered_seq
                self.timers[row.n] = seen_of(row)
            case _:
                raise AssertionError(row)

    def _agent(self, row: AgentRow) -> None:
        agent = self.agents.get(row.call, Agent())
        ended = Usage(output_tokens=row.output_tokens, cost_usd=row.cost_usd) if row.timestamp_end else None
        seen = None if row.status == "queued" else agent.seen
        self.agents[row.call] = replace(agent, status=row.status, result=row.result, ended_with=ended, seen=seen)

    def _change(self, agent_id: str, **changes: object) -> None:
        number = number_of(agent_id)
        self.agents[number] = replace(self.agents[number], **changes)  # type: ignore[arg-type]

    def replayed(self) -> tuple[object, ...]:
        """All of it that a resumed run is to know."""
        agents = {
            number: Replayed(
                status=agent.status,
                result=agent.result,
                seen=agent.seen,
                usage=replace(agent.usage, estimated_usd=0.0),
                kept=agent.replies if agent.status in CUT_OFF else (),
            )
            for number, agent in self.agents.items()
        }
        paid = sum(usage.output_tokens for agent in self.agents.values() for _, usage in agent.used)
        return (self.attempts, self.status, agents, self.timers, self.payments, paid)

    def __eq__(self, other: object) -> bool:
        return self.replayed() == (other.replayed() if isinstance(other, Live) else other)


def number_of(agent_id: str) -> int:
    return int(agent_id[1:])


def usage_of(row: SpendingRow) -> Usage:
    if row.state == "reserved":
        return Usage(output_tokens=row.reserved_tokens or 0, cost_usd=row.reserved_usd)
    return Usage(output_tokens=row.output_tokens, cost_usd=row.cost_usd)


def seen_of(row: DeliveredRow | TimerRow) -> Seen:
    return Seen(
        seq=row.delivered_seq, at_ms=row.delivered_at, spent_tokens=row.spent_after or 0, spent_usd=row.cost_after
    )


class Read(Live):
    """A run as `read_past` gives it, to be compared with a live one."""

    def __init__(self, past: Past, status: str | None) -> None:
        agents = {
            agent.call: Replayed(
                status=agent.status,
                result=agent.value_json,
                seen=agent.seen,
                usage=replace(agent.outcome.usage, estimated_usd=0.0),
                kept=() if agent.kept is None else tuple(json.dumps(one) for one in agent.kept.messages),
            )
            for agent in past.agents
        }
        timers = {timer.n: timer.seen for timer in past.timers}
        paid = sum(usage.output_tokens for usage in past.paid.values())
        self._replayed = (past.attempts, status, agents, timers, past.last_payment, paid)

    def replayed(self) -> tuple[object, ...]:
        return self._replayed


class ReplayMachine(RecordMachine[Live]):
    """What an engine writes, in the order in which it writes it."""

    def nothing(self) -> Live:
        return Live()

    def read(self, record: Path) -> Live:
        past, run = read_past(record, RUN_ID), read_run(record, RUN_ID)
        if past is None or run is None:
            return Live()
        return Read(past, "running" if run.end is None else run.end.status)

    def picked(self, pick: int, *statuses: str) -> tuple[int, Agent] | None:
        """One of the agents of some statuses; None where there is none."""
        numbers = self.now.of(*statuses)
        return (number := numbers[pick % len(numbers)], self.now.agents[number]) if numbers else None

    @property
    def is_running(self) -> bool:
        return self.now.status == "running"

    @initialize(steps=LIVES)
    def begin(self, steps: list[tuple[str, int, int]]) -> None:
        self.live_on(steps)

    @rule(steps=LIVES)
    def live_on(self, steps: list[tuple[str, int, int]]) -> None:
        """Begins or goes on, and lets the engine do something: what cannot be done just then is left out."""
        if not self.is_running:
            self.write([run_row(attempts=self.now.attempts + 1)], durable=True)
        for step, pick, amount in steps:
            match step:
                case "call":
                    self.call()
                case "start":
                    self.start(pick)
                case "reserve":
                    self.reserve(pick, amount)
                case "settle":
                    self.settle_with_the_reply(pick, amount)
                case "ok" | "failed" | "cancelled":
                    self.conclude(pick, step)
                case "cancel":
                    self.cancel(pick)
                case "deliver":
                    self.deliver(pick)
                case "fire":
                    self.fire_timer(amount / 8)
                case "ask again":
                    self.ask_again(pick)
                case _:
                    raise AssertionError(step)

    @rule(status=st.sampled_from(["completed", "interrupted", "cancelled"]))
    def end(self, status: str) -> None:
        if self.is_running:
            self.write([run_end_row(status=status)], durable=True)

    def call(self) -> None:
        if len(self.now.agents) < MOST_AGENTS:
            self.write([agent_row(len(self.now.agents) + 1, cost_usd=0.0)], durable=False)

    def start(self, pick: int) -> None:
        if found := self.picked(pick, "queued"):
            self.write([self.row(found[0], "running", ended=False)], durable=False)

    def reserve(self, pick: int, tokens: int) -> None:
        if (found := self.picked(pick, "running")) and found[1].reserved is None:
            row = self.payment(found[0], self.now.payments + 1, "reserved")
            self.write([replace(row, reserved_tokens=tokens, reserved_usd=tokens / 64)], durable=tokens % 2 == 0)

    def settle_with_the_reply(self, pick: int, tokens: int) -> None:
        """Payment and reply are one write, and so there together or not at all."""
        if (found := self.picked(pick, "running")) and (n := found[1].reserved) is not None:
            row = self.payment(found[0], n, "settled")
            said = MessageRow(
                run_id=RUN_ID,
                agent_id=row.agent_id,
                n=len(found[1].replies) + 1,
                payload=json.dumps({"role": "assistant", "n": n}),
            )
            self.write([replace(row, output_tokens=tokens, cost_usd=tokens / 64), said], durable=False)

    def conclude(self, pick: int, status: str) -> None:
        if (found := self.picked(pick, "running")) and found[1].reserved is None:
            self.write([self.row(found[0], status, ended=True)], durable=True)

    def cancel(self, pick: int) -> None:
        if (found := self.picked(pick, "queued")) and not found[1].used:
            row = CancelledRow(run_id=RUN_ID, agent_id=f"a{found[0]:04}", error="stopped", timestamp_end=AT)
            self.write([row], durable=True)

    def deliver(self, pick: int) -> None:
        if (found := self.picked(pick, "ok", "failed", "cancelled")) and found[1].seen is None:
            seq = self.now.deliveries + 1
            row = DeliveredRow(
                run_id=RUN_ID,
                agent_id=f"a{found[0]:04}",
                delivered_seq=seq,
                delivered_at=1_000 + seq,
                spent_after=7 * seq,
                cost_after=seq / 64,
            )
            self.write([row], durable=False)

    def fire_timer(self, delay_ms: float) -> None:
        seq = self.now.deliveries + 1
        row = TimerRow(
            run_id=RUN_ID,
            n=len(self.now.timers) + 1,
            delivered_seq=seq,
            delivered_at=1_000 + seq,
            delay_ms=delay_ms,
            spent_after=7 * seq,
            cost_after=seq / 64,
        )
        self.write([row], durable=False)

    def ask_again(self, pick: int) -> None:
        if found := self.picked(pick, "failed", "cancelled"):
            self.write([self.row(found[0], "queued", ended=False)], durable=False)

    def row(self, number: int, status: str, *, ended: bool) -> AgentRow:
        """The row of an agent as it is now; what it has used stays in it."""
        used = self.now.agents[number].usage
        return agent_row(
            number,
            status=status,
            timestamp_start=AT,
            timestamp_end=AT if ended else None,
            result='"done"' if status == "ok" else None,
            attempts=1,
            output_tokens=used.output_tokens,
            cost_usd=used.cost_usd,
        )

    def payment(self, number: int, n: int, state: Literal["reserved", "settled"]) -> SpendingRow:
        return SpendingRow(run_id=RUN_ID, n=n, agent_id=f"a{number:04}", attempt=1, model="m", state=state, at=AT)


TestReplayMachine = ReplayMachine.TestCase
TestReplayMachine.settings = settings(max_examples=25, stateful_step_count=6, deadline=None)
