"""How the server is reached: over this process's own streams, or as an ASGI application."""

from __future__ import annotations

from typing import Any

from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings

PATH = "/mcp"


async def serve_stdio(server: Server[Any]) -> None:
    """Serves one client over standard input and output until input ends. Nothing else may write to output meanwhile:
    what does is led to standard error.
    """  # noqa: D205 - two clauses of one matter
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def http_app(server: Server[Any]) -> Any:
    """The server as an ASGI application (streamable HTTP) at `PATH`. Who is let in is for whoever stands before it."""
    unguarded = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    return server.streamable_http_app(streamable_http_path=PATH, transport_security=unguarded)
