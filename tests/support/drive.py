"""Runs a script's body in a real sandbox and answers what it asks: the smallest engine there is.

    driven = await drive("return await agent('hello', {label: 'a'})", answer=lambda call: "hi")
    assert driven.result == "hi"

Every agent call is answered in the order of the calls, one delivery at a time; `answer` gives the value, or a
`Rejection`. Timers fire when nothing else is under way, in order of their time, and move the clock on. Scripts named
in `workflows` can be started by `workflow(name)`. The first message that ends context 0 ends the drive; a script that
waits for nothing ends it too, with `end` None. Nothing is checked and nothing recorded: that is the engine's.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from callsheet.model.sandbox import (
    AgentCalled,
    Clock,
    Delivery,
    Dropped,
    EndContext,
    FireTimer,
    Idle,
    Logged,
    RejectCall,
    ResolveCall,
    Returned,
    SandboxLimits,
    ScriptMessage,
    SlotFailed,
    StartScript,
    Threw,
    TimerCleared,
    TimerSet,
    Warned,
    WorkflowCalled,
)
from callsheet.model.values import JsonValue
from callsheet.ports import ScriptHost, ScriptSession
from callsheet.sandbox.host import SandboxHost
from tests.support.deadline import within


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """An answer that rejects the call."""

    name: str = "Error"
    message: str = "refused"


Answer = Callable[[AgentCalled], "JsonValue | Rejection"]


@dataclass(slots=True, kw_only=True)
class Driven:
    """What a script said.

    Attributes:
        messages: All of it, in order, without `Idle`.
        end: How context 0 ended, None when it waits for nothing.
        cpu_s: The last `Idle`'s.
        turns: How many deliveries there were.
    """

    messages: list[ScriptMessage] = field(default_factory=list)
    end: Returned | Threw | None = None
    cpu_s: float = 0.0
    turns: int = 0

    @property
    def result(self) -> JsonValue:
        """The value that the script returned; fails the test when it did not."""
        assert isinstance(self.end, Returned), self.end
        value: JsonValue = json.loads(self.end.value_json)
        return value

    @property
    def thrown(self) -> Threw:
        """How the script threw; fails the test when it did not."""
        assert isinstance(self.end, Threw), self.end
        return self.end

    @property
    def logs(self) -> list[str]:
        """The texts of all log lines."""
        return [message.message for message in self.messages if isinstance(message, Logged)]

    @property
    def agents(self) -> list[AgentCalled]:
        """All agent calls."""
        return [message for message in self.messages if isinstance(message, AgentCalled)]

    @property
    def failed(self) -> list[SlotFailed]:
        """All slots that failed."""
        return [message for message in self.messages if isinstance(message, SlotFailed)]

    @property
    def warnings(self) -> list[Warned]:
        """All warnings."""
        return [message for message in self.messages if isinstance(message, Warned)]

    @property
    def dropped(self) -> list[Dropped]:
        """All notes of something over its count."""
        return [message for message in self.messages if isinstance(message, Dropped)]


async def turn(session: ScriptSession, delivery: Delivery, clock: Clock) -> list[ScriptMessage]:
    """One delivery, and what the script said until it was idle; `Idle` comes last."""
    await session.deliver(delivery, clock)
    said: list[ScriptMessage] = []
    while not said or not isinstance(said[-1], Idle):
        said.extend(await session.receive())
    return said


def start(body: str, *, context: int = 0, args_json: str | None = None, seed: int = 7) -> StartScript:
    """A script's start with what tests rarely care about filled in."""
    return StartScript(context=context, body=body, meta={"name": "test"}, args_json=args_json, seed=seed)


