"""The real command under way: followed by the events it prints, and struck at moments that these and the kernel mark.

    async with live_run(command, BODY, answers=(...)) as run:
        await run.until("agent.finished", label="w7")
        run.kill(await run.sandbox())
        ended = await run.ended()

Leaving the block ends what is still there, and fails where the run has left a process behind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import IO, Any

import anyio
import psutil
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.support import waves
from tests.support.deadline import within
from tests.support.processes import ended
from tests.surfaces.command import Command
from tests.surfaces.forking import can_fork, fork

SLACK_S = 4.0
"""What a busy machine may add to a time that the contract names."""
REST_S = 5.0
"""A run that writes nothing for so long has come to rest."""
START_S = 20.0
"""How long a run may take to get to a moment that is waited for."""

_MAX_LINE_BYTES = 16 * 1024 * 1024
_WORKER = "callsheet.sandbox.worker"
_SCHED_CLOCK = 2

Json = dict[str, Any]
NewCommand = Callable[[str], Command]
Case = Callable[[Command], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended.

    Attributes:
        status: As `subprocess.Popen.returncode`.
        events: All whole lines of standard output.
        took_s: From the moment it was last struck, or waited for.
    """

    status: int
    events: list[Json]
    err: str
    took_s: float

    @property
    def result(self) -> Json:
        """The last event, which is `run.finished` with the whole result."""
        assert self.events and self.events[-1]["event"] == "run.finished", self.err
        return self.events[-1]


class LiveRun:
    """One run of the command with `--output jsonl`, and the sandbox below it."""

    def __init__(self, process: Process | ForkedProcess, err: IO[bytes]) -> None:
        assert process.stdout is not None
        self._process = process
        self._out = process.stdout
        self._lines = BufferedByteReceiveStream(process.stdout)
        self._err = err
        self._struck_at = time.monotonic()
        self.events: list[Json] = []

    # --- what it says -----------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The host's process."""
        return self._process.pid

    @property
    def run_id(self) -> str:
        """The run's name, empty before an event has been read."""
        return str(self.events[0]["run_id"]) if self.events else ""

    @property
    def err(self) -> str:
        """What it has said on standard error so far."""
        self._err.seek(0)
        return self._err.read().decode()

    async def next(self) -> Json | None:
        """The next event; None at the end, which may cut a line short."""
        try:
            line = await self._lines.receive_until(b"\n", _MAX_LINE_BYTES)
        except (anyio.EndOfStream, anyio.IncompleteRead):
            return None
        self.events.append(event := json.loads(line))
        return dict(event)

    async def until(self, name: str, *, nth: int = 1, **fields: Any) -> Json:
        """Reads until the nth event of this name with these fields.

        Raises:
            AssertionError: The run ended without it.
        """
        with within(START_S):
            while (event := await self.next()) is not None:
                if event["event"] == name and fields.items() <= event.items():
                    nth -= 1
                    if nth == 0:
                        return event
        seen = [f"{event['event']} {event.get('label', '')}" for event in self.events]
        raise AssertionError(f"{name} {fields} was never said: {seen}\n{self.err}")

    async def read(self, events: int) -> None:
        """Reads until there have been so many events, or the end."""
        with within(START_S):
            while len(self.events) < events and await self.next() is not None:
                pass

    async def close_output(self) -> None:
        """Goes away as a reader does that has seen enough."""
        await self._out.aclose()

    # --- what the kernel says ---------------------------------------------------------------------------------------

    async def sandbox(self, is_so: Callable[[int], bool] = lambda pid: True) -> int:
        """The sandbox's process, once there is one of which this is so.

        Raises:
            AssertionError: The run ended before.
        """
        with within(START_S):
            while _is_alive(self.pid):
                for pid in sandboxes_of(self.pid):
                    with suppress(OSError):
                        if is_so(pid):
                            return pid
                await anyio.lowlevel.checkpoint()
        raise AssertionError(f"the run ended without such a sandbox: {self.err}")

    async def writes(self, record: Path, *, nth: int) -> None:
        """Waits until the record's log has been seen written to so often since: a commit is then on its way.

        Of writes that follow each other closely not each is seen: where the run has come to rest, this is over too.
        """
        log = record.with_name(f"{record.name}-wal")
        last, last_s = _changed_ns(log), time.monotonic()
        with within(START_S):
            while nth > 0 and (last == 0 or time.monotonic() < last_s + REST_S):
                await anyio.lowlevel.checkpoint()
                if (now := _changed_ns(log)) != last:
                    nth, last, last_s = nth - 1, now, time.monotonic()

    async def writes_until(self, record: Path, is_so: Callable[[], bool]) -> None:
        """Waits until this is so of the record, looking again whenever it was written to.

        Raises:
            TimeoutError: It never was.
        """
        with within(START_S):
            while not is_so():
                await self.writes(record, nth=1)

    async def memory_to_the_end(self) -> int:
        """Reads to the end; the most memory that the host was seen to hold, in bytes."""
        most = 0
        with within(START_S):
            while (event := await self.next()) is not None:
                if event["seq"] % 100 == 0:
                    most = max(most, _memory_bytes(self.pid))
        return most

    # --- what is done to it -----------------------------------------------------------------------------------------

    def strike(self, pid: int, number: signal.Signals) -> None:
        """Sends a signal to the host or its sandbox; `Ended.took_s` counts from here."""
        self._struck_at = time.monotonic()
        os.kill(pid, number)

    def kill_all(self) -> None:
        """Ends the host's whole process group at once, as the end of a machine does."""
        self._struck_at = time.monotonic()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def status(self, within_s: float = START_S) -> int:
        """Waits for the end without reading on, and says how it was.

        Raises:
            TimeoutError: It took longer than the time given and `SLACK_S`.
        """
        with within(within_s + SLACK_S):
            return await self._process.wait()

    async def ended(self, within_s: float = START_S) -> Ended:
        """Reads to the end and waits for it.

        Raises:
            TimeoutError: It took longer than the time given and `SLACK_S`.
        """
        with within(within_s + SLACK_S):
            while await self.next() is not None:
                pass
            status = await self._process.wait()
        return Ended(status=status, events=self.events, err=self.err, took_s=time.monotonic() - self._struck_at)


