"""Processes of the command that need not start Python and import everything anew: forked from one that has.

`python -m tests.surfaces.forking` is that one: it imports what commands import, waits for requests, and forks a child
for each. The child takes the request's folder, environment and streams for its own and then runs `callsheet.__main__`
as `python -m callsheet` does: a process of its own from its first line to its exit status, at half the price.

Where Python would start otherwise than it did here (`PYTHON…`, another language), a new process is started; so it is
in tests of starting and signals. `CALLSHEET_FORK=0` has every test do so.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tests.support.messages_replies import Say, encode_event, events_of, text, tool_use

ROOT = Path(__file__).parents[2]

_MOST_BYTES = 60_000
"""Of a request, and of what is written to a child before it reads: the kernel holds as much."""
_OF_CHILDREN = {
    "callsheet.__main__",
    "callsheet.agents.web.html_child",
    "callsheet.confinement.bridge",
    "callsheet.confinement.supervise",
    "callsheet.sandbox.confine",
    "callsheet.sandbox.javascript",
    "callsheet.sandbox.worker",
}
"""What the command itself never imports."""
_SELDOM = (
    "callsheet.tui",
    "callsheet.web",
    "callsheet.telemetry",
    "callsheet.agents.claude_code",
    "callsheet.agents.mcp",
)
_START_S = 300
"""Until the process that forks is ready: the first on a machine compiles all that it imports."""
_LIBRARIES = ("anthropic", "anyio._backends._asyncio", "genai_prices", "jsonschema_rs")


# --- the tests' end ---------------------------------------------------------------------------------------------------


def can_fork(line: Sequence[str], environ: Mapping[str, str], stdin: bytes) -> bool:
    """Whether a forked process does what a new one would."""
    return (
        _is_possible()
        and list(line[:2]) == [sys.executable, "-m"]
        and _start_of(environ) == {"LANG": "C.UTF-8"}
        and len(stdin) + len(_request(line, "", environ, is_leader=True)) < _MOST_BYTES
    )


def _is_possible() -> bool:
    return hasattr(os, "pidfd_open") and os.environ.get("CALLSHEET_FORK") != "0"


def _start_of(environ: Mapping[str, str]) -> dict[str, str]:
    """What Python looks at when it starts, but for where modules and their bytecode are."""
    found = {name: value for name, value in environ.items() if name.startswith(("PYTHON", "LANG", "LC_", "TZ"))}
    return {name: value for name, value in found.items() if name not in ("PYTHONPATH", "PYTHONPYCACHEPREFIX")}


def _request(line: Sequence[str], folder: str, environ: Mapping[str, str], *, is_leader: bool) -> bytes:
    return json.dumps([line[2], line[3:], folder, dict(environ), is_leader]).encode()


def start(bytecode: Path) -> None:
    """Has the process that forks ready before the first command, whose time its start is no part of."""
    if _is_possible():
        _Server.of(str(bytecode))


class Child:
    """A process that was forked.

    Attributes:
        pid: Its number.
        told: Readable once it has ended.
        returncode: As `subprocess.Popen.returncode`; None until it was waited for.
    """

    def __init__(self, server: _Server, told: socket.socket) -> None:
        self.told = told
        self._server = server
        self.pid = server.number_from(told)
        self.returncode: int | None = None

    def wait(self, limit_s: float) -> int:
        """Its exit status, as `subprocess.Popen.returncode`, once it has ended.

        Raises:
            TimeoutError: It has not.
        """
        if self.returncode is None:
            self.told.settimeout(max(0.001, limit_s))
            self.returncode = self._server.number_from(self.told)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends it a signal where it has not ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends it where it has not ended."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Takes no more interest in it."""
        self.told.close()


def fork(
    line: Sequence[str], *, folder: Path, environ: Mapping[str, str], streams: Sequence[int], is_leader: bool = False
) -> Child:
    """Starts the command line of a module (`python -m module words…`).

    Args:
        line: The whole line.
        folder: Where it runs.
        environ: All of its environment.
        streams: What become its standard input, output and errors; they stay open here.
        is_leader: In a session of its own, whose terminal its standard input is where that is one.
    """
    server = _Server.of(environ["PYTHONPYCACHEPREFIX"])
    told, tell = socket.socketpair()
    with tell:
        server.ask(_request(line, str(folder), environ, is_leader=is_leader), [*streams, tell.fileno()])
    return Child(server, told)


