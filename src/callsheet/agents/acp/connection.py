"""JSON-RPC with one program: one request of ours at a time, and what it asks meanwhile, in the order of coming."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from callsheet.agents.acp.program import Program, ProgramGone
from callsheet.agents.tools.names import ToolFailure
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

MOST_ASKED = 64
"""Requests of the program that may wait for their answer."""

METHOD_NOT_FOUND = -32601
INTERNAL_ERROR = -32603

Object: TypeAlias = dict[str, JsonValue]
Update: TypeAlias = Callable[[Object], Awaitable[None]]
Serve: TypeAlias = Callable[[str, Object], Awaitable[Object | None]]
"""Does what the program asks: method and parameters. Raises `ToolFailure`, or `NoSuchMethod`."""


class NoSuchMethod(Exception):
    """The program asks for something that it was not offered."""


class SaidNo(Exception):
    """The program answered a request of ours with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Silent(Exception):
    """The program sent nothing for too long."""


@dataclass(frozen=True, slots=True)
class _Asked:
    id: JsonValue
    method: str
    params: Object


class Connection:
    """What is said to a program, and by it.

    Args:
        program: It.
        updated: Takes what it tells of its work.
        serve: Does what it asks, one thing after another.
    """

    def __init__(self, program: Program, *, updated: Update, serve: Serve) -> None:
        self._program = program
        self._updated = updated
        self._serve = serve
        self._ask: MemoryObjectSendStream[_Asked]
        self._asked: MemoryObjectReceiveStream[_Asked]
        self._ask, self._asked = anyio.create_memory_object_stream[_Asked](MOST_ASKED)
        self._open: dict[int, _Asked] = {}
        self._last = 0
        self._waits_for: int | None = None

    async def work(self) -> None:
        """Does what the program asks; has to run while there are requests. Works until cancelled."""
        with self._ask, self._asked:
            async for asked in self._asked:
                try:
                    answer = await self._answered(asked)
                    self._open.pop(id(asked), None)
                    await self._program.send(answer)
                except ProgramGone:
                    return  # who waits for it is told

    async def request(self, method: str, params: Object, *, silence_s: float) -> Object:
        """Asks the program, and takes what comes until it has answered.

        Args:
            method: What for.
            params: With what.
            silence_s: How long it may send nothing while it waits for nothing of ours.

        Raises:
            SaidNo: It answers with an error.
            Silent: It does not answer.
            ProgramGone: It never will.
        """
        self._last += 1
        self._waits_for = self._last
        await self._program.send({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params})
        while True:
            message: Object | None = None
            with anyio.move_on_after(silence_s):
                message = await self._program.receive()
            if message is None:
                if not self._open:
                    raise Silent
                continue
            if self._is_answer(message):
                self._waits_for = None
                return _result(message)
            await self._take(message)

    async def cancel(self, session: str) -> None:
        """Tells the program to end its turn, and waits for that. To be bounded by the caller; `work` has ended."""
        try:
            await self._program.send({"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": session}})
            for asked in list(self._open.values()):
                await self._program.send(_cancelled(asked))
            self._open.clear()
            while self._waits_for is not None:
                message = await self._program.receive()
                if self._is_answer(message):
                    self._waits_for = None
                elif isinstance(method := message.get("method"), str) and "id" in message:
                    await self._program.send(_cancelled(_Asked(message["id"], method, {})))
        except ProgramGone:
            return

    def _is_answer(self, message: Object) -> bool:
        return "method" not in message and self._waits_for is not None and message.get("id") == self._waits_for

    async def _take(self, message: Object) -> None:
        method, params = message.get("method"), message.get("params")
        if not isinstance(method, str):
            return
        given = params if isinstance(params, dict) else {}
        if "id" not in message:
            if method == "session/update":
                await self._updated(given)
            return
        asked = _Asked(message["id"], method, given)
        if len(self._open) >= MOST_ASKED:
            await self._program.send(_error(asked, INTERNAL_ERROR, "too many requests at once"))
            return
        self._open[id(asked)] = asked
        self._ask.send_nowait(asked)

    async def _answered(self, asked: _Asked) -> Object:
        try:
            result = await self._serve(asked.method, asked.params)
        except NoSuchMethod:
            return _error(asked, METHOD_NOT_FOUND, f"{asked.method} is not offered")
        except ToolFailure as failure:
            return _error(asked, INTERNAL_ERROR, failure.message)
        return {"jsonrpc": "2.0", "id": asked.id, "result": result}


def _result(message: Object) -> Object:
    error = message.get("error")
    if isinstance(error, dict):
        code, words, data = error.get("code"), error.get("message"), error.get("data")
        told = str(words) if words else "it does not say why"
        if isinstance(data, dict) and isinstance(details := data.get("details"), str) and details not in told:
            told = f"{told}: {details}"
        raise SaidNo(code if isinstance(code, int) else INTERNAL_ERROR, told[:2000])
    result = message.get("result")
    return result if isinstance(result, dict) else {}


def _error(asked: _Asked, code: int, words: str) -> Object:
    return {"jsonrpc": "2.0", "id": asked.id, "error": {"code": code, "message": words}}


def _cancelled(asked: _Asked) -> Object:
    """What a request is told whose turn is cancelled (Agent Client Protocol, "Cancellation")."""
    if asked.method == "session/request_permission":
        return {"jsonrpc": "2.0", "id": asked.id, "result": {"outcome": {"outcome": "cancelled"}}}
    return _error(asked, INTERNAL_ERROR, "the turn is cancelled")
