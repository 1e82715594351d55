"""The tools of one agent as an MCP server in this process: the only tools that Claude Code's program is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar, cast

import anyio
import mcp_types as types
from mcp.server import Server

from callsheet.agents.answer import Answer, answer_description, answer_input
from callsheet.agents.prompt import ANSWER_TOOL
from callsheet.agents.tools.inputs import tool_definitions
from callsheet.agents.tools.names import ToolContent, ToolFailure, ToolName
from callsheet.agents.tools.servers import ServerTools
from callsheet.agents.tools.workbench import Workbench
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

SERVER = "callsheet"
PREFIX = f"mcp__{SERVER}__"
"""What the program puts before the names of our tools."""

_SERVERS = "mcp__"
_RESULT_CHARS = 2_000_000
_META: Any = {"anthropic/maxResultSizeChars": _RESULT_CHARS, "anthropic/alwaysLoad": True}
"""Results stand in the conversation as they are, and tools are all shown at once."""

_NOT_SHOWN = "[a document of this kind is not shown through Claude Code: read it with a command that makes text of it]"
_TOO_MUCH = "Too many calls at once wait to be done; this one was not."

Value = TypeVar("Value")


class Desk:
    """Does, one after another and in a task of the agent's own, what callbacks of the SDK ask for.

    Callbacks run in tasks that nobody owns; here a fault ends the agent, and cancelling the agent ends what is done.
    """

    def __init__(self) -> None:
        self._ask, self._asked = anyio.create_memory_object_stream[_Job[Any]](1024)
        self.is_busy = False

    async def serve(self) -> None:
        """Works until cancelled."""
        async with self._asked:
            async for job in self._asked:
                if job.scope.cancel_called:
                    continue
                self.is_busy = True
                try:
                    with job.scope:
                        job.value = [await job.work()]
                finally:
                    self.is_busy = False
                    job.done.set()

    async def have(self, work: Callable[[], Awaitable[Value]]) -> Value | None:
        """Has something done; None where too much waits. Cancelling gives it up.

        Where the agent is ending there is no answer: the program would ask the model about it before it is ended.
        Whoever lets the SDK go cancels the wait.
        """
        job = _Job(work)
        try:
            self._ask.send_nowait(job)
        except anyio.WouldBlock:
            return None
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            await anyio.sleep_forever()
        try:
            await job.done.wait()
        finally:
            job.scope.cancel()
        if not job.value:
            await anyio.sleep_forever()
        return job.value[0]

    def close(self) -> None:
        """Takes no more."""
        self._ask.close()
        self._asked.close()


class _Job(Generic[Value]):
    def __init__(self, work: Callable[[], Awaitable[Value]]) -> None:
        self.work = work
        self.scope = anyio.CancelScope()
        self.done = anyio.Event()
        self.value: list[Value] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool of ours.

    Attributes:
        name: As the program's server names it, without what comes before.
        work: Does a call.
    """

    name: str
    description: str
    input_schema: dict[str, Any]
    work: Callable[[JsonValue], Awaitable[ToolContent]]


def agent_tools(
    names: Sequence[ToolName], served: ServerTools | None, answer: Answer | None, schema: Any, workbench: Workbench
) -> list[Tool]:
    """The tools of one agent: the named ones, those of MCP servers, and what takes its answer."""
    definitions = tool_definitions()
    tools = [
        Tool(
            name=name,
            description=definitions[name].description,
            input_schema=definitions[name].input_schema,
            work=partial(workbench.call, name),
        )
        for name in names
    ]
    if served is not None:
        tools += [
            Tool(
                name=tool.name.removeprefix(_SERVERS),
                description=tool.description,
                input_schema=dict(tool.input_schema),
                work=partial(workbench.call_server, served, tool.name),
            )
            for tool in served.offer.tools
        ]
    if answer is not None:

        async def take(value: JsonValue) -> ToolContent:
            return await answer.take(value)

        tools.append(
            Tool(name=ANSWER_TOOL, description=answer_description(schema), input_schema=answer_input(schema), work=take)
        )
    return tools


def tool_server(tools: Sequence[Tool], desk: Desk, heard: Callable[[Sequence[Any]], None]) -> Server[Any]:
    """A server with these tools. Input is judged by the tools alone, whatever their schemas say.

    Args:
        tools: What it offers.
        desk: Has them done.
        heard: Takes the blocks that a model is told by a tool.
    """
    by_name = {tool.name: tool for tool in tools}
    listed = [
        types.Tool.model_validate(
            {
                "name": tool.name,
                "description": tool.description,
                "inputSchema": {**tool.input_schema, "type": "object"},
                "_meta": _META,
            }
        )
        for tool in tools
    ]

    async def on_list(_context: object, _params: object) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def on_call(_context: object, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = by_name.get(params.name)
        if tool is None:
            return _result(f"there is no tool `{params.name}`; you have: {', '.join(by_name) or 'none'}", failed=True)
        value = cast(JsonValue, params.arguments or {})
        result = await desk.have(partial(_call, tool, value)) or _result(_TOO_MUCH, failed=True)
        heard([block.model_dump(exclude_none=True) for block in result.content])
        return result

    return Server(SERVER, on_list_tools=on_list, on_call_tool=on_call)


async def _call(tool: Tool, value: JsonValue) -> types.CallToolResult:
    try:
        return _result(await tool.work(value))
    except ToolFailure as failure:
        return _result(failure.message, failed=True)


def _result(content: ToolContent, *, failed: bool = False) -> types.CallToolResult:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return types.CallToolResult(content=[_block(block) for block in blocks], is_error=failed)


def _block(block: dict[str, Any]) -> types.ContentBlock:
    """A block of the Messages API as one of a tool server."""
    match block:
        case {"type": "text", "text": str(text)}:
            return types.TextContent(type="text", text=text)
        case {"type": "image", "source": {"type": "base64", "media_type": str(kind), "data": str(data)}}:
            return types.ImageContent(type="image", data=data, mime_type=kind)
        case _:
            return types.TextContent(type="text", text=_NOT_SHOWN)
