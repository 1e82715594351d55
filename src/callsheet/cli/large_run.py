"""What is said before a large run, and the question whether it is meant."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from callsheet.errors import TrustRefusedError

if TYPE_CHECKING:
    from callsheet.app.plan import Plan
    from callsheet.model.rehearsal import Rehearsal

FREE = ("offline", "scripted")
"""Backends that nobody is paid for."""


async def see_that_it_is_meant(plan: Plan) -> None:
    """Asks the person at the terminal whether a large run is meant, before it starts; of others says nothing.

    A run that goes on from its record is not asked about: that was done when it began; nor is one whose answers come
    from a file.

    Raises:
        TrustRefusedError: It is not meant; nothing was started.
    """
    if plan.backend.name == "scripted" or plan.order.resume is not None:
        return
    from callsheet.app.large_run import look_ahead

    told = await look_ahead(plan)
    if told is None:
        return
    from callsheet.cli.rehearsal_lines import agent_lines
    from callsheet.cli.streams import say
    from callsheet.cli.trust_prompt import ask

    say("this is a large run:", *(f"  {line}" for line in agent_lines(told)))
    if not ask("Start it?"):
        raise TrustRefusedError(
            "the run was not started, and nothing was touched. callsheet rehearse says more of it; --yes starts it "
            "without the question."
        )


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
    from callsheet.app.large_run import MANY_AGENTS, PATIENT_S, look_ahead

    told = await look_ahead(plan, most_agents=MANY_AGENTS + 1, within_s=PATIENT_S)
    if told is not None:
        remark(_one_line(told))


def _one_line(told: Rehearsal) -> str:
    from callsheet.app.large_run import MANY_AGENTS
    from callsheet.cli.rehearsal_lines import cost_words, token_words
    from callsheet.views.figures import count

    if told.agents > MANY_AGENTS:
        return (
            f"this is a large run: more than {MANY_AGENTS} agents are planned. callsheet rehearse says how many, and "
            "what they cost"
        )
    return (
        f"this is a large run: {count(told.agents, 'agent')} are likely to use {token_words(told.tokens)} tokens, "
        f"{cost_words(told.cost_usd)}"
    )
