"""One program that a person declared, with its own words, input and outputs; no shell reads any of them (DESIGN 10)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio

from callsheet.errors import ConfinementError
from callsheet.model.confinement import CommandLine, CommandProfile
from callsheet.model.dataclass import dataclass
from callsheet.ports import CommandConfinement
from callsheet.shell.command import EndReason, Outputs, inside, run_confined, verdict
from callsheet.shell.output import OutputKeeper

WORDS_LIMIT_BYTES = 120 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramResult:
    """How a program ended. By then all its processes have.

    Attributes:
        ended: Why: by itself, or by which limit.
        exit_status: 128 and the number where a signal ended it, 127 where there is no such program.
        output, errors: What it printed, each on its own; what was in the middle left out where it is long.
        is_whole: Nothing of `output` was left out.
        note: What limit ended it; None where none did.
    """

    ended: EndReason
    exit_status: int
    duration_s: float
    output: str
    errors: str
    is_whole: bool
    note: str | None


async def run_program(
    words: Sequence[str],
    *,
    stdin: bytes,
    confinement: CommandConfinement,
    profile: CommandProfile,
    workspace: Path,
    cwd: Path,
    environ: Mapping[str, str],
    timeout_s: float,
    output_bytes: int = 1024 * 1024,
    errors_bytes: int = 64 * 1024,
    bash: str = "/bin/bash",
) -> ProgramResult:
    """Runs a program to its end; nothing of it is left running, however it ends.

    Cancelling kills everything it started, within a few seconds, and lets the cancellation through.

    Args:
        words: The program, found on the environment's `PATH`, and its arguments, each as it is.
        stdin: What it reads.
        confinement: What holds it.
        profile: What it may touch.
        workspace: Absolute and without links.
        cwd: Where it starts, inside the workspace.
        environ: Its environment, as `command_environment` makes it.
        timeout_s: Then it is killed.
        output_bytes: How much of its output is kept.
        errors_bytes: How much of what it says on standard error is kept.
        bash: A shell's absolute path: it finds the program and becomes it.

    Raises:
        ConfinementError: It could not be confined, or is nothing that can be run; nothing was run.
        OSError: The system would not start a process.
    """
    if any("\0" in word for word in words) or sum(map(len, map(os.fsencode, words))) > WORDS_LIMIT_BYTES:
        raise ConfinementError(f"A command's words are text without NUL, at most {WORDS_LIMIT_BYTES} bytes in all.")
    start = inside(cwd, workspace)
    if start is None:
        raise ConfinementError(f"The folder {cwd} is not one inside the workspace {workspace}.")
    outputs = Outputs(
        output=OutputKeeper(shown_bytes=output_bytes, spool=None, spool_bytes=0),
        errors=OutputKeeper(shown_bytes=errors_bytes, spool=None, spool_bytes=0),
    )
    began = anyio.current_time()
    with _readable(stdin) as number:
        # The text is ours and always the same; what was declared, and what is read, are never part of it.
        become = f'exec -- "$@" <&{number} {number}<&-'
        line = CommandLine(
            argv=(bash, "--noprofile", "--norc", "-c", become, "callsheet", *words),
            environ=dict(environ),
            cwd=start,
            pass_fds=(number,),
        )
        async with confinement.open(line, profile) as confined:
            timed_out, status = await run_confined(confined, outputs, timeout_s)
            ended, why = verdict(confined, timed_out=timed_out, timeout_s=timeout_s)
    assert outputs.errors is not None
    return ProgramResult(
        ended=ended,
        exit_status=status,
        duration_s=anyio.current_time() - began,
        output=outputs.output.text(),
        errors=outputs.errors.text(),
        is_whole=outputs.output.is_whole,
        note=why,
    )


@contextmanager
def _readable(data: bytes) -> Iterator[int]:
    """A file in memory with this in it, to be read from its start."""
    number = os.memfd_create("callsheet-stdin", 0)
    try:
        with os.fdopen(number, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(number, 0, os.SEEK_SET)
        yield number
    finally:
        os.close(number)
