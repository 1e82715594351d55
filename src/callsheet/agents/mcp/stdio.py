"""The pipe to a server's program: messages in lines, all of them bounded, and an end in stages.

The SDK's own transport keeps a line of any length in memory, takes notifications as fast as they come, and chooses
command line and environment itself; hence this one.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import mcp_types as types
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from callsheet.agents.mcp.faults import ServerFailure
from callsheet.agents.mcp.launch import Launcher, ServerProgram
from callsheet.agents.piping import PIECE_BYTES, Lines, Pipe, Witness, hear
from callsheet.model.dataclass import dataclass

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

LINE_LIMIT_BYTES = 16 * 1024 * 1024
UNASKED_PER_S = 200
"""Messages other than answers that are taken in a second. More wait, and so does the server once the pipe is full."""

WAITING_MESSAGES = 4096
"""Messages to a server that may wait to be written: who is cancelled leaves word of it and does not wait himself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a server may take: to read a message; to end after its input was closed, asked to, and killed."""

    written_s: float = 600.0
    closed_s: float = 2.0
    terminated_s: float = 2.0
    killed_s: float = 2.0


@asynccontextmanager
async def stdio_streams(
    program: ServerProgram, launcher: Launcher, witness: Witness, patience: Patience
) -> AsyncIterator[TransportStreams]:
    """A server's program at work. Leaving ends it and all of its process group, in bounded time, however it is left.

    Raises:
        ServerFailure: It could not be started.
    """
    incoming_send, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, outgoing_receive = anyio.create_memory_object_stream[SessionMessage](WAITING_MESSAGES)
    async with AsyncExitStack() as stack:
        for stream in (incoming_send, incoming, outgoing, outgoing_receive):
            stack.callback(stream.close)
        pipe = stack.enter_context(Pipe())
        launch = await stack.enter_async_context(launcher(program, pipe.read_fd))
        try:
            process = await anyio.open_process(
                launch.argv,
                stdin=subprocess.PIPE if launch.is_supervised else pipe.read_fd,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=launch.folder,
                env=launch.environ,
                pass_fds=launch.pass_fds,
                start_new_session=True,
            )
        except OSError as error:
            raise ServerFailure(f"it cannot be started: {error.strerror or error}") from None
        stack.push_async_callback(_end, process, pipe, witness, patience)
        pipe.close_read_end()
        async with anyio.create_task_group() as tasks:
            assert process.stdout is not None
            assert process.stderr is not None
            tasks.start_soon(_read_messages, process.stdout, incoming_send, witness)
            tasks.start_soon(hear, process.stderr, witness)
            tasks.start_soon(_write_messages, outgoing_receive, pipe, witness, patience)
            try:
                yield incoming, outgoing
            finally:
                tasks.cancel_scope.cancel("the connection is closed")


# --- traffic ----------------------------------------------------------------------------------------------------------


async def _read_messages(
    stream: ByteReceiveStream, sink: MemoryObjectSendStream[SessionMessage | Exception], witness: Witness
) -> None:
    """Hands on messages until there are no more, or a line is longer than any message should be."""
    pace = Pace(UNASKED_PER_S)
    with sink, suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        lines = Lines(LINE_LIMIT_BYTES)
        while lines.fault is None:
            for line in lines.of(await stream.receive(PIECE_BYTES)):
                message = _message(line)
                if message is None:
                    await pace.wait()
                    continue
                if not isinstance(message, types.JSONRPCResponse | types.JSONRPCError):
                    await pace.wait()
                await sink.send(SessionMessage(message))
        witness.fault = lines.fault
    witness.silent.set()


def _message(line: bytes) -> types.JSONRPCMessage | None:
    """One message; None for what is none (servers print all sorts of things), or is of no use here."""
    try:
        message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except (ValidationError, ValueError):
        return None
    is_chatter = isinstance(message, types.JSONRPCNotification) and message.method in (
        "notifications/message",
        "notifications/progress",
    )
    return None if is_chatter else message


class Pace:
    """Lets through so many a second; more have to wait for the next one."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._began = -1.0
        self._passed = 0

    async def wait(self) -> None:
        """Returns at once, or when the second is over."""
        now = anyio.current_time()
        if now - self._began >= 1:
            self._began, self._passed = now, 0
        self._passed += 1
        if self._passed > self._per_s:
            await anyio.sleep(1 - (now - self._began))


async def _write_messages(
    source: MemoryObjectReceiveStream[SessionMessage], pipe: Pipe, witness: Witness, patience: Patience
) -> None:
    try:
        async for message in source:
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            with anyio.fail_after(patience.written_s):
                await pipe.send(text.encode("utf-8", "replace") + b"\n")
    except OSError:  # also where it took too long
        witness.fault = witness.fault or "it takes no more messages"
        witness.silent.set()


# --- the end ----------------------------------------------------------------------------------------------------------


async def _end(process: Process, pipe: Pipe, witness: Witness, patience: Patience) -> None:
    """Closes its input, waits, asks it to end, waits, kills it; each wait bounded. Then its group is gone too."""
    with anyio.CancelScope(shield=True):
        pipe.close()
        async with anyio.create_task_group() as tasks:
            for stream in (process.stdout, process.stderr):
                assert stream is not None
                tasks.start_soon(_drain, stream)
            await _ended(process, pipe, patience)
            tasks.cancel_scope.cancel("it has ended")
        witness.exit_status = process.returncode
        with anyio.move_on_after(patience.killed_s):
            await process.aclose()


async def _ended(process: Process, pipe: Pipe, patience: Patience) -> None:
    if not await _exits(process, patience.closed_s):
        if process.stdin is not None:  # a supervisor's: it now kills everything
            with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                await process.stdin.aclose()
        else:
            _signal(process, signal.SIGTERM)
        if not await _exits(process, patience.terminated_s):
            _signal(process, signal.SIGKILL)
            await _exits(process, patience.killed_s)
    _signal(process, signal.SIGKILL)  # what it left behind in its group


async def _exits(process: Process, seconds: float) -> bool:
    """Whether it ends in time. Looks at the process itself: its pipes may be held open by what it left behind."""
    deadline = anyio.current_time() + seconds
    while process.returncode is None:
        if anyio.current_time() >= deadline:
            return False
        await anyio.sleep(0.01)
    return True


def _signal(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


async def _drain(stream: ByteReceiveStream) -> None:
    """Keeps a server that writes its last from waiting for a reader."""
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.BusyResourceError):
        while True:
            await stream.receive(PIECE_BYTES)
