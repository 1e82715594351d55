"""Which tools an agent has: what its type and its call leave of all there are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from callsheet.agents.tools.names import EDITING_TOOLS, TOOL_NAMES, ToolName
from callsheet.model.call import AgentTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The tools of one agent.

    Attributes:
        names: In the order in which models are shown them.
        unknown: Asked for and not to be had here, as written.
    """

    names: tuple[ToolName, ...]
    unknown: tuple[str, ...]


def select_tools(task: AgentTask, *, has_skills: bool = False) -> Selection:
    """Intersects what the agent type and the call allow; a call can only narrow (CONTRACT A14).

    Names are ours (`web_fetch`) or those of saved agent types (`WebFetch`). An entry with a condition,
    `Edit(docs/**)`, is not granted, since the condition could not be kept; in a list of what is not allowed it takes
    the whole tool away. An agent that may change nothing keeps `bash`, whose commands are then held to those that only
    read. Where there are no skills there is no tool to read them.
    """
    kind, options = task.agent_type, task.options
    names = set(TOOL_NAMES)
    unknown: dict[str, None] = {}
    for granted in (kind.tools, options.tools):
        if granted is not None and "*" not in granted:
            names &= {_BY_NAME[_plain(entry)] for entry in granted if _plain(entry) in _BY_NAME}
            unknown |= dict.fromkeys(entry for entry in granted if _plain(entry) not in _BY_NAME)
    names -= _named(kind.disallowed_tools) | _named(options.disallowed_tools)
    if kind.read_only:
        names -= EDITING_TOOLS
    if not has_skills:
        names.discard("skill")
    return Selection(names=tuple(name for name in TOOL_NAMES if name in names), unknown=tuple(unknown))


def _named(entries: Iterable[str]) -> set[ToolName]:
    bare = {_plain(entry.partition("(")[0]) for entry in entries}
    return {tool for name, tool in _BY_NAME.items() if name in bare or "*" in bare}


def _plain(entry: str) -> str:
    """A name without what sets ours apart from those of saved agent types: capitals and `_`."""
    return entry.strip().lower().replace("_", "")


_BY_NAME: dict[str, ToolName] = {_plain(name): name for name in TOOL_NAMES}
