"""Claude Code's program at work: lines of JSON in and out, all of them bounded, and an end that leaves nothing behind.

The SDK's own transport hands the whole environment on, waits up to twenty seconds for an end, and leaves the program
running where this process is killed; hence this one.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream, Process
from claude_agent_sdk import CLIConnectionError, Transport

from callsheet.agents.mcp.launch import ServerProgram, confined_by
from callsheet.agents.piping import Pipe, Witness, hear
from callsheet.confinement.unconfined import Unconfined
from callsheet.errors import BackendUnavailableError
from callsheet.model.confinement import CommandLimits, CommandProfile

LINE_LIMIT_BYTES = 32 * 1024 * 1024
_WRITTEN_WITHIN_S = 60.0
_GOES_WITHIN_S = 0.5
_ENDS_WITHIN_S = 1.0
_KILLED_WITHIN_S = 0.5
_PIECE_BYTES = 64 * 1024
_LIMITS = CommandLimits(cpu_s=30 * 24 * 3600, open_files=65_536)


class Program(Transport):
    """A program that was started, as the SDK talks to it.

    Attributes:
        witness: What is known of it.
        is_gone: It has ended by itself, or sent what is no message.
        is_idle: It waits for what is said next, and asks the model nothing; whoever talks to it keeps this up to date.
    """

    def __init__(self, process: Process, pipe: Pipe) -> None:
        self._process = process
        self._pipe = pipe
        self._writing = anyio.Lock()
        self._is_open = True
        self._is_closed = False
        self.is_gone = False
        self.is_idle = False
        self.witness = Witness()

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
        assert self._process.stdout is not None
        async for line in _lines(self._process.stdout, self.witness):
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

    async def close(self) -> None:
        """Ends it and all that it started, within 2 s. Idempotent."""
        self._is_open, self._is_closed = False, True
        with anyio.CancelScope(shield=True):
            self._pipe.close()
            process = self._process
            if self.is_idle:  # it then goes by itself, and takes its own traces away
                with anyio.move_on_after(_GOES_WITHIN_S):
                    await process.wait()
            if process.stdin is not None:  # the hold of the supervisor, which now kills everything
                with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    await process.stdin.aclose()
            with anyio.move_on_after(_ENDS_WITHIN_S):
                await process.wait()
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()  # what it supervises dies with it
                with anyio.move_on_after(_KILLED_WITHIN_S):
                    await process.wait()
            self.witness.exit_status = process.returncode

    async def ended(self) -> str:
        """Why it sends no more, for people; waits a moment for the program's end."""
        with anyio.move_on_after(_ENDS_WITHIN_S):
            await self._process.wait()
        witness, status = self.witness, self._process.returncode
        why = witness.fault or (f"it ended with exit status {status}" if status is not None else "it closed its output")
        return f"{why}: {witness.last_words}" if witness.last_words else why


@asynccontextmanager
async def open_program(
    argv: Sequence[str], environ: dict[str, str], *, folder: Path, scratch: Path
) -> AsyncIterator[Program]:
    """Starts the program under a supervisor, so that it ends with this process whatever happens to it.

    Leaving ends it and all that it started, within 2 s, however it is left.

    Args:
        argv: The program by absolute path, and its arguments.
        environ: Its whole environment.
        folder: Where it runs.
        scratch: A private folder for the supervisor.

    Raises:
        BackendUnavailableError: It could not be started.
    """
    program = ServerProgram(argv=tuple(argv), environ=environ, folder=folder)
    launcher = confined_by(Unconfined(), lambda _: CommandProfile(scratch=scratch, limits=_LIMITS))
    async with AsyncExitStack() as stack:
        pipe = stack.enter_context(Pipe())
        launch = await stack.enter_async_context(launcher(program, pipe.read_fd))
        with anyio.CancelScope(shield=True):  # a moment: cancelled halfway, nobody would own the process
            try:
                process = await anyio.open_process(
                    launch.argv,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    cwd=launch.folder,
                    env={**launch.environ, **environ},  # its home is the user's, where its login is
                    pass_fds=launch.pass_fds,
                    start_new_session=True,
                )
            except OSError as fault:
                why = f"Claude Code cannot be started: {fault.strerror or fault}"
                raise BackendUnavailableError(why, cause="program") from fault
        running = Program(process, pipe)
        stack.push_async_callback(_release, running, process)
        pipe.close_read_end()
        away: BackendUnavailableError | None = None
        async with anyio.create_task_group() as tasks:
            assert process.stderr is not None
            tasks.start_soon(hear, process.stderr, running.witness)
            try:
                yield running
            except BackendUnavailableError as error:  # out of the group as it is
                away = error
            finally:
                tasks.cancel_scope.cancel("the program is no longer needed")
        if away is not None:
            raise away


async def _release(running: Program, process: Process) -> None:
    await running.close()
    with anyio.move_on_after(_KILLED_WITHIN_S, shield=True):
        await process.aclose()


async def _lines(stream: ByteReceiveStream, witness: Witness) -> AsyncIterator[bytes]:
    rest: list[bytes] = []
    size = 0
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            *whole, piece = (await stream.receive(_PIECE_BYTES)).split(b"\n")
            for end in whole:
                yield b"".join([*rest, end])
                rest, size = [], 0
            rest.append(piece)
            size += len(piece)
            if size > LINE_LIMIT_BYTES:
                witness.fault = f"it sent a message of more than {LINE_LIMIT_BYTES} bytes"
                return
