"""Whether an agent's tool call may go ahead: decided by rules, and where they leave it open, by a person (DESIGN 9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.files import Place
from callsheet.agents.tools.holding import Held
from callsheet.agents.tools.names import ToolFailure
from callsheet.model.approval import Answer, Question
from callsheet.model.call import AgentTask
from callsheet.model.dataclass import dataclass
from callsheet.permissions.decide import Decision
from callsheet.permissions.rules import Effect
from callsheet.ports import AgentReporter

if TYPE_CHECKING:
    from callsheet.permissions.decide import Decider

NO_CONFINEMENT = "no confinement"
"""What decided, where a command may run only confined and nothing confines it."""

_ANOTHER_WAY = "Go another way, or say in your answer what it kept you from."


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A call that may go ahead.

    Attributes:
        was_asked: A person allowed it; rules alone had not.
        held: Of a command: what holds it.
    """

    decision: Decision
    was_asked: bool = False
    held: Held | None = None


class Gate:
    """The gate of one agent.

    Args:
        bounds: What holds for the run.
        task: Whose agent it is.
        reporter: Where a person is asked.

    Raises:
        UsageError: The task's folder is not one of the workspace.
    """

    def __init__(self, *, bounds: Bounds, task: AgentTask, reporter: AgentReporter) -> None:
        self._bounds = bounds
        self._task = task
        self._reporter = reporter
        self._version = bounds.version
        self._decider = bounds.decider(task)
        self.root = self._decider.root

    def decide(self, tool: str, given: Mapping[str, object], *, folder: Path | None = None) -> Decision:
        """The decision by the rules that hold now; nobody is asked."""
        return self._current().decide(tool, given, folder=folder)

    def _current(self) -> Decider:
        """Decides by the rules that hold now."""
        if self._version != self._bounds.version:
            self._version = self._bounds.version
            self._decider = self._bounds.decider(self._task)
        return self._decider

    def allows_place(self, place: str) -> bool:
        """Whether an allowed fetch may also go to a place that it came upon, as `Decider.allows_place` has it."""
        return self._current().allows_place(place)

    def shunned_hosts(self) -> tuple[str, ...]:
        """Hosts that nothing may be fetched from unasked, as `Decider.shunned_hosts` has it."""
        return self._current().shunned_hosts()

    async def admit(self, tool: str, given: Mapping[str, object], *, shown: str, folder: Path | None = None) -> Passed:
        """Lets a call pass, or not; a person is asked where the decision is to ask.

        Args:
            tool: By its name for agents.
            given: Its input.
            shown: What it is about, in full, for the person who is asked.
            folder: Where a shell command starts.

        Raises:
            ToolFailure: It may not go ahead; says why, and the person's words.
        """
        decision = self.decide(tool, given, folder=folder)
        if decision.decision is Effect.DENY:
            raise _denied(tool, decision, _advised(decision))
        held = await self._bounds.held() if tool == "bash" else None
        if held is not None and held.is_needed:
            decision = self._unheld(decision, held)
        if decision.decision is Effect.ALLOW:
            return Passed(decision=decision, held=held)
        question = Question(
            tool=tool,
            input=shown,
            reason=self._reason(decision, folder),
            rules=decision.suggestions,
            is_rechecked=True,
        )
        answer = await self._reporter.ask(question)
        if answer.verdict == "changed":
            return await self.admit(tool, given, shown=shown, folder=folder)
        if not answer.is_yes:
            raise _denied(tool, decision, _refusal(decision, answer))
        if answer.verdict in ("run", "project"):
            self._bounds.grant(question.rules, root=self.root)
        return Passed(decision=self._still(tool, given, decision, folder), was_asked=True, held=held)

    def _still(self, tool: str, given: Mapping[str, object], asked: Decision, folder: Path | None) -> Decision:
        """Looks again after the wait: what was allowed is what was asked about."""
        now = self.decide(tool, given, folder=folder)
        if now.decision is Effect.DENY:
            raise _denied(tool, now, _advised(now))
        if now.path != asked.path:
            raise _denied(tool, replace(now, rule="link"), "it leads elsewhere than when it was asked about.")
        return replace(asked, reads=now.reads)

    def _unheld(self, decision: Decision, held: Held) -> Decision:
        """A decision about a command that nothing will hold."""
        said = f"Nothing confines commands on this machine ({held.why}; `callsheet doctor` tells more)"
        if decision.decision is Effect.ASK:
            return replace(decision, reason=f"{decision.reason} {said}.")
        if not decision.needs_confinement or self._bounds.was_granted(decision.rule):
            return decision
        reason = (
            f"It may run files of the workspace, which agents may change, and so runs only confined. {said}. "
            "A person can start the run with --unconfined where the machine itself is the boundary."
        )
        return replace(
            decision, decision=Effect.ASK, reason=reason, rule=NO_CONFINEMENT, source=None, advice="", suggestions=()
        )

    def _reason(self, decision: Decision, folder: Path | None) -> str:
        if folder is None or folder == self.root:
            return decision.reason
        return f"{decision.reason} It would run in {folder}."

    # --- paths

    def place(self, path: Path) -> Place:
        """How a path is opened that a decision allows: beneath the workspace, else beneath `/`, following no link."""
        if path.is_relative_to(self.root):
            return Place(base=self.root, relative=str(path.relative_to(self.root)))
        return Place(base=Path("/"), relative=str(path.relative_to("/")))

    def name(self, path: Path) -> str:
        """A path as outcomes name it: relative to the workspace; absolute outside it."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def sees(self, path: Path, *, was_asked: bool) -> str | None:
        """A path as outcomes name it, where an agent's search may show it, else None.

        Args:
            path: Absolute.
            was_asked: A person allowed the search: what rules would ask about is then shown, what they deny is not.
        """
        decision = self.decide("read", {"file_path": str(path)})
        is_seen = decision.decision is Effect.ALLOW or (was_asked and decision.decision is Effect.ASK)
        if not is_seen or decision.path is None or self._decider.hides(decision.path):
            return None
        return self.name(decision.path)


def _denied(tool: str, decision: Decision, reason: str) -> ToolFailure:
    would_allow = decision.suggestions if decision.decision is Effect.ASK else ()
    return ToolFailure(f"{tool}: {reason}", denied=True, rule=decision.rule, would_allow=would_allow)


def _refusal(decision: Decision, answer: Answer) -> str:
    words = f": {answer.words}" if answer.words else ""
    if answer.verdict == "deny":
        return f"a person was asked and did not allow it{words}. {_ANOTHER_WAY}"
    return f"{_advised(decision)} Nobody allowed it{words}. {_ANOTHER_WAY}"


def _advised(decision: Decision) -> str:
    """Why, with what only the agent is told."""
    return f"{decision.reason} {decision.advice}".rstrip()
