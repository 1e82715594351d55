"""The use case: a model writes a script. The writing is itself a run, of a workflow that comes with Callsheet.

So budget, record, permissions, resume and cost are those of every run. What is particular is one thing: the script that
its agent hands in is checked and rehearsed, and goes back to it where something is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app import compose
from callsheet.app.authoring_choices import authoring_terms
from callsheet.app.choices import AuthoringChoices, Choices
from callsheet.app.ground import Terms
from callsheet.app.plan import Plan, RunOrder, Surroundings, plan_run, site_of
from callsheet.app.quantities import parse_budget
from callsheet.app.source import STDIN
from callsheet.authoring.briefing import SIZES, Named, Place, Size, authoring_script, context_of, prompt_of
from callsheet.errors import CallsheetError, ScriptRefusedError, UsageError
from callsheet.model.call import Effort
from callsheet.model.dataclass import dataclass
from callsheet.model.script import MAX_SCRIPT_BYTES, Finding, Script

if TYPE_CHECKING:
    from callsheet.agents.answer import AnswerJudge
    from callsheet.library.library import Library
    from callsheet.model.call import AgentTask
    from callsheet.model.rehearsal import Rehearsal
    from callsheet.model.values import JsonValue

MAX_TASK_CHARS = 100_000
REHEARSED_WITHIN_S = 20.0
"""A script that has not come to its end by then, with agents that answer at once, waits for something for ever."""

_MOST_TOLD = 12
_ENDLESS = (
    " – does a loop there go on for ever? Give it an end that is certain: a number of rounds, `budget.remaining()`, or "
    "rounds that bring nothing new"
)
_MOST_NAMED = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorOrder:
    """What a caller asks for.

    Attributes:
        task: In plain words.
        size: How many agents the script may have; None for what the settings say, as of the next two.
        model, effort: Of the model that writes.
        run_budget: What the script's run is to get along with, as written on the command line; None for no such thing.
        choices: Of the run in which it is written: its budget among them.
        config: A run config, for what it says of `orchestrator`; None for none.
    """

    task: str
    size: Size | None = None
    model: str | None = None
    effort: Effort | None = None
    run_budget: str | None = None
    choices: Choices = field(default_factory=Choices)
    workspace: Path | None = None
    config: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A script that was written, and what a run of it would do.

    Attributes:
        notes: What its author says about it.
    """

    script: Script
    notes: str
    told: Rehearsal


def order_of(order: AuthorOrder, around: Surroundings) -> RunOrder:
    """The run in which the script is written.

    Raises:
        UsageError: No task, or a setting that cannot hold.
    """
    task = order.task.strip()
    if not task:
        raise UsageError('there is no task. Say it in plain words: callsheet author "review the open changes".')
    if len(task) > MAX_TASK_CHARS:
        raise UsageError(f"a task has at most {MAX_TASK_CHARS:,} characters, and this one {len(task):,}.")
    if order.run_budget is not None:
        parse_budget(order.run_budget)
    run = RunOrder(
        script=STDIN,
        stdin=authoring_script().encode(),
        choices=order.choices,
        workspace=order.workspace,
        terms=Terms(use="share"),  # it changes nothing
    )
    plan = plan_run(replace(run, config=order.config), around)
    terms = authoring_terms(plan.resolved, AuthoringChoices(model=order.model, effort=order.effort, size=order.size))
    return replace(
        run,
        args={
            "prompt": prompt_of(task),
            "context": context_of(_types(), _place(plan, order), terms.size),
            **terms.args,
            "run_budget": order.run_budget,
        },
    )


def judge_for(plan: Plan, script: Script) -> AnswerJudge | None:
    """Who judges what agents of a run answer: scripts, where the run is one in which a script is written."""
    return _Judge(plan) if script.text == authoring_script() else None


async def written(value: JsonValue, order: AuthorOrder, around: Surroundings) -> Written:
    """What came of the run, looked at once more: another backend's agents are held to schemas alone.

    Raises:
        ScriptRefusedError: It cannot be run.
        UsageError: It is none.
    """
    if not isinstance(value, dict) or not isinstance(text := value.get("script"), str):
        raise UsageError("the run returned no script. callsheet show last says what it did.")
    told = await _rehearsed(text, order.run_budget, order.workspace, order.choices, around)
    script = compose.script_reader()(text.encode("utf-8", "surrogatepass"), origin=told.workflow, path=None)
    notes = value.get("notes")
    return Written(script=script, notes=notes if isinstance(notes, str) else "", told=told)


