"""Starting runs from a session, in processes of their own: saved workflows, and runs that are gone on with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from anyio import to_thread

from callsheet.app.arguments import parse_arguments
from callsheet.app.launching import Launched, Launcher
from callsheet.app.plan import Plan, Surroundings, plan_run
from callsheet.app.quantities import parse_budget
from callsheet.app.records import RUNNING, Listed, Where, open_runs
from callsheet.app.session_approval import Proposal, proposed
from callsheet.app.session_model import SessionOrder, SessionSettings
from callsheet.app.tool_inputs import StartInput
from callsheet.app.tool_order import (
    Grants,
    LaunchOrder,
    Narrowed,
    TaskLaunch,
    narrowed_order,
    run_order_of,
    widest_launch,
)
from callsheet.app.tool_scripts import tool_script
from callsheet.authoring.doing import DO as ORCHESTRATED
from callsheet.authoring.talking import TALK
from callsheet.errors import RunGoingError, UsageError
from callsheet.model.dataclass import dataclass
from callsheet.model.spending import Budget
from callsheet.model.values import JsonValue
from callsheet.views.figures import money, tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A run that can be started.

    Attributes:
        workflow: Its name.
        launch: What is asked for.
        notes: Limits, and what there is to say, a line each.
        proposal: What a person is asked first; None for nothing.
    """

    workflow: str
    launch: LaunchOrder
    notes: tuple[str, ...]
    proposal: Proposal | None = None


class Starter:
    """Makes orders of what a person types, with the settings of their session."""

    def __init__(
        self, order: SessionOrder, launcher: Launcher, around: Surroundings, *, root: Path, known: Sequence[str]
    ) -> None:
        """Makes it.

        Args:
            order: Of the session.
            launcher: Starts runs.
            around: The machine.
            root: The workspace.
            known: Notes that the person has seen: they are not said again.
        """
        self._known = frozenset(known)
        self._order = order
        self._launcher = launcher
        self._around = replace(around, start=root)
        self._root = root

    async def saved(self, name: str, words: str, settings: SessionSettings) -> Ready:
        """A saved workflow, with its args as they were typed.

        Raises:
            NotFoundError: There is none of that name.
            ScriptRefusedError: It cannot run.
            CallsheetError: As `narrowed_order`; the args cannot be read.
        """
        has_args, args = typed_args(words)
        asked = StartInput.model_validate({"name": name} | ({"args": args} if has_args else {}))
        script = await tool_script(asked, root=self._root, around=self._around)
        ready, plan = await self._ready(asked, script.named, script.workflow or name, settings)
        launch, proposal = await proposed(plan, ready.launch)
        return replace(ready, launch=launch, proposal=proposal)

    async def task(self, task: TaskLaunch, settings: SessionSettings) -> Ready:
        """A task in the person's words, for which the orchestrator writes workflows.

        Raises:
            CallsheetError: As `run_order_of`.
        """
        grants = self._grants(settings)
        launch = widest_launch(grants, self._root).model_copy(
            update={
                "task": task,
                "budget_tokens": grants.max_budget.tokens,
                "budget_usd": grants.max_budget.usd,
                "max_agents": self._order.choices.max_agents,
                "max_parallel": self._order.choices.max_parallel,
            }
        )

        def planned() -> Plan:
            return plan_run(run_order_of(launch, self._around), self._around)

        plan = await to_thread.run_sync(planned)
        return self._of(Narrowed(launch=launch, plan=plan, notes=()), ORCHESTRATED)

    async def resumed(self, name: str, settings: SessionSettings, where: Where) -> Ready:
        """A run of the record that is gone on with.

        Raises:
            NotFoundError: There is none.
            UsageError: It is talk.
            RunGoingError: It goes on already.
            CallsheetError: As `narrowed_order`.
        """
        run_id, workflow = await to_thread.run_sync(_recorded, name, where)
        asked = StartInput.model_validate({"resume_from_run_id": run_id, "budget": settings.budget})
        return (await self._ready(asked, None, workflow, settings))[0]

    async def start(self, ready: Ready, run_id: str, *, on_late: Callable[[], Awaitable[None]]) -> Launched:
        """Starts it, a new run under this name. Cancelling waits for it, as long as a start may take.

        Args:
            ready: What is started.
            run_id: Its name.
            on_late: Told where it takes longer; it is waited for on.

        Raises:
            NotStartedError: It did not start; says why.
            LeaseHeldError: Others work in the workspace.
        """
        launch = ready.launch
        if launch.resume is None:
            launch = launch.model_copy(update={"run_id": run_id})
        return await self._launcher.launch(launch, on_late=on_late)

    async def _ready(
        self, asked: StartInput, script: str | None, workflow: str, settings: SessionSettings
    ) -> tuple[Ready, Plan]:
        narrow = partial(
            narrowed_order, asked, self._grants(settings), script=script, root=self._root, around=self._around
        )
        order = await to_thread.run_sync(narrow)
        return self._of(order, workflow), order.plan

    def _of(self, order: Narrowed, workflow: str) -> Ready:
        news = (note for note in order.plan.notes if note not in self._known)
        return Ready(workflow=workflow, launch=order.launch, notes=(*_limits(order), *order.notes, *news))

    def _grants(self, settings: SessionSettings) -> Grants:
        permissions = self._order.permissions
        return Grants(
            permissions=permissions if settings.mode is None else replace(permissions, mode=settings.mode),
            choices=self._order.choices,
            max_budget=(self._order.choices.budget or Budget())
            if settings.budget is None
            else parse_budget(settings.budget),
        )


