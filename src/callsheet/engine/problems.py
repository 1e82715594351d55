"""What went wrong in a run and does not show in its result: problems, denials, folded failure lines (FORMATS 1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, replace

from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import AgentStatus
from callsheet.model.run import Denial, Problem, ProblemCause
from callsheet.model.sandbox import SlotFailed

MAX_LISTED = 100
"""Beyond so many, problems are folded by their cause."""

MAX_DENIALS = 200
MAX_RULES = 20
"""Rules that one denial names; each of at most so many characters as one would paste."""
MAX_RULE_CHARS = 1_000
MAX_FOLDS = 1_000
FOLD_FROM = 4
"""The fourth of equal `parallel[i] failed` lines, and all after it, are counted instead of shown (CONTRACT L03)."""

CallRef = tuple[int, int]
"""A call as its script numbers it: context and call."""


def cause_of(status: AgentStatus) -> ProblemCause | None:
    """The cause that a problem gives for a call that ended so; None where that is no problem.

    A call that was cancelled on its own, by a person, was skipped as far as its script can tell (CONTRACT A17).
    """
    match status:
        case "ok":
            return None
        case "cancelled":
            return "skipped"
        case "failed" | "skipped" | "timed_out" | "over_budget" | "conflict" | "invalid":
            return status


@dataclass(slots=True)
class _Folded:
    cause: ProblemCause
    message: str
    count: int


class ProblemBook:
    """Collects the problems of a run; the first hundred in full, then one entry for each cause."""

    def __init__(self, text: Callable[[str], str]) -> None:
        """Makes an empty one; `text` redacts."""
        self._text = text
        self._listed: list[Problem] = []
        self._folded: dict[ProblemCause, _Folded] = {}
        self._of_call: dict[CallRef, tuple[int | None, Problem]] = {}
        self._placed: set[CallRef] = set()

    def __bool__(self) -> bool:
        return bool(self._listed)

    def call(self, ref: CallRef, problem: Problem) -> None:
        """A call that was refused by a limit, or did not end well."""
        problem = replace(problem, message=self._text(problem.message))
        self._of_call[ref] = (self._add(problem), problem)

    def slot(self, failed: SlotFailed, *, workflow: str | None, message: str) -> None:
        """A slot that became null because something threw.

        Where it was a call that is a problem already, that one is given the place of the slot: one failure, one entry.
        """
        where = f"{failed.combinator} {failed.number} [{failed.index}]"
        if workflow is not None:
            where = f"▸ {workflow}: {where}"
        ref = (failed.context, failed.cause_call) if failed.cause_call is not None else None
        known = self._of_call.get(ref) if ref is not None else None
        if ref is None or known is None:
            self._add(Problem(where=where, cause="threw", message=self._text(message), line=failed.line))
            return
        at, problem = known
        placed = replace(problem, where=where, line=failed.line or problem.line)
        if ref in self._placed:
            self._add(placed)
        else:
            self._placed.add(ref)
            if at is not None:
                self._listed[at] = placed

    def _add(self, problem: Problem) -> int | None:
        if len(self._listed) < MAX_LISTED:
            self._listed.append(problem)
            return len(self._listed) - 1
        folded = self._folded.setdefault(problem.cause, _Folded(problem.cause, problem.message, 0))
        folded.count += 1
        return None

    def problems(self) -> tuple[Problem, ...]:
        """All of them, in order; the folded ones last."""
        return (
            *self._listed,
            *(
                Problem(where=f"{one.count:,} more", cause=one.cause, message=one.message, count=one.count)
                for one in self._folded.values()
            ),
        )


@dataclass(slots=True)
class _Denied:
    agents: set[str] = field(default_factory=set)
    would_allow: dict[str, None] = field(default_factory=dict)


class DenialBook:
    """Collects what agents were not allowed to do; equal ones are one entry with the number of agents."""

    def __init__(self) -> None:
        self._denied: dict[tuple[str, str, str], _Denied] = {}

    def add(self, *, tool: str, tool_input: str, rule: str, agent_id: str, would_allow: tuple[str, ...] = ()) -> None:
        """One denial. The texts are as they may go out."""
        key = (tool, tool_input, rule)
        if key in self._denied or len(self._denied) < MAX_DENIALS:
            denied = self._denied.setdefault(key, _Denied())
            denied.agents.add(agent_id)
            for rule_text in would_allow:
                if len(rule_text) <= MAX_RULE_CHARS and len(denied.would_allow) < MAX_RULES:
                    denied.would_allow[rule_text] = None

    def denials(self) -> tuple[Denial, ...]:
        """All of them, in order of first occurrence."""
        return tuple(
            Denial(
                tool=tool,
                input=tool_input,
                rule=rule,
                agents=len(denied.agents),
                would_allow=tuple(denied.would_allow),
            )
            for (tool, tool_input, rule), denied in self._denied.items()
        )


class SlotLines:
    """Decides which `parallel[i] failed` lines are shown; equal ones are folded (CONTRACT L03)."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str, str], int] = {}

    def line(self, failed: SlotFailed, message: str) -> str | None:
        """The line for one slot, None where it is one too many of the same."""
        key = (failed.context, failed.combinator, message)
        count = self._seen.get(key, 0) + 1
        if count > 1 or len(self._seen) < MAX_FOLDS:
            self._seen[key] = count
        return f"{failed.combinator}[{failed.index}] failed: {message}" if count < FOLD_FROM else None

    def folded(self, context: int) -> list[str]:
        """The closing lines of a context: how often each line came that was not shown again."""
        lines = [
            f"{combinator}[…] failed {count - FOLD_FROM + 1:,} times more: {message}"
            for (of, combinator, message), count in self._seen.items()
            if of == context and count >= FOLD_FROM
        ]
        self._seen = {key: count for key, count in self._seen.items() if key[0] != context}
        return lines
