"""One git process: started with what it is told alone, read to a limit, and gone when this is over."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import anyio
from anyio.abc import ByteReceiveStream

from callsheet.model.dataclass import dataclass

_SMALL_BYTES = 64 * 1024
_PIECE_BYTES = 64 * 1024
_END_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GitAnswer:
    """What git said.

    Attributes:
        exit_status: 0 for well; some commands use 1 for an answer.
        output: Standard output, whole.
        errors: The start of standard error, for people.
    """

    exit_status: int
    output: bytes
    errors: str


async def ask(argv: Sequence[str], environ: dict[str, str], cwd: Path, stdin: bytes, limit_bytes: int) -> GitAnswer:
    """Runs a program to its end. Cancelling kills it, and all that it started.

    Args:
        argv: It and its arguments.
        environ: All that it gets of an environment.
        cwd: Its folder.
        stdin: What it reads.
        limit_bytes: Of its output: with more it is killed, and the answer is longer than that.
    """
    output, errors = bytearray(), bytearray()
    with anyio.CancelScope(shield=True):  # a moment: cancelled halfway, nobody would own the process
        process = await anyio.open_process(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environ, cwd=cwd, start_new_session=True,
        )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_collect, process.stderr, errors, _SMALL_BYTES, None)
            tasks.start_soon(_collect, process.stdout, output, limit_bytes, tasks.cancel_scope)
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await process.stdin.send(stdin)
            await process.stdin.aclose()
        if len(output) <= limit_bytes:
            await process.wait()
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, 9)
            with anyio.move_on_after(_END_WITHIN_S):
                await process.aclose()
    status = process.returncode
    return GitAnswer(
        exit_status=-9 if status is None else status, output=bytes(output), errors=errors.decode("utf-8", "replace")
    )


async def _collect(
    stream: ByteReceiveStream, into: bytearray, limit_bytes: int, enough: anyio.CancelScope | None
) -> None:
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            piece = await stream.receive(_PIECE_BYTES)
            into += piece[: max(0, limit_bytes + 1 - len(into))]
            if enough is not None and len(into) > limit_bytes:
                enough.cancel("the answer is too long")
                return
