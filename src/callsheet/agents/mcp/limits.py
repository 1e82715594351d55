"""Times and numbers for MCP servers."""

from __future__ import annotations

from callsheet.model.dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class McpLimits:
    """What servers may take.

    Attributes:
        start_s: From the start of a server to its list of tools.
        call_s: Of one call of a tool.
        offered_tools: With more than these an agent is given a search instead of all of them.
        found_tools: Given by one search.
    """

    start_s: float = 30.0
    call_s: float = 600.0
    offered_tools: int = 30
    found_tools: int = 8