async def drive(
    body: str,
    *,
    answer: Answer = lambda call: f"answer to: {call.prompt}",
    args_json: str | None = None,
    limits: SandboxLimits | None = None,
    workflows: Mapping[str, str] | None = None,
    budget_tokens: int | None = None,
    tokens_per_call: int = 0,
    seed: int = 7,
    now_ms: int = 1_700_000_000_000,
    host: ScriptHost | None = None,
    seconds: float = 20,
) -> Driven:
    """Runs one script to its end. See the module.

    Raises:
        SandboxError: The child failed or passed a limit.
    """
    first = StartScript(
        context=0, body=body, meta={"name": "test"}, args_json=args_json, seed=seed, budget_tokens=budget_tokens
    )
    driver = _Driver(answer, dict(workflows or {}), now_ms, tokens_per_call)
    driver.waiting.append(first)
    with within(seconds):
        async with (host or SandboxHost()).open(limits or SandboxLimits()) as session:
            while driver.driven.end is None and (delivery := driver.next_delivery()) is not None:
                driver.take(await turn(session, delivery, driver.clock))
    return driver.driven


class _Driver:
    def __init__(self, answer: Answer, workflows: dict[str, str], now_ms: int, tokens_per_call: int) -> None:
        self.driven = Driven()
        self.waiting: deque[Delivery] = deque()
        self.clock = Clock(now_ms=now_ms)
        self._answer = answer
        self._workflows = workflows
        self._tokens_per_call = tokens_per_call
        self._timers: dict[tuple[int, int], float] = {}
        self._nested: dict[int, int] = {}

    def next_delivery(self) -> Delivery | None:
        self.driven.turns += 1
        if self.waiting:
            delivery = self.waiting.popleft()
            if isinstance(delivery, ResolveCall):
                spent = self.clock.spent_tokens + self._tokens_per_call
                self.clock = Clock(now_ms=self.clock.now_ms + 1000, spent_tokens=spent)
            return delivery
        if not self._timers:
            return None
        (context, timer), due_ms = min(self._timers.items(), key=lambda item: (item[1], item[0]))
        del self._timers[context, timer]
        self.clock = Clock(now_ms=max(self.clock.now_ms, round(due_ms)), spent_tokens=self.clock.spent_tokens)
        return FireTimer(context=context, timer=timer)

    def take(self, said: list[ScriptMessage]) -> None:
        for message in said:
            if isinstance(message, Idle):
                self.driven.cpu_s = message.cpu_s
                continue
            self.driven.messages.append(message)
            match message:
                case AgentCalled():
                    self.waiting.append(self._settle(message.context, message.call, self._answer(message)))
                case WorkflowCalled():
                    self._start_nested(message)
                case TimerSet():
                    self._timers[message.context, message.timer] = self.clock.now_ms + message.delay_ms
                case TimerCleared():
                    self._timers.pop((message.context, message.timer), None)
                case Returned() | Threw():
                    self._end(message)
                case _:
                    pass

    def _settle(self, context: int, call: int, value: JsonValue | Rejection) -> Delivery:
        if isinstance(value, Rejection):
            return RejectCall(context=context, call=call, name=value.name, message=value.message)
        return ResolveCall(context=context, call=call, value_json=json.dumps(value))

    def _start_nested(self, called: WorkflowCalled) -> None:
        body = self._workflows.get(called.name or "")
        if body is None:
            error = Rejection(name="TypeError" if called.fault else "Error", message=called.fault or "no such workflow")
            self.waiting.append(self._settle(0, called.call, error))
            return
        context = len(self._nested) + 1
        self._nested[context] = called.call
        self.waiting.append(start(body, context=context, args_json=called.args_json))

    def _end(self, message: Returned | Threw) -> None:
        if message.context == 0:
            self.driven.end = self.driven.end or message
            return
        call = self._nested[message.context]
        self.waiting.append(EndContext(context=message.context))
        match message:
            case Returned():
                self.waiting.append(ResolveCall(context=0, call=call, value_json=message.value_json))
            case Threw():
                self.waiting.append(RejectCall(context=0, call=call, name=message.name, message=message.message))
