"""The test server over streamable HTTP, in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

_PROGRAM = """
import asyncio, sys
import uvicorn
from tests.support.mcp_server import make_server

app = make_server().streamable_http_app()

async def guarded(scope, receive, send):
    if scope["type"] == "http" and dict(scope["headers"]).get(b"authorization") != b"Bearer t0ken":
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"who are you?"})
        return
    await app(scope, receive, send)

uvicorn.run(guarded, fd=int(sys.argv[1]), log_level="error")
"""


@asynccontextmanager
async def mcp_over_http(folder: Path) -> AsyncIterator[str]:
    """The address of a server that wants `Authorization: Bearer t0ken`."""
    root = Path(__file__).parents[2]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = await anyio.open_process(
            [sys.executable, "-c", _PROGRAM, str(listener.fileno())],
            cwd=root,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "MCP_NOTES": str(folder / "notes")},
            pass_fds=[listener.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        async with process:
            # The listener is open already: a client waits in its queue until the server is up.
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
            process.kill()
