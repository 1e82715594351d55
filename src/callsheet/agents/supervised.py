"""A program of an agent's own, under a supervisor: talked to in lines, and ended with all that it started."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import anyio
from anyio.abc import Process

from callsheet.agents.mcp.launch import Launcher, ServerProgram
from callsheet.agents.piping import PIECE_BYTES, Pipe, Witness, hear
from callsheet.errors import BackendUnavailableError
from callsheet.groups import lone_error

_ENDS_WITHIN_S = 1.0
_KILLED_WITHIN_S = 0.5


class Supervised:
    """A program that was started.

    Attributes:
        pipe: Its standard input.
        witness: What is known of it.
    """

    def __init__(self, process: Process, pipe: Pipe) -> None:
        self._process = process
        self.pipe = pipe
        self.witness = Witness()

    async def read(self) -> bytes:
        """The next piece of its standard output; empty where there are no more."""
        assert self._process.stdout is not None
        try:
            return await self._process.stdout.receive(PIECE_BYTES)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return b""

    async def why(self, otherwise: str) -> str:
        """Why it is of no use any more, for people; waits a moment for its end."""
        with anyio.move_on_after(_ENDS_WITHIN_S):
            await self._process.wait()
        witness, status = self.witness, self._process.returncode
        why = witness.fault or (f"it ended with exit status {status}" if status is not None else otherwise)
        return f"{why}: {witness.last_words}" if witness.last_words else why

    async def end(self, *, goes_within_s: float = 0.0) -> None:
        """Ends it and all that it started, within 1.5 s. Idempotent.

        Args:
            goes_within_s: How long it may take, besides, to go by itself once its input is closed.
        """
        with anyio.CancelScope(shield=True):
            process = self._process
            if goes_within_s:
                self.pipe.close()
                with anyio.move_on_after(goes_within_s):
                    await process.wait()
            # Killed before its input ends: it could make something of that, such as another request to the model.
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
            self.pipe.close()


@asynccontextmanager
async def open_supervised(
    program: ServerProgram, launcher: Launcher, *, environ: dict[str, str], name: str
) -> AsyncGenerator[Supervised]:
    """Starts a program under a supervisor, so that it ends with this process whatever happens to it.

    Leaving ends it and all that it started, however it is left.

    Args:
        program: What to start.
        launcher: How: confined, or supervised alone.
        environ: What of its environment stands whatever the confinement says.
        name: How people know it.

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
                    why = f"{name} cannot be started: {fault.strerror or fault}"
                    raise BackendUnavailableError(why, cause="program") from fault
            running = Supervised(process, pipe)
            stack.push_async_callback(_release, running, process)
            pipe.close_read_end()
            async with anyio.create_task_group() as tasks:
                assert process.stderr is not None
                tasks.start_soon(hear, process.stderr, running.witness)
                try:
                    yield running
                finally:
                    tasks.cancel_scope.cancel("the program is no longer needed")


async def _release(running: Supervised, process: Process) -> None:
    await running.end()
    with anyio.move_on_after(_KILLED_WITHIN_S, shield=True):
        await process.aclose()
