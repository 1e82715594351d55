"""One reply of the model as it streams in: its progress, its usage, and whether it came whole."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import anyio
from anthropic.lib.streaming import BetaAsyncMessageStream, ParsedBetaMessageStreamEvent
from anthropic.types.beta import BetaMessage

from callsheet.agents.anthropic.faults import SERVICE_ERRORS, BrokenStreamError
from callsheet.agents.anthropic.ledger import CHARS_PER_TOKEN, Ledger
from callsheet.agents.timing import Timing
from callsheet.model.reports import Progress
from callsheet.ports import AgentReporter

PROGRESS_EVERY_S = 1.0
LAST_REPORT_LIMIT_S = 0.5
READ_OUT_LIMIT_S = 1.0

_MALFORMED = (ValueError, RuntimeError, AssertionError, LookupError, AttributeError, TypeError)
"""What the SDK raises on events that are out of order, hold no JSON or lack a field: it checks nothing beforehand."""


async def receive(
    stream: BetaAsyncMessageStream[None],
    ledger: Ledger,
    reporter: AgentReporter,
    timing: Timing,
    *,
    opened: Callable[[], None],
) -> BetaMessage:
    """Reads a reply to its end and books it. Also books, as an estimate, what of a broken or cancelled one was paid.

    Args:
        stream: The reply.
        ledger: Where it is booked.
        reporter: Is told of its progress.
        timing: Clocks.
        opened: Called once, when the service begins to answer.

    Raises:
        BrokenStreamError: It ended early, or was no stream of the Messages API.
        anthropic.APIError, httpx2.TransportError: The service or the connection failed.
    """
    progress = _Progress(ledger, reporter, timing, opened)
    try:
        while not progress.complete and (event := await _next_event(stream)) is not None:
            await progress.take(event)
        if not progress.complete:
            raise BrokenStreamError("the reply ended in the middle")
    finally:
        if not progress.complete:
            await progress.broke()
    message = stream.current_message_snapshot
    ledger.book(message.model, message.usage)
    await _read_out(stream)
    await reporter.report(Progress(tokens=ledger.total.output_tokens, usage=ledger.total))
    return message


async def _next_event(stream: BetaAsyncMessageStream[None]) -> ParsedBetaMessageStreamEvent[None] | None:
    try:
        return await anext(stream)
    except StopAsyncIteration:
        return None
    except _MALFORMED as error:
        raise BrokenStreamError(f"the reply is not a stream of the Messages API: {error!r}") from None


async def _read_out(stream: BetaAsyncMessageStream[None]) -> None:
    """Reads the end of a response whose message is whole, so that its connection serves again.

    A connection that breaks or hangs there takes nothing from the message, which has been paid.
    """
    with suppress(*SERVICE_ERRORS), anyio.move_on_after(READ_OUT_LIMIT_S):
        while await _next_event(stream) is not None:
            pass


class _Progress:
    def __init__(self, ledger: Ledger, reporter: AgentReporter, timing: Timing, opened: Callable[[], None]) -> None:
        self._opened = opened
        self._ledger = ledger
        self._reporter = reporter
        self._timing = timing
        self._started: BetaMessage | None = None
        self._chars = 0
        self._searches = 0
        self._next_s = timing.monotonic() + PROGRESS_EVERY_S
        self.complete = False

    async def take(self, event: ParsedBetaMessageStreamEvent[None]) -> None:
        match event.type:
            case "message_start":
                self._started = event.message
                self._opened()
                await self._ledger.open(event.message.model)
            case "content_block_start" if event.content_block.type == "web_search_tool_result":
                self._searches += isinstance(event.content_block.content, list)
            case "message_stop":
                self.complete = True
            case "text":
                self._chars += len(event.text)
            case "thinking":
                self._chars += len(event.thinking)
            case "input_json":
                self._chars += len(event.partial_json)
            case _:
                return
        now_s = self._timing.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + PROGRESS_EVERY_S
            tokens = self._ledger.total.output_tokens + self._chars // CHARS_PER_TOKEN
            await self._reporter.report(Progress(tokens=tokens))

    async def broke(self) -> None:
        if self._started is None:
            return
        self._ledger.book_broken(self._started.model, self._started.usage, self._chars, searches=self._searches)
        total = self._ledger.total
        with anyio.move_on_after(LAST_REPORT_LIMIT_S, shield=True):
            await self._reporter.report(Progress(tokens=total.output_tokens, usage=total))
