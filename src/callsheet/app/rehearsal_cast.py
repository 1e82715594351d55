"""Who plays the agents of a rehearsal: recorded answers, those of a file, and synthetic ones; nothing is touched."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.agents.scripted import ScriptedBackend
from callsheet.agents.scripted_answers import AnswersFile, load_answers
from callsheet.answers.schema import AnswerSchema
from callsheet.app.estimating import Estimate, Estimator, Sort, known
from callsheet.app.rehearsal_models import COMMAND
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import AgentOutcome, Usage
from callsheet.model.rehearsal import AnswerSource
from callsheet.model.values import JsonValue

if TYPE_CHECKING:
    from callsheet.app.rehearsal_models import Models
    from callsheet.engine.simulation import Played
    from callsheet.model.call import AgentTask
    from callsheet.model.past import PastAgent
    from callsheet.ports import AgentReporter


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Where the answers of a rehearsal come from.

    Attributes:
        shown: As people named it; `synthetic` where nobody did.
        file: Of an answers file.
        recorded: The agents of a recorded run that have an answer.
    """

    shown: str = "synthetic"
    file: AnswersFile | None = None
    recorded: tuple[PastAgent, ...] = ()


def answers_of_file(path: Path, *, shown: str) -> Answers:
    """Reads an answers file. What its entries would write is not written, and they take no time.

    Raises:
        ConfigError: It cannot be used; names the file, the entry or the line, and what to do.
    """
    given = load_answers(path)
    quick = tuple(replace(answer, delay_s=0.0, writes={}) for answer in given.answers)
    return Answers(shown=shown, file=replace(given, answers=quick))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """An agent that took part.

    Attributes:
        model: As it would be asked for.
    """

    task: AgentTask
    sort: Sort
    model: str | None
    estimate: Estimate


class Company:
    """Plays every agent of one rehearsal.

    Attributes:
        cast: Who took part, in the order in which they began.
        sources: How many answers came from where.
    """

    def __init__(self, answers: Answers, *, estimator: Estimator, models: Models, is_dry: bool = False) -> None:
        """Makes it.

        Args:
            answers: Where answers come from.
            estimator: Says what a call will use.
            models: Says which model a call asks.
            is_dry: Synthetic answers say from the first on that nothing was found.
        """
        self.cast: list[Cast] = []
        self.sources: Counter[AnswerSource] = Counter()
        self._answers = answers
        self._estimator = estimator
        self._models = models
        self._recorded = _Recorded.of(answers.recorded)
        file = answers.file or AnswersFile()
        self._scripted = ScriptedBackend(file, origin=answers.shown, is_dry=is_dry)

    async def play(self, task: AgentTask, reporter: AgentReporter) -> Played:
        """How an agent would end, what it would use and how long it would take, as far as anybody can say."""
        from callsheet.engine.simulation import Played

        outcome = await self._outcome(task, reporter)
        member = self._member(task, outcome.usage)
        self.cast.append(member)
        duration_s = member.estimate.duration_s
        if task.options.timeout_s is not None:
            duration_s = min(duration_s, task.options.timeout_s)
        ended = replace(outcome, usage=member.estimate.usage, model=member.model)
        return Played(outcome=ended, duration_s=duration_s)

    def _member(self, task: AgentTask, scripted: Usage) -> Cast:
        model = self._models.of(task)
        sort = Sort(
            phase=task.phase,
            workflow=task.workflow,
            agent_type=task.agent_type.name,
            model=model,
            is_fast=self._models.is_fast(task, model),
        )
        if task.backend == COMMAND:
            estimate = known(Usage())
        elif self._models.is_scripted:
            estimate = known(scripted)
        else:
            chars = len(task.prompt) + len(task.options.context or "") + len(task.agent_type.system_prompt)
            estimate = self._estimator.estimate(sort, prompt_chars=chars)
        return Cast(task=task, sort=sort, model=model, estimate=estimate)

    async def _outcome(self, task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        found = self._recorded.take(task)
        if found is not None:
            value, source = found
            self.sources[source] += 1
            return AgentOutcome(status="ok", value=value)
        before = self._scripted.unscripted
        outcome = await self._scripted.run(task, reporter)
        self.sources["synthetic" if self._scripted.unscripted > before else "file"] += 1
        return outcome


@dataclass(slots=True, kw_only=True)
class _Recorded:
    """Answers of a recorded run, by what was asked, and by label and phase; each is given once (CONTRACT R02)."""

    by_key: dict[tuple[str, int], PastAgent] = field(default_factory=dict)
    by_name: dict[tuple[str, str | None], deque[PastAgent]] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, agents: Iterable[PastAgent]) -> _Recorded:
        found = cls()
        for agent in sorted(agents, key=lambda agent: agent.call):
            found.by_key[agent.key, agent.occurrence] = agent
            found.by_name.setdefault((agent.label, agent.phase), deque()).append(agent)
        return found

    def take(self, task: AgentTask) -> tuple[JsonValue, AnswerSource] | None:
        """The answer for a call, and how it was found; None where there is none that would do."""
        exact = self.by_key.get((task.key, task.occurrence))
        if exact is not None and exact.agent_id not in self.given and (found := self._value(exact, task)) is not None:
            return found[0], "recorded"
        alike = self.by_name.get((task.label, task.phase), deque())
        while alike:
            agent = alike.popleft()
            if agent.agent_id not in self.given and (found := self._value(agent, task)) is not None:
                return found[0], "recorded_like"
        return None

    def _value(self, agent: PastAgent, task: AgentTask) -> tuple[JsonValue] | None:
        """Its answer, in a tuple; None where it does not fit what the call asks for now."""
        value: JsonValue = json.loads(agent.value_json or "null")
        schema = task.options.schema
        if schema is None and not isinstance(value, str):
            return None
        if schema is not None and AnswerSchema.compile(schema).violations(value):
            return None
        self.given.add(agent.agent_id)
        return (value,)
