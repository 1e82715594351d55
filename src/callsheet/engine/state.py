"""What the parts of one run share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import TypeAlias

import anyio

from callsheet.engine.book import RunBook
from callsheet.engine.budget import Ledger
from callsheet.engine.bus import EventBus
from callsheet.engine.checkpointing import Checkpointing
from callsheet.engine.clock import RunClock
from callsheet.engine.conversations import Conversations
from callsheet.engine.ending import Ending
from callsheet.engine.pots import warning_text
from callsheet.engine.replay import Replay
from callsheet.model.approval import QuestionAnswered
from callsheet.model.confinement import CommandsHeld
from callsheet.model.conversation import SpokenTurn
from callsheet.model.dataclass import dataclass
from callsheet.model.events import BudgetWarning, RunStatusChanged
from callsheet.model.outcome import Usage
from callsheet.model.past import Resumption
from callsheet.model.run import RunSettings
from callsheet.model.sandbox import EndContext, RejectCall, ResolveCall, WorkflowCalled
from callsheet.model.script import Script


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One run of one script.

    Attributes:
        args_json: JSON text of `args`, None for `undefined` (CONTRACT G01).
        workspace: Absolute path of the workspace's root.
        head: Its commit at the start, None without git.
        notes: What the caller has to say with `run.started`, for instance that no model is behind the backend.
        commands: What holds agents' commands; None where none are run.
        run_id: None for a new one.
        seed: Of `Math.random`; None for a new one. Recorded with the run.
        started_ms: The script's first `Date.now()`; None for now.
        resumption: The record that the run goes on from; it has name, seed and start then. None for a new run.
        heard: By name the conversations of earlier runs that its script goes on with.
        notices: What the host has to say to the first turns of these.
    """

    script: Script
    settings: RunSettings
    workspace: str
    args_json: str | None = None
    head: str | None = None
    notes: tuple[str, ...] = ()
    commands: CommandsHeld | None = None
    run_id: str | None = None
    seed: int | None = None
    started_ms: int | None = None
    resumption: Resumption | None = None
    heard: Mapping[str, tuple[SpokenTurn, ...]] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


