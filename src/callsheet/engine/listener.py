"""What a script says, message by message: calls, log lines, phases, timers, its end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import assert_never

from callsheet.engine import ending as endings
from callsheet.engine.desks import CallDesk
from callsheet.engine.ending import Ending
from callsheet.engine.nested import NestedWorkflows
from callsheet.engine.state import RunState
from callsheet.engine.text import clean, to_json
from callsheet.engine.timers import Timers
from callsheet.model.counts import MAX_LABEL_CHARS
from callsheet.model.outcome import CancelReason
from callsheet.model.sandbox import (
    AgentCalled,
    Dropped,
    Idle,
    Logged,
    PhaseEntered,
    Returned,
    ScriptMessage,
    SlotFailed,
    Threw,
    TimerCleared,
    TimerSet,
    Warned,
    WorkflowCalled,
)
from callsheet.model.values import JsonValue

_READS_ARGS = re.compile(r"\bargs\s*[.\[]")


class Listener:
    """Takes the messages of the sandbox, one at a time, and has done what they ask.

    Attributes:
        timers: What the scripts' timers wait for.
        verdict: How the run's own script ended; None while it goes on.
    """

    def __init__(
        self,
        state: RunState,
        *,
        desk: CallDesk,
        nested: NestedWorkflows,
        redact_json: Callable[[JsonValue], JsonValue],
    ) -> None:
        self._state = state
        self._desk = desk
        self._nested = nested
        self._redact_json = redact_json
        self.timers = Timers()
        self.verdict: Ending | None = None

    def is_open(self, context: int) -> bool:
        """Whether the script of a context still runs: then it may ask for things, and be given them."""
        if self._state.ending is not None:
            return False
        return self.verdict is None and (context == 0 or context in self._nested.alive)

    async def take(self, message: ScriptMessage) -> None:
        """Takes one message. A script that is over may still log; nothing else of it counts."""
        state, book = self._state, self._state.book
        match message:
            case Idle():
                return
            case Logged(context=context):
                book.log(message.level, message.message, workflow=self._nested.name(context), by="script")
            case SlotFailed(context=context):
                book.slot_failed(message, workflow=self._nested.name(context))
            case Warned(context=context):
                book.warned(message, workflow=self._nested.name(context))
            case Dropped(context=context):
                book.warn_once(message.sort, message.message, workflow=self._nested.name(context))
                book.is_degraded |= message.sort == "calls"
            case _ if not self.is_open(message.context):
                return
            case AgentCalled(context=context):
                above = self._nested.phase_above(context)
                await self._desk.called(message, workflow=self._nested.name(context), phase_above=above)
            case WorkflowCalled(context=context, call=call, line=line):
                if self._desk.limits.count(context, call, line=line) is not None:
                    self._nested.called(message)
            case PhaseEntered(context=context, title=title):
                title = state.bus.text(clean(title)[:MAX_LABEL_CHARS])
                book.phase(title, workflow=self._nested.name(context))
            case TimerSet(context=context, timer=timer, delay_ms=delay_ms):
                state.replay.await_timer(self.timers.set(context, timer, delay_ms, now_ms=state.clock.seen_ms))
            case TimerCleared(context=context, timer=timer):
                self.timers.clear(context, timer)
            case Returned():
                self._returned(message)
            case Threw():
                self._threw(message)
            case _:
                assert_never(message)

    def close(self) -> None:
        """Says what was kept back for the end of a script that has not come."""
        for context, workflow in [(0, None), *((one, nested.workflow) for one, nested in self._nested.alive.items())]:
            self._state.book.context_ended(context, workflow=workflow)

    def _returned(self, returned: Returned) -> None:
        self._over(returned.context, "script_ended")
        if returned.context != 0:
            self._nested.returned(returned.context, returned.value_json)
            return
        try:
            value = self._redact_json(json.loads(returned.value_json))
            to_json(value)
        except RecursionError:
            self.verdict = endings.unusable_result("the script's result is nested too deeply to be handed over")
        except ValueError:
            self.verdict = endings.unusable_result("the sandbox gave a result that is not JSON")
        else:
            self.verdict = endings.returned(value)

    def _threw(self, threw: Threw) -> None:
        self._over(threw.context, "run_failed" if threw.context == 0 else "script_ended")
        if threw.context != 0:
            self._nested.threw(threw.context, threw.name or "Error", threw.message)
            return
        self.verdict = endings.threw(threw, lacks_args=self._lacks_args(threw))

    def _lacks_args(self, threw: Threw) -> bool:
        """Whether it threw where it reads something of `args`, and nobody gave any."""
        request = self._state.request
        if request.args_json is not None or threw.name != "TypeError" or threw.place is None:
            return False
        line = request.script.text.split("\n")[threw.place.line - 1 : threw.place.line]
        return any(_READS_ARGS.search(text) is not None for text in line)

    def _over(self, context: int, reason: CancelReason) -> None:
        """A script ended: what it left under way is cancelled at once (CONTRACT A13), with its timers."""
        workflow = self._nested.name(context)
        left = self._desk.close(reason) if context == 0 else self._desk.close_context(context, reason)
        self.timers.drop_context(context)
        self._state.conversations.forget(context)
        self._state.book.context_ended(context, workflow=workflow)
        if left:
            agents = "1 agent was" if left == 1 else f"{left:,} agents were"
            message = f"{agents} under way when the script ended, and cancelled"
            self._state.book.log("warn", message, workflow=workflow)
