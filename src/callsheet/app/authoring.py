"""The use case: a model writes a script. The writing is itself a run, of a workflow that comes with Callsheet.

So budget, record, permissions, resume and cost are those of every run. What is particular is one thing: the script that
its agent hands in is checked and rehearsed, and goes back to it where something is wrong.
"""

from __future__ import annotations

from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app import compose
from callsheet.app.authoring_choices import authoring_terms
from callsheet.app.authoring_place import place_of, types_text
from callsheet.app.choices import AuthoringChoices, Choices
from callsheet.app.ground import Terms
from callsheet.app.plan import Plan, RunOrder, Surroundings, plan_run
from callsheet.app.quantities import parse_budget
from callsheet.app.script_judge import ScriptJudge, rehearsed, script_order
from callsheet.app.site import PermissionChoices
from callsheet.app.source import BUILT_IN
from callsheet.authoring.briefing import Size, authoring_script, context_of, prompt_of
from callsheet.errors import UsageError
from callsheet.model.call import Effort
from callsheet.model.dataclass import dataclass
from callsheet.model.script import Script

if TYPE_CHECKING:
    from callsheet.agents.answer import AnswerJudge
    from callsheet.model.call import AgentTask
    from callsheet.model.rehearsal import Rehearsal
    from callsheet.model.values import JsonValue

MAX_TASK_CHARS = 100_000


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
        ignore_hooks: Write although `PreToolUse` hooks are declared, which are not run.
    """

    task: str
    size: Size | None = None
    model: str | None = None
    effort: Effort | None = None
    run_budget: str | None = None
    choices: Choices = field(default_factory=Choices)
    workspace: Path | None = None
    config: Path | None = None
    ignore_hooks: bool = False


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
        script=BUILT_IN,
        stdin=authoring_script().encode(),
        choices=order.choices,
        workspace=order.workspace,
        terms=Terms(use="share"),  # it changes nothing
        permissions=PermissionChoices(ignore_hooks=order.ignore_hooks),
    )
    # Whether hooks are declared that are not run is asked when the run starts.
    settled = replace(run, config=order.config, permissions=PermissionChoices(ignore_hooks=True))
    plan = plan_run(settled, around)
    terms = authoring_terms(plan.resolved, AuthoringChoices(model=order.model, effort=order.effort, size=order.size))
    return replace(
        run,
        args={
            "prompt": prompt_of(task),
            "context": context_of(types_text(), place_of(plan, budget=order.run_budget), terms.size),
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
    budget = None if order.run_budget is None else parse_budget(order.run_budget)
    told = await rehearsed(script_order(text), budget, order.workspace, order.choices, around)
    script = compose.script_reader()(text.encode("utf-8", "surrogatepass"), origin=told.workflow, path=None)
    notes = value.get("notes")
    return Written(script=script, notes=notes if isinstance(notes, str) else "", told=told)


class _Judge:
    """Judges the script that the agent of this run hands in."""

    def __init__(self, plan: Plan) -> None:
        args = plan.order.args
        said = args if isinstance(args, dict) else {}
        budget = said.get("run_budget")
        self._budget = parse_budget(budget) if isinstance(budget, str) else None
        self._scripts = ScriptJudge(plan, size=said.get("size"))

    async def __call__(self, task: AgentTask, value: JsonValue) -> tuple[str, ...]:
        if task.workflow is not None or not isinstance(value, dict) or not isinstance(text := value.get("script"), str):
            return ()
        return await self._scripts.of_text(text, budget=self._budget)
