"""Where a script is to run, as the model is told that writes it: types, workflows, agent types, models, limits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from callsheet.app import compose
from callsheet.app.plan import Plan, site_of
from callsheet.authoring.briefing import Named, Place
from callsheet.permissions.modes import Mode
from callsheet.permissions.rules import Effect
from callsheet.views.figures import money

if TYPE_CHECKING:
    from callsheet.library.library import Library

_MOST_RULES = 20
_OTHERS = "Where nobody is there to be asked, the rest is denied."
_ALLOWED = {
    Mode.ACCEPT_EDITS: f"read and edit in the workspace, and run commands that only read or move files. {_OTHERS}",
    Mode.ASK: f"read in the workspace, and run commands that only read. {_OTHERS}",
    Mode.PLAN: "read in the workspace, and run commands that only read. The rest is denied.",
    Mode.BYPASS: "everything that no rule denies.",
}


def types_text() -> str:
    """`workflow.d.ts`, as it ships."""
    from callsheet.sandbox.process import runtime_folder

    return (runtime_folder() / "workflow.d.ts").read_text(encoding="utf-8")


def library_of(plan: Plan) -> Library:
    """What scripts of a run can name: saved workflows, and agent types."""
    site = site_of(plan.around, plan.workspace.root)
    return compose.library(
        site.project.folder,
        start=site.start,
        home=site.home,
        environ=site.environ,
        trusted=plan.settled.is_trusted,
        declared=plan.resolved.agents,
    )


def place_of(plan: Plan, *, budget: str | None) -> Place:
    """What is to be known of where a script runs.

    Args:
        plan: Of the run in which it is written.
        budget: What its run is to get along with, as it was said; None for no such thing.
    """
    library = library_of(plan)
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
        workflows=workflows,
        agent_types=types,
        models=tuple(_models(plan)),
        limits=tuple(_limits(plan, has_budget=budget is not None)),
        budget=budget,
    )


def _limits(plan: Plan, *, has_budget: bool) -> Iterator[str]:
    from callsheet.agents.tools.names import TOOL_NAMES, WEB_SEARCH
    from callsheet.app.workers import default_model

    settings = plan.settings
    yield f"A run starts at most {settings.max_agents:,} agents, {settings.max_parallel} at a time; more wait."
    yield f"An agent takes at most {settings.max_turns} turns."
    model = settings.model or default_model(plan.resolved.models, service=settings.service)
    yield f"An agent whose call names no `model` asks `{model}`."
    yield f"Tools, for `tools` and `disallowedTools`: {', '.join((*TOOL_NAMES, WEB_SEARCH))}."
    yield f"What agents may do unasked: {_ALLOWED[plan.permissions.mode]}"
    allowed = [rule.text for rule in plan.permissions.rules if rule.effect is Effect.ALLOW][:_MOST_RULES]
    if allowed:
        yield f"Rules allow besides: {', '.join(f'`{rule}`' for rule in allowed)}."
    if plan.workspace.head is None:
        yield "There is no git commit here, so no `isolation: 'worktree'` and no `worktree`."
    if not has_budget and math.isfinite(settings.cost_stop_usd):
        yield f"A run without a budget starts no agent beyond {money(settings.cost_stop_usd)} before a person agrees."


def _models(plan: Plan) -> Iterator[Named]:
    from callsheet.app.workers import prices_of

    for name, prices in prices_of(plan.resolved.models, plan.settings.prices, service=plan.settings.service):
        yield Named(name=name, said="price not known" if prices is None else f"${prices[0]:g} and ${prices[1]:g}")
