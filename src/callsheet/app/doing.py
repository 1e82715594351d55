"""The use case: a task is done. A model says which workflow comes next, each is run, and one answer comes back.

All of it is one run, of a workflow that comes with Callsheet: one budget, one record, one way to resume. What is
particular is what its orchestrator hands in: scripts are checked and rehearsed, and an answer is held to the agents
that it cites.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, cast

from callsheet.app import compose
from callsheet.app.authoring import MAX_TASK_CHARS
from callsheet.app.authoring_choices import authoring_terms
from callsheet.app.authoring_place import library_of, place_of, types_text
from callsheet.app.choices import AuthoringChoices
from callsheet.app.large_run import FREE
from callsheet.app.plan import UNSET, Plan, RunOrder, Surroundings, Unset, plan_run
from callsheet.app.script_judge import ScriptJudge
from callsheet.app.source import BUILT_IN, STDIN
from callsheet.app.tool_inputs import decoded
from callsheet.authoring.answering import Witness, answer_of, faults_of
from callsheet.authoring.briefing import SIZES, Size
from callsheet.authoring.doing import doing_context, doing_prompt, doing_script
from callsheet.errors import CallsheetError, UsageError
from callsheet.model.call import Effort
from callsheet.model.dataclass import dataclass
from callsheet.model.events import AgentFinished, AgentQueued, Event
from callsheet.model.outcome import Usage
from callsheet.model.script import Script
from callsheet.model.spending import Budget
from callsheet.ports import EventSink
from callsheet.views.figures import count, money, tokens

if TYPE_CHECKING:
    from callsheet.model.call import AgentTask
    from callsheet.model.values import JsonValue

MOST_WORKFLOWS = 5
"""How many are run one after the other, where nobody says."""

MOST_EVER = 50
_FOR_THE_ANSWER = 0.1
"""The share of what is left of the budget that a workflow does not get."""

_ONE_LEVEL = (
    "it calls workflow(), and it is itself run by workflow(), which goes one level deep. Have its agents called by the "
    "script itself; a saved workflow is run by handing in its name"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoOrder:
    """What a caller asks for.

    Attributes:
        task: In plain words.
        run: The run in which it is done: limits, permissions, workspace. Its script and args are made here.
        size: How many agents each workflow may have; None for what the settings say, as of the last two.
        workflows: How many are run, one after the other.
        model, effort: Of the orchestrator.
    """

    task: str
    run: RunOrder
    size: Size | None = None
    workflows: int = MOST_WORKFLOWS
    model: str | None = None
    effort: Effort | None = None


def order_of(order: DoOrder, around: Surroundings) -> RunOrder:
    """The run in which the task is done.

    Raises:
        UsageError: No task, or a setting that cannot hold.
    """
    task = order.task.strip()
    if not task:
        raise UsageError('there is no task. Say it in plain words: callsheet do "find out why the build is slow".')
    if len(task) > MAX_TASK_CHARS:
        raise UsageError(f"a task has at most {MAX_TASK_CHARS:,} characters, and this one {len(task):,}.")
    if not 1 <= order.workflows <= MOST_EVER:
        raise UsageError(f"--rounds is {order.workflows}; between 1 and {MOST_EVER} workflows are run.")
    run = replace(order.run, script=BUILT_IN, stdin=doing_script().encode(), drafts=True)
    # Whether hooks are declared that are not run is asked when the run starts.
    plan = plan_run(replace(run, permissions=replace(run.permissions, ignore_hooks=True)), around)
    terms = authoring_terms(plan.resolved, AuthoringChoices(model=order.model, effort=order.effort, size=order.size))
    return replace(
        run,
        args={
            "prompt": doing_prompt(task, workflows=order.workflows),
            "context": doing_context(types_text(), place_of(plan, budget=_budget_words(plan)), terms.size),
            **terms.args,
            "workflows": order.workflows,
        },
    )


def _budget_words(plan: Plan) -> str | None:
    settings = plan.settings
    words = [] if settings.budget_usd is None else [money(settings.budget_usd)]
    words += [] if settings.budget_tokens is None else [f"{tokens(settings.budget_tokens)} output tokens"]
    return " and ".join(words) or None


def foreseen_of_task(plan: Plan, *, is_shown: bool, is_asked: bool) -> tuple[str, ...]:
    """What can be said of the run of a task before its orchestrator has said a word; nothing for any other run.

    No rehearsal can tell it: which agents there will be nobody knows by then, but what they are bound by.

    Args:
        plan: Of the run.
        is_shown: Each script is shown to somebody before it runs.
        is_asked: Somebody is asked whether it may cost more.
    """
    args = plan.order.args
    if not plan.order.drafts or plan.order.resume is not None or not isinstance(args, dict):
        return ()
    match args:
        case {"workflows": int(most), "size": str(size), "model": str(model)}:
            agents = SIZES.get(cast(Size, size))
        case _:
            return ()
    is_free = plan.backend.name in FREE
    each = "" if agents is None else f", each written for at most {count(agents, 'agent')} (--size {size})"
    who = "the orchestrator" if is_free else f"the orchestrator ({model})"
    shown = "each script is shown before it runs" if is_shown else "scripts run without being shown first"
    bound = None if is_free and _budget_words(plan) is None else _bound_words(plan, is_asked=is_asked)
    return (
        f"{who} has up to {count(most, 'workflow')} run, one after the other (--rounds){each}",
        shown if bound is None else f"{shown}; {bound}",
    )


def _bound_words(plan: Plan, *, is_asked: bool) -> str:
    """What the run may cost."""
    budget, stop_usd = _budget_words(plan), plan.settings.cost_stop_usd
    if budget is not None:
        return f"the budget of {budget} holds for all of it, the orchestrator's own turns too"
    if not stop_usd:
        return "there is no budget, and nothing that stops it at a cost"
    how = "you are asked whether it goes on" if is_asked else "it stops, resumable"
    return f"there is no budget: at {money(stop_usd)} {how}"


def doing_judge(plan: Plan, script: Script) -> DoingJudge | None:
    """Who judges what the orchestrator of a task hands in, and follows its run for that; None for other runs."""
    return DoingJudge(plan) if script.text == doing_script() else None


class DoingJudge(EventSink):
    """Says what is wrong with a workflow or an answer, in words that the orchestrator can act on."""

    def __init__(self, plan: Plan) -> None:
        """Makes one for a run that has not begun."""
        args = plan.order.args
        self._plan = plan
        size = args.get("size") if isinstance(args, dict) else None
        self._scripts = ScriptJudge(plan, size=size, gives_args=True)
        self._saved = ScriptJudge(plan, size=None, gives_args=True)
        self._witnesses: dict[str, Witness] = {}
        self._used: dict[str, Usage] = {}

    def on_event(self, event: Event) -> None:
        match event.body:
            case AgentQueued(workflow=str()) as queued:
                self._witnesses[queued.agent_id] = Witness(label=queued.label, status=None)
            case AgentFinished(agent=agent):
                self._used[agent.agent_id] = agent.usage
                if agent.workflow is not None:
                    self._witnesses[agent.agent_id] = Witness(label=agent.label, status=agent.status)
            case _:
                pass

    async def __call__(self, task: AgentTask, value: JsonValue) -> tuple[str, ...]:
        if task.workflow is not None or not isinstance(value, dict):
            return ()
        if isinstance(done := value.get("done"), dict):
            answer = answer_of({**done, "ended": "answered"})
            return () if answer is None else tuple(faults_of(answer, self._witnesses))
        if isinstance(workflow := value.get("workflow"), dict):
            return await self._faults_of(workflow)
        return ()

    async def _faults_of(self, workflow: Mapping[str, JsonValue]) -> tuple[str, ...]:
        text, name = workflow.get("script"), workflow.get("name")
        args: JsonValue | Literal[Unset.UNSET] = UNSET
        if "args" in workflow:
            args = decoded(workflow["args"])  # as the script of this run does that runs it (CONTRACT G01)
        match text, name:
            case str(), None:
                faults = await self._scripts.of_text(text, budget=self._left(), args=args)
                return faults or self._nested(text)
            case None, str():
                return await self._faults_of_saved(name, args)
            case None, None:
                return ("the workflow has neither `script` nor `name`: give one of them",)
            case _:
                return ("the workflow has both `script` and `name`: give one of them",)

    async def _faults_of_saved(self, name: str, args: JsonValue | Literal[Unset.UNSET]) -> tuple[str, ...]:
        try:
            script = library_of(self._plan).workflow(name)
        except CallsheetError as fault:
            return (fault.message,)
        return await self._saved.of_saved(name, budget=self._left(), args=args) or self._nested(script.text)

    def _nested(self, text: str) -> tuple[str, ...]:
        """What is wrong where a script would start others: it is nested itself."""
        script = compose.script_reader()(text.encode("utf-8", "surrogatepass"), origin=STDIN, path=None)
        return (_ONE_LEVEL,) if compose.workflow_mentions(script) else ()

    def _left(self) -> Budget | None:
        """What a workflow may use that is run next; None where the run has no budget."""
        settings = self._plan.settings
        if settings.budget_tokens is None and settings.budget_usd is None:
            return None
        used = sum(self._used.values(), Usage())
        share = 1 - _FOR_THE_ANSWER
        return Budget(
            tokens=None
            if settings.budget_tokens is None
            else max(1, int((settings.budget_tokens - used.output_tokens) * share)),
            usd=None
            if settings.budget_usd is None
            else max(0.0001, (settings.budget_usd - (used.cost_usd or 0.0)) * share),
        )
