"""What a run's result is made of, gathered while it runs (FORMATS 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from callsheet.engine.bus import EventBus
from callsheet.engine.problems import CallRef, DenialBook, ProblemBook, SlotLines, cause_of
from callsheet.engine.text import cut_bytes, error_text
from callsheet.model.call import AgentTask
from callsheet.model.counts import MAX_LOG_LINE_BYTES, MAX_LOG_LINES, MAX_PHASES
from callsheet.model.events import Log, PhaseStarted
from callsheet.model.outcome import AgentStatus, Usage
from callsheet.model.past import PastAgent
from callsheet.model.run import AgentSummary, LogLine, PhaseSummary, Problem, ProblemCause
from callsheet.model.sandbox import LogLevel, SlotFailed, Warned

MAX_NAMED_FILES = 10
"""How many files a problem names; all of them are in the record."""


class RunBook:
    """The log, phases, agents and problems of one run. Nothing in it grows beyond the counts of CONTRACT L03.

    Attributes:
        is_degraded: A call did not end well, a slot threw, or a limit or budget refused a call (CONTRACT O01).
        over_budget: A budget stopped an agent that had been accepted (exit status 4).
        outside: Files that agents changed outside of their declared scope, by agent.
    """

    def __init__(self, bus: EventBus, *, run_id: str) -> None:
        self._bus = bus
        self._run_id = run_id
        self.problems = ProblemBook(bus.text)
        self.denials = DenialBook()
        self.is_degraded = False
        self.over_budget = False
        self.outside: dict[str, tuple[str, ...]] = {}
        self.logs: list[LogLine] = []
        self._lines = 0
        self._warned: set[tuple[str, str]] = set()
        self._slot_lines = SlotLines()
        self._phases: dict[str | None, int] = {}
        self._entered: set[tuple[str, str | None]] = set()
        self._agents: dict[int, AgentSummary] = {}
        self._ended: list[int] = []

    # --- the log ----------------------------------------------------------------------------------------------------

    def log(
        self, level: LogLevel, message: str, *, workflow: str | None = None, by: Literal["script", "host"] = "host"
    ) -> None:
        """Adds a line; after 10,000 one last line says that there were more."""
        self._lines += 1
        if self._lines > MAX_LOG_LINES:
            if self._lines > MAX_LOG_LINES + 1:
                return
            level, message = "warn", f"the log has more than {MAX_LOG_LINES:,} lines; what follows is not kept"
        message = cut_bytes(message, MAX_LOG_LINE_BYTES)
        event = self._bus.emit(Log(level=level, message=message, workflow=workflow, by=by))
        assert isinstance(event.body, Log)
        self.logs.append(LogLine(level=level, message=event.body.message, at=event.at))

    def warn_once(self, code: str, message: str, *, workflow: str | None = None) -> None:
        """Adds a warning that is said once a run."""
        if (code, message) not in self._warned and len(self._warned) < MAX_LOG_LINES:
            self._warned.add((code, message))
            self.log("warn", message, workflow=workflow)

    def warned(self, warned: Warned, *, workflow: str | None) -> None:
        """Adds what the sandbox has to say to the author (CONTRACT P02, D08)."""
        place = f" (line {warned.place})" if warned.place is not None else ""
        self.warn_once(warned.code, warned.message + place, workflow=workflow)

    # --- phases -----------------------------------------------------------------------------------------------------

    def phase(self, title: str, *, workflow: str | None) -> None:
        """Enters a phase; the first time in its workflow it is an event (CONTRACT G02)."""
        group = title if workflow is None else f"▸ {workflow}"
        if (title, workflow) in self._entered:
            return
        if len(self._entered) >= MAX_PHASES:
            self.warn_once("phases", f"the run has more than {MAX_PHASES:,} phases; further ones are not listed")
            return
        self._entered.add((title, workflow))
        self._phases.setdefault(group, 0)
        self._bus.emit(PhaseStarted(title=title, workflow=workflow))

    def queued(self, phase: str | None, *, workflow: str | None) -> None:
        """Counts an accepted call into its group: its phase, or `▸ name` for those of a nested workflow."""
        group = phase if workflow is None else f"▸ {workflow}"
        if phase is not None:
            self.phase(phase, workflow=workflow)
        if group in self._phases or len(self._phases) < MAX_PHASES + 1:
            self._phases[group] = self._phases.get(group, 0) + 1

    def phases(self) -> tuple[PhaseSummary, ...]:
        """The groups in order of first use."""
        return tuple(
            PhaseSummary(title=None if title is None else self._bus.text(title), agents=agents)
            for title, agents in self._phases.items()
        )

    # --- what did not end well --------------------------------------------------------------------------------------

    def refused(
        self, ref: CallRef, *, cause: ProblemCause, label: str, message: str, line: int | None, remedy: str | None
    ) -> None:
        """A call that a limit or the budget refused: it has no entry among the agents (CONTRACT A17).

        `remedy` is the flag, with its value, that lets a resumed run go on; None where there is none.
        """
        self.is_degraded = True
        self.problems.call(
            ref,
            Problem(
                where="agent",
                cause=cause,
                message=message,
                line=line,
                label=self._bus.text(label),
                next=None if remedy is None else f"callsheet resume {self._run_id} {remedy}",
            ),
        )

    def slot_failed(self, failed: SlotFailed, *, workflow: str | None) -> None:
        """A thunk or stage threw: a line, a problem, and the run is degraded (CONTRACT P01, P04, O01)."""
        self.is_degraded = True
        name = failed.name if failed.name != "Error" else ""
        message = cut_bytes(error_text(name, failed.message), MAX_LOG_LINE_BYTES)
        self.problems.slot(failed, workflow=workflow, message=message)
        line = self._slot_lines.line(failed, message)
        if line is not None:
            self.log("warn", line, workflow=workflow)

    def context_ended(self, context: int, *, workflow: str | None) -> None:
        """Says how often the lines came that were folded."""
        for line in self._slot_lines.folded(context):
            self.log("warn", line, workflow=workflow)

    # --- agents -----------------------------------------------------------------------------------------------------

    def finished(
        self, ref: CallRef, agent: AgentSummary, *, line: int | None, counts: bool, remedy: str | None = None
    ) -> None:
        """An agent ended; `agent` is redacted, `remedy` the flag that a rerun needs to come to another end.

        `counts` is False for one that was cancelled because its script, or the run, was over (CONTRACT A13).
        """
        if agent.call not in self._agents:
            self._ended.append(agent.call)
        self._agents[agent.call] = agent
        cause = cause_of(agent.status) if counts else None
        if cause is None:
            return
        self.is_degraded = True
        self.over_budget |= agent.status == "over_budget"
        self.problems.call(
            ref,
            Problem(
                where="agent",
                cause=cause,
                message=agent.error or agent.status,
                line=line,
                agent_id=agent.agent_id,
                label=agent.label,
                next=" ".join(filter(None, ("callsheet resume", self._run_id, "--rerun", agent.agent_id, remedy))),
            ),
        )

    def strayed(self, ref: CallRef, files: Sequence[str], *, agent: AgentTask, line: int | None) -> None:
        """An agent changed files outside of its declared scope (CONTRACT A14)."""
        self.is_degraded = True
        self.outside[agent.agent_id] = tuple(files)
        named = ", ".join(files[:MAX_NAMED_FILES])
        more = f" and {len(files) - MAX_NAMED_FILES:,} more" if len(files) > MAX_NAMED_FILES else ""
        message = f"it changed files outside of its declared scope: {named}{more}"
        self.log("error", f'agent "{agent.label}" ({agent.agent_id}): {message}', workflow=agent.workflow)
        self.problems.call(
            ref,
            Problem(
                where="agent",
                cause="denied",
                message=message,
                line=line,
                agent_id=agent.agent_id,
                label=agent.label,
                next=f"callsheet diff {self._run_id}",
            ),
        )

    def put_back(self, agent: PastAgent, files: Sequence[str]) -> None:
        """What a recorded agent had changed was gone, and is there again (CONTRACT R03)."""
        named = ", ".join(files[:MAX_NAMED_FILES])
        more = f" and {len(files) - MAX_NAMED_FILES:,} more" if len(files) > MAX_NAMED_FILES else ""
        message = f'what agent "{agent.label}" ({agent.agent_id}) had changed was gone, and was put back: {named}{more}'
        self.log("warn", message, workflow=agent.workflow)

    @property
    def ended_agents(self) -> int:
        """How many agents have ended."""
        return len(self._ended)

    def ended_since(self, count: int) -> tuple[AgentSummary, ...]:
        """Those that ended after so many had, in that order."""
        return tuple(self._agents[call] for call in self._ended[count:])

    def status_of(self, agent_id: str) -> AgentStatus | None:
        """How an agent ended; None where it has not."""
        return next((agent.status for agent in self._agents.values() if agent.agent_id == agent_id), None)

    def agents(self) -> tuple[AgentSummary, ...]:
        """Every accepted call that ended, in order of its number."""
        return tuple(self._agents[call] for call in sorted(self._agents))

    def usage(self) -> tuple[Usage, dict[str, Usage]]:
        """What all agents used, in all and by the model that answered."""
        total = Usage()
        by_model: dict[str, Usage] = {}
        for agent in self._agents.values():
            if agent.attempts == 0:
                continue  # it never started; of these there can be 20,000
            total += agent.usage
            if agent.model is not None:
                by_model[agent.model] = by_model.get(agent.model, Usage()) + agent.usage
        return total, by_model
