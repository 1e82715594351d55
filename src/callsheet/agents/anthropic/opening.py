"""How a turn's requests begin: as its conversation began, as long as that says all that holds now.

A new date, another state of git and another run's marks would each make a service's cache of the whole conversation
worthless. So these three stay as they were, and what is new is told in a notice. Where anything else stands before the
first message that differs, the tools, the model, the memory, the cache is lost anyway, and all is said anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anthropic.types.beta import BetaToolUnionParam

from callsheet.agents.prompt import MOVED, OTHER_MARKS, Prompts, SystemPrompt
from callsheet.model.call import AgentTask
from callsheet.model.conversation import Earlier
from callsheet.model.dataclass import dataclass
from callsheet.model.opening import Opening


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The beginning of an agent's requests.

    Attributes:
        opening: Of its conversation; None where it is in none.
        earlier: The turns before, with all that this one is to be told.
    """

    system: SystemPrompt
    opening: Opening | None = None
    earlier: Earlier | None = None


async def opened(
    prompts: Prompts, task: AgentTask, root: Path, *, model: str, tools: Sequence[BetaToolUnionParam], skills: str
) -> Opened:
    """How the requests of an agent begin.

    Args:
        prompts: Of the run.
        task: The agent's.
        root: As `Prompts.of`.
        model: The id.
        tools: As requests have them.
        skills: As `Prompts.of`.
    """
    if task.options.conversation is None:
        return Opened(system=await prompts.of(task, root, skills=skills), earlier=task.earlier)
    now, begun, earlier = await prompts.opening(task), task.opening, task.earlier
    if begun is not None:
        system = await prompts.of(task, root, skills=skills, opening=begun)
        if _digest(model, tools, system) == begun.digest:
            has_moved = begun.has_moved or (begun.git, begun.date) != (now.git, now.date)
            if earlier is not None:
                told = MOVED.format(date=now.date, git=now.git or "none") if has_moved else None
                earlier = replace(_with(earlier, told), is_same_frame=True)
            return Opened(system=system, opening=replace(begun, has_moved=has_moved), earlier=earlier)
    system = await prompts.of(task, root, skills=skills)
    if earlier is not None:
        earlier = _with(earlier, OTHER_MARKS)
    return Opened(system=system, opening=replace(now, digest=_digest(model, tools, system)), earlier=earlier)


def _with(earlier: Earlier, told: str | None) -> Earlier:
    notice = "\n".join(filter(None, (earlier.notice, told)))
    return replace(earlier, notice=notice or None)


def _digest(model: str, tools: Sequence[BetaToolUnionParam], system: SystemPrompt) -> str:
    whole = json.dumps([model, tools, system.shared, system.place])
    return hashlib.sha256(whole.encode("ascii")).hexdigest()[:32]
