"""One agent's conversation with the model, from its task to its outcome.

The SDK's streaming tool runner drives the turns. A runner ends on an error, on `end_turn` and when an answer is
accepted; the messages are kept here, so that a new runner goes on where the last one ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, assert_never, cast

import anthropic
import anyio
import httpx2
from anthropic import omit
from anthropic.lib.tools import BetaAsyncStreamingToolRunner, ToolError
from anthropic.types.beta import BetaMessage, BetaMessageParam, BetaToolUseBlock
from anyio.lowlevel import checkpoint

from callsheet.agents.anthropic.client import CONNECT_TIMEOUT_S
from callsheet.agents.anthropic.door import Door
from callsheet.agents.anthropic.faults import SERVICE_ERRORS, BrokenStreamError, Fault, judge
from callsheet.agents.anthropic.ledger import Ledger
from callsheet.agents.anthropic.patience import Patience
from callsheet.agents.anthropic.reply import receive
from callsheet.agents.anthropic.toolbox import CACHED, AnswerTool, FileTool
from callsheet.agents.anthropic.warmup import Warmups
from callsheet.agents.prompt import ANSWER_TOOL, CUT_OFF, GO_ON, NUDGE, PERSON_INTRO, SystemPrompt
from callsheet.agents.timing import Timing
from callsheet.agents.tools.workbench import Workbench
from callsheet.errors import BackendUnavailableError
from callsheet.model.call import Effort
from callsheet.model.outcome import AgentOutcome, AgentStatus
from callsheet.model.reports import MessageAdded
from callsheet.model.values import JsonValue
from callsheet.ports import AgentReporter

MAX_CONTINUATIONS = 3
"""How often in a row a reply that was cut off at the limit of output tokens is continued."""

COMPACTION_BETA = "compact-2026-09-04"
REPEATED_CHARS = 40_000
"""Of the task, and of the newest messages of people, after a compaction: a summary may lose their exact words."""

CLOSE_LIMIT_S = 1.0

Step: TypeAlias = AgentOutcome | Literal["go on", "anew"]
"""After a turn: the end, the same runner's next turn, or a new runner over the kept messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What all requests of one agent have in common.

    Attributes:
        request_tokens: Output tokens that one request may ask for.
        total_tokens: Output tokens of the whole agent (`maxTokens`); None for no limit.
        silence_s: How long the service may send nothing (`stallMs`).
        headers: Sent with each request.
        thinks_when_asked: The model thinks only where adaptive thinking is asked for.
        is_fast: Fast mode is asked for.
        betas: What of the service's betas each request needs.
        compact_at_tokens: How long the conversation may become before it is compacted; None where it cannot be.
        agent: Which one it is, among all of the process.
        prefix: Stands for the beginning of the prompt that other agents share; None where it is not worth waiting for.
    """

    model: str
    system: SystemPrompt
    effort: Effort | None
    request_tokens: int
    total_tokens: int | None
    max_turns: int
    silence_s: float
    headers: Mapping[str, str]
    thinks_when_asked: bool = False
    is_fast: bool = False
    betas: tuple[str, ...] = ()
    compact_at_tokens: int | None = None
    agent: str
    prefix: object | None = None


class Conversation:
    """One agent. Made for one `run`."""

    def __init__(
        self,
        *,
        client: anthropic.AsyncAnthropic,
        terms: Terms,
        tools: Sequence[FileTool],
        answer: AnswerTool | None,
        workbench: Workbench,
        ledger: Ledger,
        door: Door,
        warmups: Warmups,
        reporter: AgentReporter,
        timing: Timing,
    ) -> None:
        self._client = client
        self._terms = terms
        self._file_tools = tools
        self._answer = answer
        self._tools: dict[str, FileTool | AnswerTool] = {tool.name: tool for tool in tools}
        if answer is not None:
            self._tools[answer.name] = answer
        self._workbench = workbench
        self._ledger = ledger
        self._reporter = reporter
        self._timing = timing
        self._door = door
        self._warmups = warmups
        self._patience = Patience()
        self._messages: list[BetaMessageParam] = []
        self._marked: tuple[list[Any], Any] | None = None
        self._turns = 0
        self._nudged = self._forced = False
        self._continuations = 0
        self._cut_text = ""
        self._last_text = ""
        self._prompt = ""
        self._from_people: list[str] = []
        self._size_tokens = 0
        self._may_compact = terms.compact_at_tokens is not None
        self._is_compacting = self._was_compacted = False

    async def run(self, *, context: str | None, prompt: str) -> AgentOutcome:
        """Does the task to its end; where the run waits for the service, it goes on from here.

        Raises:
            BackendUnavailableError: The service is out of reach for every agent, and the run does not wait (K05).
        """
        self._prompt = prompt
        opening = [_text_block(text) for text in (context, prompt) if text]
        await self._keep_user(opening)
        if context:
            opening[0] = {**opening[0], **CACHED}
        while True:
            if self._messages[-1]["role"] == "user":
                await self._take_messages()
            try:
                outcome = await self._take_turns()
            except BackendUnavailableError as error:
                await self._reporter.hold(error)
                await checkpoint()
                self._patience.restored()
                outcome = None
            except SERVICE_ERRORS as error:
                outcome = self._after(judge(error, self._timing.now().timestamp()))
            if outcome is not None:
                return outcome

    # --- turns

    async def _take_turns(self) -> AgentOutcome | None:
        """Runs one runner until it fails, the agent ends, or a new runner is needed (None)."""
        runner = self._runner()
        try:
            while True:
                message = await self._next_reply(runner)
                self._patience.restored()
                if self._is_compacting:
                    await self._compacted(message)
                    return None
                self._turns += 1
                self._size_tokens = _size_tokens(message)
                self._workbench.output_tokens = self._ledger.total.output_tokens
                await self._keep_reply(message)
                step = await self._step(message, runner)
                if step == "anew":
                    return None
                if step != "go on":
                    return step
        finally:
            with anyio.move_on_after(CLOSE_LIMIT_S, shield=True):
                await runner.close()

    async def _next_reply(self, runner: BetaAsyncStreamingToolRunner[None]) -> BetaMessage:
        """One request, once the circuit lets it go and, if it is the agent's first, the cache is warm."""
        patience = self._patience
        async with (
            self._warmups.turn(self._terms.prefix if self._turns == 0 else None, self._reporter) as warmup,
            self._door.request(
                self._reporter,
                agent=self._terms.agent,
                goes_first=patience.goes_first,
                is_silent=patience.stalls > 0,
            ) as request,
        ):

            def opened() -> None:
                request.opened()
                warmup.opened()

            stream = await anext(runner, None)
            if stream is None:
                raise BrokenStreamError("the runner stopped without an end")
            return await receive(stream, self._ledger, self._reporter, self._timing, opened=opened)

    def _runner(self) -> BetaAsyncStreamingToolRunner[None]:
        terms = self._terms
        system = terms.system
        self._is_compacting = self._is_full and self._messages[-1]["role"] == "user"
        is_about_compaction = self._is_compacting or self._was_compacted
        betas = [*terms.betas, *([COMPACTION_BETA] if is_about_compaction else [])]
        runner = self._client.beta.messages.tool_runner(
            model=terms.model,
            max_tokens=self._next_tokens(),
            system=[{"type": "text", "text": system.shared}, cast(Any, {**_text_block(system.place), **CACHED})],
            messages=list(self._messages),
            tools=list(self._tools.values()),
            tool_choice={"type": "tool", "name": ANSWER_TOOL} if self._forced else omit,
            output_config={"effort": terms.effort} if terms.effort else omit,
            thinking={"type": "adaptive"} if terms.thinks_when_asked and not self._forced else omit,
            speed="fast" if terms.is_fast else omit,
            betas=betas or omit,
            timeout=httpx2.Timeout(terms.silence_s, connect=CONNECT_TIMEOUT_S, pool=None),
            extra_headers=terms.headers or None,
            stream=True,
            # Else the service keeps the conversation, and gateways, the offline model and resume see only its end.
            thread=False,
        )
        if self._is_compacting:
            runner.compact_before_next_turn()
        return runner

    # --- a conversation that becomes too long

    @property
    def _is_full(self) -> bool:
        """Whether the conversation is to be compacted before it goes on."""
        limit_tokens = self._terms.compact_at_tokens
        return self._may_compact and limit_tokens is not None and self._size_tokens >= limit_tokens

    async def _compacted(self, message: BetaMessage) -> None:
        """Goes on from the service's summary, which is part of the record as every message is."""
        self._is_compacting = False
        self._size_tokens = 0
        await self._reporter.report(MessageAdded(payload=cast(JsonValue, message.to_dict())))
        content = [cast(Any, block.to_dict()) for block in message.content]
        if not any(block.type == "compaction" and block.content for block in message.content):
            self._may_compact = False
            return
        self._was_compacted = True
        self._marked = None
        self._messages = [cast(BetaMessageParam, {"role": "assistant", "content": content})]
        again = [f"{GO_ON}{_cut(self._prompt, REPEATED_CHARS)}", *_newest(self._from_people, REPEATED_CHARS)]
        await self._keep_user([_text_block(text) for text in again])

    def _outgrown(self, message: BetaMessage) -> Step:
        """The window was full in the middle of a reply: that reply is asked for again, after a compaction."""
        if not self._may_compact:
            return self._end("failed", error="the conversation no longer fits into the model's context window")
        if message.content:
            self._messages.pop()
        self._size_tokens = self._terms.compact_at_tokens or 0
        return "anew"

    async def _step(self, message: BetaMessage, runner: BetaAsyncStreamingToolRunner[None]) -> Step:
        calls = [block for block in message.content if block.type == "tool_use"]
        match message.stop_reason:
            case "refusal":
                return self._end("failed", error=_refusal(message))
            case "model_context_window_exceeded":
                return self._limit() or self._outgrown(message)
            case "max_tokens":
                return await self._cut_off(message)
            case "pause_turn" | "compaction":
                return self._limit() or self._next_turn()
            case _ if calls:
                return await self._run_tools(message, calls, runner)
            case _:
                return await self._ended(message)

    async def _run_tools(
        self, message: BetaMessage, calls: Sequence[BetaToolUseBlock], runner: BetaAsyncStreamingToolRunner[None]
    ) -> Step:
        self._cut_text = ""
        self._last_text = _text_of(message) or self._last_text
        # The runner warns on stderr of tools it does not know, and skips calls that a gateway labels `end_turn`.
        ordinary = message.stop_reason == "tool_use" and all(call.name in self._tools for call in calls)
        results = await runner.generate_tool_call_response() if ordinary else await self._results(calls)
        for tool in self._file_tools:
            if tool.fault is not None:
                raise tool.fault
        if results is not None:
            await self._keep_results(results)
        if self._answer is not None and self._answer.accepted:
            if not await self._goes_on():
                return self._end("ok", value=self._answer.value)
            self._answer.reopen()
            return "anew"
        if self._answer is not None and self._answer.exhausted:
            violation = "; ".join(self._answer.violations)
            return self._end("invalid", error=f"no answer fitted the schema; the last one: {violation}")
        limit = self._limit()
        if limit is None and await self._take_messages():
            return "anew"
        return limit or (self._next_turn() if ordinary else "anew")

    def _next_turn(self) -> Literal["go on", "anew"]:
        """The same runner, unless the request's token limit changes with what was used, or a compaction is due."""
        return "go on" if self._terms.total_tokens is None and not self._is_full else "anew"

    async def _results(self, calls: Sequence[BetaToolUseBlock]) -> BetaMessageParam:
        results: list[dict[str, Any]] = []
        for call in calls:
            result: dict[str, Any] = {"type": "tool_result", "tool_use_id": call.id}
            tool = self._tools.get(call.name)
            if tool is None:
                text = f"there is no tool `{call.name}`; you have: {', '.join(self._tools) or 'none'}"
                results.append({**result, "content": text, "is_error": True})
                continue
            try:
                results.append({**result, "content": await tool.call(call.input)})
            except ToolError as error:
                results.append({**result, "content": error.content, "is_error": True})
        return cast(BetaMessageParam, {"role": "user", "content": results})

    async def _ended(self, message: BetaMessage) -> Step:
        """The model stopped of its own accord."""
        text = self._cut_text + _text_of(message)
        if await self._goes_on(or_ends=self._answer is None or self._nudged):
            self._last_text = text or self._last_text
            return "anew"
        if self._answer is None:
            # After tool calls a model may end with nothing to add to what it said before them.
            return self._end("ok", value=text or self._last_text)
        if self._nudged:
            return self._end("invalid", error=f"the agent ended without calling the `{ANSWER_TOOL}` tool")
        limit = self._limit()
        if limit is not None:
            return limit
        self._nudged = self._forced = True
        await self._keep_user([_text_block(NUDGE)])
        return "anew"

    async def _cut_off(self, message: BetaMessage) -> Step:
        """The reply reached the limit of output tokens: goes on from what of it is whole, a few times."""
        limit = self._limit()
        if limit is not None:
            return limit
        if self._continuations == MAX_CONTINUATIONS:
            times = f"{MAX_CONTINUATIONS + 1} times in a row"
            error = f"the reply was cut off at {self._next_tokens()} output tokens, {times}"
            return self._end("failed", error=error)
        self._continuations += 1
        self._cut_text += _text_of(message)
        whole = [block for block in message.content if block.type == "text" and block.text.strip()]
        if message.content:
            self._messages.pop()
        if whole:
            self._messages.append({"role": "assistant", "content": whole})
        await self._keep_user([_text_block(CUT_OFF)])
        return "anew"

    def _after(self, fault: Fault) -> AgentOutcome | None:
        """What follows a failed request, where it is this agent's alone: None to try again, as the circuit allows."""
        match fault.kind:
            case "agent" if self._is_compacting:
                # Gateways, and models that are not listed, may not know of it; the window itself is the limit then.
                self._is_compacting = self._may_compact = False
                return None
            case "agent" if self._forced:
                # Some models take no forced tool while they think; the nudge's words remain.
                self._forced = False
                return None
            case "agent":
                return self._end("failed", error=fault.message)
            case "stalled" if self._patience.stalled_again():
                error = f"the model service sent nothing for {self._terms.silence_s:g} s, twice"
                return self._end("timed_out", error=error)
            case "again" | "run" if self._patience.failed_too_often():
                tries = self._patience.failures
                return self._end("failed", error=f"{fault.message} (tried {tries} times, while others were answered)")
            case "stalled" | "again" | "run":
                return None
            case _:
                assert_never(fault.kind)

    # --- messages of people

    async def _take_messages(self, *, at_end: bool = False) -> bool:
        """Adds what people sent meanwhile to the conversation; whether there was anything."""
        taken = await self._reporter.take_messages(at_end=at_end)
        for message in taken:
            self._from_people.append(f"{PERSON_INTRO}{message}")
            await self._keep_user([_text_block(self._from_people[-1])], from_person=True)
        return bool(taken)

    async def _goes_on(self, *, or_ends: bool = True) -> bool:
        """Whether the agent, which has come to an end of its own, has a message to go on with, and may.

        `or_ends` says that it ends otherwise, and takes no message from then on.
        """
        if self._limit() is not None or not await self._take_messages(at_end=or_ends):
            return False
        self._cut_text = ""
        self._nudged = self._forced = False
        return True

    # --- limits and the end

    def _next_tokens(self) -> int:
        total = self._terms.total_tokens
        if total is None:
            return self._terms.request_tokens
        return max(1, min(self._terms.request_tokens, total - self._ledger.total.output_tokens))

    def _limit(self) -> AgentOutcome | None:
        """The outcome where one of the agent's own limits allows no further request."""
        total = self._terms.total_tokens
        used = self._ledger.total.output_tokens
        if total is not None and used >= total:
            error = f"the agent used {used} output tokens, its limit is {total} (maxTokens)"
            return self._end("over_budget", error=error)
        if self._turns >= self._terms.max_turns:
            said = f"; it last said: {self._last_text[:200]}" if self._last_text else ""
            return self._end("failed", error=f"the agent was not done after {self._turns} turns (maxTurns){said}")
        return None

    def _end(self, status: AgentStatus, *, value: JsonValue = None, error: str | None = None) -> AgentOutcome:
        return AgentOutcome(
            status=status,
            value=value,
            error=error,
            usage=self._ledger.total,
            attempts=max(1, self._answer.attempts) if self._answer else 1,
            model=self._ledger.model or self._terms.model,
            mode=self._ledger.mode,
            files_read=tuple(sorted(self._workbench.files_read)),
            files_changed=tuple(sorted(self._workbench.files_changed)),
            tools_called=tuple(self._workbench.tools_called),
        )

    # --- the kept messages

    async def _keep_user(self, content: list[dict[str, Any]], *, from_person: bool = False) -> None:
        payload: JsonValue = {"role": "user", "content": list(content)}
        await self._reporter.report(MessageAdded(payload=payload, from_person=from_person))
        self._messages.append(cast(BetaMessageParam, {"role": "user", "content": content}))
        self._mark(content)

    async def _keep_results(self, results: BetaMessageParam) -> None:
        content = cast(list[Any], results["content"])
        await self._reporter.report(MessageAdded(payload={"role": "user", "content": list(content)}))
        self._messages.append(results)
        self._mark(content)

    async def _keep_reply(self, message: BetaMessage) -> None:
        await self._reporter.report(MessageAdded(payload=cast(JsonValue, message.to_dict())))
        if message.content:
            self._messages.append({"role": "assistant", "content": message.content})

    def _mark(self, content: list[Any]) -> None:
        """Moves the cache mark to the end of the newest message; a request takes only four marks in all."""
        if self._marked is not None:
            previous, unmarked = self._marked
            previous[-1] = unmarked
        self._marked = (content, content[-1])
        content[-1] = {**content[-1], **CACHED}


def _text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _cut(text: str, most_chars: int) -> str:
    return text if len(text) <= most_chars else f"{text[:most_chars]} […]"


def _newest(texts: Sequence[str], most_chars: int) -> list[str]:
    """The last of some texts, in their order: as many as fit, the newest in any case, cut where it is too long."""
    kept: list[str] = []
    for text in reversed(texts):
        most_chars -= len(text)
        if kept and most_chars < 0:
            break
        kept.insert(0, _cut(text, REPEATED_CHARS))
    return kept


def _text_of(message: BetaMessage) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def _size_tokens(message: BetaMessage) -> int:
    """How long the conversation is with this reply."""
    usage = message.usage
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    return usage.input_tokens + cached + usage.output_tokens


def _refusal(message: BetaMessage) -> str:
    details = message.stop_details
    category = f" ({details.category})" if details and details.category else ""
    explanation = f": {details.explanation}" if details and details.explanation else ""
    return f"the model refused the task{category}{explanation}"