def typed_args(words: str) -> tuple[bool, JsonValue]:
    """The args of a workflow as they were typed behind its name: whether there are any, and the value.

    JSON is what it says, `key=value` words give an object, anything else is a text (CONTRACT G01).

    Raises:
        UsageError: Broken JSON, or a key that came twice.
    """
    if not words:
        return False, None
    if words[0] in "{[":
        value = _json(words)
        return True, words if value is None else value
    try:
        split = shlex.split(words)
    except ValueError:  # a quotation mark that nothing closes: no words of a shell
        split = [words]
    return parse_arguments(None, (), split if all("=" in word for word in split) else (words,))


def _json(words: str) -> JsonValue:
    """The value of a text that begins as JSON does; None for one that is none, such as `[WIP] fix it`.

    Raises:
        UsageError: It was meant to be an object.
    """
    try:
        value: JsonValue = json.loads(words)
    except (ValueError, RecursionError) as fault:
        if words[0] == "[":
            return None
        where = f" at column {fault.colno}" if isinstance(fault, json.JSONDecodeError) and fault.lineno == 1 else ""
        raise UsageError(
            f'what stands behind the name begins as JSON and is none{where}. Write {{"key": "value"}}, key=value, or '
            "plain words."
        ) from None
    return value


def is_talk(run: Listed) -> bool:
    """Whether a run is a turn of talk: part of its session, and nothing to go on with or to keep."""
    return run.line.workflow == TALK and run.line.script_path is None


def _recorded(name: str, where: Where) -> tuple[str, str]:
    with open_runs(where, is_checked=False) as runs:
        run = runs.find(name)
    if is_talk(run):
        raise UsageError(
            f"{run.run_id} is talk, one answer of a session, and nothing to go on with: say again what you want to "
            "know. /runs lists the runs."
        )
    if run.status == RUNNING:
        raise RunGoingError(f"{run.run_id} goes on already. /workflows {run.run_id} shows it.")
    return run.run_id, run.line.workflow or run.run_id


def _limits(order: Narrowed) -> tuple[str, ...]:
    """What holds for a run, in a line."""
    limits = order.limits
    said = [
        f"{tokens(limits['budgetTokens'])} output tokens at most" if limits["budgetTokens"] is not None else "",
        f"{money(limits['budgetUsd'])} at most" if limits["budgetUsd"] is not None else "",
        f"asks at {money(limits['costStopUsd'])}" if limits["costStopUsd"] else "",
        f"mode {limits['permissionMode']}",
        f"answers by {limits['backend']}",
    ]
    return (", ".join(each for each in said if each),)
