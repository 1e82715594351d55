"""Lines of JSON over a Unix socket, both ends: bounded in size and in time, and never a copy of what is not read."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import anyio

_PIECE_BYTES = 64 * 1024


class LineTooLongError(Exception):
    """The other end sent a line that is longer than allowed."""


class Channel:
    """One connection. One task reads, any number may write."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._writing = anyio.Lock()
        self._rest = bytearray()
        self._is_closed = False

    async def receive(self, limit_bytes: int) -> bytes | None:
        """The next line without its end; None where there are no more, or the last one is cut short.

        Safe to cancel: nothing is lost.

        Raises:
            LineTooLongError: It is longer than the limit.
            OSError: The connection broke.
        """
        looked_at = 0
        while (end := self._rest.find(b"\n", looked_at)) < 0:
            looked_at = len(self._rest)
            if looked_at > limit_bytes:
                raise LineTooLongError
            await anyio.wait_readable(self._socket)
            try:
                piece = self._socket.recv(_PIECE_BYTES)
            except BlockingIOError:
                continue
            if not piece:
                return None
            self._rest += piece
        if end > limit_bytes:
            raise LineTooLongError
        line = bytes(self._rest[:end])
        del self._rest[: end + 1]
        return line

    async def send(self, *said: Mapping[str, Any]) -> None:
        """Writes lines; waits while the other end does not read. Cancelled in the middle, the connection is useless.

        Raises:
            OSError: The other end is gone.
        """
        # In ASCII: whatever is in a text, a line is a line.
        data = memoryview("".join(json.dumps(one, separators=(",", ":")) + "\n" for one in said).encode("ascii"))
        async with self._writing:
            while data:
                await anyio.wait_writable(self._socket)
                with suppress(BlockingIOError):
                    data = data[self._socket.send(data) :]

    def close(self) -> None:
        """Closes the connection, and wakes whoever waits for it. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            anyio.notify_closing(self._socket)
            self._socket.close()