@asynccontextmanager
async def live_run(
    command: Command,
    body: str,
    *words: str,
    answers: tuple[Json, ...] = (waves.FOREVER,),
    name: str = "case.js",
    environ: Mapping[str, str] | None = None,
    is_new: bool = False,
) -> AsyncIterator[LiveRun]:
    """A run of a script with the scripted backend."""
    script, backend = command.script(body, name), command.answers(*answers)
    async with live(command, "run", script, "--backend", backend, *words, environ=environ, is_new=is_new) as run:
        yield run


@asynccontextmanager
async def live(
    command: Command, *words: str, environ: Mapping[str, str] | None = None, is_new: bool = False
) -> AsyncIterator[LiveRun]:
    """A run by the words of its command line, in a process group of its own.

    Args:
        command: The command.
        words: Its command line.
        environ: More for its environment.
        is_new: In a new process, never a forked one: what it costs is what it costs people.
    """
    line = command.line(*words, "--output", "jsonl", "--quiet")
    all_environ = command.environ | dict(environ or {})
    with tempfile.TemporaryFile() as err:
        process: Process | ForkedProcess
        if not is_new and can_fork(line, all_environ, b""):
            process = ForkedProcess(line, folder=command.folder, environ=all_environ, err=err)
        else:
            process = await anyio.open_process(
                line, cwd=command.folder, env=all_environ, stdin=subprocess.DEVNULL, stderr=err, start_new_session=True
            )
        try:
            yield LiveRun(process, err)
        finally:
            with anyio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.aclose()
                await _none_left(process.pid)


