"""HTML to Markdown by a child that can be ended."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import anyio
from anyio.abc import Process

from callsheet.agents.web.content import without_controls
from callsheet.model.dataclass import dataclass

CHILDREN_AT_ONCE = 4
_TEXT_LIMIT_BYTES = 32 * 1024 * 1024
_KILLED_WITHIN_S = 1.0
_CHILD = str(Path(__file__).with_name("html_child.py"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Markdown:
    """A page as text."""

    title: str | None
    text: str


class MarkdownMaker:
    """Converts pages, a bounded number at a time.

    Args:
        timeout_s: Then a page is given up.
        program: What to start instead of this Python's own converter: a program and its arguments.
    """

    def __init__(self, *, timeout_s: float, program: tuple[str, ...] = (sys.executable, "-I", "-B", _CHILD)) -> None:
        self._timeout_s = timeout_s
        self._program = program
        self._room = anyio.CapacityLimiter(CHILDREN_AT_ONCE)

    async def convert(self, page: str, *, url: str) -> Markdown | None:
        """The page as Markdown, links absolute; None where it took too long, too much memory, or broke the converter.

        Cancelling ends the converter at once.
        """
        data = page.encode("utf-8", "replace")
        async with self._room:
            with anyio.move_on_after(self._timeout_s):
                written = await self._run(data, url)
                if written is not None:
                    title, _, text = written.decode("utf-8", "replace").partition("\n")
                    return Markdown(title=without_controls(title)[:500] or None, text=without_controls(text).strip())
        return None

    async def _run(self, data: bytes, url: str) -> bytes | None:
        process = await anyio.open_process(
            [*self._program, url], cwd="/", env={}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            written = await _exchange(process, data)
            return written if written is not None and await process.wait() == 0 else None
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            with anyio.move_on_after(_KILLED_WITHIN_S, shield=True):
                await process.aclose()


async def _exchange(process: Process, data: bytes) -> bytes | None:
    """Hands the child its input and takes its output; None where that has no end."""
    assert process.stdin is not None
    assert process.stdout is not None
    written = bytearray()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_feed, process, data)
        async for piece in process.stdout:
            written += piece
            if len(written) > _TEXT_LIMIT_BYTES:
                tasks.cancel_scope.cancel("the converter's output has no end")
                return None
    return bytes(written)


async def _feed(process: Process, data: bytes) -> None:
    assert process.stdin is not None
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        await process.stdin.send(data)
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        await process.stdin.aclose()
