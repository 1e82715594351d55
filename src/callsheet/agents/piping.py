"""The pipes to a program that is talked to in lines: what is written, read and heard of it, all of it bounded."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from dataclasses import field

import anyio
from anyio.abc import ByteReceiveStream

from callsheet.model.dataclass import dataclass

LAST_WORDS_BYTES = 4000
_WORDS_CHARS = 400
_STDERR_PAUSE_S = 0.01
PIECE_BYTES = 64 * 1024


@dataclass(slots=True)
class Witness:
    """What is known of a server's program.

    Attributes:
        fault: Why its messages are no longer read.
        exit_status: Once it has ended.
        silent: Set once no more messages come.
    """

    fault: str | None = None
    exit_status: int | None = None
    silent: anyio.Event = field(default_factory=anyio.Event)
    _words: deque[bytes] = field(default_factory=lambda: deque(maxlen=LAST_WORDS_BYTES // 40))

    def hear(self, piece: bytes) -> None:
        """Takes what it printed on standard error."""
        self._words.extend(line[:400] for line in piece[-LAST_WORDS_BYTES:].splitlines())

    @property
    def last_words(self) -> str:
        """The end of what it printed on standard error, on one line."""
        text = b" ".join(list(self._words)[-5:]).decode("utf-8", "replace")
        return " ".join("".join(char if char.isprintable() else " " for char in text).split())[-_WORDS_CHARS:]


class Pipe:
    """The standard input of a program, written without a thread."""

    def __enter__(self) -> Pipe:
        self.read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)
        self._open = {self.read_fd, self._write_fd}
        return self

    def __exit__(self, *_: object) -> None:
        self.close_read_end()
        self.close()

    def close_read_end(self) -> None:
        """The server has it."""
        self._close(self.read_fd)

    def close(self) -> None:
        """No more is coming. Idempotent."""
        self._close(self._write_fd)

    def _close(self, descriptor: int) -> None:
        if descriptor in self._open:
            self._open.remove(descriptor)
            os.close(descriptor)

    async def send(self, data: bytes) -> None:
        """Writes all of it.

        Raises:
            OSError: Nobody reads any more.
        """
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._write_fd, left) :]
            except BlockingIOError:
                await anyio.wait_writable(self._write_fd)


class Lines:
    """The lines of a stream, none of them longer than a message should be.

    Attributes:
        fault: Set once one was too long; nothing is to be read any more.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.fault: str | None = None
        self._limit_bytes = limit_bytes
        self._rest: list[bytes] = []
        self._rest_bytes = 0

    def of(self, piece: bytes) -> list[bytes]:
        """The lines that end with this piece."""
        *ends, rest = piece.split(b"\n")
        whole = []
        for end in ends:
            whole.append(b"".join([*self._rest, end]))
            self._rest, self._rest_bytes = [], 0
        self._rest.append(rest)
        self._rest_bytes += len(rest)
        if self._rest_bytes > self._limit_bytes:
            self.fault = f"it sent a message of more than {self._limit_bytes} bytes"
        return whole


async def hear(stream: ByteReceiveStream, witness: Witness) -> None:
    """Keeps the end of what a program prints on standard error, until there is no more."""
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            witness.hear(await stream.receive(PIECE_BYTES))
            await anyio.sleep(_STDERR_PAUSE_S)  # who floods it waits
