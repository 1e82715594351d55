"""The answer that an agent returns for a call with a schema: taken, judged, sent back (CONTRACT A03)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from callsheet.agents.prompt import FULL_SCHEMA_INTRO
from callsheet.agents.tools.names import ToolFailure
from callsheet.answers.schema import AnswerSchema
from callsheet.model.call import AgentTask
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

MAX_ATTEMPTS = 5
"""Answers that an agent may give until one fits (CONTRACT A03)."""

AnswerJudge: TypeAlias = Callable[[AgentTask, JsonValue], Awaitable[tuple[str, ...]]]
"""What is wrong with an answer that fits its schema, for the agent to read; nothing where it is taken."""

ValueJudge: TypeAlias = Callable[[JsonValue], Awaitable[tuple[str, ...]]]
"""The same for the answers of one task."""

_ROOT_KEYS_REFUSED = ("oneOf", "anyOf", "allOf", "$schema", "$id")
"""What the service does not take at the root of a tool's schema. The answer is still held to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTerms:
    """What the program itself says of an agent whose answers it judges.

    Attributes:
        attempts: Answers that it may give until one fits.
        reply_tokens: What one reply may have, thinking included; None for what its model is usually asked for.
    """

    attempts: int = MAX_ATTEMPTS
    reply_tokens: int | None = None


class Answer:
    """Takes the value that an agent returns, and says what is wrong with it.

    Attributes:
        attempts: Answers given so far.
        judged: Those of them that fitted the schema, and that the judge sent back.
        accepted: Whether one fitted; `value` is it.
        violations: What was wrong with the last one.
    """

    def __init__(
        self, schema: dict[str, JsonValue], judge: ValueJudge | None = None, *, attempts: int = MAX_ATTEMPTS
    ) -> None:
        """Makes one that was not given yet.

        Args:
            schema: What it must fit.
            judge: Asked about answers that do; None where the schema is all.
            attempts: How many there may be.

        Raises:
            SchemaUnusableError: The schema can never be met, or must not be used.
        """
        self._schema = AnswerSchema.compile(schema)
        self._judge = judge
        self._each = self._most = attempts
        self.attempts = 0
        self.judged = 0
        self.accepted = False
        self.value: JsonValue = None
        self.violations: tuple[str, ...] = ()

    @property
    def exhausted(self) -> bool:
        """All attempts are used up and none fitted."""
        return not self.accepted and self.attempts >= self._most

    def reopen(self) -> None:
        """Takes another answer instead of the one that was accepted, in as many attempts."""
        self.accepted = False
        self._most = self.attempts + self._each

    async def take(self, value: JsonValue) -> str:
        """Takes an answer; what the agent is told.

        Raises:
            ToolFailure: It does not fit; says where.
        """
        if self.accepted:
            return "An answer was accepted already; this one is not taken."
        self.attempts += 1
        self.violations = _not_json(value) or self._schema.violations(value)
        fault = "does not fit the schema"
        if not self.violations and self._judge is not None:
            fault, self.violations = "is not taken yet", await self._judge(value)
            self.judged += bool(self.violations)
        if not self.violations:
            self.accepted, self.value = True, value
            return "Accepted."
        listed = "\n".join(f"- {violation}" for violation in self.violations)
        raise ToolFailure(f"Attempt {self.attempts} of {self._most} {fault}:\n{listed}")


def judge_of(judge: AnswerJudge | None, task: AgentTask) -> ValueJudge | None:
    """The judge of one task's answers; None where the run has none."""
    return None if judge is None else partial(judge, task)


def terms_of(answers: Callable[[AgentTask], AnswerTerms] | None, task: AgentTask) -> AnswerTerms:
    """How one task's answers are taken; as usual where the run says nothing."""
    return AnswerTerms() if answers is None else answers(task)


def _not_json(value: JsonValue) -> tuple[str, ...]:
    """Parsers of JSON let pass what JSON cannot hold."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return ("NaN and Infinity are not JSON numbers",)
    return ()


def answer_description(schema: dict[str, JsonValue]) -> str:
    """What a model is told of the tool that takes the answer; with the whole schema where its root had to be cut."""
    description = "Returns your result. Its input is the value that the calling script gets."
    if any(key in schema for key in ("oneOf", "anyOf", "allOf")):
        description += f" {FULL_SCHEMA_INTRO}{json.dumps(schema, ensure_ascii=False)}"
    return description


def answer_input(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The schema as far as the service takes it for a tool's input."""
    return {key: value for key, value in schema.items() if key not in _ROOT_KEYS_REFUSED}
