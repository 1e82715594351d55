"""The turns of one agent: what Claude Code's program sends, taken in and reported, until a turn has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from claude_agent_sdk import (
    AssistantMessage,
    ClaudeSDKClient,
    ClaudeSDKError,
    Message,
    RateLimitEvent,
    ResultMessage,
    StreamEvent,
    SystemMessage,
    UserMessage,
)

from callsheet.agents.claude_code.environment import is_unpriced
from callsheet.agents.claude_code.faults import Failure, unavailable
from callsheet.agents.claude_code.program import Program
from callsheet.agents.claude_code.purse import Purse
from callsheet.agents.claude_code.tally import Tally
from callsheet.agents.claude_code.toolbox import PREFIX, Desk
from callsheet.agents.claude_code.transcript import Transcript
from callsheet.agents.timing import Timing
from callsheet.errors import OverBudgetError
from callsheet.model.dataclass import dataclass
from callsheet.model.reports import Progress, Waiting
from callsheet.ports import AgentReporter

PROGRESS_EVERY_S = 1.0
_MOST_REFUSED = 2
"""Requests that are refused for their credential until the agent gives up: a login is renewed after the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What holds for one agent.

    Attributes:
        total_tokens: Output tokens of the whole agent (`maxTokens`); None for no limit.
        max_cost_usd: At list prices (`maxCost`); None for no limit.
        silence_s: How long the service may send nothing (`stallMs`).
        interrupted_s: How long the program may take to end a turn that is interrupted.
    """

    model: str
    max_turns: int
    total_tokens: int | None
    max_cost_usd: float | None
    silence_s: float
    interrupted_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The program ended the turn: what it says of that, and of a request that failed."""

    result: ResultMessage
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class Died:
    """The program has ended, or makes no sense any more."""

    why: str


@dataclass(frozen=True, slots=True)
class Silent:
    """The service sent nothing for too long.

    Attributes:
        is_over: The program could be brought to end the turn.
        is_again: It was so in the turn before, and nothing came in between.
    """

    is_over: bool
    is_again: bool


@dataclass(frozen=True, slots=True)
class Foreign:
    """The program has tools that are not ours."""

    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spent:
    """A reply was cut off, and the agent may have no more tokens."""


@dataclass(frozen=True, slots=True)
class Refused:
    """There is no budget for a request that the program sent, or was about to send, by itself."""

    error: OverBudgetError


Turn: TypeAlias = Ended | Died | Silent | Foreign | Spent | Refused
"""How a turn ended. After anything but `Ended`, and a `Silent` that is over, the program is of no more use."""