class ForkedProcess:
    """A forked process; what it has is as anyio's `Process` has it."""

    def __init__(self, line: Sequence[str], *, folder: Path, environ: Mapping[str, str], err: IO[bytes]) -> None:
        read, write = os.pipe()
        with open(os.devnull, "rb") as nothing, open(write, "wb") as out:  # noqa: PTH123
            streams = (nothing.fileno(), out.fileno(), err.fileno())
            self._child = fork(line, folder=folder, environ=environ, streams=streams, is_leader=True)
        self.stdout = _Pipe(read)
        self.pid = self._child.pid
        self.returncode: int | None = None

    async def wait(self) -> int:
        while self.returncode is None:
            await anyio.wait_readable(self._child.told)
            self.returncode = self._child.wait(1)
        return self.returncode

    def kill(self) -> None:
        self._child.kill()

    async def aclose(self) -> None:
        await self.stdout.aclose()
        try:
            await self.wait()
        except BaseException:
            self.kill()
            raise
        finally:
            self._child.close()


class _Pipe(ByteReceiveStream):
    """The end of a pipe that is read."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._file = FileIO(descriptor)

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        await anyio.lowlevel.checkpoint()
        while (data := self._file.read(max_bytes)) is None:
            await anyio.wait_readable(self._file)
        if not data:
            raise anyio.EndOfStream
        return data

    async def aclose(self) -> None:
        self._file.close()


async def _none_left(host: int) -> None:
    """Fails where a sandbox has outlived its host, and ends it."""
    try:
        await gone(sandboxes_of(host))
    except TimeoutError:
        for pid in sandboxes_of(host):
            os.kill(pid, signal.SIGKILL)
        raise


async def play_all(cases: Mapping[str, Case], new_command: NewCommand) -> None:
    """Plays cases, each in a workspace of its own, as many at a time as a small machine has processors."""
    at_a_time = anyio.CapacityLimiter(2)

    async def play(name: str, case: Case) -> None:
        async with at_a_time:
            try:
                await case(new_command(name))
            except (AssertionError, TimeoutError) as error:
                error.add_note(f"case: {name}")
                raise

    async with anyio.create_task_group() as tasks:
        for name, case in cases.items():
            tasks.start_soon(play, name, case)


async def gone(pids: list[int], *, within_s: float = 1.0) -> None:
    """Waits until processes have ended.

    Raises:
        TimeoutError: One is there after the time given and `SLACK_S`.
    """
    with within(within_s + SLACK_S):
        await ended(pids)


def sandboxes_of(host: int) -> list[int]:
    """The processes of a host's sandboxes, alive, also where the host is gone: each is told its host's number."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            if str(host) in words and any(_WORKER in word for word in words):
                found.append(process.pid)
    return found


def _is_alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _memory_bytes(pid: int) -> int:
    """The most memory that a process has held so far; 0 where it is gone."""
    with suppress(OSError, StopIteration):
        return 1024 * _status(pid, "VmHWM")
    return 0


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


# --- moments of a sandbox -------------------------------------------------------------------------------------------


def _status(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def is_born(pid: int) -> bool:
    """It has just been started."""
    return True


def has_engine(pid: int) -> bool:
    """Its own code runs: it has started the thread of the engine."""
    return _status(pid, "Threads") >= 2


def is_confined(pid: int) -> bool:
    """It has given up its system calls, and is about to say that it is there."""
    return _status(pid, "Seccomp") == 2


def has_used_cpu(seconds: float) -> Callable[[int], bool]:
    """It has used so much CPU more than when it was first looked at."""
    first: dict[int, float] = {}

    def is_so(pid: int) -> bool:
        now = time.clock_gettime((~pid << 3) | _SCHED_CLOCK)
        return now - first.setdefault(pid, now) >= seconds

    return is_so
