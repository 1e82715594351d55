"""The host's end: one run served to those who may, whatever they send, and however slowly they read.

Nobody who connects can harm the run: what is not understood ends the connection, each wait is bounded, a follower has
no queue of its own (it reads the run's one history at its own pace), and a fault of ours ends the connection alone.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, assert_never

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from callsheet.control.lines import Channel, LineTooLongError
from callsheet.control.peers import process_start, why_not
from callsheet.control.places import Reach, make_folder, new_token, publish, reachable, withdraw
from callsheet.control.wire import MAX_GREETING_BYTES, MAX_REQUEST_BYTES, VERSION, error_json
from callsheet.errors import CallsheetError, ControlRefusedError, UsageError
from callsheet.groups import lone_error
from callsheet.model.public import event_json
from callsheet.ports import RunControls

if TYPE_CHECKING:
    from callsheet.control.messages import OfAgent, OfRun, Request

GREETING_S = 5.0
"""How long a peer may take to say who it is."""
STALLED_S = 60.0
"""How long one may take to read what was sent."""
MOST_PEERS = 64
_LAST_WORDS_S = 0.5
"""How long the end of a run waits until requests are answered, and those who follow have had its last event."""
_TOO_MANY_FILES_S = 0.2


class ControlServer:
    """Serves one run. Until `serve` is called peers wait.

    Attributes:
        reach: How it is reached.
        trusted: Processes of this one that work for its user, and may therefore talk to the run.
        peers: How many are connected.
    """

    def __init__(
        self,
        reach: Reach,
        listener: socket.socket,
        environ: Mapping[str, str],
        end_at_once: Callable[[], object] | None,
    ) -> None:
        self.reach = reach
        self.trusted: set[int] = set()
        self._listener = listener
        self._environ = environ
        self._end_at_once = end_at_once
        self._run: RunControls | None = None
        self._begun = anyio.Event()
        self._judging = anyio.CapacityLimiter(1)
        self.peers = 0
        self._busy = 0
        self._is_quiet = anyio.Event()

    def serve(self, run: RunControls) -> None:
        """What peers talk to, from now on."""
        self._run = run
        self._begun.set()

    async def accept(self, tasks: TaskGroup) -> None:
        """Takes peers in until it is cancelled."""
        while True:
            await anyio.wait_readable(self._listener)
            try:
                peer, _ = self._listener.accept()
            except BlockingIOError:
                continue
            except OSError:  # no descriptor left, or a peer that is gone already
                await anyio.sleep(_TOO_MANY_FILES_S)
                continue
            tasks.start_soon(self._meet, peer)

    async def last_words(self) -> None:
        """Waits a moment until requests are answered, and those who follow have had the run's last event."""
        with anyio.move_on_after(_LAST_WORDS_S):
            while self._busy:
                await self._is_quiet.wait()

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        if not self._busy:
            self._is_quiet = anyio.Event()
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._is_quiet.set()

    # --- one peer ---------------------------------------------------------------------------------------------------

    async def _meet(self, peer: socket.socket) -> None:
        channel = Channel(peer)
        self.peers += 1
        try:
            await self._talk(channel, peer)
        except (OSError, TimeoutError):
            pass
        except Exception as fault:  # noqa: BLE001 - the boundary to peers: what they meet in us ends them, never the run
            await _farewell(channel, "failed", f"callsheet itself broke ({type(fault).__name__}: {fault})")
        finally:
            self.peers -= 1
            channel.close()

    async def _talk(self, channel: Channel, peer: socket.socket) -> None:
        if self.peers > MOST_PEERS:
            await _farewell(channel, "peer", f"{MOST_PEERS} others are connected to the run already")
            return
        # With a limiter of its own: what agents' tools do in threads must not keep a person from stopping them.
        refusal = await to_thread.run_sync(self._why_not, peer, limiter=self._judging)
        if refusal is not None:
            await _farewell(channel, "peer", refusal)
            return
        from callsheet.control.messages import MalformedError

        try:
            if await self._greeted(channel):
                with lone_error():
                    await self._converse(channel)
        except MalformedError as fault:
            await _farewell(channel, "malformed", f"that is no request: {fault}")
        except LineTooLongError:
            await _farewell(channel, "malformed", "a line is too long")

    async def _converse(self, channel: Channel) -> None:
        async with anyio.create_task_group() as tasks:
            follow = _Once(tasks, self._follow)
            while (line := await channel.receive(MAX_REQUEST_BYTES)) is not None:
                await self._answer(channel, line, follow)
            tasks.cancel_scope.cancel("the peer has gone")

    def _why_not(self, peer: socket.socket) -> str | None:
        import callsheet.control.messages  # noqa: F401 - loads Pydantic, here where it holds nobody up

        hosts = {os.getpid(), *(reach.pid for reach in reachable(self._environ))}
        return why_not(peer, hosts=hosts, trusted=self.trusted)

    async def _greeted(self, channel: Channel) -> bool:
        """Whether a peer has shown the token; answers it. It then waits until there is a run."""
        import hmac

        from callsheet.control.messages import greeting_of

        with anyio.fail_after(GREETING_S):
            line = await channel.receive(MAX_GREETING_BYTES)
        if line is None:
            return False
        greeting = greeting_of(line)
        if not hmac.compare_digest(greeting.token.encode(), self.reach.token.encode()):
            await _farewell(channel, "peer", "the token is not this run's")
            return False
        if greeting.callsheet != VERSION:
            message = f"the run speaks version {VERSION} of this protocol, you speak {greeting.callsheet}"
            await _farewell(channel, "peer", message)
            return False
        await self._begun.wait()
        said = {
            name: value
            for name, value in asdict(self.reach).items()
            if name in ("run_id", "pid", "host", "workspace", "record", "workflow", "started_at")
        }
        await _send(channel, {"hello": {"version": VERSION, **said}})
        return True

    # --- requests ---------------------------------------------------------------------------------------------------

    async def _answer(self, channel: Channel, line: bytes, follow: _Once) -> None:
        """Does what a line asks for, and answers it.

        Raises:
            MalformedError: It asks for nothing that there is.
        """
        from callsheet.control.messages import request_of

        request = request_of(line)
        with self._at_work():
            try:
                done = await self._do(request, channel, follow)
            except CallsheetError as fault:
                await _send(channel, {"id": request.id, "error": error_json(fault)})
            else:
                await _send(channel, {"id": request.id, "done": done})
                follow.start()

    async def _do(self, request: Request, channel: Channel, follow: _Once) -> Any:
        from callsheet.control import messages

        run = self._run
        assert run is not None
        match request:
            case messages.Events():
                follow.prepare(channel, request.after)
                return True
            case messages.Questions():
                return [asdict(question) for question in run.questions()]
            case messages.Stop(now=False):
                await run.stop()
                return True
            case messages.Stop():
                return self._stop_at_once()
            case messages.OfRun():
                return await _of_run(run, request)
            case messages.OfAgent():
                return await _of_agent(run, request)
            case messages.Message():
                await run.message(request.agent_id, request.text, by=request.by)
                return True
            case messages.Answer():
                await run.answer(
                    request.question_id,
                    request.verdict,
                    words=request.words,
                    more_usd=request.more_usd,
                    by=request.by,
                )
                return True
            case _:
                assert_never(request)

    def _stop_at_once(self) -> bool:
        if self._end_at_once is None:
            message = (
                f"{self.reach.run_id} is run by a program, process {self.reach.pid}, which would end with it: stop the "
                "run, or end that program."
            )
            raise ControlRefusedError(message, why="over")
        self._end_at_once()
        return True

    async def _follow(self, channel: Channel, after: int) -> None:
        """Sends events as they come. What the history no longer has is to be read from the record."""
        run = self._run
        assert run is not None
        with self._at_work():
            async with aclosing(run.events(after)) as events:
                async for event in events:
                    if event.seq > after + 1:
                        await _send(channel, {"gap": [after + 1, event.seq - 1]})
                    await _send(channel, {"event": event_json(event)})
                    after = event.seq
            await _send(channel, {"end": True})


