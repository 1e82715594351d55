"""From a call of `workflow` to an order for a run: never more than the tools' host was given when it began."""

from __future__ import annotations

from dataclasses import field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from callsheet.app import compose
from callsheet.app.choices import Choices
from callsheet.app.ground import Terms
from callsheet.app.plan import UNSET, Approved, Decision, Plan, RunOrder, Surroundings, plan_run
from callsheet.app.quantities import merged_budget, parse_budget
from callsheet.app.resume import ResumeOrder, order_of_record
from callsheet.app.tool_inputs import StartInput
from callsheet.app.trusting import PermissionChoices
from callsheet.model.call import Effort
from callsheet.model.dataclass import dataclass
from callsheet.model.past import ReuseMode
from callsheet.model.policy import ORCHESTRATOR
from callsheet.model.run import WorkspaceUse
from callsheet.model.spending import Budget
from callsheet.permissions.modes import Mode

NumberT = TypeVar("NumberT", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """What whoever starts the tools' host allows; a call can only narrow it.

    Attributes:
        choices: Backend, model, service, record: as flags of a run say them.
        max_budget: What one run may use at most; tokens and dollars each for itself.
        max_agents: Agents that one run may start; None for what settings say.
        use: How runs stand to others on the workspace.
        is_headless: What agents ask is denied, also where somebody could answer from elsewhere.
    """

    permissions: PermissionChoices = field(default_factory=PermissionChoices)
    choices: Choices = field(default_factory=Choices)
    max_budget: Budget = field(default_factory=Budget)
    max_agents: int | None = None
    use: WorkspaceUse = "alone"
    is_headless: bool = False


class ApprovedScript(BaseModel):
    """The script that a person saw before the run was started: it runs, whatever its file holds by then."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    origin: str
    path: str | None
    decision: Decision

    @property
    def approved(self) -> Approved:
        """As a plan has it.

        Raises:
            ScriptRefusedError: The text is no script.
        """
        data = self.text.encode("utf-8", "surrogatepass")
        script = compose.script_reader()(data, origin=self.origin, path=self.path)
        return Approved(script=script, decision=self.decision)


class TaskLaunch(BaseModel):
    """A task that a run is to do (`app.doing`), as part of a conversation that began elsewhere.

    Attributes:
        text: In plain words.
        before: What stands before it in the orchestrator's prompt; empty for nothing.
        model, effort: Of the orchestrator; None for what settings say.
        continues: The run and agent where the conversation stands; None to begin one.
        notices: Facts for the orchestrator, which Callsheet vouches for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    before: str = ""
    model: str | None = None
    effort: Effort | None = None
    continues: tuple[str, str] | None = None
    notices: tuple[str, ...] = ()


class LaunchOrder(BaseModel):
    """A run that is to be started in a process of its own, as that process reads it.

    `run_id` is the name of a new run, where whoever starts it wants to know that before.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    workspace: str
    run_id: str | None = Field(default=None, pattern="^run_[0-9A-Z]{26}$")
    script: str | None = None
    resume: str | None = None
    reuse: ReuseMode = "unchanged"
    has_args: bool = False
    args: Any = None
    budget_tokens: int | None = None
    budget_usd: float | None = None
    max_agents: int | None = None
    max_parallel: int | None = None
    model: str | None = None
    backend: str | None = None
    service: Any = None
    store: str | None = None
    mode: str | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    trust: bool = False
    unconfined: bool = False
    ignore_hooks: bool = False
    config_from: str | None = None
    use: WorkspaceUse = "alone"
    is_headless: bool = False
    approved: ApprovedScript | None = None
    task: TaskLaunch | None = None


def run_order_of(launch: LaunchOrder, around: Surroundings) -> RunOrder:
    """The order as every other run has it; of one that goes on, with what its record says.

    Raises:
        NotFoundError: There is no such run.
        UsageError, StoreError: As `order_of_record`.
    """
    has_budget = launch.budget_tokens is not None or launch.budget_usd is not None
    choices = Choices(
        budget=Budget(tokens=launch.budget_tokens, usd=launch.budget_usd) if has_budget else None,
        max_agents=launch.max_agents,
        max_parallel=launch.max_parallel,
        model=launch.model,
        backend=launch.backend,
        service=launch.service,
        store=launch.store,
    )
    permissions = PermissionChoices(
        mode=None if launch.mode is None else Mode(launch.mode),
        allow=launch.allow,
        deny=launch.deny,
        folders=tuple(Path(folder) for folder in launch.folders),
        trust=launch.trust,
        unconfined=launch.unconfined,
        ignore_hooks=launch.ignore_hooks,
        config_from=launch.config_from,
    )
    args = launch.args if launch.has_args else UNSET
    workspace = Path(launch.workspace)
    if launch.resume is None:
        run = RunOrder(
            script=launch.script or "",
            args=args,
            choices=choices,
            workspace=workspace,
            terms=Terms(use=launch.use),
            permissions=permissions,
            run_id=launch.run_id,
        )
        return run if launch.task is None else _task_order(launch.task, run, around)
    order = ResumeOrder(
        run=launch.resume,
        script=launch.script,
        args=args,
        choices=choices,
        workspace=workspace,
        terms=None if launch.use == "alone" else Terms(use=launch.use),
        permissions=permissions,
        reuse=launch.reuse,
    )
    return order_of_record(order, around)


def _task_order(task: TaskLaunch, run: RunOrder, around: Surroundings) -> RunOrder:
    from callsheet.app.doing import DoOrder, order_of

    if task.continues is not None:
        run = replace(run, continues={ORCHESTRATOR: task.continues}, notices=task.notices)
    order = order_of(DoOrder(task=task.text, run=run, model=task.model, effort=task.effort), around)
    assert isinstance(order.args, dict)
    prompt = order.args["prompt"]
    return replace(order, args={**order.args, "prompt": f"{task.before}\n\n{prompt}" if task.before else prompt})


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """An order within what is granted.

    Attributes:
        plan: What it comes to.
        notes: Where less is given than was asked for, a line each.
    """

    launch: LaunchOrder
    plan: Plan
    notes: tuple[str, ...]

    @property
    def limits(self) -> dict[str, Any]:
        """What holds for the run, for whoever asked for it."""
        run = self.plan.settings
        return {
            "budgetTokens": run.budget_tokens,
            "budgetUsd": run.budget_usd,
            "costStopUsd": run.cost_stop_usd if run.budget_tokens is None and run.budget_usd is None else None,
            "maxAgents": run.max_agents,
            "maxParallel": run.max_parallel,
            "permissionMode": self.plan.permissions.mode.value,
            "backend": run.backend,
            "model": run.model,
        }


def widest_launch(grants: Grants, root: Path) -> LaunchOrder:
    """All that may be asked for, but for limits; what is to run is not in it."""
    said, choices = grants.permissions, grants.choices
    return LaunchOrder(
        workspace=str(root),
        model=choices.model,
        backend=choices.backend,
        service=choices.service,
        store=choices.store,
        mode=None if said.mode is None else said.mode.value,
        allow=said.allow,
        deny=said.deny,
        folders=tuple(str(folder) for folder in said.folders),
        trust=said.trust,
        unconfined=said.unconfined,
        ignore_hooks=said.ignore_hooks,
        config_from=said.config_from,
        use=grants.use,
        is_headless=grants.is_headless,
    )


def narrowed_order(
    asked: StartInput, grants: Grants, *, script: str | None, root: Path, around: Surroundings
) -> Narrowed:
    """The order that a call asks for, within what settings and the host's own flags give.

    Args:
        asked: The call.
        grants: What the host was given.
        script: The script's path or name; None for the recorded one of a run that goes on.
        root: The workspace.
        around: The machine.

    Raises:
        UsageError: Something cannot hold, or there is nobody to answer.
        TrustRefusedError: Hooks are declared that are not run.
        NotFoundError: The run that is to go on is not on record.
    """
    given = widest_launch(grants, root)
    widest = given.model_copy(
        update={
            "script": script,
            "resume": asked.resume_from_run_id,
            "reuse": asked.reuse,
            "has_args": asked.has_args,
            "args": asked.args,
            "model": asked.model or given.model,
        }
    )
    order = run_order_of(widest, around)
    before = order.recorded  # of a run that goes on: what was asked for then, and may be asked for anew
    unlimited = replace(before, budget=None, max_agents=None, max_parallel=None)
    plan = plan_run(replace(order, recorded=unlimited), around)
    least = _Least()
    run, most = plan.resolved.run, grants.max_budget
    wanted = before.budget or Budget()
    if asked.budget is not None:
        wanted = merged_budget(before.budget, parse_budget(asked.budget))
    tokens = least.of("budget in tokens", wanted.tokens, run.budget_tokens, most.tokens)
    dollars = least.of("budget in dollars", wanted.usd, run.budget_usd, most.usd)
    agents = least.of("maxAgents", asked.max_agents or before.max_agents, run.max_agents, grants.max_agents)
    parallel = least.of("maxParallel", asked.max_parallel or before.max_parallel, run.max_parallel, None)
    mode = plan.permissions.mode
    if asked.permission_mode is not None:
        wished = Mode(asked.permission_mode)
        if wished.freedom > mode.freedom:
            least.notes.append(
                f"permissionMode {wished.value} was asked for; this server gives no more than {mode.value}."
            )
        else:
            mode = wished
    changed = {
        "budget_tokens": tokens,
        "budget_usd": dollars,
        "max_agents": agents,
        "max_parallel": parallel,
        "mode": mode.value if mode is not plan.permissions.mode else widest.mode,
    }
    launch = widest.model_copy(update=changed)
    settled = plan_run(_with_limits(replace(order, recorded=unlimited), launch), around)
    return Narrowed(launch=launch, plan=settled, notes=tuple(least.notes))


def _with_limits(order: RunOrder, launch: LaunchOrder) -> RunOrder:
    """The order with the limits that were settled, without its record being read again."""
    has_budget = launch.budget_tokens is not None or launch.budget_usd is not None
    choices = replace(
        order.choices,
        budget=Budget(tokens=launch.budget_tokens, usd=launch.budget_usd) if has_budget else None,
        max_agents=launch.max_agents,
        max_parallel=launch.max_parallel,
    )
    mode = order.permissions.mode if launch.mode is None else Mode(launch.mode)
    return replace(order, choices=choices, permissions=replace(order.permissions, mode=mode))


class _Least:
    """The least of several limits; says where that is less than what was asked for."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def of(self, name: str, asked: NumberT | None, settings: NumberT | None, most: NumberT | None) -> NumberT | None:
        """The least that is known; None where nothing limits it."""
        known = [amount for amount in (asked, settings, most) if amount is not None]
        found = min(known) if known else None
        if asked is not None and found is not None and found < asked:
            self.notes.append(f"{name}: {asked:,} was asked for; {found:,} is the most that is given here.")
        return found
