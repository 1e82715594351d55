"""Where the sockets of runs lie, and which runs of this user on this machine can be reached.

Each run has two files: `RUN.sock`, and `RUN.callsheet-key` with what it takes to be let in, and what people want to
know of it. The folder is the user's alone, and hidden from agents; so are the files in it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, field
from pathlib import Path
from typing import Literal

from callsheet.control.peers import process_start
from callsheet.errors import ControlLostError
from callsheet.model.dataclass import dataclass
from callsheet.model.names import KEY_ENDING

FOLDER = "callsheet"
MAX_PATH_BYTES = 107
"""What the system takes as the address of a Unix socket."""

_FILE_BYTES = 16 * 1024
_MOST_FILES = 4_000
_TURN_S = 1.0
"""Until somebody who has the folder to himself is taken to have been stopped: it takes no millisecond."""
_FIELDS = {"run_id": str, "token": str, "pid": int, "process_start": str, "host": str, "workspace": str, "record": str}
_FIELDS |= {"workflow": str, "started_at": str}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How a run that goes on can be reached.

    Attributes:
        token: What a peer has to show.
        pid: Of its process; with `process_start` it names one for good, as long as the machine is up.
        host: `command` where the process is `callsheet` itself, `program` where it is somebody's own.
        workspace: Where its agents work.
        record: Where its record lies.
        started_at: Since when it can be reached, ISO 8601 UTC.
        folder: Where its files lie.
    """

    run_id: str
    token: str = field(repr=False)
    pid: int
    process_start: str
    host: Literal["command", "program"]
    workspace: str
    record: str
    workflow: str
    started_at: str
    folder: Path

    @property
    def socket(self) -> Path:
        """Its socket."""
        return self.folder / f"{self.run_id}.sock"

    @property
    def file(self) -> Path:
        """The file that says all this."""
        return self.folder / f"{self.run_id}{KEY_ENDING}"

    def is_same_process(self) -> bool:
        """Whether its process is seen here, and not another with its number."""
        return bool(self.process_start) and process_start(self.pid) == self.process_start

    def is_alive(self) -> bool:
        """Whether somebody serves it.

        A process that is not seen here may be in another container: then the kernel is asked whether anybody listens.
        """
        if not self.file.exists():  # taken away at its end, which its process may outlive
            return False
        if self.is_same_process():
            return True
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as probe:
            return probe.connect_ex(os.fspath(self.socket)) in (0, errno.EAGAIN)


# --- folders ----------------------------------------------------------------------------------------------------------