@dataclass(frozen=True)
class Forked:
    """How a forked process ended; as `subprocess.CompletedProcess`."""

    returncode: int
    stdout: bytes
    stderr: bytes


def forked(line: Sequence[str], *, folder: Path, environ: Mapping[str, str], stdin: bytes, limit_s: float) -> Forked:
    """Runs the command line of a module to its end.

    Raises:
        subprocess.TimeoutExpired: It took too long, and was ended.
    """
    until = time.monotonic() + limit_s
    with ExitStack() as ours:
        with ExitStack() as theirs:
            ends = [os.pipe() for _ in range(3)]
            (given, give), (out, out_end), (err, err_end) = ends
            for end in (given, give, out_end, err_end):  # what is given waits in the kernel, with its end
                theirs.callback(os.close, end)
            for end in (out, err):
                ours.callback(os.close, end)
            os.write(give, stdin)
            child = fork(line, folder=folder, environ=environ, streams=(given, out_end, err_end))
            ours.callback(child.close)
        try:
            output, errors = _read_all((out, err), until=until)
            return Forked(child.wait(until - time.monotonic()), output, errors)
        except TimeoutError:
            child.kill()
            raise subprocess.TimeoutExpired(line, limit_s) from None


def _read_all(descriptors: tuple[int, int], *, until: float) -> tuple[bytes, bytes]:
    read: dict[int, bytearray] = {each: bytearray() for each in descriptors}
    with selectors.DefaultSelector() as selector:
        for each in descriptors:
            selector.register(each, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                read[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
    output, errors = (bytes(read[each]) for each in descriptors)
    return output, errors


class _Server:
    """The process that forks, as its requester sees it. It ends when nobody can ask it any more."""

    _all: dict[str, _Server] = {}  # noqa: RUF012 - one for each place of bytecode, for as long as this process lives
    _starting = threading.Lock()

    def __init__(self, bytecode: str) -> None:
        self._asking, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.surfaces.forking", str(theirs.fileno())],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPYCACHEPREFIX": bytecode},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._end)
        self._await_ready()

    def _await_ready(self) -> None:
        """Waits until it has imported everything: that is no part of the time that a command is given."""
        self._asking.settimeout(_START_S)
        said = self._asking.recv(1)
        assert said, f"the process that forks did not start: {self._process.communicate(timeout=120)}"
        self._asking.settimeout(None)

    @classmethod
    def of(cls, bytecode: str) -> _Server:
        """The one that keeps bytecode there."""
        with cls._starting:
            if bytecode not in cls._all:
                with Path(bytecode, "starting").open("wb") as turn:  # one of a session compiles, and the others find it
                    fcntl.flock(turn, fcntl.LOCK_EX)
                    cls._all[bytecode] = cls(bytecode)
            return cls._all[bytecode]

    def ask(self, request: bytes, descriptors: list[int]) -> None:
        """Has it fork."""
        socket.send_fds(self._asking, [request], descriptors)

    def number_from(self, told: socket.socket) -> int:
        """The next number that it says of a child: its pid, then its exit status."""
        said = told.recv(8)
        assert len(said) == 8, f"the process that forks is gone: {self._process.communicate(timeout=120)}"
        return int.from_bytes(said, "little", signed=True)

    def _end(self) -> None:
        self._asking.close()
        self._process.communicate(timeout=120)


# --- the process that forks -------------------------------------------------------------------------------------------


def main(asked_on: int) -> None:
    """Forks until nobody can ask any more; in each child, runs what was asked for."""
    for name in (*_LIBRARIES, *_modules()):
        importlib.import_module(name)
    _hear_once()
    _look_once()
    _write_methods()
    assert threading.active_count() == 1, "a process with threads must not fork"
    gc.collect()
    gc.freeze()
    if (work := _serve(asked_on)) is not None:
        _run(*work)


def _run(module: str, words: list[str]) -> NoReturn:
    """Runs a module as `python -m` does, to the process's end.

    The end itself is left to the system: to take thousands of modules apart costs more than most commands.
    """
    sys.argv = ["-m", *words]
    status: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        status = 0 if ended.code is None else ended.code
    except BaseException:  # noqa: BLE001 - the end of a process
        sys.excepthook(*sys.exc_info())
        status = 1
    if not isinstance(status, int):
        sys.stderr.write(f"{status}\n")
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError:
        status = 120
    os._exit(status & 0xFF)