# --- what waits to be delivered ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """An accepted call ended, and is on disk; `changed` is what it changed of the shared workspace."""

    ready_ms: int
    delivery: ResolveCall | RejectCall
    agent_id: str
    usage: Usage
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A call that no agent stands for was answered: refused, or a `workflow()` that ended."""

    delivery: ResolveCall | RejectCall


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedStart:
    """A `workflow()` whose script may start now."""

    called: WorkflowCalled


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedEnd:
    """A nested script is over and its context can go."""

    delivery: EndContext


Own: TypeAlias = Answered | NestedStart | NestedEnd
"""What follows from the script alone. It is delivered before anything from outside, at the time that the script sees
already: so its place depends on no timing, and a resumed run finds it there again without a record (CONTRACT R08)."""


class Wake:
    """Wakes the one who waits for something to do; a wake that comes first is not lost."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        """Wakes."""
        self._event.set()

    async def wait(self) -> None:
        """Waits for the next wake, and takes it."""
        await self._event.wait()
        self._event = anyio.Event()


@dataclass(slots=True, kw_only=True)
class RunState:
    """The shared parts of one run. Everything happens on one event loop.

    Attributes:
        own: What follows from the script alone and waits to be delivered, in order.
        queue: Outcomes that wait to be delivered, in order.
        replay: The record that a resumed run goes on from.
        checkpointing: Keeps the workspace as it was.
        conversations: Those of its scripts.
        answered: The questions to people that were answered, in order, over all attempts.
        turn: The place of the last delivery from outside (CONTRACT R08); 0 before the first.
        ending: Why the run is over: no agent starts and nothing is delivered any more; None while it goes on.
        is_live: Something was, or is about to be, delivered that is not on record; agents may start.
        is_paused: A person wants no further agent to start for now.
        draining: Why the run will be over as soon as the agents at work have ended; nothing is delivered meanwhile.
        is_held: The run waits for its service: nothing starts and nothing is delivered meanwhile (CONTRACT K05).
        waits: What the run waits for, by who has it wait, in order; what was said of each.
        on_drain: Called once, where the run begins to drain.
        on_end: Called once, with the ending.
    """

    run_id: str
    request: RunRequest
    seed: int
    clock: RunClock
    bus: EventBus
    book: RunBook
    ledger: Ledger
    replay: Replay = field(default_factory=Replay)
    checkpointing: Checkpointing = field(default_factory=lambda: Checkpointing(None))
    conversations: Conversations = field(default_factory=Conversations)
    answered: list[QuestionAnswered] = field(default_factory=list)
    own: deque[Own] = field(default_factory=deque)
    queue: deque[Settled] = field(default_factory=deque)
    wake: Wake = field(default_factory=Wake)
    turn: int = 0
    ending: Ending | None = None
    is_live: bool = True
    is_paused: bool = False
    draining: Ending | None = None
    is_held: bool = False
    waits: dict[object, RunStatusChanged] = field(default_factory=dict)
    on_drain: Callable[[], None] | None = None
    on_end: Callable[[Ending], None] | None = None

    @property
    def settings(self) -> RunSettings:
        """What holds for this run."""
        return self.request.settings

    @property
    def attempt(self) -> int:
        """Which attempt at the run this is, from 1."""
        return 1 if self.replay.past is None else self.replay.past.attempts + 1

    @property
    def may_start(self) -> bool:
        """Whether agents may be started."""
        is_stopped = self.ending is not None or self.draining is not None or self.is_held
        return self.is_live and not (is_stopped or self.replay.is_waiting)

    @property
    def may_deliver(self) -> bool:
        """Whether anything may be handed to the script."""
        return self.draining is None and not self.is_held

    def go_live(self) -> None:
        """What follows has not been seen before: the clock runs on, and all that was paid is shown. Idempotent."""
        self.is_live = True
        self.clock.go_on()
        self.ledger.show_past()

    def warn_of_budget(self, warnings: Iterable[BudgetWarning]) -> None:
        """Says where a share of a budget is spent: to surfaces, and in the run's log."""
        for warning in warnings:
            self.bus.emit(warning)
            self.book.log("warn", warning_text(warning))

    def put(self, due: Settled) -> None:
        """Lets an outcome wait to be delivered."""
        self.queue.append(due)
        self.wake.set()

    def put_own(self, due: Own) -> None:
        """Lets something wait to be delivered that follows from the script alone."""
        self.own.append(due)
        self.wake.set()

    def answer(self, delivery: ResolveCall | RejectCall) -> None:
        """Answers a call that no agent stands for."""
        self.put_own(Answered(delivery=delivery))

    def reject(self, context: int, call: int, name: str, message: str) -> None:
        """Rejects a call that no agent stands for."""
        self.answer(RejectCall(context=context, call=call, name=name, message=message))

    def delivered(self, delivery: ResolveCall | RejectCall) -> None:
        """A call's outcome is about to be handed to its script."""
        ended = (self.book.ended_agents, len(self.answered))
        self.conversations.delivered((delivery.context, delivery.call), ended)

    def wait(self, who: object, reason: str, until: str | None = None) -> None:
        """Says why the run waits, until `wait_no_more`; why it waits now, where it does already."""
        self.waits[who] = RunStatusChanged(status="waiting", reason=reason, until=until)
        self.bus.emit(self.waits[who])

    def wait_no_more(self, who: object, said: str | None = None) -> None:
        """Says how the run stands without that: it may wait for something else, or be paused."""
        self.waits.pop(who, None)
        if self.ending is not None or self.draining is not None:
            return
        status = "paused" if self.is_paused else "running"
        self.bus.emit(next(reversed(self.waits.values()), RunStatusChanged(status=status, reason=said)))

    def drain(self, ending: Ending) -> None:
        """Starts and delivers nothing more, and ends the run when the agents at work have ended."""
        if self.ending is None and self.draining is None:
            self.draining = ending
            self.bus.emit(RunStatusChanged(status="stopping", reason=ending.says))
            if self.on_drain is not None:
                self.on_drain()
            self.wake.set()

    def end(self, ending: Ending) -> None:
        """Ends the run, unless it is ending already."""
        if self.ending is not None:
            return
        self.ending = ending
        if ending.says is not None and ending is not self.draining:
            self.bus.emit(RunStatusChanged(status="stopping", reason=ending.says))
        if self.on_end is not None:
            self.on_end(ending)
