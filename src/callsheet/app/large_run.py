"""Whether a run that is about to start is a large one: found by a short rehearsal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from callsheet.errors import CallsheetError

if TYPE_CHECKING:
    from callsheet.app.plan import Plan
    from callsheet.model.rehearsal import Rehearsal

FREE = ("offline", "scripted")
"""Backends that nobody is paid for."""

MANY_AGENTS = 25
MANY_TOKENS = 1_500_000
"""A run that is planned to go beyond either is a large one."""

ENDS_WITHIN_S = 2.0
"""How long the script may take; what it has called by then counts."""

WITHIN_S = 60.0
"""With all that is loaded for it, while nobody waits for it. What is not known by then is not said."""

_CALL = re.compile(r"\b(?:agent|spawnAgent)\s*\(")
_OFTEN = re.compile(r"\b(?:for|while|do|function|parallel|pipeline|workflow|setTimeout)\b|=>")
"""What can have a call made more often than it stands in the script."""


async def look_ahead(plan: Plan, *, most_agents: int) -> Rehearsal | None:
    """A rehearsal of a large run; None for one that is not large, or of which that cannot be told in good time.

    Says nothing, whatever goes wrong: the run itself says it better. Touches nothing.

    Args:
        plan: Of the run that is about to start.
        most_agents: Counting ends there: whoever wants to know no more than whether it is large.
    """
    found: Rehearsal | None = None
    with anyio.move_on_after(WITHIN_S):
        try:
            found = await _rehearsed(plan, most_agents)
        except (CallsheetError, OSError):
            return None
    return found if found is not None and is_large(found) else None


def is_large(told: Rehearsal) -> bool:
    """Whether a run is planned to go beyond 25 agents or 1.5 million tokens."""
    return told.agents > MANY_AGENTS or told.tokens.likely > MANY_TOKENS


def may_repeat(text: str) -> bool:
    """Whether a script may call more agents than stand in it, or many stand in it: told from its text, in no time."""
    return _OFTEN.search(text) is not None or len(_CALL.findall(text)) > 3


async def _rehearsed(plan: Plan, most_agents: int) -> Rehearsal | None:
    from callsheet.app.rehearsal import one_pass, prepare
    from callsheet.app.rehearsal_cast import Answers
    from callsheet.app.rehearsal_report import Told, report

    prepared = await prepare(plan)
    if not may_repeat(prepared.reading.script.body):
        return None
    answers = Answers()
    first = await one_pass(prepared, answers, within_s=ENDS_WITHIN_S, most_agents=most_agents)
    told = Told(prepared=prepared, answers=answers, first=first)
    is_many = len(first.calls) > MANY_AGENTS
    tokens = sum(member.estimate.tokens.likely for member in first.company.cast)
    if not is_many and tokens <= MANY_TOKENS:
        return None
    return await to_thread.run_sync(report, told)
