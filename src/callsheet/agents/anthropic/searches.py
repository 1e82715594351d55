"""Searches of the web that the service does by itself while it replies: its tool, and the record of what it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from anthropic.types.beta import BetaMessage, BetaToolUnionParam, BetaWebSearchToolResultBlock

from callsheet.agents.tools.names import WEB_SEARCH
from callsheet.agents.tools.workbench import Workbench
from callsheet.model.values import JsonValue

MAX_USES = 8
"""Searches that one reply may make. Each has a fee, and nobody is asked in between."""

SHOWN_RESULTS = 10


def search_tool(kind: str, blocked_hosts: Sequence[str]) -> BetaToolUnionParam:
    """The service's tool, as a request offers it."""
    tool: dict[str, Any] = {"type": kind, "name": WEB_SEARCH, "max_uses": MAX_USES}
    if blocked_hosts:
        tool["blocked_domains"] = list(blocked_hosts)
    return cast(BetaToolUnionParam, tool)


class Searches:
    """Records the searches of one agent as the calls of a tool that they are."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._begun: dict[str, JsonValue] = {}

    async def took(self, reply: BetaMessage) -> None:
        """Records what of searches a reply shows. One that a pause parts from its result waits for the next reply."""
        for block in reply.content:
            if block.type == "server_tool_use" and block.name == WEB_SEARCH:
                self._begun[block.id] = cast(JsonValue, block.input)
            elif block.type == "web_search_tool_result":
                given = self._begun.pop(block.tool_use_id, {})
                detail, is_failure = _outcome(block)
                await self._workbench.note_search(given, detail=detail, is_failure=is_failure)
        if reply.stop_reason != "pause_turn":
            for given in self._begun.values():
                await self._workbench.note_search(given, detail="no result came", is_failure=True)
            self._begun.clear()


def _outcome(block: BetaWebSearchToolResultBlock) -> tuple[str, bool]:
    """What came of a search, for the record, and whether it failed."""
    if not isinstance(block.content, list):
        return str(block.content.error_code), True
    urls = [result.url for result in block.content]
    more = f" and {len(urls) - SHOWN_RESULTS} more" if len(urls) > SHOWN_RESULTS else ""
    return f"{len(urls)} results: {' '.join(urls[:SHOWN_RESULTS])}{more}" if urls else "no results", False
