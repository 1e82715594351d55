"""Which tools an agent has: what its type and its call leave of all there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from callsheet.agents.tools.names import EDITING_TOOLS, TOOL_NAMES, ToolName
from callsheet.errors import SchemaUnusableError, UsageError
from callsheet.model.call import AgentTask
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import AgentOutcome
from callsheet.model.reports import Remark

if TYPE_CHECKING:
    from callsheet.agents.tools.bounds import Bounds
    from callsheet.ports import AgentReporter


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The tools of one agent.

    Attributes:
        names: In the order in which models are shown them.
        unknown: Asked for and not to be had here, as written.
        searches: It may search the web, where the service does that and the rules allow it.
        names_search: Agent type or call name the search, rather than leaving it in with all tools.
    """

    names: tuple[ToolName, ...]
    unknown: tuple[str, ...]
    searches: bool = False
    names_search: bool = False


Work = Callable[[AgentTask, Selection, "AgentReporter"], Awaitable[AgentOutcome]]
"""Does a task with the tools selected for it. Raises SchemaUnusableError or UsageError where the call is at fault."""


class Toolset:
    """What the agents of one backend work with; says once a run which tools its agents ask for in vain."""

    def __init__(self, bounds: Bounds) -> None:
        """Makes one for agents within `bounds`."""
        self._bounds = bounds
        self._remarked: set[tuple[str, str]] = set()

    async def run(self, task: AgentTask, reporter: AgentReporter, work: Work) -> AgentOutcome:
        """Has `work` do a task with the tools selected for it; a call that cannot be done as it is fails.

        Raises:
            BackendUnavailableError: As `AgentBackend.run`.
        """
        bounds = self._bounds
        selection = select_tools(task, has_skills=bounds.skills is not None, has_servers=bounds.servers is not None)
        for name in selection.unknown:
            if (task.run_id, name) not in self._remarked:
                self._remarked.add((task.run_id, name))
                message = f"agents have no tool `{name}` here; it is left out (agent type {task.agent_type.name})"
                await reporter.report(Remark(level="info", message=message))
        try:
            return await work(task, selection, reporter)
        except (SchemaUnusableError, UsageError) as error:
            return AgentOutcome(status="failed", error=error.message)


def select_tools(task: AgentTask, *, has_skills: bool = False, has_servers: bool = False) -> Selection:
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
            unknown |= dict.fromkeys(entry for entry in granted if not _is_known(entry, has_servers=has_servers))
    names -= _named(kind.disallowed_tools) | _named(options.disallowed_tools)
    if kind.read_only:
        names -= EDITING_TOOLS
    if not has_skills:
        names.discard("skill")
    lists = [granted for granted in (kind.tools, options.tools) if granted is not None]
    named = [any(_plain(entry) == _SEARCH for entry in granted) for granted in lists]
    refused = {_plain(entry.partition("(")[0]) for entry in (*kind.disallowed_tools, *options.disallowed_tools)}
    has_search = all(is_named or "*" in granted for is_named, granted in zip(named, lists, strict=True))
    return Selection(
        names=tuple(name for name in TOOL_NAMES if name in names),
        unknown=tuple(unknown),
        searches=has_search and refused.isdisjoint({_SEARCH, "*"}),
        names_search=any(named),
    )


def may_use_servers(task: AgentTask) -> bool:
    """Whether an agent may be given tools of MCP servers at all: not one that may change nothing.

    What such a tool changes nobody here can tell.
    """
    lists = (task.agent_type.tools, task.options.tools)
    return not task.agent_type.read_only and all(
        granted is None or any(entry == "*" or entry.startswith(_SERVERS) for entry in granted) for granted in lists
    )


def may_use_server_tool(task: AgentTask, name: str) -> bool:
    """Whether agent type and call leave an agent a tool of an MCP server, or a server's name some of its tools.

    Entries are `*`, `mcp__server`, `mcp__server__*` or `mcp__server__tool`.
    """
    kind, options = task.agent_type, task.options
    for granted in (kind.tools, options.tools):
        if granted is not None and not any(_covers(entry, name) or entry.startswith(f"{name}__") for entry in granted):
            return False
    refused = (*kind.disallowed_tools, *options.disallowed_tools)
    return not kind.read_only and not any(_covers(entry.partition("(")[0].strip(), name) for entry in refused)


def _covers(entry: str, name: str) -> bool:
    """Whether an entry means a tool of a server."""
    if entry.endswith("*"):
        return name.startswith(entry[:-1])
    return name == entry or (entry.startswith(_SERVERS) and entry.count("__") == 1 and name.startswith(f"{entry}__"))


_SERVERS = "mcp__"
_SEARCH = "websearch"


def _named(entries: Iterable[str]) -> set[ToolName]:
    bare = {_plain(entry.partition("(")[0]) for entry in entries}
    return {tool for name, tool in _BY_NAME.items() if name in bare or "*" in bare}


def _is_known(entry: str, *, has_servers: bool) -> bool:
    return _plain(entry) in _BY_NAME or _plain(entry) == _SEARCH or (has_servers and entry.startswith(_SERVERS))


def _plain(entry: str) -> str:
    """A name without what sets ours apart from those of saved agent types: capitals and `_`."""
    return entry.strip().lower().replace("_", "")


_BY_NAME: dict[str, ToolName] = {_plain(name): name for name in TOOL_NAMES}
