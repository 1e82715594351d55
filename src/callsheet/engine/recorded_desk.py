"""Answers the calls of a script from a record alone, and notes where they are other than recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from anyio.abc import TaskGroup

from callsheet.engine.admission import DEFAULT_AGENT_TYPE
from callsheet.engine.desks import CallDesk
from callsheet.engine.ending import Ending
from callsheet.engine.keys import AskedKey, Occurrences, asked_by
from callsheet.engine.limits import Limits
from callsheet.engine.options import MisuseError, check_options, check_prompt, default_label, unknown_option
from callsheet.engine.refusals import asked_digest
from callsheet.engine.replay import Decision
from callsheet.engine.scheduler import Scheduler
from callsheet.engine.settle import settlement
from callsheet.engine.state import RunState
from callsheet.engine.text import to_json
from callsheet.engine.timers import Timers
from callsheet.model.call import AgentType, CallOptions
from callsheet.model.counts import MAX_CALLS
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import AGENT_STATUSES, CancelReason
from callsheet.model.past import CallExplained, Past, PastAgent
from callsheet.model.replayed import Difference, RecordedCall, RecordedRefusal, RecordedRun
from callsheet.model.sandbox import AgentCalled, RejectCall, ResolveCall
from callsheet.model.values import JsonValue

LIMIT_OPTIONS = (
    "timeout", "stallMs", "maxTurns", "maxTokens", "maxCost", "retries", "priority", "speed", "settle", "merge",
)  # fmt: skip
"""Options that are no part of what a call asks (CONTRACT R02), besides its label and phase."""

_SHOWN = 5


def words_asked(prompt: str, options: CallOptions) -> AskedKey:
    """The key of a call by what its script itself says, whatever settings and agent types make of that."""
    return asked_by(
        prompt=prompt,
        options=options,
        agent_type=AgentType(name=options.agent_type or DEFAULT_AGENT_TYPE, description=""),
        model=options.model,
        effort=options.effort,
        backend=options.backend or "",
        cwd=options.cwd or ".",
    )


def known_by_their_words(recorded: RecordedRun) -> Past:
    """The record with each agent under the key of `words_asked`: what settings and files say now plays no part."""
    occurrences = Occurrences()

    def order(agent: PastAgent) -> tuple[bool, int]:
        return not recorded.calls[agent.agent_id].is_of_last, agent.call

    agents = []
    for agent in sorted(recorded.past.agents, key=order):
        call = recorded.calls[agent.agent_id]
        try:
            asked = words_asked(call.prompt, check_options(call.options))
        except MisuseError:  # recorded by a version with other options
            continue
        agents.append(replace(agent, key=asked.key, occurrence=occurrences.next(asked.key), parts=asked.parts))
    return replace(recorded.past, agents=tuple(sorted(agents, key=lambda agent: agent.call)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmatched:
    """A call that is like none of the record."""

    called: AgentCalled
    label: str
    phase: str | None


class RecordedDesk(CallDesk):
    """The desk of a replay.

    Attributes:
        timers: The scripts' timers that wait.
        differences: What is other than recorded, in the order in which it was met.
        unmatched: Calls that are like none of the record, by their number.
        taken: The recorded agents that were asked for.
        stop: Why the replay ends before its script; None while it goes on.
        is_over: The record ends there, and the script would have gone on.
    """

    def __init__(self, state: RunState, recorded: RecordedRun) -> None:
        self._state = state
        self._recorded = recorded
        self._occurrences = Occurrences()
        self._refusals: dict[int, RecordedRefusal] = dict(recorded.refusals)
        self._waiting: dict[int, tuple[int, str]] = {}
        self._is_closed = False
        self.limits = Limits(state, Scheduler(max_parallel=1, max_agents=MAX_CALLS))
        self.timers = Timers()
        self.differences: list[Difference] = []
        self.unmatched: dict[int, Unmatched] = {}
        self.taken: set[str] = set()
        self.stop: str | None = None
        self.is_over = False

    # --- a call arrives ---------------------------------------------------------------------------------------------

    async def called(self, called: AgentCalled, *, workflow: str | None, phase_above: str | None = None) -> None:
        """Answers a call as it was answered then."""
        state = self._state
        for name in called.unknown_options:
            state.book.warn_once("option", unknown_option(name))
        number = self.limits.count(called.context, called.call, line=called.line)
        if number is None:
            return
        digest = asked_digest(called)
        refusal = self._refusals.get(number)
        if refusal is not None and refusal.asked == digest:
            self._refuse(called, number)
            return
        try:
            prompt = check_prompt(called.prompt, called.prompt_type)
            if called.options_fault is not None:
                raise MisuseError("TypeError", called.options_fault)
            options = check_options(called.options)
        except MisuseError as error:
            if not self._is_refused_elsewhere(called, digest):
                state.reject(called.context, called.call, error.name, error.message)
            return
        label = state.bus.text(options.label or default_label(prompt))
        phase = options.phase or called.phase
        phase = None if phase is None else state.bus.text(phase)
        asked = words_asked(prompt, options)
        if not state.replay.knows(asked.key) and self._is_refused_elsewhere(called, digest):
            return
        decision = await state.replay.decide(asked, self._occurrences.next(asked.key), call=number, label=label)
        self._note(decision, asked, number, label=label, phase=phase)
        if decision.past is None:
            self._is_like_none(Unmatched(called=called, label=label, phase=phase), number)
            return
        state.book.queued(phase, workflow=workflow)
        self._take(called, decision.past, options, number, label=label, phase=phase)

    def _note(self, decision: Decision, asked: AskedKey, number: int, *, label: str, phase: str | None) -> None:
        past = decision.past
        explained = CallExplained(
            call=number,
            agent_id="" if past is None else past.agent_id,
            label=label,
            reused=past is not None,
            why=None if past is not None else decision.why,
        )
        self._state.replay.note(decision, asked, explained, phase=phase)

    def _take(
        self,
        called: AgentCalled,
        past: PastAgent,
        options: CallOptions,
        number: int,
        *,
        label: str,
        phase: str | None,
    ) -> None:
        recorded = self._recorded.calls[past.agent_id]
        self.taken.add(past.agent_id)
        self._compare(called, past, recorded, number, label=label, phase=phase)
        if past.seen is None or past.status not in AGENT_STATUSES:
            self._waiting[number] = (called.context, f'{past.agent_id} "{label}"')
            return
        delivery = settlement(
            past.outcome,
            context=called.context,
            call=called.call,
            agent_id=past.agent_id,
            settle=options.settle,
            value_json=past.value_json or "null",
            is_budget_spent=recorded.is_budget_spent,
        )
        self._state.replay.await_outcome(past, delivery)

    def _compare(
        self,
        called: AgentCalled,
        past: PastAgent,
        recorded: RecordedCall,
        number: int,
        *,
        label: str,
        phase: str | None,
    ) -> None:
        """Notes what is other than recorded, and no part of what the call asks."""
        named = f'call {number}{at_line(called.line)} "{past.label}" ({past.agent_id})'

        def differs(kind: str, message: str, before: str | None, now: str | None, part: str) -> None:
            self.differences.append(
                Difference(
                    kind="label" if kind == "label" else "phase" if kind == "phase" else "limits",
                    message=f"{named} {message}",
                    recorded=before,
                    now=now,
                    call=number,
                    agent_id=past.agent_id,
                    label=label,
                    phase=phase,
                    line=called.line,
                    part=part,
                )
            )

        if label != past.label:
            differs("label", "has another label", past.label, label, "label")
        if phase != past.phase:
            differs("phase", "is in another phase", past.phase, phase, "phase")
        for name in LIMIT_OPTIONS:
            before, now = recorded.options.get(name), called.options.get(name)
            if before != now:
                differs("limits", f"has another `{name}`", option_text(before), option_text(now), name)

    def _is_refused_elsewhere(self, called: AgentCalled, digest: str) -> bool:
        """Whether the same was refused as a call of another number; then this one is refused so."""
        number = next((number for number, one in self._refusals.items() if one.asked == digest), None)
        if number is None:
            return False
        self._refuse(called, number)
        return True

    def _refuse(self, called: AgentCalled, number: int) -> None:
        state, refusal = self._state, self._refusals.pop(number)
        state.ledger.show_seen(refusal.spent_tokens, refusal.spent_usd)
        state.book.is_degraded = True
        state.answer(
            RejectCall(context=called.context, call=called.call, name=refusal.name, message=refusal.message)
            if refusal.value is None
            else ResolveCall(context=called.context, call=called.call, value_json=refusal.value)
        )

    # --- where the record has no answer -----------------------------------------------------------------------------

    @property
    def _is_at_its_end(self) -> bool:
        """Whether the record of a run that was cut off has nothing after this: what is new may have been lost."""
        return not self._recorded.is_whole and self._state.turn >= self._state.replay.last_seq

    def _is_like_none(self, unmatched: Unmatched, number: int) -> None:
        called = unmatched.called
        if self._is_at_its_end:
            self._end(f'the record ends before call {number}{at_line(called.line)} "{unmatched.label}"', is_over=True)
            return
        self.unmatched[number] = unmatched
        self._end(f'call {number}{at_line(called.line)} "{unmatched.label}" is not on record')

    def no_such_workflow(self, asked: str, *, line: int | None) -> None:
        """The script asks for another one that is not on record."""
        named = f"workflow('{asked}'){at_line(line)}"
        if self._is_at_its_end:
            self._end(f"the record ends before {named}", is_over=True)
            return
        names = ", ".join(dict.fromkeys(one.asked for one in self._recorded.nested))
        self.differences.append(
            Difference(
                kind="workflow",
                message=f"{named} is not on record",
                recorded=names,
                now=asked,
                line=line,
                part="workflow",
            )
        )
        self._end(f"{named} is not on record")

    def no_answer(self, asked: str, *, line: int | None) -> None:
        """Nobody had said by then whether a nested script is to run."""
        named = f"workflow('{asked}'){at_line(line)}"
        self._end(f"the record ends here: whether {named} is to run was not answered", is_over=True)

    def pump(self) -> None:
        """Ends the replay: called when the script waits for nothing that is recorded."""
        state = self._state
        if self._is_closed or state.ending is not None or state.draining is not None:
            return
        if not (self._waiting or self.timers):
            return  # the script waits for nothing: the loop says that
        names = [name for _, name in self._waiting.values()]
        more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        waits = f"for {', '.join(names[:_SHOWN])}{more}" if names else "for a timer"
        if not self._recorded.is_whole:
            self._end(f"the record ends here: the script waits {waits}", is_over=True)
            return
        what = ", which had not ended when the script did" if names else " that had not fired when the script ended"
        self.differences.append(
            Difference(
                kind="waiting",
                message=f"the script waits {waits}{what}",
                recorded=f"the script ended: {self._recorded.status}",
                now=f"it waits {waits}",
            )
        )
        self._end(f"the script waits {waits}")

    def _end(self, why: str, *, is_over: bool = False) -> None:
        """Delivers nothing more; what the script still says in this turn is taken."""
        if self.stop is None:
            self.stop, self.is_over = why, is_over
        self._state.drain(Ending(status="interrupted", reason="run_failed", says=why))

    # --- the rest of a desk -----------------------------------------------------------------------------------------

    @property
    def alive(self) -> int:
        """Calls that the record has no outcome for."""
        return len(self._waiting)

    @property
    def begun(self) -> int:
        """None: nobody works."""
        return 0

    def employ(self, workers: TaskGroup) -> None:
        """Nobody is employed."""

    def close_context(self, context: int, reason: CancelReason) -> int:
        """Forgets the calls of a script that is over; how many they were."""
        gone = [number for number, (whose, _) in self._waiting.items() if whose == context]
        for number in gone:
            del self._waiting[number]
        return len(gone)

    def close(self, reason: CancelReason) -> int:
        """Forgets every call; how many they were."""
        self._is_closed = True
        count = len(self._waiting)
        self._waiting.clear()
        return count

    async def abandon(self, why: str) -> None:
        """There is nothing to abandon."""

    def tell_strays(self) -> None:
        """Nobody has changed anything."""

    async def quiet(self) -> None:
        """Returns at once."""


def at_line(line: int | None) -> str:
    """Where a call stands, for a message."""
    return "" if line is None else f" (line {line})"


def option_text(value: JsonValue) -> str | None:
    """An option's value as a script has it, in one line; None where it was not given."""
    return None if value is None else to_json(value)


def part_text(name: str, prompt: str, options: Mapping[str, JsonValue]) -> str | None:
    """What a call says for a part of its key, in one line; None where it says nothing."""
    match name:
        case "prompt":
            return prompt
        case "agent_type":
            return option_text(options.get("agentType"))
        case "disallowed_tools":
            return option_text(options.get("disallowedTools"))
        case "isolation":
            return option_text(options.get("isolation") or options.get("worktree"))
        case _:
            return option_text(options.get(name))
