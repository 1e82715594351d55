"""Claude Code's program at work: lines of JSON in and out, all of them bounded, and an end that leaves nothing behind.

The SDK's own transport hands the whole environment on, waits up to twenty seconds for an end, and leaves the program
running where this process is killed; hence this one.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from claude_agent_sdk import CLIConnectionError, Transport

from callsheet.agents.mcp.launch import ServerProgram, confined_by
from callsheet.agents.piping import Lines
from callsheet.agents.supervised import Supervised, open_supervised
from callsheet.confinement.unconfined import Unconfined
from callsheet.model.confinement import CommandLimits, CommandProfile

LINE_LIMIT_BYTES = 32 * 1024 * 1024
_WRITTEN_WITHIN_S = 60.0
_GOES_WITHIN_S = 0.5
_LIMITS = CommandLimits(cpu_s=30 * 24 * 3600, open_files=65_536)


class Program(Transport):
    """A program that was started, as the SDK talks to it.

    Attributes:
        witness: What is known of it.
        is_gone: It has ended by itself, or sent what is no message.
        is_idle: It waits for what is said next, and asks the model nothing; whoever talks to it keeps this up to date.
    """

    def __init__(self, running: Supervised) -> None:
        self._running = running
        self._pipe = running.pipe
        self._writing = anyio.Lock()
        self._is_open = True
        self._is_closed = False
        self.is_gone = False
        self.is_idle = False
        self.witness = running.witness

    async def connect(self) -> None:
        """It was started before."""

    def is_ready(self) -> bool:
        return self._is_open

    async def write(self, data: str) -> None:
        """Writes a line; where the program takes no more, nothing, and it is no longer ready.

        Callbacks of the SDK write too, from tasks that nobody owns: an error there would be nobody's.
        """
        async with self._writing:
            if not self._is_open:
                return
            try:
                with anyio.fail_after(_WRITTEN_WITHIN_S):
                    await self._pipe.send(data.encode("utf-8", "replace"))
            except OSError:  # also where it took too long
                self._is_open = False
                self._pipe.close()
                self.witness.fault = self.witness.fault or "it takes no more messages"

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """What it sends, until it is closed.

        Raises:
            CLIConnectionError: It ended by itself, or sent what is no message; `witness` says which. Who waits for an
                answer of the program is told at once.
        """
        async for line in self._lines():
            if not line.lstrip().startswith(b"{"):
                continue
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                self.witness.fault = f"it sent what is no message: {line[:200].decode('utf-8', 'replace')!r}"
                break
            yield message
        if not self._is_closed:
            self.is_gone = True
            raise CLIConnectionError("the program sends no more messages")

    async def end_input(self) -> None:
        self._is_open = False
        self._pipe.close()

    async def _lines(self) -> AsyncIterator[bytes]:
        lines = Lines(LINE_LIMIT_BYTES)
        while piece := await self._running.read():
            for line in lines.of(piece):
                yield line
            if lines.fault is not None:
                self.witness.fault = lines.fault
                return

    async def close(self) -> None:
        """Ends it and all that it started, within 2 s. Idempotent."""
        self._is_open, self._is_closed = False, True
        # One that is idle goes by itself, and takes its own traces away.
        await self._running.end(goes_within_s=_GOES_WITHIN_S if self.is_idle else 0.0)

    async def ended(self) -> str:
        """Why it sends no more, for people; waits a moment for the program's end."""
        return await self._running.why("it closed its output")


@asynccontextmanager
async def open_program(
    argv: Sequence[str], environ: dict[str, str], *, folder: Path, scratch: Path
) -> AsyncGenerator[Program]:
    """Starts the program under a supervisor, so that it ends with this process whatever happens to it.

    Leaving ends it and all that it started, within 2 s, however it is left.

    Args:
        argv: The program by absolute path, and its arguments.
        environ: Its whole environment: its home is the user's, where its login is.
        folder: Where it runs.
        scratch: A private folder for the supervisor.

    Raises:
        BackendUnavailableError: It could not be started.
    """
    program = ServerProgram(argv=tuple(argv), environ=environ, folder=folder)
    launcher = confined_by(Unconfined(), lambda _: CommandProfile(scratch=scratch, limits=_LIMITS))
    async with open_supervised(program, launcher, environ=environ, name="Claude Code") as running:
        opened = Program(running)
        try:
            yield opened
        finally:
            await opened.close()
