"""The backend of command agents: programs that a person declared, for steps that need no model.

The prompt is a program's standard input and never part of its words; its output is its text. Nobody judges what a
person declared, so no rule is asked; but the program runs files that agents may have changed, and so runs confined, as
their commands do (DESIGN 10).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import anyio

from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.names import ToolFailure
from callsheet.agents.tools.shell import Shell
from callsheet.agents.tools.watching import Changes
from callsheet.answers.schema import AnswerSchema
from callsheet.errors import SchemaUnusableError, UsageError
from callsheet.model.call import AgentTask
from callsheet.model.outcome import AgentOutcome, AgentStatus, Ran
from callsheet.model.reports import MessageAdded, Progress, ToolCalled, Touched
from callsheet.model.values import JsonValue
from callsheet.ports import AgentBackend, AgentReporter
from callsheet.shell.program import ProgramResult

NAME = "command"
DEFAULT_TIMEOUT_S = 3600.0
_SHOWN_CHARS = 2000
_SUMMARY_CHARS = 80


class CommandBackend(AgentBackend):
    """Runs the programs of command agents, held to the same bounds as other agents' commands.

    Args:
        bounds: What holds them, and where what they change is watched.
    """

    def __init__(self, *, bounds: Bounds) -> None:
        self._bounds = bounds

    @property
    def name(self) -> str:
        return NAME

    def default_model(self) -> str | None:
        return None

    async def run(self, task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        words = task.agent_type.command
        if words is None:
            return AgentOutcome(status="failed", error=f"agent type {task.agent_type.name} is no command")
        try:
            schema = None if task.options.schema is None else AnswerSchema.compile(task.options.schema)
            shell = Shell.of_task(bounds=self._bounds, task=task)
        except (SchemaUnusableError, UsageError) as error:
            return AgentOutcome(status="failed", error=error.message)
        work = _Work(task, words, reporter, shell, self._bounds)
        try:
            result = await work.run()
        except ToolFailure as failure:
            return work.outcome("failed", error=failure.message)
        finally:
            await shell.aclose()
        return work.judged(result, schema)

    async def aclose(self) -> None:
        pass


class _Work:
    """One call."""

    def __init__(
        self, task: AgentTask, words: Sequence[str], reporter: AgentReporter, shell: Shell, bounds: Bounds
    ) -> None:
        self._task = task
        self._words = tuple(words)
        self._reporter = reporter
        self._shell = shell
        self._bounds = bounds
        self._changed: set[str] = set()
        self._ran: Ran | None = None

    async def run(self) -> ProgramResult:
        """Runs the program; the intent is on record before (CONTRACT R01), what came of it after.

        Raises:
            ToolFailure: It could not be run, or not be held.
        """
        task, report = self._task, self._reporter.report
        given = "\n\n".join(text for text in (task.options.context, task.prompt) if text)
        shown: JsonValue = {"command": list(self._words)}
        await report(MessageAdded(payload={"role": "user", "content": given}))
        await report(Progress(tool=NAME, tool_summary=" ".join(self._words)[:_SUMMARY_CHARS]))
        await report(ToolCalled(n=1, tool=NAME, input=shown, state="intent"))
        changes, since = Changes(), self._bounds.edits
        timeout_s = task.agent_type.timeout_s or DEFAULT_TIMEOUT_S
        try:
            try:
                result = await self._shell.run_program(self._words, given.encode(), changes, timeout_s=timeout_s)
            finally:
                self._changed = set(changes.paths) - self._bounds.edited_by_others(task.agent_id, since=since)
        except ToolFailure as failure:
            await report(ToolCalled(n=1, tool=NAME, input=shown, state="failed", detail=failure.message))
            raise
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await report(Touched(files_changed=tuple(sorted(self._changed)), tools_called=(NAME,)))
            raise
        self._ran = Ran(exit_status=result.exit_status, stdout=result.output, stderr=result.errors)
        detail = f"exit status {result.exit_status}, {result.duration_s:.1f} s"
        await report(ToolCalled(n=1, tool=NAME, input=shown, state="done", detail=detail))
        content: JsonValue = [
            {"type": "text", "text": result.output},
            {"type": "text", "text": f"[standard error]\n{result.errors}"},
        ]
        await report(MessageAdded(payload={"role": "assistant", "content": content}))
        return result

    def judged(self, result: ProgramResult, schema: AnswerSchema | None) -> AgentOutcome:
        """What the program's end makes of the call."""
        if result.note is not None:
            return self.outcome("timed_out" if result.ended == "timed_out" else "failed", error=result.note)
        if result.exit_status != 0:
            said = (result.errors.strip() or result.output.strip())[-_SHOWN_CHARS:]
            return self.outcome("failed", error=f"exit status {result.exit_status}{f': {said}' if said else ''}")
        if not result.is_whole:
            return self.outcome("failed", error="it printed more than is kept of a command agent's output")
        if schema is None:
            return self.outcome("ok", value=result.output.removesuffix("\n"))
        try:
            value: JsonValue = json.loads(result.output, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            return self.outcome("invalid", error=f"its output is not JSON: {error}")
        violations = schema.violations(value)
        if violations:
            return self.outcome("invalid", error=f"its output does not fit the schema: {'; '.join(violations)}")
        return self.outcome("ok", value=value)

    def outcome(self, status: AgentStatus, *, value: JsonValue = None, error: str | None = None) -> AgentOutcome:
        """The call's end with what is known of it."""
        return AgentOutcome(
            status=status,
            value=value,
            error=error,
            files_changed=tuple(sorted(self._changed)),
            tools_called=(NAME,),
            ran=self._ran,
        )


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")
