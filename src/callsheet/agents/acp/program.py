"""An agent's program at work: JSON messages in lines, all of them bounded, and an end that leaves nothing behind.

The protocol's own SDK for Python keeps lines of any length, runs what comes in tasks that nobody owns, in no order, and
takes two seconds to import; hence the protocol is spoken here.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import anyio
from anyio.abc import Process

from callsheet.agents.mcp.launch import Launcher, ServerProgram
from callsheet.agents.piping import Pipe, Witness, hear
from callsheet.errors import BackendUnavailableError
from callsheet.groups import lone_error
from callsheet.model.values import JsonValue

LINE_LIMIT_BYTES = 16 * 1024 * 1024
_WRITTEN_WITHIN_S = 60.0
_ENDS_WITHIN_S = 0.8
_KILLED_WITHIN_S = 0.4
_PIECE_BYTES = 64 * 1024


class ProgramGone(Exception):
    """The program has ended, or makes no sense any more; `str()` says why."""


class Program:
    """A program that was started.

    Attributes:
        witness: What is known of it.
    """

    def __init__(self, process: Process, pipe: Pipe) -> None:
        self._process = process
        self._pipe = pipe
        self._writing = anyio.Lock()
        self._lines: list[bytes] = []
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self.witness = Witness()

    async def send(self, message: dict[str, JsonValue]) -> None:
        """Writes a message. Cancelled in the middle of one, no other can be written.

        Raises:
            ProgramGone: It takes no more.
        """
        data = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        is_whole = False
        async with self._writing:
            try:
                with anyio.fail_after(_WRITTEN_WITHIN_S):
                    await self._pipe.send(data)
                is_whole = True
            except OSError:  # also where it took too long, or what is written to was closed
                raise ProgramGone(await self._why("it takes no more messages")) from None
            finally:
                if not is_whole:
                    self._pipe.close()

    async def receive(self) -> dict[str, JsonValue]:
        """The next message. What is no JSON object, programs print all sorts of things, is passed over.

        Raises:
            ProgramGone: There are no more.
        """
        while True:
            while self._lines:
                line = self._lines.pop(0)
                try:
                    message = json.loads(line) if line.lstrip().startswith(b"{") else None
                except (ValueError, RecursionError):
                    continue
                if isinstance(message, dict):
                    return message
            await self._read()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            *whole, piece = (await self._process.stdout.receive(_PIECE_BYTES)).split(b"\n")
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise ProgramGone(await self._why("it closed its output")) from None
        for end in whole:
            self._lines.append(b"".join([*self._rest, end]))
            self._rest, self._rest_bytes = [], 0
        self._rest.append(piece)
        self._rest_bytes += len(piece)
        if self._rest_bytes > LINE_LIMIT_BYTES:
            raise ProgramGone(f"it sent a message of more than {LINE_LIMIT_BYTES} bytes")

    async def _why(self, otherwise: str) -> str:
        """Why it is gone, for people; waits a moment for its end."""
        with anyio.move_on_after(_ENDS_WITHIN_S):
            await self._process.wait()
        status, words = self._process.returncode, self.witness.last_words
        why = f"it ended with exit status {status}" if status is not None else otherwise
        return f"{why}: {words}" if words else why

    async def close(self) -> None:
        """Ends it and all that it started, within 1.5 s. Idempotent."""
        with anyio.CancelScope(shield=True):
            self._pipe.close()
            process = self._process
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
                await process.aclose()


@asynccontextmanager
async def open_program(
    program: ServerProgram, launcher: Launcher, *, environ: dict[str, str]
) -> AsyncGenerator[Program]:
    """Starts a program under a supervisor, so that it ends with this process whatever happens to it.

    Leaving ends it and all that it started, within 2 s, however it is left.

    Args:
        program: What to start.
        launcher: How: confined, or supervised alone.
        environ: What of its environment stands whatever the confinement says.

    Raises:
        BackendUnavailableError: It could not be started.
    """
    with lone_error():
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
                        env={**launch.environ, **environ},
                        pass_fds=launch.pass_fds,
                        start_new_session=True,
                    )
                except OSError as fault:
                    why = f"{program.argv[0]} cannot be started: {fault.strerror or fault}"
                    raise BackendUnavailableError(why, cause="program") from fault
            running = Program(process, pipe)
            stack.push_async_callback(running.close)
            pipe.close_read_end()
            async with anyio.create_task_group() as tasks:
                assert process.stderr is not None
                tasks.start_soon(hear, process.stderr, running.witness)
                try:
                    yield running
                finally:
                    tasks.cancel_scope.cancel("the program is no longer needed")
