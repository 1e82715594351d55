"""What is said of a large run that nobody was asked about."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callsheet.app.plan import Plan
    from callsheet.model.rehearsal import Rehearsal

FREE = ("offline", "scripted")
"""Backends that nobody is paid for."""


@asynccontextmanager
async def mentioned(plan: Plan, *, is_wanted: bool, remark: Callable[[str], None]) -> AsyncGenerator[None]:
    """Says of a large run that goes on in the block, in one line, that it is one.

    Only where somebody pays. It is looked at while the first agents wait for their model, so that
    none of them begins later for it.

    Args:
        plan: Of the run.
        is_wanted: Nobody was asked whether it is meant, and lines are shown.
        remark: Says a line.
    """
    if not is_wanted or plan.backend.name in FREE or plan.order.resume is not None:
        yield
        return
    from callsheet.groups import meanwhile

    async with meanwhile(partial(_mention, plan, remark)):
        yield


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
