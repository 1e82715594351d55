"""What a command printed: head and tail for the agent, all of it (up to a bound) in a file for the record."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import anyio.to_thread

_WRITE_BYTES = 256 * 1024


class OutputKeeper:
    """Takes a command's output piece by piece.

    Args:
        shown_bytes: Kept for showing: half of it from the start, half from the end.
        spool: A new file for the whole; None to keep none.
        spool_bytes: The most of it that is written there.
    """

    def __init__(self, *, shown_bytes: int, spool: Path | None, spool_bytes: int) -> None:
        self._half_bytes = max(1, shown_bytes // 2)
        self._path = spool
        self._room_bytes = spool_bytes
        self._file: BinaryIO | None = None
        self._head = bytearray()
        self._tail = bytearray()
        self._waiting = bytearray()
        self.total_bytes = 0
        self.spooled_bytes = 0
        self.fault: OSError | None = None

    async def take(self, piece: bytes) -> None:
        """Keeps one piece. Cancelling may lose that piece from the file; a file that cannot be written sets `fault`."""
        self.total_bytes += len(piece)
        missing = self._half_bytes - len(self._head)
        self._head += piece[:missing]
        self._tail += piece[missing:] if missing > 0 else piece
        if len(self._tail) > 2 * self._half_bytes:
            del self._tail[: -self._half_bytes]
        self._waiting += piece[: self._room_bytes - self.spooled_bytes - len(self._waiting)]
        if len(self._waiting) >= _WRITE_BYTES:
            await self._flush()

    async def aclose(self) -> None:
        """Writes what waits and closes the file. Idempotent."""
        try:
            await self._flush()
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None

    @property
    def is_whole(self) -> bool:
        """Nothing is left out in what is shown."""
        return self.total_bytes <= len(self._head) + min(len(self._tail), self._half_bytes)

    @property
    def path(self) -> Path | None:
        """The file with the whole, once something was written there."""
        return self._path if self.spooled_bytes else None

    def text(self) -> str:
        """What is shown; where something was left out a line says how much, and where the whole is."""
        tail = bytes(self._tail[-self._half_bytes :])
        left_out = self.total_bytes - len(self._head) - len(tail)
        head = bytes(self._head)
        if left_out <= 0:
            return (head + tail).decode("utf-8", "replace")
        return f"{_whole_lines(head)}\n[… {left_out} of {self.total_bytes} bytes left out here …]\n{_readable(tail)}"

    async def _flush(self) -> None:
        if self._path is None or not self._waiting:
            self._waiting.clear()
            return
        piece = bytes(self._waiting)
        self._waiting.clear()
        try:
            await anyio.to_thread.run_sync(self._write, self._path, piece)
        except OSError as error:  # the command goes on; the record says that its output is not whole
            self.fault = error
            self._room_bytes = self.spooled_bytes
        else:
            self.spooled_bytes += len(piece)

    def _write(self, path: Path, piece: bytes) -> None:
        if self._file is None:
            path.touch(mode=0o600, exist_ok=False)
            self._file = path.open("wb", buffering=0)
        self._file.write(piece)


def _whole_lines(head: bytes) -> str:
    return head.decode("utf-8", "replace").removesuffix("\n")


def _readable(tail: bytes) -> str:
    return tail.decode("utf-8", "replace").lstrip("\ufffd")
