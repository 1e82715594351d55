"""A lease on a workspace: who else works in it is known before anything is changed (DESIGN 17).

Every holder has a file of its own, locked as long as it lives: the kernel lets go of the lock with the process, however
it ends, so that nobody has to guess from a process id whether a holder is still there. The text in the file is for
people, and for holders on other machines, whose locks may not be seen here: those count until their heartbeat is old.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

import anyio
import anyio.to_thread

from callsheet.errors import LeaseHeldError
from callsheet.model.dataclass import dataclass

LeaseMode = Literal["exclusive", "shared"]

FOLDER = "leases"
_HEARTBEAT_S = 15.0
_STALE_S = 120.0
LOOK_AGAIN_S = 0.25
_FILE_BYTES = 4096
_MOST_FILES = 1000
_GATE_S, _GATE_TRIES = 0.02, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a lease.

    Attributes:
        run_id: Of the run, as `callsheet runs` lists it.
        pid, boot_id, process_start: Of its process; together they name one for good, a process id is used again.
        started_at: ISO 8601, UTC.
        mode: Whether it shares the workspace with others that do.
    """

    run_id: str
    host: str
    pid: int
    boot_id: str
    process_start: str
    started_at: str
    mode: LeaseMode

    def __str__(self) -> str:
        shared = ", shared" if self.mode == "shared" else ""
        return f"{self.run_id} on {self.host}, process {self.pid}, since {self.started_at}{shared}"


@asynccontextmanager
async def open_lease(
    state_folder: Path,
    *,
    run_id: str,
    mode: LeaseMode = "exclusive",
    wait_s: float = 0.0,
    patience: Callable[[LeaseHeldError], Awaitable[None]] | None = None,
) -> AsyncIterator[Holder]:
    """Holds the workspace's lease until the context is left, or the process ends, however it does.

    Args:
        state_folder: The workspace's `.callsheet`, or where its state lies instead; made if it is not there.
        run_id: For others to be told.
        mode: `exclusive` excludes all others; `shared` those that are not, and the same run in another process.
        wait_s: How long to wait for others to end; 0 not at all, infinite for ever. Cancelling stops the waiting.
        patience: Waits between two looks, and is told who holds it; raising stops the waiting. A quarter of a second
            unless given.

    Raises:
        LeaseHeldError: Others hold it, and the time is up.
        OSError: The folder cannot be written.
    """
    folder = state_folder / FOLDER
    me = this_process(run_id, mode)
    until = anyio.current_time() + wait_s
    while True:
        with anyio.CancelScope(shield=True):  # bounded by the gate; a lease that was taken must not be lost
            taken = await anyio.to_thread.run_sync(_try, folder, me)
        if isinstance(taken, _Taken):
            break
        if anyio.current_time() >= until:
            raise _held(taken)
        if patience is not None:
            await patience(_held(taken))
        else:
            await anyio.sleep(LOOK_AGAIN_S)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_beat, taken)
            try:
                yield me
            finally:
                tasks.cancel_scope.cancel("the lease is given back")
    finally:
        _give_back(taken)


def holders(state_folder: Path) -> tuple[Holder, ...]:
    """Who holds the lease now; for `callsheet doctor` and messages.

    Raises:
        OSError: The folder cannot be read or written.
    """
    folder = state_folder / FOLDER
    if not folder.is_dir():
        return ()
    with _gate(folder):
        return tuple(_others(folder))


def living(state_folder: Path) -> frozenset[str]:
    """The runs that hold a lease there now, found by reading alone: nothing is made, locked or taken away.

    What was written on another machine counts until its heartbeat is old.
    """
    found = set()
    for path in sorted((state_folder / FOLDER).glob("*.lease"))[:_MOST_FILES]:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            said = json.loads(os.pread(descriptor, _FILE_BYTES, 0))
            holder = Holder(**said)
            if _seems_alive(descriptor, holder):
                found.add(holder.run_id)
        except (OSError, ValueError, TypeError):  # no file of ours, or one that is being written
            continue
        finally:
            os.close(descriptor)
    return frozenset(found)


def _seems_alive(descriptor: int, holder: Holder) -> bool:
    if holder.host == socket.gethostname() and holder.boot_id:
        return is_alive(holder)
    return datetime.now(UTC).timestamp() - os.fstat(descriptor).st_mtime <= _STALE_S