class _Judge:
    """Says what is wrong with a script, in words that its author can act on.

    A warning is told once: who hands in the same again has a reason.
    """

    def __init__(self, plan: Plan) -> None:
        args = plan.order.args
        said = args if isinstance(args, dict) else {}
        size, budget = said.get("size"), said.get("run_budget")
        self._most = SIZES[size] if isinstance(size, str) and size in SIZES else None
        self._size = size
        self._budget = budget if isinstance(budget, str) else None
        self._plan = plan
        self._warned: set[str] = set()

    async def __call__(self, task: AgentTask, value: JsonValue) -> tuple[str, ...]:
        if task.workflow is not None or not isinstance(value, dict) or not isinstance(text := value.get("script"), str):
            return ()
        if len(text) > MAX_SCRIPT_BYTES:
            return (f"the script has {len(text):,} characters; a script has at most {MAX_SCRIPT_BYTES:,} bytes",)
        from callsheet.app.check import check_text

        checked = await check_text(text)
        if checked.errors:
            return _told(checked.findings)
        try:
            told = await _rehearsed(
                text, self._budget, self._plan.order.workspace, self._plan.order.choices, self._plan.around
            )
        except ScriptRefusedError as refused:
            return _told(refused.findings)
        except CallsheetError as fault:
            return (fault.message,)
        faults = tuple(self._faults(told))
        return (*faults, *self._new_warnings(told))[:_MOST_TOLD]

    def _faults(self, told: Rehearsal) -> Iterator[str]:
        """What must not be so."""
        if told.error is not None:
            line = "" if told.error.line is None else f"line {told.error.line}: "
            yield f"{line}run with made-up answers, the script did not return: {told.error.message}"
        elif told.status not in ("completed", "degraded"):
            within = f"{REHEARSED_WITHIN_S:g} seconds, with agents that answer at once"
            yield f"the script did not come to its end within {within}: give every loop an end that is certain"
        elif told.agents == 0:
            yield "with made-up answers the script called no agent; a workflow has agents do its work"
        if self._most is not None and told.agents > self._most:
            yield (
                f"with made-up answers the script called {told.agents} agents; size {self._size} means at most "
                f"{self._most}. Give each agent more, or take the most important first and say in the result what was "
                "left out"
            )
        for violation in told.violations:
            line = "" if violation.line is None else f"line {violation.line}: "
            remedy = _ENDLESS if violation.cause == "cap" else ""
            yield f"{line}{violation.message}{remedy}"

    def _new_warnings(self, told: Rehearsal) -> Iterator[str]:
        for finding in told.warnings:
            key = f"{finding.code} {finding.message}"
            if key not in self._warned:
                self._warned.add(key)
                yield f"{_line(finding)} (if it is meant so, leave it and hand the script in again)"


async def _rehearsed(
    text: str, run_budget: str | None, workspace: Path | None, choices: Choices, around: Surroundings
) -> Rehearsal:
    from callsheet.app.rehearsal import RehearsalOrder, rehearse

    run = RunOrder(
        script=STDIN,
        stdin=text.encode("utf-8", "surrogatepass"),
        choices=Choices(
            budget=None if run_budget is None else parse_budget(run_budget),
            service=choices.service,
            backend=None if (choices.backend or "").startswith("scripted:") else choices.backend,
        ),
        workspace=workspace,
    )
    return await rehearse(RehearsalOrder(run=run, within_s=REHEARSED_WITHIN_S), around)


# --- what the author is told ------------------------------------------------------------------------------------------


def _told(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    errors = [finding for finding in findings if finding.severity == "error"]
    others = [finding for finding in findings if finding.severity != "error"]
    return tuple(_line(finding) for finding in (*errors, *others))[:_MOST_TOLD]


def _line(finding: Finding) -> str:
    """A finding with its place and its line."""
    if finding.place is None:
        return finding.message
    column = "" if finding.place.column is None else f", column {finding.place.column}"
    shown = "" if finding.source_line is None else f"\n      {finding.source_line.strip()[:200]}"
    return f"line {finding.place.line}{column}: {finding.message}{shown}"


def _types() -> str:
    from callsheet.sandbox.process import runtime_folder

    return (runtime_folder() / "workflow.d.ts").read_text(encoding="utf-8")


def _place(plan: Plan, order: AuthorOrder) -> Place:
    settings, site = plan.settings, site_of(plan.around, plan.workspace.root)
    library: Library = compose.library(
        site.project.folder,
        start=site.start,
        home=site.home,
        environ=site.environ,
        trusted=plan.settled.is_trusted,
        declared=plan.resolved.agents,
    )
    workflows = [
        Named(name=each.name, said=each.when_to_use or each.description)
        for each in library.workflows()
        if each.problem is None and each.shadowed_by is None
    ]
    types = [
        Named(name=each.name, said=each.description)
        for each in library.agent_types()
        if each.problem is None and each.shadowed_by is None
    ]
    return Place(
        workflows=workflows[:_MOST_NAMED],
        agent_types=types[:_MOST_NAMED],
        models=tuple(_models(plan)),
        limits=(
            f"A run starts at most {settings.max_agents:,} agents, {settings.max_parallel} at a time; more wait.",
            f"An agent takes at most {settings.max_turns} turns.",
        ),
        budget=order.run_budget,
    )


def _models(plan: Plan) -> Iterator[Named]:
    from callsheet.app.workers import prices_of

    for name, prices in prices_of(plan.resolved.models, plan.settings.prices, service=plan.settings.service):
        yield Named(name=name, said="price not known" if prices is None else f"${prices[0]:g} and ${prices[1]:g}")