class Turns:
    """Takes in what comes. Made for one agent; `pump` has to run meanwhile, and `end` is called at last.

    Attributes:
        transcript: The conversation so far.
    """

    def __init__(
        self,
        *,
        client: ClaudeSDKClient,
        program: Program,
        terms: Terms,
        environ: Mapping[str, str],
        desk: Desk,
        tally: Tally,
        purse: Purse,
        reporter: AgentReporter,
        timing: Timing,
    ) -> None:
        self._purse = purse
        self._client = client
        self._program = program
        self._terms = terms
        self._environ = environ
        self._desk = desk
        self._tally = tally
        self._reporter = reporter
        self._timing = timing
        self.transcript = Transcript(reporter)
        self._inbox_in: MemoryObjectSendStream[Message]
        self._inbox: MemoryObjectReceiveStream[Message]
        self._inbox_in, self._inbox = anyio.create_memory_object_stream[Message](16)
        self._failure: Failure | None = None
        self._resets_at: float | None = None
        self._quiet_until_s = 0.0
        self._reported_s = 0.0
        self._refused = 0
        self._was_silent = False

    async def pump(self) -> None:
        """Takes what comes from the SDK, whose stream must not be cancelled while it is read."""
        with self._inbox_in:
            try:
                async for message in self._client.receive_messages():
                    await self._inbox_in.send(message)
            except ClaudeSDKError as error:
                if not self._program.is_gone:
                    self._program.witness.fault = str(error)

    async def next(self) -> Turn:
        """Waits for the end of a turn, and reports what comes meanwhile.

        Raises:
            BackendUnavailableError: The service refuses the credential, and the run does not wait (K05).
        """
        self._failure = None
        while True:
            left_s = self._terms.silence_s + max(0.0, self._quiet_until_s - self._timing.monotonic())
            message: Message | None = None
            with anyio.move_on_after(left_s):
                try:
                    message = await self._inbox.receive()
                except anyio.EndOfStream:
                    return Died(await self._program.ended())
            if message is None:
                if not self._desk.is_busy:
                    return await self._interrupted()
                continue
            if isinstance(message, ResultMessage):
                self._program.is_idle = True
                self._tally.broke()
                self._tally.settle(message.model_usage)
                await self.report()
                await self._purse.settle()
                failure, resets_at = self._failure, self._resets_at
                self._resets_at = None
                return Ended(message, _found(message, failure, resets_at) if message.is_error else None)
            try:
                turn = await self._take(message)
            except OverBudgetError as error:
                await self._program.close()  # at once: it would go on by itself
                return Refused(error)
            if turn is not None:
                return turn

    async def report(self) -> None:
        """Reports what has come so far, and what was used."""
        await self.transcript.flush()
        await self._report_usage()

    def end(self) -> None:
        """Takes no more."""
        self._inbox.close()

    async def _interrupted(self) -> Silent:
        """Ends a turn in which nothing comes any more."""
        was_silent, self._was_silent = self._was_silent, True
        with anyio.move_on_after(self._terms.interrupted_s):
            try:
                await self._client.interrupt()
                while not isinstance(await self._inbox.receive(), ResultMessage):
                    pass
            except (ClaudeSDKError, anyio.EndOfStream):
                return Silent(False, was_silent)
            self._tally.broke()
            return Silent(True, was_silent)
        return Silent(False, was_silent)

    async def _take(self, message: Message) -> Turn | None:
        match message:
            case StreamEvent(event=event, parent_tool_use_id=None):
                return await self._event(event)
            case AssistantMessage(error=None):
                await self.transcript.reply(message)
            case AssistantMessage():
                said = "".join(getattr(block, "text", "") for block in message.content)
                self._failure = Failure(text=said, kind=message.error)
            case UserMessage():
                await self.transcript.came(message)
            case RateLimitEvent(rate_limit_info=info):
                self._resets_at = float(info.resets_at) if info.status == "rejected" and info.resets_at else None
            case SystemMessage(subtype="init", data=data):
                return await self._began(data)
            case SystemMessage(subtype="api_retry", data=data):
                await self._retried(data)
            case _:
                pass
        return None

    async def _began(self, data: Mapping[str, Any]) -> Turn | None:
        """What the program says of itself before a turn; none of its tools may be another's than ours."""
        foreign = tuple(str(name) for name in data.get("tools", ()) if not str(name).startswith(PREFIX))
        if foreign:
            return Foreign(foreign)
        has_price = self._purse.has_own_price or not is_unpriced(data.get("apiKeySource"), self._environ)
        self._tally.is_unpriced = not has_price
        await self._purse.learned(is_unpriced=not has_price)
        return None

    async def _event(self, event: Mapping[str, Any]) -> Turn | None:
        """A part of a reply, as the service streams it."""
        tally = self._tally
        match event:
            case {"type": "message_start", "message": dict(message)}:
                self._refused = 0
                tally.broke()
                await self._purse.began()
                await tally.began(message)
            case {"type": "content_block_delta", "delta": dict(delta)}:
                tally.came("".join(str(delta.get(key, "")) for key in ("text", "thinking", "partial_json")))
                if self._purse.is_overdrawn:
                    raise OverBudgetError(
                        "the agent's reply was stopped: it was longer than what is left of the budget"
                    )
            case {"type": "message_delta"}:
                tally.counted(event.get("usage"))
                ended = event.get("delta")
                if isinstance(ended, dict) and ended.get("stop_reason") == "max_tokens":
                    tally.ended()
                    most = self._terms.total_tokens
                    if most is not None and tally.total.output_tokens >= most:
                        await self._program.close()  # at once: it would go on by itself
                        return Spent()
                    await self.transcript.flush(self._purse.paid())
                    await self._purse.renew()
            case {"type": "message_stop"}:
                tally.ended()
                self._was_silent = False
                await self._report_usage()
                if (paid := self._purse.paid()) is not None:
                    await self.transcript.flush(paid)
            case _:
                pass
        now_s = self._timing.monotonic()
        if now_s >= self._reported_s + PROGRESS_EVERY_S:
            self._reported_s = now_s
            await self._reporter.report(Progress(tokens=tally.tokens))
        return None

    async def _retried(self, data: Mapping[str, Any]) -> None:
        """The program tries a request again by itself; a credential that is refused, only once."""
        self._tally.broke()
        await self._purse.renew()
        delay_ms, status, kind = data.get("retry_delay_ms"), data.get("error_status"), data.get("error")
        delay_s = delay_ms / 1000 if isinstance(delay_ms, int | float) else 0.0
        self._quiet_until_s = self._timing.monotonic() + delay_s
        if status in (401, 403):
            self._refused += 1
            if self._refused >= _MOST_REFUSED:
                failure = Failure(text="the model service refused the credential", kind=str(kind), status=status)
                if (error := unavailable(failure)) is not None:
                    await self._reporter.hold(error)
        until = self._timing.iso_in(delay_s)
        await self._reporter.report(Waiting(why="rate limit" if status == 429 else "service", until=until))

    async def _report_usage(self) -> None:
        await self._reporter.report(Progress(tokens=self._tally.tokens, usage=self._tally.total))


def _found(result: ResultMessage, failure: Failure | None, resets_at: float | None) -> Failure:
    """What is known of a turn that failed."""
    said = "; ".join(result.errors or ()) or result.result or result.subtype
    return Failure(
        text=failure.text if failure is not None and failure.text else said,
        kind=failure.kind if failure is not None else None,
        status=result.api_error_status,
        resets_at=resets_at,
        is_request=result.terminal_reason == "api_error",
    )