def _held(others: tuple[Holder, ...]) -> LeaseHeldError:
    lines = tuple(str(each) for each in others)
    return LeaseHeldError(
        f"This workspace is in use: {'; '.join(lines)}. Wait for it (--wait), work in a worktree of your own "
        "(--worktree), or share the workspace if that run does too (--share).",
        holders=lines,
    )


# --- files ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Taken:
    path: Path
    descriptor: int


def _try(folder: Path, me: Holder) -> _Taken | tuple[Holder, ...]:
    """Takes the lease, or answers who stands in the way. One process at a time gets here."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _gate(folder):
        others = tuple(_others(folder))
        # A run has one process, whatever it shares with other runs.
        shares = me.mode == "shared" and all(each.mode == "shared" and each.run_id != me.run_id for each in others)
        if others and not shares:
            return others
        return _take(folder, me)


def _take(folder: Path, me: Holder) -> _Taken:
    path = folder / f"{me.run_id}-{os.urandom(8).hex()}.lease"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, json.dumps(asdict(me)).encode("utf-8"))
    except BaseException:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return _Taken(path, descriptor)


def _give_back(taken: _Taken) -> None:
    # First the name, then the lock: a file that is there and not locked is one whose holder died.
    taken.path.unlink(missing_ok=True)
    with suppress(OSError):
        os.close(taken.descriptor)


def _others(folder: Path) -> Iterator[Holder]:
    """The living among those with a file; the files of the dead are taken away. Within the gate only."""
    for path in sorted(folder.glob("*.lease"))[:_MOST_FILES]:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            found = _read(descriptor)
            if _is_dead(descriptor, found):
                path.unlink(missing_ok=True)
            else:
                yield found or _unknown(path)
        finally:
            os.close(descriptor)


def _is_dead(descriptor: int, holder: Holder | None) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    # Not locked as seen from here. On this machine that settles it: the process is gone, whatever has its number now.
    if holder is None or holder.host == socket.gethostname():
        return True
    age_s = datetime.now(UTC).timestamp() - os.fstat(descriptor).st_mtime
    return age_s > _STALE_S


def _read(descriptor: int) -> Holder | None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return None
    return read_holder(os.pread(descriptor, _FILE_BYTES, 0))


def read_holder(text: bytes) -> Holder | None:
    """Whom the text of a lease's file names; None where it is none of ours, or damaged."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.get("mode") not in get_args(LeaseMode):
        return None
    kinds = {field.name: int if field.name == "pid" else str for field in fields(Holder)}
    if any(type(said.get(name)) is not kind for name, kind in kinds.items()):
        return None
    return Holder(**{name: said[name] for name in kinds})


def _unknown(path: Path) -> Holder:
    return Holder(
        run_id=path.stem, host="unknown", pid=0, boot_id="", process_start="", started_at="unknown", mode="exclusive"
    )


@contextmanager
def _gate(folder: Path) -> Iterator[None]:
    """One process at a time; held for as long as it takes to look at a few files."""
    gate = os.open(folder / "gate", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(_GATE_TRIES):
            try:
                fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_GATE_S)
            else:
                break
        else:
            raise TimeoutError(f"{folder} is locked by a process that does not go on; end it, then try again")
        yield
    finally:
        os.close(gate)


async def _beat(taken: _Taken) -> None:
    while True:
        await anyio.sleep(_HEARTBEAT_S)
        with suppress(OSError):
            os.utime(taken.descriptor)


# --- this process -----------------------------------------------------------------------------------------------------


def this_process(run_id: str, mode: LeaseMode) -> Holder:
    """This process as a holder, whatever of."""
    return Holder(
        run_id=run_id,
        host=socket.gethostname(),
        pid=os.getpid(),
        boot_id=_system_text("/proc/sys/kernel/random/boot_id"),
        process_start=_start(_system_text("/proc/self/stat")),
        started_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        mode=mode,
    )


def is_alive(holder: Holder) -> bool:
    """Whether the process that a holder of this machine names is still there, not another with its number."""
    if holder.boot_id != _system_text("/proc/sys/kernel/random/boot_id"):
        return False
    start = _start(_system_text(f"/proc/{holder.pid}/stat"))
    return bool(start) and start == holder.process_start


def _start(stat_line: str) -> str:
    """Clock ticks since the machine started; empty where the process has ended, or the system does not say."""
    fields = stat_line.rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in ("Z", "X") else ""


def _system_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
