"""The other end: a run in another process, followed and acted upon. Knows no record: what it missed it names."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from callsheet.control.lines import Channel, LineTooLongError
from callsheet.control.places import Reach
from callsheet.control.wire import MAX_ANSWER_BYTES, VERSION, error_of
from callsheet.errors import ControlLostError
from callsheet.model.dataclass import dataclass

CONNECT_S = 10.0
"""How long a run may take to greet. It answers at once, unless its process is stopped or very busy."""
ANSWER_S = 30.0
"""How long one may take to do what it is asked; ending takes at most five seconds."""
_EVENTS_WAITING = 1_000

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that the run has only on record, by `seq`, both included."""

    first: int
    last: int


class ControlClient:
    """One connection to a run. Requests may come from any number of tasks.

    Attributes:
        hello: What the run says of itself: `run_id`, `pid`, `host`, `workspace`, `record`, `workflow`, `started_at`.
    """

    def __init__(self, channel: Channel, hello: Json) -> None:
        self.hello = hello
        self._channel = channel
        self._count = 0
        self._answers: dict[int, MemoryObjectSendStream[Json]] = {}
        self._events: MemoryObjectSendStream[Json] | None = None
        self._fault: ControlLostError | None = None

    async def ask(self, do: str, *, within_s: float = ANSWER_S, **fields: Any) -> Any:
        """Has something done, and gives what the run says of it.

        Cancelling the wait leaves open whether it was done.

        Raises:
            NotFoundError, ControlRefusedError, UsageError: As `ports.RunControls` has them.
            ControlLostError: The connection ended, or no answer came in time.
        """
        if self._fault is not None:
            raise self._fault
        self._count += 1
        number = self._count
        send, receive = anyio.create_memory_object_stream[Json](1)
        self._answers[number] = send
        with send, receive:
            try:
                with anyio.fail_after(within_s):
                    words = {key: _text(value) if isinstance(value, str) else value for key, value in fields.items()}
                    await self._channel.send({"id": number, "do": do, **words})
                    said = await receive.receive()
            except TimeoutError:
                message = f"{self._name} has not answered for {within_s:g} s: its process may be stopped."
                raise ControlLostError(message, why="silent") from None
            except (OSError, anyio.EndOfStream, anyio.ClosedResourceError):
                raise self._gone() from None
            finally:
                self._answers.pop(number, None)
        if "error" in said:
            raise error_of(said["error"])
        return said.get("done")

    async def events(self, after: int = 0) -> AsyncGenerator[Json | Gap]:
        """Events as public JSON (FORMATS 3) with a greater `seq`, and gaps between them; ends with the run. Once.

        While they are not taken, answers to requests of this connection wait behind them: a connection of their own is
        best. One who takes none for a minute is let go, and can come again.

        Raises:
            ControlLostError: The connection ended before the run did.
        """
        send, receive = anyio.create_memory_object_stream[Json](_EVENTS_WAITING)
        self._events = send
        with send, receive:
            await self.ask("events", after=after)
            async for said in _until_closed(receive):
                if "event" in said:
                    yield said["event"]
                elif "gap" in said:
                    first, last = said["gap"]
                    yield Gap(first, last)
                else:
                    return
        raise self._gone()

    # --- what comes -------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Hands out what comes until the connection ends."""
        why: ControlLostError | None = None
        try:
            while (said := await _received(self._channel)) is not None:
                if "id" in said:
                    answer = self._answers.pop(said["id"], None)
                    if answer is not None:
                        answer.send_nowait(said)
                elif self._events is not None and said.keys() & {"event", "gap", "end"}:
                    try:
                        await self._events.send(said)
                    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                        self._events = None
                elif "error" in said:
                    why = ControlLostError(str(error_of(said["error"])), why="lost")
        except (OSError, ValueError, LineTooLongError, anyio.ClosedResourceError):
            pass
        finally:
            self._fault = why or self._lost()
            for waiting in (*self._answers.values(), *([self._events] if self._events is not None else [])):
                waiting.close()

    @property
    def _name(self) -> str:
        return str(self.hello.get("run_id", "the run"))

    def _gone(self) -> ControlLostError:
        return self._fault or self._lost()

    def _lost(self) -> ControlLostError:
        return ControlLostError(f"The connection to {self._name} ended.", why="lost")


def _text(text: str) -> str:
    """A text that can be sent: what is no character (bytes of a command line that are not UTF-8) becomes `?`."""
    return text.encode("utf-8", "replace").decode("utf-8")


async def _until_closed(stream: MemoryObjectReceiveStream[Json]) -> AsyncGenerator[Json]:
    try:
        async for said in stream:
            yield said
    except anyio.ClosedResourceError:
        return


async def _received(channel: Channel) -> Json | None:
    """The next object.

    Raises:
        ValueError: What came is none.
    """
    import json

    line = await channel.receive(MAX_ANSWER_BYTES)
    if line is None:
        return None
    said = json.loads(line)
    if not isinstance(said, Mapping):
        raise ValueError("no object")
    return dict(said)


@asynccontextmanager
async def open_client(reach: Reach) -> AsyncGenerator[ControlClient]:
    """Connects to a run. Leaving the context disconnects; the run goes on.

    Raises:
        ControlLostError: Nobody listens, the run does not take us in, or it says nothing.
    """
    name = reach.run_id
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    channel = Channel(connected)
    try:
        try:
            with anyio.fail_after(CONNECT_S):
                await _connect(connected, reach)
                hello = await _greet(channel, reach)
        except TimeoutError:
            message = f"{name} does not answer: its process, {reach.pid}, may be stopped."
            raise ControlLostError(message, why="silent") from None
        except (OSError, ValueError, LineTooLongError) as fault:
            raise ControlLostError(f"{name} cannot be reached: its process is gone ({fault}).", why="gone") from None
        client = ControlClient(channel, hello)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.read)
                yield client
                tasks.cancel_scope.cancel("we disconnect")
        except BaseExceptionGroup as group:
            fault_of_group: BaseException = group
            while isinstance(fault_of_group, BaseExceptionGroup):
                fault_of_group = fault_of_group.exceptions[0]
            raise fault_of_group from fault_of_group.__cause__
    finally:
        channel.close()


async def _connect(connected: socket.socket, reach: Reach) -> None:
    while True:
        try:
            connected.connect(os.fspath(reach.socket))
        except BlockingIOError:  # so many are connecting that there is no room in the line
            await anyio.sleep(0.02)
        else:
            return


async def _greet(channel: Channel, reach: Reach) -> Json:
    with suppress(OSError):  # who is not taken in may be told so, and left, before the greeting is out
        await channel.send({"callsheet": VERSION, "token": reach.token})
    said = await _received(channel)
    if said is None:
        raise ConnectionError("it ended the connection")
    if "error" in said:
        raise ControlLostError(f"{reach.run_id} does not take you in: {error_of(said['error'])}.", why="refused")
    hello = said.get("hello")
    if not isinstance(hello, dict):
        raise ValueError("it does not greet")
    return hello
