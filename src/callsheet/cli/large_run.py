"""What is said ahead of a run that nobody was asked about: that it is a large one, or what a task is bound by."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callsheet.app.plan import Plan
    from callsheet.model.rehearsal import Rehearsal
    from callsheet.ports import Approver


@asynccontextmanager
async def mentioned(
    plan: Plan, *, is_wanted: bool, approver: Approver | None, remark: Callable[[str], None]
) -> AsyncGenerator[None]:
    """Says of a large run that goes on in the block, in one line, that it is one; of a task what it is bound by.

    Of the first only where somebody pays. It is looked at while the first agents wait for their model, so that
    none of them begins later for it.

    Args:
        plan: Of the run.
        is_wanted: Nobody was asked whether it is meant, and lines are shown.
        approver: Who is asked in the run.
        remark: Says a line.
    """
    from callsheet.app.large_run import FREE

    if is_wanted and plan.order.drafts:
        _say_of_task(plan, approver, remark)
    if not is_wanted or plan.order.drafts or plan.backend.name in FREE or plan.order.resume is not None:
        yield
        return
    from callsheet.groups import meanwhile

    async with meanwhile(partial(_mention, plan, remark)):
        yield


def _say_of_task(plan: Plan, approver: Approver | None, remark: Callable[[str], None]) -> None:
    from callsheet.app.doing import foreseen_of_task

    is_shown = bool(getattr(approver, "takes_scripts", False))
    is_asked = bool(getattr(approver, "takes_cost", False))
    lines = foreseen_of_task(plan, is_shown=is_shown, is_asked=is_asked)
    if lines:
        remark("\n".join(lines))


async def _mention(plan: Plan, remark: Callable[[str], None]) -> None:
    """Says of a large run, in one line, that it is one; the run goes on meanwhile."""
    from callsheet.app.large_run import MANY_AGENTS, look_ahead

    told = await look_ahead(plan, most_agents=MANY_AGENTS + 1)
    if told is not None:
        remark(_one_line(told))


def _one_line(told: Rehearsal) -> str:
    from callsheet.app.large_run import MANY_AGENTS
    from callsheet.views.figures import cost_words, count, token_words

    if told.agents > MANY_AGENTS:
        return (
            f"this is a large run: more than {MANY_AGENTS} agents are planned. callsheet rehearse says how many, and "
            "what they cost"
        )
    return (
        f"this is a large run: {count(told.agents, 'agent')} are likely to use {token_words(told.tokens)} tokens, "
        f"{cost_words(told.cost_usd)}"
    )
