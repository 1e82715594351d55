"""A question that waits for its answer: who waits for it, and how it goes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import field, replace
from typing import TypeAlias

import anyio

from callsheet.engine.text import cut_bytes
from callsheet.model.approval import Answer, Question, ScriptShown
from callsheet.model.counts import MAX_LOG_LINE_BYTES
from callsheet.model.dataclass import dataclass
from callsheet.model.events import ApprovalAsked

MAX_SHOWN_SCRIPT_BYTES = 64 * 1024
"""As much of a script goes into an event; who is asked in this process gets all of it."""
MAX_PLAN_LINES = 60

QuestionKey: TypeAlias = tuple[str, str, str, tuple[str, ...]]
"""What makes questions equal: tool, input, reason, rules. An answer is to what was shown, and to nothing else."""


@dataclass(slots=True, kw_only=True, eq=False)
class OpenQuestion:
    """A question that waits for its answer.

    Attributes:
        asked: As the agents asked it; what is granted comes from here.
        shown: As it may go out, secrets replaced.
        until: When it counts as denied; None while it waits to be put to the approver.
        is_shown: Its name is on disk: it may be seen, and answered.
        agents: Who waits, with how many tool calls each.
        crowd: How many agents wait for their start, where the whole run asks; None where agents do.
    """

    key: QuestionKey
    asked: Question
    shown: Question
    until: str | None = None
    is_shown: bool = False
    agents: Counter[str] = field(default_factory=Counter)
    changed: anyio.Event = field(default_factory=anyio.Event)
    settled: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    answer: Answer | None = None
    crowd: int | None = None
    is_taken_away: bool = False

    @property
    def waiting(self) -> int:
        """How many agents wait for the answer."""
        return len(self.agents) if self.crowd is None else self.crowd


def key_of(question: Question) -> QuestionKey:
    """What makes it equal to others."""
    return (question.tool, question.input, question.reason, question.rules)


def as_shown(question: Question, question_id: str, text: Callable[[str], str]) -> Question:
    """A question under its name, as it may go out: `text` replaces secrets."""
    return Question(
        tool=text(question.tool),
        input=text(question.input),
        reason=text(question.reason),
        rules=tuple(text(rule) for rule in question.rules),
        id=question_id,
        kind=question.kind,
        more_usd=question.more_usd,
        script=None if question.script is None else _redacted(question.script, text),
    )


def as_asked(one: OpenQuestion) -> ApprovalAsked:
    """Its event: as much of it as goes into one."""
    shown = one.shown
    return ApprovalAsked(
        id=shown.id,
        tool=shown.tool,
        input=cut_bytes(shown.input, MAX_LOG_LINE_BYTES),
        reason=cut_bytes(shown.reason, MAX_LOG_LINE_BYTES),
        rules=tuple(cut_bytes(rule, MAX_LOG_LINE_BYTES) for rule in shown.rules),
        agents=one.waiting,
        agent_ids=tuple(one.agents),
        until=one.until,
        kind=shown.kind,
        more_usd=shown.more_usd,
        script=None if shown.script is None else _bounded(shown.script),
    )


def _redacted(script: ScriptShown, text: Callable[[str], str]) -> ScriptShown:
    return replace(
        script,
        name=text(script.name),
        description=text(script.description),
        plan=tuple(text(line) for line in script.plan),
        text=text(script.text),
    )


def _bounded(script: ScriptShown) -> ScriptShown:
    """As much of it as goes into an event."""
    whole = script.text
    if len(whole.encode()) > MAX_SHOWN_SCRIPT_BYTES:
        text = cut_bytes(whole, MAX_SHOWN_SCRIPT_BYTES).removesuffix("…")
        script = replace(script, text=text, left_out=len(whole) - len(text))
    return replace(
        script,
        name=cut_bytes(script.name, MAX_LOG_LINE_BYTES),
        description=cut_bytes(script.description, MAX_LOG_LINE_BYTES),
        plan=tuple(cut_bytes(line, MAX_LOG_LINE_BYTES) for line in script.plan[:MAX_PLAN_LINES]),
    )
