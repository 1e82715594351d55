"""The MCP servers of a run: what agents are offered of them, and every call of their tools."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import anyio

from callsheet.agents.mcp.config import McpServer
from callsheet.agents.mcp.faults import ServerFailure
from callsheet.agents.mcp.launch import Launcher, as_it_is
from callsheet.agents.mcp.limits import McpLimits
from callsheet.agents.mcp.search import find_tools, near_names
from callsheet.agents.mcp.tools import McpTool, read_tools
from callsheet.agents.tools.names import ToolContent, ToolFailure
from callsheet.errors import ConfigError
from callsheet.model.approval import Answer, Question
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

if TYPE_CHECKING:
    from callsheet.agents.mcp.link import Link

Ask: TypeAlias = Callable[[Question], Awaitable[Answer]]
"""Asks a person, as `AgentReporter.ask` does."""

SEARCH_TOOL = "tool_search"
CALL_TOOL = "tool_call"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedTool:
    """A tool as the Messages API is told of it. Shared by all agents: never change one."""

    name: str
    description: str
    input_schema: dict[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class McpOffer:
    """What one agent is offered.

    Attributes:
        tools: In an order that stays the same over a run, as prompt caching needs it: every tool, or where there are
            many `tool_search` and `tool_call`.
        notes: Servers and tools that are not to be had, one line each, for the log.
        all_tools: What a search looks through.
        found_tools: The most that one finds.
    """

    tools: tuple[OfferedTool, ...]
    notes: tuple[str, ...]
    all_tools: tuple[McpTool, ...] = field(repr=False)
    found_tools: int

    def covers(self, name: str) -> bool:
        """Whether a tool call of this name is one for here."""
        return name in (SEARCH_TOOL, CALL_TOOL) or name.startswith("mcp__")

    def meant(self, name: str, value: JsonValue) -> tuple[str, JsonValue]:
        """The tool and input that a call stands for: what is to be decided about, recorded and called.

        Raises:
            ToolFailure: A `tool_call` that names no tool.
        """
        if name != CALL_TOOL:
            return name, value
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            raise ToolFailure(f"{CALL_TOOL}: give `name`, as {SEARCH_TOOL} shows it, and `arguments`")
        return str(value["name"]), value.get("arguments", {})

    def search(self, value: JsonValue) -> str:
        """What `tool_search` answers: definitions of the tools that a query may mean. Changes nothing anywhere.

        Raises:
            ToolFailure: There is no query.
        """
        query = value.get("query") if isinstance(value, dict) else None
        if not isinstance(query, str) or not query.strip():
            raise ToolFailure(f"{SEARCH_TOOL}: give `query`, some words or the names of tools")
        found = find_tools(self.all_tools, query[:1000], most=self.found_tools)
        if not found:
            return f"No tool of {len(self.all_tools)} fits these words. Servers: {', '.join(self._servers)}."
        return "\n".join([f"Call one with {CALL_TOOL}, by its name:", *(tool.as_text() for tool in found)])

    @property
    def _servers(self) -> list[str]:
        return list(dict.fromkeys(tool.server for tool in self.all_tools))


@dataclass(slots=True)
class _Known:
    """A server, and what of its tools agents were shown.

    Attributes:
        shown: By name; stays as it was first seen until a person agrees to another.
        changed: What the server now says of tools that were shown otherwise.
    """

    server: McpServer
    make: Callable[[McpServer], Link]
    link: Link | None = None
    generation: int = -1
    shown: dict[str, McpTool] = field(default_factory=dict)
    changed: dict[str, McpTool] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


@asynccontextmanager
async def open_mcp(
    servers: Sequence[McpServer],
    *,
    environ: Mapping[str, str],
    workspace: Path | None = None,
    launcher: Launcher = as_it_is,
    launcher_of: Callable[[McpServer], Launcher] | None = None,
    limits: McpLimits | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[McpPool]:
    """The servers of a run. None is started before it is used; leaving ends those that were, in bounded time.

    Args:
        servers: Those that take effect, one of each name.
        environ: The host's environment, of which servers get a little.
        workspace: Agents' folder, in which no program is found by its name alone; None for none.
        launcher: How programs are started.
        launcher_of: How that of one server is started, where they differ.
        limits: Of time and number.
        tell: Takes a line for the run's log: a server that died, or could not be started.

    Raises:
        ConfigError: There are servers, and the package for them is not installed.
    """
    if not servers:
        yield McpPool({}, limits or McpLimits())
        return
    if not _is_installed():
        names = ", ".join(server.name for server in servers)
        raise ConfigError(
            f"MCP servers are configured ({names}), and the package for them is not installed. "
            "Install it with: pip install 'callsheet[mcp]'"
        )
    bounds = limits if limits is not None else McpLimits()
    try:
        async with anyio.create_task_group() as tasks:

            def make(server: McpServer) -> Link:
                from callsheet.agents.mcp.link import Link  # the SDK takes a second, and only runs that use it

                return Link(
                    server,
                    environ=environ,
                    workspace=workspace,
                    launcher=launcher_of(server) if launcher_of is not None else launcher,
                    limits=bounds,
                    tasks=tasks,
                    tell=tell,
                )

            known = {server.name: _Known(server=server, make=make) for server in servers}
            try:
                yield McpPool(known, bounds)
            finally:
                with anyio.CancelScope(shield=True):
                    async with anyio.create_task_group() as closing:
                        for each in known.values():
                            if each.link is not None:
                                closing.start_soon(each.link.aclose)
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None  # what was raised within, as it was
        raise


def _is_installed() -> bool:
    try:
        return all(find_spec(name) is not None for name in ("mcp", "mcp_types"))
    except ValueError:
        return False


class McpPool:
    """Made by `open_mcp`."""

    def __init__(self, known: Mapping[str, _Known], limits: McpLimits) -> None:
        self._known = known
        self._limits = limits

    async def offer(self, may_use: Callable[[str], bool]) -> McpOffer:
        """What an agent is offered; starts the servers that it may use and that are not at work yet.

        A server that cannot be started is noted and takes nothing away from the others.

        Args:
            may_use: Whether the agent is given a tool, by its name. Asked about `mcp__server` first: where that is
                denied the server is not even started.
        """
        notes: list[str] = []
        wanted = {name: known for name, known in self._known.items() if may_use(f"mcp__{name}")}
        async with anyio.create_task_group() as tasks:
            for name, known in wanted.items():
                tasks.start_soon(self._noted_refresh, name, known, notes)
        tools = tuple(
            tool for known in wanted.values() for tool in known.shown.values() if may_use(tool.name)
        )  # fmt: skip
        if len(tools) > self._limits.offered_tools:
            offered = _search_tools(tools)
        else:
            offered = tuple(
                OfferedTool(name=tool.name, description=tool.description, input_schema=tool.input_schema)
                for tool in tools
            )
        left_out = [line for known in wanted.values() for line in known.left_out]
        return McpOffer(
            tools=offered, notes=(*sorted(notes), *left_out), all_tools=tools, found_tools=self._limits.found_tools
        )

    async def call(self, name: str, value: JsonValue, *, ask: Ask) -> ToolContent:
        """Calls a tool; that it may be called was decided before.

        A tool of which its server says something else than agents were shown is asked about first.

        Raises:
            ToolFailure: There is no such tool, it failed, or a person did not agree to what became of it (`denied`).
        """
        known = self._server_of(name)
        if not isinstance(value, dict):
            raise ToolFailure(f"{name}: its input must be an object")
        try:
            await self._refresh(known)
        except ServerFailure as failure:
            raise ToolFailure(f"{name}: the server {name.split('__')[1]} is not available: {failure}") from None
        tool = known.shown.get(name)
        if tool is None:
            near = near_names(list(known.shown.values()), name)
            raise ToolFailure(f"{name}: there is no such tool{'; did you mean ' + ', '.join(near) if near else ''}")
        renewed = await self._agreed(known, tool, ask)
        assert known.link is not None
        content = await known.link.call(name, tool.tool, value)
        return content if renewed is None else _with_note(content, f"Its definition is new: {renewed.as_text()}")

    def _server_of(self, name: str) -> _Known:
        for server, known in self._known.items():
            if name.startswith(f"mcp__{server}__"):
                return known
        there = ", ".join(self._known) or "none"
        raise ToolFailure(f"{name}: there is no such MCP server; there are: {there}")

    async def _agreed(self, known: _Known, tool: McpTool, ask: Ask) -> McpTool | None:
        """The new definition of a tool that changed and that a person agrees to; None where it did not change."""
        renewed = known.changed.get(tool.name)
        if renewed is None:
            return None
        answer = await ask(
            Question(
                tool=tool.name,
                input=f"before: {tool.as_text()}\nnow: {renewed.as_text()}",
                reason=f"The server {tool.server} says something else of this tool than when the run first saw it.",
            )
        )
        if not answer.is_yes:
            words = f" {answer.words}" if answer.words else ""
            raise ToolFailure(
                f"{tool.name}: it changed during the run, and nobody agreed to that.{words}",
                denied=True,
                rule="changed tool",
            )
        if known.changed.get(tool.name) is renewed:
            known.shown[tool.name] = renewed
            del known.changed[tool.name]
        return renewed

    async def _noted_refresh(self, name: str, known: _Known, notes: list[str]) -> None:
        try:
            await self._refresh(known)
        except ServerFailure as failure:
            notes.append(f"MCP server {name} is not available: {failure}")

    async def _refresh(self, known: _Known) -> None:
        """Brings what is known up to date with what the server says; what was shown stays until agreed otherwise.

        Raises:
            ServerFailure: The server is not there.
        """
        if known.link is None:
            known.link = known.make(known.server)
        if known.generation == known.link.generation:
            return
        known.generation, given = await known.link.tools()
        listed = read_tools(known.server.name, given)
        known.left_out = listed.left_out
        now = {tool.name: tool for tool in listed.tools}
        known.shown = {
            **{name: tool for name, tool in known.shown.items() if name in now},
            **{name: tool for name, tool in now.items() if name not in known.shown},
        }
        known.changed = {
            name: tool for name, tool in now.items() if tool.fingerprint != known.shown[name].fingerprint
        }  # fmt: skip


def _search_tools(tools: Sequence[McpTool]) -> tuple[OfferedTool, ...]:
    servers: dict[str, int] = {}
    for tool in tools:
        servers[tool.server] = servers.get(tool.server, 0) + 1
    counts = ", ".join(f"{server} ({count})" for server, count in servers.items())
    return (
        OfferedTool(
            name=SEARCH_TOOL,
            description=f"Finds tools of MCP servers by words and returns their definitions; call one with "
            f"`{CALL_TOOL}`. There are {len(tools)}: {counts}.",
            input_schema={
                "type": "object",
                "properties": {
                    "query": {"type": "string", "description": "What the tool should do, or names of tools."}
                },
                "required": ["query"],
            },
        ),
        OfferedTool(
            name=CALL_TOOL,
            description=f"Calls a tool that `{SEARCH_TOOL}` found, with input as its definition says.",
            input_schema={
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": "The tool's whole name: mcp__server__tool."},
                    "arguments": {"type": "object", "description": "The tool's input."},
                },
                "required": ["name", "arguments"],
            },
        ),
    )


def _with_note(content: ToolContent, note: str) -> ToolContent:
    return f"{content}\n[{note}]" if isinstance(content, str) else [*content, {"type": "text", "text": f"[{note}]"}]
