"""A run that does what it is told and nothing else, and its socket."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from callsheet.control.client import ControlClient, open_client
from callsheet.control.places import Reach
from callsheet.control.server import ControlServer, open_server
from callsheet.errors import ControlRefusedError, NotFoundError
from callsheet.model.approval import PersonsVerdict
from callsheet.model.events import ApprovalAsked, Event, Log
from callsheet.ports import RunControls

RUN = "run_01TEST"
QUESTION = ApprovalAsked(
    id="q0001", tool="bash", input="npm test", reason="why", rules=("r",), agents=1, agent_ids=("a0001",), until=None
)


def said(seq: int, message: str = "x") -> Event:
    """An event."""
    return Event(run_id=RUN, seq=seq, at="2026-11-21T08:00:00.123Z", body=Log(level="info", message=message))


class PlayedRun(RunControls):
    """Writes down what it is told.

    Attributes:
        deeds: What it was told.
        history: Events that followers get; `say` adds one.
    """

    def __init__(self, *history: Event) -> None:
        self.deeds: list[tuple[Any, ...]] = []
        self.history = list(history)
        self.is_over = False
        self.followers = 0
        self._news = anyio.Event()

    @property
    def run_id(self) -> str:
        return RUN

    def say(self, *events: Event, last: bool = False) -> None:
        """Lets events happen."""
        self.history += events
        self.is_over = last
        self._news.set()
        self._news = anyio.Event()

    async def events(self, after: int = 0) -> AsyncGenerator[Event]:
        self.followers += 1
        try:
            while True:
                found = next((event for event in self.history if event.seq > after), None)
                if found is not None:
                    after = found.seq
                    yield found
                elif self.is_over:
                    return
                else:
                    await self._news.wait()
        finally:
            self.followers -= 1

    async def stop(self) -> None:
        self.deeds.append(("stop",))

    async def pause(self, *, by: str = "nobody") -> bool:
        self.deeds.append(("pause", by))
        return len(self.deeds) == 1

    async def go_on(self, *, by: str = "nobody") -> bool:
        self.deeds.append(("go_on", by))
        return True

    async def skip(self, agent_id: str, *, by: str = "nobody") -> bool:
        if agent_id == "a0009":
            raise NotFoundError("There is no agent 'a0009' in this run.", name="a0009")
        self.deeds.append(("skip", agent_id, by))
        return True

    async def stop_agent(self, agent_id: str, *, by: str = "nobody") -> bool:
        raise ControlRefusedError("a0001 is over (ok).", why="over", agent_id=agent_id)

    async def restart(self, agent_id: str, *, by: str = "nobody") -> bool:
        raise RuntimeError("a fault of ours")

    async def message(self, agent_id: str, text: str, *, by: str = "nobody") -> None:
        self.deeds.append(("message", agent_id, text, by))

    def questions(self) -> Sequence[ApprovalAsked]:
        return (QUESTION,)

    async def answer(
        self,
        question_id: str,
        verdict: PersonsVerdict,
        *,
        words: str | None = None,
        more_usd: float | None = None,
        by: str = "nobody",
    ) -> None:
        amount = () if more_usd is None else (more_usd,)
        self.deeds.append(("answer", question_id, verdict, words, by, *amount))


@contextmanager
def runtime_folder() -> Iterator[Path]:
    """A folder for sockets, with a short name: the system takes no long ones."""
    folder = Path(tempfile.mkdtemp(prefix="cs-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@asynccontextmanager
async def served(run: RunControls, runtime: Path, **options: Any) -> AsyncGenerator[ControlServer]:
    """Serves a run from this process."""
    async with open_server(
        RUN,
        host="program",
        workspace=Path("/nowhere"),
        record=Path("/nowhere/callsheet.db"),
        workflow="case",
        environ={"XDG_RUNTIME_DIR": str(runtime)},
        **options,
    ) as server:
        server.serve(run)
        yield server


@asynccontextmanager
async def connected(run: RunControls, runtime: Path, **options: Any) -> AsyncGenerator[ControlClient]:
    """A client of a run that this process serves."""
    async with served(run, runtime, **options) as server, open_client(server.reach) as client:
        yield client


class RawPeer:
    """A peer that sends what it likes."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    @classmethod
    @asynccontextmanager
    async def meet(cls, reach: Reach) -> AsyncGenerator[RawPeer]:
        """Connects."""
        peer = cls()
        with peer.socket:
            while peer.socket.connect_ex(os.fspath(reach.socket)):
                await anyio.lowlevel.checkpoint()
            yield peer

    async def send(self, data: bytes) -> None:
        """Sends it all.

        Raises:
            OSError: The other end has had enough.
        """
        view = memoryview(data)
        while view:
            await anyio.wait_writable(self.socket)
            view = view[self.socket.send(view) :]

    async def rest(self) -> bytes:
        """What comes until the other end closes."""
        found = b""
        while True:
            await anyio.wait_readable(self.socket)
            try:
                piece = self.socket.recv(65536)
            except ConnectionResetError:  # it did not read all that was sent
                return found
            if not piece:
                return found
            found += piece
