"""What tests of MCP servers share: servers as configured, a person who answers, what a server noted."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio.lowlevel
from anyio import to_thread

from callsheet.agents.mcp.config import HttpServer, McpServer, StdioServer
from callsheet.model.approval import Answer, Question, Verdict
from tests.support.processes import ended

SERVER = Path(__file__).with_name("mcp_server.py")


def stdio_server(mode: str, *rest: str, folder: Path, name: str = "s") -> McpServer:
    """The test server in one of its modes; it notes what happens to it in `notes` of the folder."""
    how = StdioServer(
        command=sys.executable,
        arguments=(str(SERVER), mode, *rest),
        environ={"MCP_NOTES": str(folder / "notes"), "PYTHONPATH": ""},
        folder=folder,
    )
    return McpServer(name=name, source="test", scope="user", how=how)


def http_server(url: str, **headers: str) -> McpServer:
    """A server at an address."""
    return McpServer(name="s", source="test", scope="user", how=HttpServer(url=url, headers=headers))


def everything(_: str) -> bool:
    """An agent that may use every tool."""
    return True


def environ() -> dict[str, str]:
    """A host's environment, with a secret in it."""
    return {**os.environ, "ANTHROPIC_API_KEY": "sk-ant-secret", "SOME_TOKEN": "t"}


class Person:
    """Answers every question alike.

    Attributes:
        asked: The questions, in order.
    """

    def __init__(self, verdict: Verdict = "once", words: str | None = None) -> None:
        self._answer = Answer(verdict=verdict, words=words)
        self.asked: list[Question] = []

    async def __call__(self, question: Question) -> Answer:
        self.asked.append(question)
        await anyio.lowlevel.checkpoint()
        return self._answer


async def noted(folder: Path, word: str, *, times: int = 1) -> list[int]:
    """Waits until a server noted a word so many times; the processes that did."""
    while True:
        lines = await to_thread.run_sync(_lines, folder)
        found = [int(line.split()[1]) for line in lines if line.split()[0] == word]
        if len(found) >= times:
            return found


def notes(folder: Path) -> list[str]:
    """The words that servers noted, in order."""
    return [line.split()[0] for line in _lines(folder)]


def _lines(folder: Path) -> list[str]:
    path = folder / "notes"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


async def all_gone(processes: Sequence[int]) -> None:
    """Waits until none of the processes runs any more."""
    await ended(processes)
