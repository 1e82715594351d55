"""What the child may still say: the counts of CONTRACT L03, kept by the host as the truth.

The runtime's JavaScript has the same counts and stays below them. What is over them comes from a child that is no
longer ours: it is left out and reported once, and from twice a count on the child is not listened to any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from callsheet.model.counts import (
    MAX_CALLS,
    MAX_LABEL_CHARS,
    MAX_LOG_LINE_BYTES,
    MAX_LOG_LINES,
    MAX_PHASES,
    MAX_PROMPT_BYTES,
    MAX_TIMERS,
    MAX_WAITING_BYTES,
)
from callsheet.model.dataclass import dataclass
from callsheet.model.sandbox import (
    AgentCalled,
    Delivery,
    Dropped,
    DropSort,
    EndContext,
    FireTimer,
    Idle,
    Logged,
    PhaseEntered,
    RejectCall,
    ResolveCall,
    Returned,
    ScriptMessage,
    SlotFailed,
    StartScript,
    Threw,
    TimerCleared,
    TimerSet,
    Warned,
    WorkflowCalled,
)
from callsheet.sandbox.wire import WireError


@dataclass(slots=True)
class _Context:
    calls: int = 0
    timers: int = 0
    has_ended: bool = False


class Tally:
    """The counts of one run, over all its contexts."""

    def __init__(self) -> None:
        self._contexts: dict[int, _Context] = {}
        self._counts: dict[str, int] = {}
        self._told: set[DropSort] = set()
        self._timers: set[tuple[int, int]] = set()
        self._waiting: dict[tuple[int, int], int] = {}
        self._waiting_bytes = 0

    def deliver(self, delivery: Delivery) -> None:
        """Notes what a delivery opens or closes."""
        match delivery:
            case StartScript():
                self._contexts[delivery.context] = _Context()
            case EndContext():
                self._contexts.pop(delivery.context, None)
                self._timers = {timer for timer in self._timers if timer[0] != delivery.context}
                for key in [key for key in self._waiting if key[0] == delivery.context]:
                    self._waiting_bytes -= self._waiting.pop(key)
            case ResolveCall() | RejectCall():
                self._waiting_bytes -= self._waiting.pop((delivery.context, delivery.call), 0)
            case FireTimer():
                self._timers.discard((delivery.context, delivery.timer))

    def admit(self, message: ScriptMessage) -> Iterator[ScriptMessage]:
        """What of a message is passed on: itself, shortened, or a note that it was too much.

        Raises:
            WireError: No child of ours says this, or says so much.
        """
        if isinstance(message, Idle):
            yield message
            return
        context = self._contexts.get(message.context)
        if context is None:
            raise WireError(f"a message of context {message.context}, which does not run")
        match message:
            case Logged() | Warned():
                yield from self._line(message)
            case SlotFailed():
                if (message.cause_call or 0) > context.calls:
                    raise WireError("a slot failed by a call that was not made")
                yield from self._count("slots", MAX_LOG_LINES, "logs", message)
            case PhaseEntered():
                title, notes = self._cut(message.context, message.title)
                yield from notes
                yield from self._count("phases", MAX_PHASES, "phases", replace(message, title=title))
            case TimerSet():
                yield from self._timer(context, message)
            case TimerCleared():
                if (message.context, message.timer) in self._timers:
                    self._timers.remove((message.context, message.timer))
                    yield message
            case AgentCalled():
                yield from self._agent(context, message)
            case WorkflowCalled():
                yield from self._call(context, message, len(message.args_json or "") + len(message.script or ""))
            case Dropped():
                if message.sort not in self._told:
                    self._told.add(message.sort)
                    yield message
            case Returned() | Threw():
                if context.has_ended:
                    raise WireError("a script that ended twice")
                context.has_ended = True
                yield message

    def _count(self, name: str, most: int, sort: DropSort, message: ScriptMessage) -> Iterator[ScriptMessage]:
        assert not isinstance(message, Idle)
        count = self._counts[name] = self._counts.get(name, 0) + 1
        if count <= most:
            yield message
        elif count > 2 * most:
            raise WireError(f"a flood: more than {2 * most} {name}")
        else:
            yield from self._tell(message.context, sort, f"more than {most} {name}: the rest is not kept")

    def _tell(self, context: int, sort: DropSort, message: str) -> Iterator[ScriptMessage]:
        if sort not in self._told:
            self._told.add(sort)
            yield Dropped(context=context, sort=sort, message=message)

    def _line(self, message: Logged | Warned) -> Iterator[ScriptMessage]:
        if len(message.message) * 4 > MAX_LOG_LINE_BYTES:
            line = message.message.encode("utf-8", "replace")
            if len(line) > MAX_LOG_LINE_BYTES:
                message = replace(message, message=line[:MAX_LOG_LINE_BYTES].decode("utf-8", "ignore"))
                yield from self._tell(message.context, "text", f"a log line over {MAX_LOG_LINE_BYTES} bytes was cut")
        yield from self._count("log lines", MAX_LOG_LINES, "logs", message)

    def _timer(self, context: _Context, message: TimerSet) -> Iterator[ScriptMessage]:
        if message.timer <= context.timers:
            raise WireError("a timer's number twice")
        context.timers = message.timer
        if len(self._timers) >= MAX_TIMERS:
            yield from self._tell(
                message.context, "timers", f"more than {MAX_TIMERS} timers pending: others never fire"
            )
            return
        self._timers.add((message.context, message.timer))
        yield message

    def _cut(self, context: int, text: str) -> tuple[str, list[ScriptMessage]]:
        if len(text) <= MAX_LABEL_CHARS:
            return text, []
        notes = list(self._tell(context, "text", f"a label or phase over {MAX_LABEL_CHARS} characters was cut"))
        return text[:MAX_LABEL_CHARS], notes

    def _agent(self, context: _Context, message: AgentCalled) -> Iterator[ScriptMessage]:
        prompt = message.prompt or ""
        if len(prompt) * 4 > MAX_PROMPT_BYTES and len(prompt.encode("utf-8", "replace")) > MAX_PROMPT_BYTES:
            raise WireError(f"a prompt over {MAX_PROMPT_BYTES} bytes")
        for name in ("label", "phase"):
            text = message.options.get(name)
            if isinstance(text, str) and len(text) > MAX_LABEL_CHARS:
                short, notes = self._cut(message.context, text)
                yield from notes
                message = replace(message, options={**message.options, name: short})
        size = len(prompt) + sum(len(text) for text in message.options.values() if isinstance(text, str))
        yield from self._call(context, message, size)

    def _call(self, context: _Context, message: AgentCalled | WorkflowCalled, size: int) -> Iterator[ScriptMessage]:
        if message.call != context.calls + 1:
            raise WireError(f"call {message.call} after call {context.calls}")
        context.calls = message.call
        self._waiting[message.context, message.call] = size
        self._waiting_bytes += size
        if self._waiting_bytes > MAX_WAITING_BYTES:
            raise WireError(f"calls under way of more than {MAX_WAITING_BYTES} bytes")
        yield from self._count("calls", MAX_CALLS, "calls", message)
