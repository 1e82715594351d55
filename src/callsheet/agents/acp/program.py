"""An agent's program at work: JSON messages in lines, all of them bounded, and an end that leaves nothing behind.

The protocol's own SDK for Python keeps lines of any length, runs what comes in tasks that nobody owns, in no order, and
takes two seconds to import; hence the protocol is spoken here.
"""

from __future__ import annotations

import json
from collections import deque

import anyio

from callsheet.agents.piping import Lines
from callsheet.agents.supervised import Supervised
from callsheet.model.values import JsonValue

LINE_LIMIT_BYTES = 16 * 1024 * 1024
_WRITTEN_WITHIN_S = 60.0


class ProgramGone(Exception):
    """The program has ended, or makes no sense any more; `str()` says why."""


class Program:
    """A program that was started, and the messages to and from it."""

    def __init__(self, running: Supervised) -> None:
        self._running = running
        self._writing = anyio.Lock()
        self._lines = Lines(LINE_LIMIT_BYTES)
        self._unread: deque[bytes] = deque()

    async def send(self, message: dict[str, JsonValue]) -> None:
        """Writes a message. Cancelled in the middle of one, no other can be written.

        Raises:
            ProgramGone: It takes no more.
        """
        data = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        is_whole = False
        async with self._writing:
            try:
                with anyio.fail_after(_WRITTEN_WITHIN_S):
                    await self._running.pipe.send(data)
                is_whole = True
            except OSError:  # also where it took too long, or what is written to was closed
                raise ProgramGone(await self._running.why("it takes no more messages")) from None
            finally:
                if not is_whole:
                    self._running.pipe.close()

    async def receive(self) -> dict[str, JsonValue]:
        """The next message. What is no JSON object, programs print all sorts of things, is passed over.

        Raises:
            ProgramGone: There are no more.
        """
        while True:
            while self._unread:
                line = self._unread.popleft()
                try:
                    message = json.loads(line) if line.lstrip().startswith(b"{") else None
                except (ValueError, RecursionError):
                    continue
                if isinstance(message, dict):
                    return message
            await self._read()

    async def _read(self) -> None:
        piece = await self._running.read()
        if not piece:
            raise ProgramGone(await self._running.why("it closed its output"))
        self._unread += self._lines.of(piece)
        if self._lines.fault is not None:
            raise ProgramGone(self._lines.fault)
