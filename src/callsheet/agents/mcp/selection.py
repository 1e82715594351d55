"""Which tools of MCP servers an agent is given: what its type and its call leave of all there are."""

from __future__ import annotations

from collections.abc import Callable

from callsheet.model.call import AgentTask


def usable_tools(task: AgentTask, *, is_denied: Callable[[str], bool]) -> Callable[[str], bool]:
    """Whether an agent is given a tool, or a server, by name; as `McpPool.offer` asks it.

    A list may name a tool (`mcp__server__tool`), a server (`mcp__server`) or a beginning (`mcp__server__get*`).
    A call can only narrow (CONTRACT A14). An agent that may change nothing is given none: what a tool of a server does
    cannot be told.

    Args:
        task: The agent's.
        is_denied: Whether rules deny a tool or a whole server; what they ask about is offered.
    """
    kind, options = task.agent_type, task.options
    granted = [entries for entries in (kind.tools, options.tools) if entries is not None and "*" not in entries]
    taken = [entry.partition("(")[0].strip() for entry in (*kind.disallowed_tools, *options.disallowed_tools)]

    def may_use(name: str) -> bool:
        if kind.read_only or is_denied(name) or any(entry == "*" or _includes(entry, name) for entry in taken):
            return False
        return all(any(_meets(entry.strip(), name) for entry in entries) for entries in granted)

    return may_use


def _includes(entry: str, name: str) -> bool:
    """Whether an entry means all of a tool or server."""
    if entry.endswith("*"):
        return entry.startswith("mcp__") and f"{name}__".startswith(entry[:-1])
    return name == entry or (entry.startswith("mcp__") and name.startswith(f"{entry}__"))


def _meets(entry: str, name: str) -> bool:
    """Whether an entry means a tool, or some tool of a server."""
    return _includes(entry, name) or (name.count("__") == 1 and entry.startswith(f"{name}__"))