def folders(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where sockets can lie, best first. Makes nothing.

    A run that was started from elsewhere (a timer, another login) may not know the folder of this session, so that
    whoever looks for runs looks in all of them.
    """
    user = os.geteuid()
    named = environ.get("XDG_RUNTIME_DIR", "")
    found = [Path(named) / FOLDER] if named.startswith(os.sep) else []
    found += [Path(f"/run/user/{user}") / FOLDER, Path(f"/tmp/callsheet-{user}")]
    return tuple(dict.fromkeys(found))


def make_folder(environ: Mapping[str, str], *, run_id: str, outside: Path) -> Path:
    """A folder for the socket of a run: the user's alone, and not where agents write.

    Args:
        environ: For `XDG_RUNTIME_DIR`.
        run_id: Of the run; its address must not become too long.
        outside: The workspace: what lies in it cannot be hidden everywhere.

    Raises:
        OSError: There can be none; says why.
    """
    fault: OSError | None = None
    for folder in folders(environ):
        if len(os.fsencode(folder / f"{run_id}.sock")) > MAX_PATH_BYTES:
            fault = fault or OSError(f"the address in {folder} would be too long")
            continue
        if not folder.parent.is_dir() or _is_inside(folder, outside):
            fault = fault or OSError(f"{folder} cannot be used")
            continue
        try:
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            _see_that_it_is_ours(folder)
        except OSError as error:
            fault = fault or error
            continue
        return folder
    raise fault or OSError("there is no place for it")


def _is_inside(place: Path, folder: Path) -> bool:
    return Path(os.path.realpath(place)).is_relative_to(os.path.realpath(folder))


def _see_that_it_is_ours(folder: Path) -> None:
    """Sees that a folder is the user's alone; makes it so where it is the user's.

    Raises:
        OSError: It is somebody else's, no folder, or a link.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid():
            raise PermissionError(f"{folder} belongs to another user (uid {found.st_uid})")
        if stat.S_IMODE(found.st_mode) != 0o700:
            os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


# --- a run's own files ------------------------------------------------------------------------------------------------


def new_token() -> str:
    """What a peer has to show."""
    return os.urandom(32).hex()


def publish(reach: Reach) -> socket.socket:
    """Makes the socket of a run, then the file beside it: whoever finds that and may read it can reach the run.

    What a process that died has left under the run's name is taken away.

    Raises:
        OSError: They cannot be made, or another process serves a run of that name.
    """
    with _alone(reach.folder):
        before = _read(reach.folder, reach.file.name)
        if before is not None and before.is_alive():
            raise FileExistsError(f"{reach.run_id} is served by process {before.pid} already")
        _take_away(reach)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            listener.bind(os.fspath(reach.socket))
            reach.socket.chmod(0o600)
            listener.listen(16)
            _write(reach)
        except BaseException:
            listener.close()
            _take_away(reach)
            raise
        return listener


def _write(reach: Reach) -> None:
    said = {name: value for name, value in asdict(reach).items() if name != "folder"}
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(reach.file, flags, 0o600)
    try:
        os.write(descriptor, json.dumps(said).encode("utf-8"))
    finally:
        os.close(descriptor)


def withdraw(reach: Reach) -> None:
    """Takes both away, but not those of another process that has gone on with the run since."""
    with suppress(OSError), _alone(reach.folder):
        now = _read(reach.folder, reach.file.name)
        if now is None or now == reach:
            _take_away(reach)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Within it nobody else makes or takes away the files of runs in a folder.

    Raises:
        OSError: The folder is not there.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        ends_s = time.monotonic() + _TURN_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as fault:
                if fault.errno != errno.EWOULDBLOCK or time.monotonic() > ends_s:
                    break  # who has it was stopped, or nobody can have it here: files of runs are made all the same
                time.sleep(0.001)
        yield
    finally:
        os.close(descriptor)


def _take_away(reach: Reach) -> None:
    for path in (reach.socket, reach.file):
        with suppress(OSError):
            path.unlink()


# --- the runs there are -----------------------------------------------------------------------------------------------


def reachable(environ: Mapping[str, str], *, prefix: str = "") -> tuple[Reach, ...]:
    """The runs of this user on this machine that can be reached, newest first; what the dead left is taken away.

    Args:
        environ: For `XDG_RUNTIME_DIR`.
        prefix: Only those whose id begins so.
    """
    found = [reach for folder in folders(environ) for reach in _in_folder(folder, prefix)]
    return tuple(sorted(found, key=lambda reach: reach.run_id, reverse=True))


def _in_folder(folder: Path, prefix: str) -> Iterator[Reach]:
    try:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return
        names = sorted(path.name for path in folder.iterdir() if path.name.startswith(prefix))
    except OSError:
        return
    for name in [name for name in names if name.endswith(KEY_ENDING)][:_MOST_FILES]:
        reach = _read(folder, name)
        if reach is None:
            continue
        if reach.is_alive():
            yield reach
        else:
            withdraw(reach)


def _read(folder: Path, name: str) -> Reach | None:
    """What a run says of itself; None where that is not to be read, or being written."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return None
        said = json.loads(os.pread(descriptor, _FILE_BYTES, 0))
        if not isinstance(said, dict) or any(not isinstance(said.get(key), kind) for key, kind in _FIELDS.items()):
            return None
        if f"{said['run_id']}{KEY_ENDING}" != name or said["host"] not in ("command", "program"):
            return None
        return Reach(folder=folder, **{key: said[key] for key in _FIELDS})
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)


def find(environ: Mapping[str, str], run_id: str) -> Reach:
    """How a run is reached.

    Raises:
        ControlLostError: It is not: its process is gone, or it has no socket.
    """
    for reach in reachable(environ, prefix=run_id):
        if reach.run_id == run_id:
            return reach
    raise ControlLostError(f"{run_id} cannot be reached: no process of yours serves it here.", why="gone")
