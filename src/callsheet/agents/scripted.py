"""The scripted backend: answers from a file, with no model (FORMATS 2). Tests, rehearsals and conformance use it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, assert_never

import anyio

from callsheet.agents.scripted_answers import DEFAULT_USAGE, Answer, AnswersFile, FixedAnswer, load_answers
from callsheet.agents.tools.bounds import Bounds
from callsheet.answers.schema import AnswerSchema
from callsheet.model.call import AgentTask
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import AgentOutcome, AgentStatus, Usage
from callsheet.model.reports import Progress, ToolCalled
from callsheet.model.values import JsonValue
from callsheet.ports import AgentBackend, AgentReporter

if TYPE_CHECKING:
    from callsheet.agents.tools.files import Place
    from callsheet.agents.tools.names import ToolFailure

NAME = "scripted"
MAX_ATTEMPTS = 5
"""Answers that an agent may give to fit a schema (CONTRACT A03)."""

_WRITE = "write"


class ScriptedBackend(AgentBackend):
    """Agents that answer what a file says, each call by the first entry that matches and is not used up.

    An agent that answers null has given nothing: it ends `failed`, as the script sees it (CONTRACT A17, R04).

    Attributes:
        unscripted: How many attempts no entry answered.
    """

    def __init__(
        self,
        answers: AnswersFile,
        *,
        origin: str = "the answers file",
        bounds: Bounds | None = None,
        is_dry: bool = False,
    ) -> None:
        """Makes a backend of answers.

        Args:
            answers: What is answered.
            origin: Names them in errors.
            bounds: Hold what they write.
            is_dry: Synthetic answers are from the first on what they else are from the fourth on: nothing is found.
        """
        self.unscripted = 0
        self._answers = answers
        self._is_dry = is_dry
        self._bounds = bounds or Bounds()
        self._origin = origin
        self._used: Counter[int] = Counter()
        self._synthetic: Counter[tuple[str, str]] = Counter()

    @classmethod
    def from_file(cls, path: Path, *, bounds: Bounds | None = None) -> ScriptedBackend:
        """Reads an answers file; `bounds` hold what its answers write.

        Raises:
            ConfigError: It cannot be used; names the file, the entry or the line, and what to do.
        """
        return cls(load_answers(path), origin=str(path), bounds=bounds)

    @property
    def name(self) -> str:
        return NAME

    @property
    def needs_workspace(self) -> bool:
        """Whether any answer writes files."""
        return any(answer.writes for answer in self._answers.answers)

    @property
    def takes_earlier(self) -> bool:
        """Answers go by label and prompt alone: what was said before changes nothing."""
        return True

    def default_model(self) -> str | None:
        return None

    async def run(self, task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        """Answers one call; with a schema in at most five attempts, each with the next entry that matches.

        Raises:
            SchemaUnusableError: The task's schema was not checked before.
        """
        schema = None if task.options.schema is None else AnswerSchema.compile(task.options.schema)
        agent = _Agent(task=task, reporter=reporter, bounds=self._bounds)
        last: int | None = None
        for _ in range(MAX_ATTEMPTS if schema is not None else 1):
            last = self._choose(task, after=last)
            answer = None if last is None else self._answers.answers[last]
            # Also where there is no delay: other agents get their turn, and cancelling is noticed.
            await anyio.sleep(answer.delay_s if answer is not None else 0)
            await agent.book(answer)
            if answer is not None and (denied := await agent.write(answer.writes)) is not None:
                return agent.end("failed", error=denied)
            if answer is not None and answer.failure is not None:
                error = answer.error or f"ended {answer.failure}, as {self._origin} says"
                return agent.end(answer.failure, error=error)
            value = answer.result if answer is not None else self._otherwise(task, schema)
            if isinstance(value, _Nothing):
                return agent.end("failed", error=value.why)
            if schema is None:
                if value is None:
                    return agent.end("failed", error=f"{self._origin} has null for it, which is no answer")
                return agent.end("ok", value=value)
            agent.violations = schema.violations(value)
            if not agent.violations:
                return agent.end("ok", value=value)
        first, *more = agent.violations
        said = f"{first} (and {len(more)} more)" if more else first
        return agent.end("invalid", error=f"none of {MAX_ATTEMPTS} answers fitted the schema; the last one: {said}")

    async def aclose(self) -> None:
        await self._bounds.aclose()

    def _choose(self, task: AgentTask, *, after: int | None) -> int | None:
        """The entry for an attempt, by its place; counts it as used. None where no entry answers.

        The next attempt takes a later entry, where one matches; before that, one with `times` is used up.
        """
        matching = [
            place
            for place, answer in enumerate(self._answers.answers)
            if (answer.times is None or self._used[place] < answer.times)
            and answer.matches(label=task.label, phase=task.phase, prompt=task.prompt)
        ]
        later = [
            place
            for place in matching
            if after is None or place > after or (place == after and self._answers.answers[place].times is not None)
        ]
        if not matching:
            return None
        chosen = (later or matching[-1:])[0]
        self._used[chosen] += 1
        return chosen

    def _otherwise(self, task: AgentTask, schema: AnswerSchema | None) -> JsonValue | _Nothing:
        self.unscripted += 1
        match self._answers.otherwise:
            case FixedAnswer(result=result):
                return result
            case "synthetic":
                return self._made_up(task, schema)
            case "null":
                return _Nothing(why=f"{self._origin} has no answer for {task.label!r} (otherwise: null)")
            case "fail":
                return _Nothing(why=f"{self._origin} has no answer for {task.label!r} (otherwise: fail)")
            case other:
                assert_never(other)

    def _made_up(self, task: AgentTask, schema: AnswerSchema | None) -> JsonValue:
        if schema is None or task.options.schema is None:
            return f"synthetic answer to: {task.label}" if not self._is_dry else "none"
        from callsheet.answers.synthetic import DRY_FROM, label_stem, synthetic_value

        key = (label_stem(task.label), schema.text)
        asked = self._synthetic[key] if not self._is_dry else DRY_FROM
        self._synthetic[key] += 1
        return synthetic_value(task.options.schema, asked=asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nothing:
    """An agent that gives no answer, and why."""

    why: str


@dataclass(slots=True, kw_only=True)
class _Agent:
    """What one agent has done so far."""

    task: AgentTask
    reporter: AgentReporter
    bounds: Bounds
    usage: Usage = field(default_factory=Usage)
    attempts: int = 0
    violations: tuple[str, ...] = ()
    written: dict[str, None] = field(default_factory=dict)
    tool_calls: int = 0

    async def book(self, answer: Answer | None) -> None:
        """Counts an attempt and what it has used."""
        self.attempts += 1
        self.usage += DEFAULT_USAGE if answer is None else answer.usage
        await self.reporter.report(Progress(tokens=self.usage.output_tokens, usage=self.usage))

    async def write(self, files: Mapping[str, str]) -> str | None:
        """Writes files into the workspace, each whole or not at all; says why where one may not or cannot be written.

        Each is on record before it is written (CONTRACT R01).
        """
        if not files:
            return None
        from callsheet.agents.tools.gate import Gate
        from callsheet.agents.tools.names import ToolFailure

        place = replace(self.task.workspace, cwd=".")
        gate = Gate(bounds=self.bounds, task=replace(self.task, workspace=place), reporter=self.reporter)
        for path, text in files.items():
            self.tool_calls += 1
            arguments: dict[str, JsonValue] = {"file_path": path, "content": text}
            try:
                target = (await gate.admit(_WRITE, arguments, shown=path)).decision.path
                assert target is not None, "what may be written leads somewhere"
                await self._report("intent", arguments)
                async with self.bounds.locks.hold(target):
                    await _store(gate.place(target), text)
            except ToolFailure as failure:
                await self._report("denied" if failure.denied else "failed", arguments, failure)
                return failure.message
            self.written[gate.name(target)] = None
            await self._report("done", arguments)
        return None

    async def _report(
        self,
        state: Literal["intent", "done", "denied", "failed"],
        arguments: dict[str, JsonValue],
        failure: ToolFailure | None = None,
    ) -> None:
        await self.reporter.report(
            ToolCalled(
                n=self.tool_calls,
                tool=_WRITE,
                input=arguments,
                state=state,
                detail=failure.message if failure is not None else None,
                rule=failure.rule if failure is not None else None,
                would_allow=failure.would_allow if failure is not None else (),
            )
        )

    def end(self, status: AgentStatus, *, value: JsonValue = None, error: str | None = None) -> AgentOutcome:
        """The outcome."""
        return AgentOutcome(
            status=status,
            value=value,
            error=error,
            usage=self.usage,
            attempts=self.attempts,
            files_changed=tuple(sorted(self.written)),
            tools_called=(_WRITE,) if self.tool_calls else (),
        )


async def _store(place: Place, text: str) -> None:
    """Writes one file.

    Raises:
        ToolFailure: That cannot be done.
    """
    from anyio import to_thread

    from callsheet.agents.tools.names import ToolFailure
    from callsheet.workspace.errors import WorkspacePathError
    from callsheet.workspace.files import write_bytes_beneath

    data = text.encode("utf-8", "replace")
    try:
        await to_thread.run_sync(write_bytes_beneath, place.base, place.relative, data)
    except WorkspacePathError as error:
        raise ToolFailure(f"{_WRITE}: {error.message}") from None
