"""One agent's conversation through Claude Code's program, from its task to its outcome.

The program talks to the model and keeps the conversation. It ends a turn when the model has ended, when a request has
failed for good, or when we stop it between two requests; what follows then is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, assert_never

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

from callsheet.agents.answer import Answer
from callsheet.agents.claude_code.environment import is_unpriced
from callsheet.agents.claude_code.faults import Failure, unavailable
from callsheet.agents.claude_code.program import Program
from callsheet.agents.claude_code.tally import Tally
from callsheet.agents.claude_code.toolbox import PREFIX, Desk
from callsheet.agents.claude_code.transcript import Transcript
from callsheet.agents.prompt import ANSWER_TOOL, NUDGE, PERSON_INTRO
from callsheet.agents.timing import Timing
from callsheet.agents.tools.workbench import Workbench
from callsheet.errors import BackendUnavailableError
from callsheet.model.outcome import AgentOutcome, AgentStatus
from callsheet.model.reports import Progress, Waiting
from callsheet.model.values import JsonValue
from callsheet.ports import AgentReporter

WENT_ON = "The model service could not be reached for a while. Go on where you stopped."
STALLED = "Your last message did not come through. Go on where you stopped."
PROGRESS_EVERY_S = 1.0
LAST_REPORT_LIMIT_S = 0.5
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
class Died:
    """The program has ended, or makes no sense any more."""

    why: str


@dataclass(frozen=True, slots=True)
class Silent:
    """The service sent nothing for too long; whether the program could be brought to end the turn."""

    is_over: bool


Turn: TypeAlias = ResultMessage | Died | Silent | AgentOutcome
"""How a turn ended."""


class Session:
    """One agent. Made for one `run`."""

    def __init__(
        self,
        *,
        client: ClaudeSDKClient,
        program: Program,
        terms: Terms,
        environ: Mapping[str, str],
        desk: Desk,
        answer: Answer | None,
        workbench: Workbench,
        tally: Tally,
        reporter: AgentReporter,
        timing: Timing,
    ) -> None:
        self._client = client
        self._program = program
        self._terms = terms
        self._environ = environ
        self._desk = desk
        self._answer = answer
        self._workbench = workbench
        self._tally = tally
        self._reporter = reporter
        self._timing = timing
        self._transcript = Transcript(reporter)
        self._inbox_in: MemoryObjectSendStream[Message]
        self._inbox: MemoryObjectReceiveStream[Message]
        self._inbox_in, self._inbox = anyio.create_memory_object_stream[Message](16)
        self._failure: Failure | None = None
        self._resets_at: float | None = None
        self._from_people: list[str] = []
        self._quiet_until_s = 0.0
        self._reported_s = 0.0
        self._refused = 0
        self._nudged = False
        self._was_silent = False
        self._next: str | None = None

    async def run(self, opening: Sequence[dict[str, Any]]) -> AgentOutcome:
        """Does the task to its end; where the run waits for the service, it goes on from here.

        Raises:
            BackendUnavailableError: The service is out of reach for every agent, and the run does not wait (K05).
        """
        away: BackendUnavailableError | None = None
        outcome: AgentOutcome | None = None
        async with self._inbox, anyio.create_task_group() as tasks:
            tasks.start_soon(self._pump)
            tasks.start_soon(self._desk.serve)
            try:
                outcome = await self._converse(list(opening))
            except BackendUnavailableError as error:
                away = error
            finally:
                tasks.cancel_scope.cancel("the agent has ended")
                self._tally.broke()
                with anyio.move_on_after(LAST_REPORT_LIMIT_S, shield=True):
                    await self._transcript.flush()
                    await self._report_usage()
        if away is not None:
            raise away
        assert outcome is not None
        return outcome

    async def _converse(self, opening: list[dict[str, Any]]) -> AgentOutcome:
        failed = await self._say(opening)
        while failed is None:
            turn = await self._turn()
            match turn:
                case AgentOutcome():
                    return turn
                case Died(why=why):
                    return self._end("failed", error=f"Claude Code's program failed: {why}")
                case Silent(is_over=is_over):
                    outcome = await self._after_silence(is_over=is_over)
                case ResultMessage():
                    outcome = await self._after(turn)
                case _:
                    assert_never(turn)
            if outcome is not None:
                return outcome
            failed = await self._say_next()
        return self._end("failed", error=f"Claude Code's program failed: {failed.why}")

    # --- what is said to the model

    async def _say(self, content: list[dict[str, Any]], *, from_person: bool = False) -> Died | None:
        await self._transcript.said(content, from_person=from_person)
        return await self._send(content)

    async def _send(self, content: list[dict[str, Any]]) -> Died | None:
        async def message() -> Any:
            yield {"type": "user", "message": {"role": "user", "content": content}, "parent_tool_use_id": None}

        await self._client.query(message())
        return None if self._program.is_ready() else Died(await self._program.ended())

    async def _say_next(self) -> Died | None:
        """What was made ready by whoever decided that the agent goes on: what people said, or a word of ours."""
        people, self._from_people = self._from_people, []
        content: list[dict[str, Any]] = []
        for words in people:
            content.append(_text(f"{PERSON_INTRO}{words}"))
            await self._transcript.said([content[-1]], from_person=True)
        if self._next is not None:
            content.append(_text(self._next))
            await self._transcript.said([content[-1]])
        self._next = None
        return await self._send(content)

    # --- a turn

    async def _pump(self) -> None:
        """Takes what comes from the SDK, whose stream must not be cancelled while it is read."""
        with self._inbox_in:
            try:
                async for message in self._client.receive_messages():
                    await self._inbox_in.send(message)
            except ClaudeSDKError as error:
                if not self._program.is_gone:
                    self._program.witness.fault = str(error)

    async def _turn(self) -> Turn:
        """Waits for the end of a turn, and reports what comes meanwhile."""
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
                self._tally.broke()
                self._tally.settle(message.model_usage)
                await self._transcript.flush()
                await self._report_usage()
                return message
            if (outcome := await self._take(message)) is not None:
                return outcome

    async def _interrupted(self) -> Silent:
        """Ends a turn in which nothing comes any more."""
        with anyio.move_on_after(self._terms.interrupted_s):
            try:
                await self._client.interrupt()
                while not isinstance(await self._inbox.receive(), ResultMessage):
                    pass
            except (ClaudeSDKError, anyio.EndOfStream):
                return Silent(is_over=False)
            self._tally.broke()
            return Silent(is_over=True)
        return Silent(is_over=False)

    async def _take(self, message: Message) -> AgentOutcome | None:
        match message:
            case StreamEvent(event=event, parent_tool_use_id=None):
                return await self._event(event)
            case AssistantMessage(error=None):
                await self._transcript.reply(message)
            case AssistantMessage():
                said = "".join(getattr(block, "text", "") for block in message.content)
                self._failure = Failure(text=said, kind=message.error, resets_at=self._resets_at)
            case UserMessage():
                await self._transcript.came(message)
            case RateLimitEvent(rate_limit_info=info):
                self._resets_at = float(info.resets_at) if info.status == "rejected" and info.resets_at else None
            case SystemMessage(subtype="init", data=data):
                return self._began(data)
            case SystemMessage(subtype="api_retry", data=data):
                await self._retried(data)
            case _:
                pass
        return None

    def _began(self, data: Mapping[str, Any]) -> AgentOutcome | None:
        """What the program says of itself before a turn; none of its tools may be another's than ours."""
        foreign = [name for name in data.get("tools", ()) if not str(name).startswith(PREFIX)]
        if foreign:
            error = f"Claude Code's program has tools that Callsheet does not decide about: {', '.join(foreign)}"
            return self._end("failed", error=error)
        self._tally.is_unpriced = is_unpriced(data.get("apiKeySource"), self._environ)
        return None

    async def _event(self, event: Mapping[str, Any]) -> AgentOutcome | None:
        """A part of a reply, as the service streams it."""
        tally = self._tally
        match event:
            case {"type": "message_start", "message": dict(message)}:
                self._refused = 0
                await tally.began(message)
            case {"type": "content_block_delta", "delta": dict(delta)}:
                tally.came("".join(str(delta.get(key, "")) for key in ("text", "thinking", "partial_json")))
            case {"type": "message_delta"}:
                tally.counted(event.get("usage"))
                ended = event.get("delta")
                if isinstance(ended, dict) and ended.get("stop_reason") == "max_tokens":
                    tally.ended()
                    return self._over_tokens()
            case {"type": "message_stop"}:
                tally.ended()
                self._was_silent = False
                await self._report_usage()
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
        self._workbench.output_tokens = self._tally.total.output_tokens
        await self._reporter.report(Progress(tokens=self._tally.tokens, usage=self._tally.total))

    # --- what follows a turn

    async def stops(self) -> str | None:
        """Why the turn is to end before the next request; None where it goes on. Asked when its tools have run."""
        answer = self._answer
        if answer is not None and (answer.accepted or answer.exhausted):
            return "The answer is taken."
        if self._limit() is not None:
            return "The agent has reached its limit."
        self._from_people += await self._reporter.take_messages()
        return "A person sends a message." if self._from_people else None

    async def _after(self, result: ResultMessage) -> AgentOutcome | None:
        """The outcome, or None where the agent goes on with what `_say_next` says."""
        failure, answer = self._failure, self._answer
        if result.subtype == "error_max_budget_usd":
            limit = f"{self._terms.max_cost_usd:g} USD (maxCost), at list prices"
            return self._end("over_budget", error=f"the agent reached its limit of {limit}")
        if answer is not None and answer.accepted:
            if not await self._goes_on():
                return self._end("ok", value=answer.value)
            answer.reopen()
            return None
        if answer is not None and answer.exhausted:
            violation = "; ".join(answer.violations)
            return self._end("invalid", error=f"no answer fitted the schema; the last one: {violation}")
        if result.is_error:
            return await self._after_failure(result, failure)
        if (limit_reached := self._limit()) is not None and result.terminal_reason != "completed":
            return limit_reached
        return None if self._from_people else await self._ended(result)

    async def _after_failure(self, result: ResultMessage, failure: Failure | None) -> AgentOutcome | None:
        said = "; ".join(result.errors or ()) or result.result or result.subtype
        found = Failure(
            text=failure.text if failure is not None and failure.text else said,
            kind=failure.kind if failure is not None else None,
            status=result.api_error_status,
            resets_at=self._resets_at,
            is_request=result.terminal_reason == "api_error",
        )
        error = unavailable(found)
        if error is None or result.stop_reason == "refusal":
            return self._end("failed", error=found.text)
        await self._reporter.hold(error)
        self._resets_at = None
        self._next = WENT_ON
        return None

    async def _after_silence(self, *, is_over: bool) -> AgentOutcome | None:
        if self._was_silent or not is_over:
            times = ", twice" if self._was_silent else ", and its program does not answer"
            error = f"the model service sent nothing for {self._terms.silence_s:g} s{times}"
            return self._end("timed_out", error=error)
        self._was_silent = True
        self._next = STALLED
        return None

    async def _ended(self, result: ResultMessage) -> AgentOutcome | None:
        """The model stopped of its own accord."""
        text = result.result or self._transcript.last_text
        if await self._goes_on(or_ends=self._answer is None or self._nudged):
            return None
        if self._answer is None:
            # After tool calls a model may end with nothing to add to what it said before them.
            return self._end("ok", value=text)
        if self._nudged:
            return self._end("invalid", error=f"the agent ended without calling the `{ANSWER_TOOL}` tool")
        if (limit := self._limit()) is not None:
            return limit
        self._nudged = True
        self._next = NUDGE
        return None

    async def _goes_on(self, *, or_ends: bool = True) -> bool:
        """Whether the agent, which has come to an end of its own, has a message to go on with, and may."""
        if self._limit() is not None:
            return False
        self._from_people += await self._reporter.take_messages(at_end=or_ends and not self._from_people)
        if self._from_people:
            self._nudged = False
        return bool(self._from_people)

    # --- limits and the end

    def _over_tokens(self) -> AgentOutcome | None:
        total, used = self._terms.total_tokens, self._tally.total.output_tokens
        if total is None or used < total:
            return None
        error = f"the agent used {used} output tokens, its limit is {total} (maxTokens)"
        return self._end("over_budget", error=error)

    def _limit(self) -> AgentOutcome | None:
        """The outcome where one of the agent's own limits allows no further request."""
        if (over := self._over_tokens()) is not None:
            return over
        turns = self._tally.requests
        if turns < self._terms.max_turns:
            return None
        last = self._transcript.last_text
        said = f"; it last said: {last[:200]}" if last else ""
        return self._end("failed", error=f"the agent was not done after {turns} turns (maxTurns){said}")

    def _end(self, status: AgentStatus, *, value: JsonValue = None, error: str | None = None) -> AgentOutcome:
        self._tally.broke()
        return AgentOutcome(
            status=status,
            value=value,
            error=error,
            usage=self._tally.total,
            attempts=max(1, self._answer.attempts) if self._answer else 1,
            model=self._tally.model or self._terms.model,
            files_read=tuple(sorted(self._workbench.files_read)),
            files_changed=tuple(sorted(self._workbench.files_changed)),
            tools_called=tuple(self._workbench.tools_called),
        )


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
