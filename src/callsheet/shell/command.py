"""One command of an agent, from start to the last of its processes (DESIGN 5).

Each runs in a new shell, so that nothing of one command changes what the next one means but the folder it stands in.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

import anyio
from anyio.abc import ByteReceiveStream, Process

from callsheet.errors import ConfinementError
from callsheet.model.confinement import CommandLine, CommandProfile, ConfinedLine
from callsheet.model.dataclass import dataclass
from callsheet.ports import CommandConfinement
from callsheet.shell.output import OutputKeeper

COMMAND_LIMIT_BYTES = 120 * 1024
"""A little less than what Linux takes as one argument."""

EndReason = Literal["ended", "timed_out", "processes", "memory", "disk"]

_END_WITHIN_S = 8.0
_KILLED_WITHIN_S = 2.0
_LAST_OUTPUT_S = 1.0
_PIECE_BYTES = 64 * 1024
_PLACE_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a command ended. By then all its processes have.

    Attributes:
        ended: Why: by itself, or by which limit.
        exit_status: As the shell gives it: 128 and the number where a signal ended it.
        output: Standard output and error as they came, what was in the middle left out where it is long.
        output_bytes: Of the whole.
        output_path: The file with the whole, up to its bound; None where nothing was printed or kept.
        cwd: The folder for the next command: the one it ended in if inside the workspace, else where it began.
        note: For the agent: what limit ended it, or why its last folder was not carried over.
    """

    ended: EndReason
    exit_status: int
    duration_s: float
    output: str
    output_bytes: int
    output_path: Path | None
    cwd: Path
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLimits:
    """How much of a command's output is kept.

    Attributes:
        shown_bytes: For the agent.
        spool: A new file for the whole; None to keep none.
        spool_bytes: Of that file.
    """

    shown_bytes: int = 30_000
    spool: Path | None = None
    spool_bytes: int = 64 * 1024 * 1024


async def run_command(
    command: str,
    *,
    confinement: CommandConfinement,
    profile: CommandProfile,
    workspace: Path,
    cwd: Path,
    environ: Mapping[str, str],
    timeout_s: float,
    output: OutputLimits | None = None,
    bash: str = "/bin/bash",
) -> CommandResult:
    """Runs a shell command to its end; nothing of it is left running, however it ends.

    Cancelling kills everything it started, within a few seconds, and lets the cancellation through.

    Args:
        command: As it was judged; a new shell is given exactly this.
        confinement: What holds it.
        profile: What it may touch.
        workspace: Absolute and without links; the folder is carried over inside it only.
        cwd: Where it starts, absolute; must be inside the workspace.
        environ: Its environment, as `command_environment` makes it.
        timeout_s: Then it is killed.
        output: What is kept of what it prints.
        bash: The shell's absolute path.

    Raises:
        ConfinementError: It could not be confined, or is not a command that can be run; nothing was run.
        OSError: The system would not start a process.
    """
    if "\0" in command or len(os.fsencode(command)) > COMMAND_LIMIT_BYTES:
        raise ConfinementError(
            f"A command is text without NUL of at most {COMMAND_LIMIT_BYTES} bytes: write a longer one to a file."
        )
    start = inside(cwd, workspace)
    if start is None:
        raise ConfinementError(f"The folder {cwd} is not one inside the workspace {workspace}.")
    limits = output or OutputLimits()
    keeper = OutputKeeper(shown_bytes=limits.shown_bytes, spool=limits.spool, spool_bytes=limits.spool_bytes)
    began = anyio.current_time()
    with _Trailer() as trailer:
        line = CommandLine(
            argv=(bash, "--noprofile", "--norc", "-c", command),
            environ={**environ, "BASH_ENV": trailer.start_file},
            cwd=start,
            pass_fds=trailer.descriptors,
        )
        async with confinement.open(line, profile) as confined:
            timed_out, status = await run_confined(confined, Outputs(output=keeper), timeout_s)
            ended, why = verdict(confined, timed_out=timed_out, timeout_s=timeout_s)
        place = trailer.place()
    after = inside(place, workspace) if place is not None else start
    if keeper.fault is not None:
        why = f"{why or ''} Its whole output is not kept: {keeper.fault}.".strip()
    if after is None and why is None:
        why = f"The folder it ended in, {place}, is outside the workspace: the next command starts in {start}."
    return CommandResult(
        ended=ended,
        exit_status=status,
        duration_s=anyio.current_time() - began,
        output=keeper.text(),
        output_bytes=keeper.total_bytes,
        output_path=keeper.path,
        cwd=after or start,
        note=why,
    )


# --- processes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Who takes what a command prints. Without `errors` both outputs go to `output`, as they come."""

    output: OutputKeeper
    errors: OutputKeeper | None = None


