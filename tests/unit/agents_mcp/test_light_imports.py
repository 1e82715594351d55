from __future__ import annotations

import subprocess
import sys

CHECK = """
import sys
from pathlib import Path
from callsheet.agents.mcp.config import McpServer, StdioServer
from callsheet.agents.mcp.pool import open_mcp
import anyio

async def main():
    how = StdioServer(command="x", arguments=(), environ={}, folder=Path("/"))
    async with open_mcp([McpServer(name="s", source="x", scope="user", how=how)], environ={}):
        pass

anyio.run(main)
print([name for name in ("mcp", "mcp_types", "anthropic", "httpx2") if name in sys.modules])
"""


def test_servers_that_nobody_uses_import_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
