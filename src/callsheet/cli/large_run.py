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


@asynccontextmanager
async def sized(plan: Plan, *, is_asked: bool, remark: Callable[[str], None]) -> AsyncGenerator[None]:
    """A run goes on in the block, once it is known to be meant where it is a large one.

    A run that goes on from its record is not looked at: that was done when it began; nor one whose answers come from a
    file; nor, where nobody is asked, one that nobody pays for.

    Args:
        plan: Of the run.
        is_asked: A person is there, and has not said yes beforehand; else it is only said, while the run starts.
        remark: Says a line.

    Raises:
        TrustRefusedError: It is not meant; nothing was started.
    """
    is_free = plan.backend.name in (("scripted",) if is_asked else FREE)
    if is_free or plan.order.resume is not None:
        yield
        return
    if is_asked:
        await _see_that_it_is_meant(plan)
        yield
        return
    from callsheet.app.groups import meanwhile

    async with meanwhile(partial(_mention, plan, remark)):
        yield


async def _see_that_it_is_meant(plan: Plan) -> None:
    """Asks the person at the terminal whether a large run is meant; of others says nothing.

    Raises:
        TrustRefusedError: It is not; nothing was started.
    """
    from callsheet.app.large_run import look_ahead
    from callsheet.cli.rehearsal_lines import agent_lines
    from callsheet.cli.streams import say
    from callsheet.cli.trust_prompt import ask

    told = await look_ahead(plan)
    if told is None:
        return
    say("this is a large run:", *(f"  {line}" for line in agent_lines(told)))
    if not ask("Start it?"):
        raise TrustRefusedError(
            "the run was not started, and nothing was touched. callsheet rehearse says more of it; --yes starts it "
            "without the question."
        )


async def _mention(plan: Plan, remark: Callable[[str], None]) -> None:
    """Says of a large run, in one line, that it is one; the run goes on meanwhile."""
    from callsheet.app.large_run import MANY_AGENTS, look_ahead

    told = await look_ahead(plan, most_agents=MANY_AGENTS + 1)
    if told is not None:
        remark(_one_line(told))


def _one_line(told: Rehearsal) -> str:
    from callsheet.app.large_run import MANY_AGENTS
    from callsheet.cli.figures import count
    from callsheet.cli.rehearsal_lines import cost_words, token_words

    if told.agents > MANY_AGENTS:
        return (
            f"this is a large run: more than {MANY_AGENTS} agents are planned. callsheet rehearse says how many, and "
            "what they cost"
        )
    return (
        f"this is a large run: {count(told.agents, 'agent')} are likely to use {token_words(told.tokens)} tokens, "
        f"{cost_words(told.cost_usd)}"
    )