class _Once:
    """What a connection can have once: events."""

    def __init__(self, tasks: TaskGroup, work: Callable[[Channel, int], Any]) -> None:
        self._tasks = tasks
        self._work = work
        self._prepared: tuple[Channel, int] | None = None
        self._is_used = False

    def prepare(self, channel: Channel, after: int) -> None:
        if self._is_used:
            raise UsageError("events are sent on this connection already")
        self._is_used, self._prepared = True, (channel, after)

    def start(self) -> None:
        if self._prepared is not None:
            self._tasks.start_soon(self._work, *self._prepared)
            self._prepared = None


async def _of_run(run: RunControls, request: OfRun) -> bool:
    return await (run.pause(by=request.by) if request.do == "pause" else run.go_on(by=request.by))


async def _of_agent(run: RunControls, request: OfAgent) -> bool:
    deeds = {"skip": run.skip, "stop_agent": run.stop_agent, "restart": run.restart}
    return await deeds[request.do](request.agent_id, by=request.by)


async def _send(channel: Channel, said: Mapping[str, Any]) -> None:
    with anyio.fail_after(STALLED_S):
        await channel.send(said)


async def _farewell(channel: Channel, kind: str, message: str) -> None:
    """The last words to a peer, if it takes them."""
    with suppress(OSError), anyio.move_on_after(1):
        await channel.send({"error": {"kind": kind, "message": message}})


@asynccontextmanager
async def open_server(
    run_id: str,
    *,
    host: Literal["command", "program"],
    workspace: Path,
    record: Path,
    workflow: str,
    environ: Mapping[str, str],
    end_at_once: Callable[[], object] | None = None,
) -> AsyncGenerator[ControlServer]:
    """Serves a run as long as the context lasts; leaving it lets followers have the last event, within half a second.

    Args:
        run_id: Of the run.
        host: Whose process this is.
        workspace: Where its agents work: the socket lies outside.
        record: Where its record lies.
        workflow: Its name.
        environ: For `XDG_RUNTIME_DIR`.
        end_at_once: Ends the process without a farewell; None where that is not ours to end.

    Raises:
        OSError: There can be no socket; says why.
    """
    reach = Reach(
        run_id=run_id,
        token=new_token(),
        pid=os.getpid(),
        process_start=process_start(os.getpid()),
        host=host,
        workspace=str(workspace),
        record=str(record),
        workflow=workflow,
        started_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        folder=make_folder(environ, run_id=run_id, outside=workspace),
    )
    listener = publish(reach)
    server = ControlServer(reach, listener, environ, end_at_once)
    try:
        with lone_error():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.accept, tasks)
                try:
                    yield server
                finally:
                    with anyio.CancelScope(shield=True):
                        await server.last_words()
                    tasks.cancel_scope.cancel("the run is over")
    finally:
        anyio.notify_closing(listener)
        listener.close()
        withdraw(reach)