def _modules() -> list[str]:
    """All modules that an ordinary command may import."""
    package = importlib.import_module("callsheet")
    found = (each.name for each in pkgutil.walk_packages(package.__path__, "callsheet.", onerror=_raise))
    return [name for name in found if name not in _OF_CHILDREN and not name.startswith(_SELDOM)]


def _raise(name: str) -> None:
    raise ImportError(name)


def _hear_once() -> None:
    """Hears a model's reply out of thin air: the client makes what reads one when it hears the first."""
    import anthropic
    import httpx2

    said = Say([text("It is so."), tool_use("bash", command="ls")])
    reply = b"".join(encode_event(name, data) for name, data in events_of(said, "claude-opus-4-1", 1))
    headers = {"content-type": "text/event-stream"}
    answer = httpx2.MockTransport(lambda request: httpx2.Response(200, headers=headers, content=reply))
    with (
        httpx2.Client(transport=answer) as web,
        anthropic.Anthropic(api_key="none", base_url="http://localhost", http_client=web) as client,
        client.beta.messages.stream(
            model="claude-opus-4-1", max_tokens=1, messages=[{"role": "user", "content": "Is it so?"}]
        ) as stream,
    ):
        stream.get_final_message().to_dict()


def _look_once() -> None:
    """Looks at a script and the tools: what finds things in a script, and the tools' schemas, is made for the first."""
    from callsheet.agents.tools.inputs import tool_definitions
    from callsheet.script.checker import check_script
    from callsheet.script.literals import literal_uses
    from callsheet.script.reader import read_script

    path = ROOT / "examples" / "tour" / "workflow.js"
    script = read_script(path.read_bytes(), origin="tour", path=None)
    check_script(script, portable=True)
    literal_uses(script)
    tool_definitions()


def _write_methods() -> None:
    """Has the methods of our records written that are when they are first called."""
    from callsheet.model.dataclass import _deferred, _init

    there = (vars(module) for name, module in sys.modules.items() if name.startswith("callsheet."))
    for cls in {each for names in there for each in names.values() if isinstance(each, type)}:
        if getattr(vars(cls).get("__init__"), "__code__", None) is _deferred(cls, "__init__").__code__:
            setattr(cls, "__init__", _init(cls))  # noqa: B010 - to write it so is what type checkers refuse


def _serve(asked_on: int) -> tuple[str, list[str]] | None:
    """Answers requests. Returns in each child, with its module and words, and in the end, with nothing."""
    asking = socket.socket(fileno=asked_on)
    asking.send(b".")  # ready
    children: dict[int, tuple[int, int]] = {}  # by pidfd: pid, and where to say how it ended
    while True:
        for ready in select.select([asking.fileno(), *children], [], [])[0]:
            if ready in children:
                pid, told = children.pop(ready)
                _say(told, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                os.close(ready)
                os.close(told)
                continue
            request, descriptors, _, _ = socket.recv_fds(asking, 2 * _MOST_BYTES, 4)
            if not request:
                return None
            if (pid := os.fork()) == 0:
                asking.detach()
                return _become(request, descriptors)
            *streams, told = descriptors
            for each in streams:
                os.close(each)
            _say(told, pid)
            children[os.pidfd_open(pid)] = pid, told


def _say(told: int, number: int) -> None:
    try:
        os.write(told, number.to_bytes(8, "little", signed=True))
    except BrokenPipeError:
        return  # nobody waits for it any more


def _become(request: bytes, descriptors: list[int]) -> tuple[str, list[str]]:
    """Makes a forked child what a new process would be."""
    module, words, folder, environ, is_leader = json.loads(request)
    if is_leader:
        os.setsid()
    for stream in range(3):
        os.dup2(descriptors[stream], stream)
    os.closerange(3, max(descriptors) + 1024)
    if is_leader and os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if os.isatty(1):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.path[:1] = [str(Path.cwd()), *filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))]
    return module, words


if __name__ == "__main__":
    main(int(sys.argv[1]))
