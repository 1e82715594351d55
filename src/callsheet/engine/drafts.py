"""Nested scripts that a person approves before they start: those that models write, in runs that take them (W03)."""

from __future__ import annotations

import hashlib
from collections import Counter

from callsheet.engine import ending as endings
from callsheet.engine.approvals import END_OF_RUN, Approvals
from callsheet.engine.state import RunState
from callsheet.engine.text import clean, cut
from callsheet.model.approval import Answer, Question, ScriptShown
from callsheet.model.dataclass import dataclass
from callsheet.model.past import PastDraft
from callsheet.model.script import Script
from callsheet.ports import DraftGate

TOOL = "workflow"
"""What the question is about, where surfaces name a tool."""

EARLIER = "an earlier answer"
NOBODY = "nobody is asked"

_MAX_WORDS_CHARS = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What became of the question whether a script is to run.

    Attributes:
        decision: As `NestedRow` has it.
        words: What was said with a no.
    """

    decision: str
    by: str
    words: str | None = None

    @property
    def may_run(self) -> bool:
        """Whether it starts."""
        return self.decision in ("once", "run", "unasked")

    @property
    def declines(self) -> str | None:
        """The message of the error that its caller gets; None where nobody said no."""
        if self.decision != "deny":
            return None
        return "declined" if self.words is None else f"declined: {self.words}"


class Drafts:
    """The nested scripts of a run that are for a person to approve.

    Asked is who says of themselves that they take scripts; where nobody does they run unasked. What a person has
    approved, or declined with a word, in an earlier attempt at the run is not asked again: the same text, the same time
    that it is met, and for a yes with the same args. That all further ones may run holds for the attempt in which it
    was said: a record grants nothing that nobody has seen.
    """

    def __init__(self, state: RunState, *, gate: DraftGate, approvals: Approvals) -> None:
        self._state = state
        self._gate = gate
        self._approvals = approvals
        self._past = {(one.sha256, one.occurrence): one for one in _past(state)}
        self._met: Counter[str] = Counter()
        self._is_asked_no_more = False

    def read(self, text: str) -> Script:
        """The script in a text.

        Raises:
            ScriptRefusedError: It is none.
        """
        return self._gate.read(text)

    async def decide(self, script: Script, args_json: str | None) -> Decided:
        """Whether a script may start; where nobody answered the run is being ended then. Cancelling takes it back.

        Raises:
            CallsheetError: It would not run; nobody was asked.
        """
        occurrence = self._met[script.sha256] + 1
        decided = self._known(script, occurrence, args_digest(args_json))
        if decided is not None:
            self._met[script.sha256] = occurrence
            return decided
        plan = await self._gate.foreseen(script, args_json=args_json, left=self._state.ledger.left())
        self._met[script.sha256] = occurrence  # only here: the record counts none that was refused
        return await self._ask(script, _question(script, tuple(plan)))

    def _known(self, script: Script, occurrence: int, args_sha256: str) -> Decided | None:
        """What is decided without anybody being asked now; None where somebody is."""
        before = self._past.get((script.sha256, occurrence))
        if before is not None and (before.decision == "deny" or before.args_sha256 == args_sha256):
            return Decided(decision=before.decision, by=before.by, words=before.words)
        if self._is_asked_no_more:
            return Decided(decision="run", by=EARLIER)
        if not self._approvals.takes("script"):
            return Decided(decision="unasked", by=NOBODY)
        return None

    async def _ask(self, script: Script, question: Question) -> Decided:
        state = self._state
        if state.draining is not None:
            return Decided(decision="unanswered", by=END_OF_RUN)
        name = state.bus.text(script.meta.name)
        asking = object()
        state.wait(asking, f"whether '{name}' is to run is asked")
        taken_back = Answer(verdict="unanswered", by=END_OF_RUN)
        answer = await self._approvals.ask_for_run(question, agents=0) or taken_back
        by = cut(clean(answer.by), 100)
        match answer.verdict:
            case "once" | "run" | "project":
                self._is_asked_no_more |= answer.verdict != "once"
                decided = Decided(decision="once" if answer.verdict == "once" else "run", by=by)
            case "deny":
                words = state.bus.text(cut(clean(answer.words or "").strip(), _MAX_WORDS_CHARS)) or None
                decided = Decided(decision="deny", by=by, words=words)
                state.book.log("info", f"{by} declined '{name}'{'' if words is None else f': {words}'}")
            case _:
                why = answer.words or "not answered"
                state.drain(endings.not_approved(name, why, state.run_id))
                return Decided(decision="unanswered", by=by)
        state.wait_no_more(asking)
        return decided


def args_digest(args_json: str | None) -> str:
    """What tells the args of a nested script apart on record, where they themselves are not kept."""
    return hashlib.sha256((args_json or "").encode("utf-8", "surrogatepass")).hexdigest()


def _past(state: RunState) -> tuple[PastDraft, ...]:
    """What holds of earlier attempts: not a bare no, of which nothing has come that the run could go on from."""
    past = state.replay.past
    drafts = () if past is None else past.drafts
    return tuple(one for one in drafts if one.decision != "deny" or one.words is not None)


def _question(script: Script, plan: tuple[str, ...]) -> Question:
    meta = script.meta
    return Question(
        tool=TOOL,
        input="\n".join((f"{meta.name}: {meta.description}", *plan)),
        reason="it was not part of what was started: a person says whether it runs",
        kind="script",
        script=ScriptShown(
            name=meta.name, description=meta.description, plan=plan, text=script.text, sha256=script.sha256
        ),
    )