async def run_confined(confined: ConfinedLine, outputs: Outputs, timeout_s: float) -> tuple[bool, int]:
    """Runs what a confinement made ready: whether the time was up, and the exit status.

    Cancelling kills everything that was started, within a few seconds.

    Raises:
        OSError: The system would not start a process.
    """
    try:
        async with _started(confined, apart=outputs.errors is not None) as process:
            assert process.stdout is not None
            with anyio.move_on_after(timeout_s) as limit:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_read, process.stdout, outputs.output)
                    if process.stderr is not None and outputs.errors is not None:
                        tasks.start_soon(_read, process.stderr, outputs.errors)
                    await process.wait()
                    # All of it is dead by now, so this is what was in the pipe; the bound is for what escaped.
                    tasks.cancel_scope.deadline = anyio.current_time() + _LAST_OUTPUT_S
    finally:
        with anyio.move_on_after(_LAST_OUTPUT_S, shield=True):
            await outputs.output.aclose()
    status = process.returncode
    return limit.cancelled_caught, 128 + signal.SIGKILL if status is None else status


@asynccontextmanager
async def _started(confined: ConfinedLine, *, apart: bool) -> AsyncIterator[Process]:
    async with AsyncExitStack() as stack:
        with anyio.CancelScope(shield=True):  # a moment: cancelled halfway, nobody would own the process
            process = await anyio.open_process(
                confined.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if apart else subprocess.STDOUT,
                cwd="/",
                env=confined.environ,
                pass_fds=confined.pass_fds,
                start_new_session=True,
            )
        stack.push_async_callback(_close, process)
        yield process


async def _close(process: Process) -> None:
    with anyio.CancelScope(shield=True):
        await _end(process)
        with anyio.move_on_after(_LAST_OUTPUT_S):
            await process.aclose()


async def _end(process: Process) -> None:
    """Lets go of the supervisor, which then kills all; kills it too should it not end."""
    if process.stdin is not None:
        with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            await process.stdin.aclose()
    with anyio.move_on_after(_END_WITHIN_S):
        await process.wait()
        return
    with suppress(ProcessLookupError):
        process.kill()
    with anyio.move_on_after(_KILLED_WITHIN_S):
        await process.wait()


async def _read(stream: ByteReceiveStream, keeper: OutputKeeper) -> None:
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            await keeper.take(await stream.receive(_PIECE_BYTES))


def verdict(confined: ConfinedLine, *, timed_out: bool, timeout_s: float) -> tuple[EndReason, str | None]:
    """Why it ended, and a line where a limit was the reason.

    Raises:
        ConfinementError: It could not be confined, and was not run.
    """
    word, _, detail = os.pread(confined.report_fd, 4096, 0).decode("utf-8", "replace").partition("\n")
    detail = detail.strip()
    match word:
        case "setup":
            raise ConfinementError(f"The command could not be confined and was not run: {detail}.")
        case "processes" | "memory" | "disk":
            return word, f"It was ended for the limit on {word}: {detail}."
        case _ if timed_out:
            return "timed_out", f"It was ended after {timeout_s:g} s, with all that it had started."
        case _:
            return "ended", None


# --- the folder it ends in --------------------------------------------------------------------------------------------


class _Trailer:
    """Two files in memory: one that the shell reads before the command, one in which it leaves its last folder."""

    def __enter__(self) -> _Trailer:
        self._place = os.memfd_create("callsheet-place", 0)
        self._start = os.memfd_create("callsheet-start", 0)
        text = f"unset BASH_ENV\nexec {self._start}<&-\ntrap 'builtin pwd -P >&{self._place}' EXIT\n"
        os.write(self._start, text.encode("ascii"))
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._place)
        os.close(self._start)

    @property
    def start_file(self) -> str:
        return f"/proc/self/fd/{self._start}"

    @property
    def descriptors(self) -> tuple[int, ...]:
        return self._place, self._start

    def place(self) -> Path | None:
        """The last line that was left; None where the shell did not come to that, or somebody wrote nonsense."""
        size = os.fstat(self._place).st_size
        written = os.pread(self._place, _PLACE_BYTES, max(0, size - _PLACE_BYTES))
        lines = written.removesuffix(b"\n").split(b"\n")
        if not written.endswith(b"\n") or b"\0" in lines[-1] or not lines[-1].startswith(b"/"):
            return None
        return Path(os.fsdecode(lines[-1]))


def inside(folder: Path, workspace: Path) -> Path | None:
    """A folder with all links followed; None where it is none, or lies outside the workspace."""
    try:
        real = folder.resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    return real if real.is_dir() and real.is_relative_to(workspace) else None
