"""The MCP servers of a run, as its agents meet them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from callsheet.model.dataclass import dataclass
from callsheet.model.reports import Remark
from callsheet.model.values import JsonValue
from callsheet.ports import AgentReporter

if TYPE_CHECKING:
    from callsheet.agents.mcp.pool import McpOffer, McpPool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTools:
    """What one agent has of the servers.

    Attributes:
        may_use: Whether it is given a tool, by its name.
    """

    pool: McpPool
    offer: McpOffer
    may_use: Callable[[str], bool]

    def meant(self, name: str, value: JsonValue) -> tuple[str, JsonValue]:
        """The tool and the input that a call stands for; as they are, where that cannot be told."""
        from callsheet.agents.tools.names import ToolFailure

        try:
            return self.offer.meant(name, value)
        except ToolFailure:
            return name, value


class Servers:
    """What all agents of a run share of them.

    Args:
        pool: The servers.
        said: Lines that the pool has for the run's log; taken from here as agents report.
    """

    def __init__(self, pool: McpPool, said: list[str]) -> None:
        self._pool = pool
        self._said = said
        self._told: set[str] = set()

    async def offer(self, may_use: Callable[[str], bool], reporter: AgentReporter) -> ServerTools:
        """What an agent is offered; starts servers that it may use and that do not run yet."""
        offer = await self._pool.offer(may_use)
        self._said += offer.notes
        await self.tell(reporter)
        return ServerTools(pool=self._pool, offer=offer, may_use=may_use)

    async def tell(self, reporter: AgentReporter) -> None:
        """Hands on what there is for the run's log, each line once."""
        lines, self._said[:] = list(self._said), []
        for line in lines:
            if line not in self._told:
                self._told.add(line)
                await reporter.report(Remark(level="warn", message=" ".join(line.split())))
