"""Which calls are not begun because what is left is better kept for others (CONTRACT A14, A17)."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import field
from typing import TypeAlias

from callsheet.engine.budget import Ledger
from callsheet.engine.call import Call
from callsheet.engine.pots import Scope, pico_of, usd_text
from callsheet.model.call import AgentTask
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import AgentOutcome

_Kind: TypeAlias = tuple[str | None, str, str | None]
"""Calls that are expected to cost alike: phase, agent type, model."""

_OWN_ENDS = frozenset({"ok", "failed", "invalid", "timed_out", "conflict"})
"""Ends that say what such a call costs; one that was stopped in its middle says nothing."""


@dataclass(slots=True)
class _Ended:
    """What the ended calls of one kind used, sorted."""

    tokens: list[int] = field(default_factory=list)
    pico: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What calls that have not begun would cost: `pico` for the `known` ones; of `unknown` ones nobody can say."""

    pico: int = 0
    known: int = 0
    unknown: int = 0


class Forecast:
    """What calls will use, told from those that ended.

    The estimate of a call is the median of the ended calls of its phase, agent type and model. A call that, by that,
    would not fit into what is left is skipped where others of the run have a higher priority: what is left is theirs.
    Calls of the highest priority are begun in any case, and held by the budget itself.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._highest: float | None = None
        self._ended: dict[_Kind, _Ended] = {}
        self._at_work: dict[int, Call] = {}

    def accepted(self, priority: float) -> None:
        """A call of this priority is part of the run."""
        self._highest = priority if self._highest is None else max(self._highest, priority)

    def began(self, call: Call) -> None:
        """It is at work."""
        self._at_work[call.task.call] = call

    def ended(self, call: Call, outcome: AgentOutcome) -> None:
        """It is over: from now on it says what others of its kind will use."""
        if self._at_work.pop(call.task.call, None) is None or outcome.status not in _OWN_ENDS:
            return
        self._learn(call.task, call.account.tokens, call.account.pico)

    def recorded(self, task: AgentTask, outcome: AgentOutcome) -> None:
        """A call is answered from the record: it counts as one that was accepted and ends now."""
        self.accepted(task.options.priority)
        if outcome.status in _OWN_ENDS:
            self._learn(task, outcome.usage.output_tokens, pico_of(outcome.usage.cost_usd or 0.0))

    def _learn(self, task: AgentTask, tokens: int, pico: int) -> None:
        ended = self._ended.setdefault(_kind(task), _Ended())
        insort(ended.tokens, tokens)
        insort(ended.pico, pico)

    def refusal(self, call: Call) -> str | None:
        """Why a call whose turn it is is skipped, with `call.remedy` set; None where it may begin."""
        if self._highest is None or call.task.options.priority >= self._highest:
            return None
        estimate = self._estimate(call)
        if estimate is None:
            return None
        for scope in call.account.scopes:
            if scope.kind == "agent":
                continue
            for pot in scope.pots():
                each = estimate[0] if pot.kind == "tokens" else estimate[1]
                left = pot.left - self._expected(scope, pot.kind == "tokens")
                if each > left:
                    call.remedy = self._ledger.flag(scope)
                    return _says(call, scope, is_tokens=pot.kind == "tokens", each=each, left=max(0, left))
        return None

    def rest(self, calls: Iterable[Call]) -> Rest:
        """What calls that wait for their start would cost."""
        estimates = [self._estimate(call) for call in calls]
        known = [estimate[1] for estimate in estimates if estimate is not None]
        return Rest(pico=sum(known), known=len(known), unknown=len(estimates) - len(known))

    def _estimate(self, call: Call) -> tuple[int, int] | None:
        ended = self._ended.get(_kind(call.task))
        return None if ended is None else (_median(ended.tokens), _median(ended.pico))

    def _expected(self, scope: Scope, is_tokens: bool) -> int:
        """What those at work will use still, by their estimates; not what they have reserved, which is the worst case.

        Who begins and finds too little left waits for theirs to be settled.
        """
        expected = 0
        for other in self._at_work.values():
            if scope in other.account.scopes and (estimate := self._estimate(other)) is not None:
                used = other.account.tokens if is_tokens else other.account.pico
                expected += max(0, estimate[0 if is_tokens else 1] - used)
        return expected


def _kind(task: AgentTask) -> _Kind:
    return task.phase, task.agent_type.name, task.model


def _median(values: list[int]) -> int:
    """Of two in the middle the higher one."""
    return values[len(values) // 2]


def _says(call: Call, scope: Scope, *, is_tokens: bool, each: int, left: int) -> str:
    whose = "the run's budget" if scope.kind == "run" else f"the budget of phase '{scope.name}'"
    amounts = (
        (f"{each:,} output tokens", f"{left:,}") if is_tokens else (usd_text(each), usd_text(left) if left else "$0")
    )
    return (
        f"skipped: calls like it took {amounts[0]}, {amounts[1]} of {whose} are left for it, and others have a higher "
        f"priority than its {call.task.options.priority:g}"
    )
