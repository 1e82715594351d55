"""The child as a process: how it is started, spoken to, measured and ended."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio

from callsheet.errors import SandboxError
from callsheet.model.sandbox import SandboxLimits

_PACKAGE = Path(__file__).resolve().parents[1]
_LIBRARIES = ("msgpack", "_quickjs", "pyseccomp")
_BOOT = (
    "import sys; count = int(sys.argv[1]); sys.path += sys.argv[2:2 + count]; "
    "from callsheet.sandbox.worker import main; main(sys.argv[2 + count:])"
)
_READ_BYTES = 64 * 1024
_LAST_WORDS_BYTES = 16 * 1024
_SCHED_CLOCK = 2

# How long each stage of the ending may take, in seconds.
_AFTER_END_OF_INPUT = 0.5
_AFTER_TERMINATE = 0.5
_AFTER_KILL = 5.0


def runtime_folder() -> Path:
    """Where the runtime's JavaScript lies: in the package when installed, beside `src` in a checkout.

    Raises:
        SandboxError: In neither.
    """
    for folder in (_PACKAGE / "runtime_js", _PACKAGE.parents[1] / "runtime_js"):
        if folder.is_dir():
            return folder
    raise SandboxError(f"incomplete installation: no runtime_js in {_PACKAGE}. Install Callsheet again", kind="sandbox")


def worker_command(limits: SandboxLimits) -> list[str]:
    """The command line of a child.

    Isolated (`-I`) and without `site` (`-S`): neither the current folder nor the user's environment, nor a `.pth` file,
    has a say in what is imported; the folders that hold what it needs are named, and stand behind the standard library.

    Raises:
        SandboxError: The installation is incomplete.
    """
    folders = [str(_PACKAGE.parent)]
    for name in _LIBRARIES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            if name == "pyseccomp":
                continue  # then the child says that nothing filters its system calls
            raise SandboxError(f"incomplete installation: no module {name}. Install Callsheet again", kind="sandbox")
        origin = Path(spec.origin)
        folder = str(origin.parents[1] if spec.submodule_search_locations else origin.parent)
        if folder not in folders:
            folders.append(folder)
    return [
        sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOT,
        str(len(folders)), *folders,
        str(os.getpid()), repr(limits.cpu_limit_s), repr(limits.cpu_total_s), str(limits.memory_limit_bytes),
        "strict" if limits.strict else "portable", str(runtime_folder()),
    ]  # fmt: skip


class ChildProcess:
    """One child, with the host's ends of its pipes.

    Args:
        command: What to start. It gets an empty environment, `/` as its folder, a session of its own and no descriptor
            but its three pipes.

    Raises:
        SandboxError: The system would not start it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={},
                cwd="/",
                start_new_session=True,
            )
        except OSError as fault:
            raise SandboxError(f"the script's process cannot be started: {fault}", kind="sandbox") from fault
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._input = self._process.stdin.fileno()
        self._output = self._process.stdout.fileno()
        self._errors = self._process.stderr.fileno()
        for end in (self._input, self._output, self._errors):
            os.set_blocking(end, False)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """As `subprocess.Popen.returncode`, once `wait` has returned."""
        return self._process.returncode

    async def send(self, data: bytes, *, patience_s: Callable[[], float], watch: Callable[[], None]) -> None:
        """Writes all of it; waits while the pipe is full, and calls `watch` whenever that took `patience_s`.

        Raises:
            OSError: The child is gone.
            SandboxError: What `watch` raises: the child reads no further.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._input, rest) :]
            except BlockingIOError:
                with anyio.move_on_after(patience_s()) as waiting:
                    await anyio.wait_writable(self._input)
                if waiting.cancelled_caught:
                    watch()

    async def receive(self) -> bytes:
        """The next bytes, b"" at the end. Safe to cancel."""
        await anyio.lowlevel.checkpoint()
        while True:
            try:
                return os.read(self._output, _READ_BYTES)
            except BlockingIOError:
                await anyio.wait_readable(self._output)

    def cpu_s(self) -> float | None:
        """CPU seconds that it has used, None where the system does not tell or it is gone."""
        if sys.platform != "linux":
            return None
        try:
            return time.clock_gettime((~self.pid << 3) | _SCHED_CLOCK)
        except OSError:
            return None

    def last_words(self) -> str:
        """What it wrote to standard error, as far as the pipe holds it."""
        try:
            return os.read(self._errors, _LAST_WORDS_BYTES).decode("utf-8", "replace").strip()
        except (BlockingIOError, ValueError):
            return ""

    def kill(self) -> None:
        """Kills it and whatever it may have started. Does nothing once it was waited for."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def wait(self, seconds: float) -> bool:
        """Waits for its end at most so long; whether it has ended."""
        with anyio.move_on_after(seconds):
            await self._exited()
        return self._process.poll() is not None

    async def _exited(self) -> None:
        if hasattr(os, "pidfd_open") and self._process.poll() is None:
            with contextlib.suppress(OSError):
                handle = os.pidfd_open(self.pid)
                try:
                    await anyio.wait_readable(handle)
                finally:
                    os.close(handle)
        while self._process.poll() is None:  # noqa: ASYNC110  elsewhere than on Linux nothing says when
            await anyio.sleep(0.01)

    async def end(self, *, is_listening: bool) -> None:
        """Ends it in stages and gives its pipes back. Cannot be cancelled, takes 6 s at the very most. Idempotent.

        Args:
            is_listening: It waits for input, and so ends by itself when that ends.
        """
        if self._process.stdin is None or self._process.stdin.closed:
            return
        with anyio.CancelScope(shield=True):
            self._process.stdin.close()
            ended = await self.wait(_AFTER_END_OF_INPUT if is_listening else 0)
            if not ended:
                self._signal(signal.SIGTERM)
                ended = await self.wait(_AFTER_TERMINATE)
            if not ended:
                self.kill()
                await self.wait(_AFTER_KILL)
            for end in (self._process.stdout, self._process.stderr):
                if end is not None:
                    end.close()
