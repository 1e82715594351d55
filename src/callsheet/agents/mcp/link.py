"""The connection to one server over a run: started on first use, held, ended with the run, started again once."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import anyio
import httpx2
import mcp_types as types
from anyio.abc import TaskGroup
from mcp.client import Client, IncomingMessage
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from callsheet.agents.mcp.config import HttpServer, McpServer, StdioServer
from callsheet.agents.mcp.faults import ServerFailure
from callsheet.agents.mcp.http import http_streams
from callsheet.agents.mcp.launch import Launcher, server_program
from callsheet.agents.mcp.limits import McpLimits
from callsheet.agents.mcp.results import content_of
from callsheet.agents.mcp.stdio import Patience, stdio_streams
from callsheet.agents.mcp.tools import TOOLS_PER_SERVER, GivenTool
from callsheet.agents.piping import Witness
from callsheet.agents.tools.names import ToolContent, ToolFailure
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

STARTS = 2
"""How often a server is started in a run: at first use, and once more should it die."""

_PAGES = 100
_FAREWELL_S = 3.0
"""For saying goodbye to a server elsewhere; the end of a program has bounds of its own."""

_FAULTS = (
    ServerFailure,
    MCPError,
    OSError,
    httpx2.HTTPError,
    httpx2.StreamError,
    ValidationError,
    ValueError,
    RuntimeError,
)

# Without a handler of its own Python prints the SDK's warnings to standard error, into whatever is shown there.
logging.getLogger("mcp").addHandler(logging.NullHandler())


@dataclass(slots=True)
class _Life:
    """One start of the server, to its end."""

    witness: Witness = field(default_factory=Witness)
    client: Client | None = None
    tools: tuple[GivenTool, ...] = ()
    failure: str | None = None
    is_stale: bool = False
    ready: anyio.Event = field(default_factory=anyio.Event)
    starting: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    closing: anyio.Event = field(default_factory=anyio.Event)
    over: anyio.Event = field(default_factory=anyio.Event)


class Link:
    """One server. Its methods may be called from any task; a task of `tasks` holds the connection.

    Args:
        server: As configured.
        environ: The host's environment.
        workspace: Agents' own folder, in which no program is looked for; None for none.
        launcher: How its program is started.
        limits: Of time.
        tasks: The run's.
        tell: Takes a line for the run's log.
    """

    def __init__(
        self,
        server: McpServer,
        *,
        environ: Mapping[str, str],
        workspace: Path | None,
        launcher: Launcher,
        limits: McpLimits,
        tasks: TaskGroup,
        tell: Callable[[str], None],
    ) -> None:
        self._server = server
        self._environ = environ
        self._workspace = workspace
        self._launcher = launcher
        self._limits = limits
        self._tasks = tasks
        self._tell = tell
        self._starting = anyio.Lock()
        self._life: _Life | None = None
        self._starts = 0
        self._generation = 0

    @property
    def generation(self) -> int:
        """Another number whenever the tools may have changed."""
        stale = self._life is not None and (self._life.is_stale or self._life.over.is_set())
        return self._generation + 1 if stale else self._generation

    async def tools(self) -> tuple[int, tuple[GivenTool, ...]]:
        """What the server says of its tools, asked for at its start and when it says that they changed.

        Returns:
            The generation that they are of, and they.

        Raises:
            ServerFailure: It cannot be started, or not again.
        """
        life = await self._alive()
        if life.is_stale:
            async with self._starting:
                await self._relist(life)
        return self._generation, life.tools

    async def call(self, name: str, tool: str, arguments: dict[str, JsonValue]) -> ToolContent:
        """Calls a tool. Cancelling tells the server, and does not wait for what it makes of that.

        Args:
            name: Of the tool as the agent knows it, for messages.
            tool: Of the tool as the server knows it.
            arguments: Its input.

        Raises:
            ToolFailure: The tool failed, did not answer in time, or its server is gone; says what can be done.
        """
        try:
            life = await self._alive()
        except ServerFailure as failure:
            raise ToolFailure(f"{name}: the server {self._server.name} is not available: {failure}") from None
        assert life.client is not None
        request = types.CallToolRequest(params=types.CallToolRequestParams(name=tool, arguments=arguments))
        try:
            result = await life.client.session.send_request(
                request, types.CallToolResult, request_read_timeout_seconds=self._limits.call_s
            )
        except MCPError as error:
            raise await self._call_failure(life, name, error) from None
        except ValidationError:
            raise ToolFailure(f"{name}: the server's answer is not one that the protocol knows") from None
        return content_of(name, result)

    async def aclose(self) -> None:
        """Ends the server, in bounded time. Idempotent."""
        if self._life is not None:
            self._life.closing.set()
            if self._life.client is None:
                self._life.starting.cancel("the run is over")
            with anyio.CancelScope(shield=True):
                await self._life.over.wait()

    async def _call_failure(self, life: _Life, name: str, error: MCPError) -> ToolFailure:
        match error.code:
            case types.REQUEST_TIMEOUT:
                return ToolFailure(f"{name}: it did not answer within {self._limits.call_s:g} s and was told to stop")
            case types.CONNECTION_CLOSED:
                return await self._gone(life, name)
            case _:
                return ToolFailure(f"{name}: {error.message[:2000]}")

    async def _gone(self, life: _Life, name: str) -> ToolFailure:
        """Waits for the end of a server that is of no use any more, and says what comes next."""
        life.closing.set()
        await life.over.wait()
        again = (
            "It is started again when it is next called; what this call did is not known."
            if self._starts < STARTS
            else "It is not started a third time; go another way."
        )
        return ToolFailure(f"{name}: the server {self._server.name} is gone: {life.failure}. {again}")

    # --- life ---------------------------------------------------------------------------------------------------------

    async def _alive(self) -> _Life:
        """The server at work, started where it is not.

        Raises:
            ServerFailure: It cannot be, or not again.
        """
        async with self._starting:
            life = self._life
            if life is not None and life.closing.is_set():
                await life.over.wait()
                if self._starts >= STARTS or life.client is None:
                    raise ServerFailure(life.failure or "it is closed")
                life = None
            if life is None:
                self._starts += 1
                life = self._life = _Life()
                self._tasks.start_soon(self._hold, life, name=f"mcp {self._server.name}")
            await life.ready.wait()
            if life.client is None:
                await life.over.wait()
                raise ServerFailure(life.failure or "it is closed")
            return life

    async def _relist(self, life: _Life) -> None:
        if not life.is_stale or life.client is None:
            return
        life.is_stale = False
        try:
            with anyio.fail_after(self._limits.start_s):
                life.tools = await _listed(life.client)
        except (MCPError, ValidationError, TimeoutError) as error:
            life.is_stale = True
            raise ServerFailure(f"it does not list its tools: {_words(error)}") from None
        self._generation += 1

    async def _hold(self, life: _Life) -> None:
        """Starts the server, holds it until it ends or is to end, and says what became of it."""
        try:
            with life.starting:
                life.starting.deadline = anyio.current_time() + self._limits.start_s
                async with self._client(life) as client:
                    life.tools = await _listed(client)
                    life.client = client
                    life.starting.deadline = math.inf
                    self._generation += 1
                    life.ready.set()
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(self._listen, life, client)
                        tasks.start_soon(_when, life.witness.silent, tasks.cancel_scope)
                        tasks.start_soon(_when, life.closing, tasks.cancel_scope)
                    life.starting.deadline = anyio.current_time() + _FAREWELL_S
            if life.starting.cancelled_caught and life.client is None:
                life.failure = f"it did not start within {self._limits.start_s:g} s"
        except _FAULTS as error:
            life.failure = _words(error)
        except ExceptionGroup as group:
            expected, other = group.split(_FAULTS)
            if other is not None:
                raise
            assert expected is not None
            life.failure = _words(_first(expected))
        except anyio.get_cancelled_exc_class():
            life.closing.set()
            raise
        finally:
            was_asked = life.closing.is_set()
            life.closing.set()
            self._tell_end(life, was_asked=was_asked)
            life.ready.set()
            life.over.set()

    @asynccontextmanager
    async def _client(self, life: _Life) -> AsyncIterator[Client]:
        async def on_message(message: IncomingMessage) -> None:
            if isinstance(message, types.ToolListChangedNotification):
                life.is_stale = True

        async with Client(
            self._streams(life.witness),
            client_info=types.Implementation(name="callsheet", version="1"),
            message_handler=on_message,
            cache=None,
        ) as client:
            yield client

    def _streams(self, witness: Witness) -> AbstractAsyncContextManager[TransportStreams]:
        match self._server.how:
            case StdioServer() as how:
                program = server_program(how, self._environ, workspace=self._workspace)
                return stdio_streams(program, self._launcher, witness, Patience(written_s=self._limits.call_s))
            case HttpServer() as how:
                return http_streams(how, witness)
            case _:
                assert_never(self._server.how)

    async def _listen(self, life: _Life, client: Client) -> None:
        """Servers of the newer protocol say only to those who listen that their tools changed."""
        tools = client.server_capabilities.tools
        if tools is None or not tools.list_changed:
            return
        try:
            async with client.listen(tools_list_changed=True) as subscription:
                async for _ in subscription:
                    life.is_stale = True
        except (ListenNotSupportedError, SubscriptionLost, MCPError, TimeoutError):
            return

    def _tell_end(self, life: _Life, *, was_asked: bool) -> None:
        """Puts together what is known of an end that nobody asked for."""
        witness = life.witness
        if was_asked and life.failure is None and witness.fault is None and not witness.silent.is_set():
            life.failure = "it is closed"
            return
        status = f" (exit status {witness.exit_status})" if witness.exit_status is not None else ""
        reason = witness.fault or life.failure or "it has ended"
        words = f"; its last words: {witness.last_words}" if witness.last_words else ""
        life.failure = f"{reason}{status}{words}"
        self._tell(f"MCP server {self._server.name}: {life.failure}")


async def _when(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel("it is over")


async def _listed(client: Client) -> tuple[GivenTool, ...]:
    """All tools, page by page, up to a bound."""
    if client.server_capabilities.tools is None:
        return ()
    found: list[GivenTool] = []
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await client.session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
        found += [
            GivenTool(
                name=tool.name, title=tool.title, description=tool.description, input_schema=dict(tool.input_schema)
            )
            for tool in page.tools
        ]
        cursor = page.next_cursor
        if cursor is None or len(found) > TOOLS_PER_SERVER:
            break
    return tuple(found)


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def _words(error: Exception) -> str:
    match error:
        case MCPError(code=types.CONNECTION_CLOSED):
            text = "it has ended"
        case MCPError():
            text = f"it answered: {error.message}"
        case ValidationError():
            text = "it sent something that the protocol does not know"
        case _:
            text = str(error)
    return " ".join(text.split())[:500] or type(error).__name__
