"""Where a script is to run, as the model is told that writes it: types, workflows, agent types, models, limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from callsheet.app import compose
from callsheet.app.plan import Plan, site_of
from callsheet.authoring.briefing import Named, Place

if TYPE_CHECKING:
    from callsheet.library.library import Library


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
    library, settings = library_of(plan), plan.settings
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
        limits=(
            f"A run starts at most {settings.max_agents:,} agents, {settings.max_parallel} at a time; more wait.",
            f"An agent takes at most {settings.max_turns} turns.",
        ),
        budget=budget,
    )


def _models(plan: Plan) -> Iterator[Named]:
    from callsheet.app.workers import prices_of

    for name, prices in prices_of(plan.resolved.models, plan.settings.prices, service=plan.settings.service):
        yield Named(name=name, said="price not known" if prices is None else f"${prices[0]:g} and ${prices[1]:g}")
