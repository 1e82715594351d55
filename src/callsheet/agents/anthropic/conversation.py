"""One agent's conversation with the model, from its task to its outcome: what follows each turn.

The first turn is a plain streamed request, since most agents answer at once and a runner costs about a third of the
request that it sends. The SDK's streaming tool runner drives the turns after it. A runner ends on an error, on
`end_turn` and when an answer is accepted; the transcript keeps the messages, so that a new runner goes on where the
last one ended.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, TypeAlias, assert_never

import anyio
import httpx2
from anthropic import omit
from anthropic.lib.streaming import BetaAsyncMessageStream
from anthropic.lib.tools import BetaAsyncStreamingToolRunner
from anthropic.types.beta import BetaMessage, BetaToolUseBlock
from anyio.lowlevel import checkpoint

from callsheet.agents.anthropic.client import CONNECT_TIMEOUT_S, Client, messages_of
from callsheet.agents.anthropic.compaction import Compaction
from callsheet.agents.anthropic.door import Door
from callsheet.agents.anthropic.ending import Ending
from callsheet.agents.anthropic.faults import SERVICE_ERRORS, BrokenStreamError, Fault, judge
from callsheet.agents.anthropic.history import Way
from callsheet.agents.anthropic.ledger import Ledger
from callsheet.agents.anthropic.patience import Patience
from callsheet.agents.anthropic.purse import Purse
from callsheet.agents.anthropic.reply import receive
from callsheet.agents.anthropic.searches import Searches
from callsheet.agents.anthropic.terms import Terms
from callsheet.agents.anthropic.toolbox import CACHED, Toolset
from callsheet.agents.anthropic.transcript import Transcript, text_block, text_of
from callsheet.agents.anthropic.warmup import Warmups
from callsheet.agents.prompt import ANSWER_TOOL, CUT_OFF, NUDGE
from callsheet.agents.timing import Timing
from callsheet.agents.tools.names import WEB_SEARCH
from callsheet.agents.tools.workbench import Workbench
from callsheet.errors import BackendUnavailableError, OverBudgetError
from callsheet.model.call import KeptConversation
from callsheet.model.conversation import Earlier
from callsheet.model.opening import Opening
from callsheet.model.outcome import AgentOutcome
from callsheet.model.reports import Remark
from callsheet.ports import AgentReporter

MAX_CONTINUATIONS = 3
"""How often in a row a reply that was cut off at the limit of output tokens is continued."""

CLOSE_LIMIT_S = 1.0

Runner: TypeAlias = BetaAsyncStreamingToolRunner[None]
Stream: TypeAlias = BetaAsyncMessageStream[None]

Step: TypeAlias = AgentOutcome | Literal["go on", "anew"]
"""After a turn: the end, the same runner's next turn, or a new runner over the kept messages."""


class Conversation:
    """One agent. Made for one `run`."""

    def __init__(
        self,
        *,
        client: Client,
        terms: Terms,
        tools: Toolset,
        workbench: Workbench,
        ledger: Ledger,
        purse: Purse,
        door: Door,
        warmups: Warmups,
        reporter: AgentReporter,
        timing: Timing,
        plain_notices: set[str] | None = None,
        opening: Opening | None = None,
    ) -> None:
        self._client = client
        self._terms = terms
        self._tools = tools
        self._answer = tools.answer
        self._workbench = workbench
        self._ledger = ledger
        self._purse = purse
        self._reporter = reporter
        self._timing = timing
        self._door = door
        self._warmups = warmups
        self._patience = Patience()
        self._transcript = Transcript(reporter, purse, Way.of(terms, tools), opening=opening)
        self._compaction = Compaction(terms.compact_at_tokens)
        self._ending = Ending(terms, ledger=ledger, workbench=workbench, answer=tools.answer)
        self._searches = Searches(workbench)
        self._search_refused: str | None = None
        self._plain_notices = set[str]() if plain_notices is None else plain_notices
        self._notice_refused = False
        self._turns = 0
        self._nudged = self._forced = False
        self._continuations = 0
        self._cut_text = ""
        self._last_text = ""

    async def run(
        self,
        *,
        context: str | None,
        prompt: str,
        kept: KeptConversation | None = None,
        earlier: Earlier | None = None,
    ) -> AgentOutcome:
        """Does the task to its end; where the run waits for the service, it goes on from here.

        With `kept` it goes on from where an earlier process was cut off (CONTRACT R01), with `earlier` from turns
        before.

        Raises:
            BackendUnavailableError: The service is out of reach for every agent, and the run does not wait (K05).
        """
        self._turns, thread = await self._transcript.begin(context=context, prompt=prompt, kept=kept, earlier=earlier)
        self._compaction.goes_on(thread.known_tokens, has_summary=thread.has_summary)
        while True:
            if self._transcript.may_be_told:
                await self._transcript.take_messages()
            try:
                outcome = await self._take_turns()
            except BackendUnavailableError as error:
                await self._reporter.hold(error)
                await checkpoint()
                self._patience.restored()
                outcome = None
            except OverBudgetError as error:
                outcome = self._ending.outcome(error.status, error=error.message)
            except SERVICE_ERRORS as error:
                outcome = await self._after(judge(error, self._timing.now().timestamp(), service=self._door.service))
            if outcome is not None:
                return outcome

    # --- requests

    async def _take_turns(self) -> AgentOutcome | None:
        """Takes the first turn, or runs a runner until it fails, the agent ends, or a new one is needed (None)."""
        self._compaction.begin_if_due(awaits_reply=self._transcript.awaits_reply)
        runner: Runner | None = None
        tokens = 0
        try:
            while True:
                async with self._purse.request(
                    cut_offs=self._continuations,
                    is_compacting=self._compaction.is_running,
                    searches=self._tools.search is not None,
                ) as request:
                    # What a runner asks for cannot be changed any more once it has run tools.
                    needs_runner = self._turns > 0 or self._compaction.is_running
                    if needs_runner and (runner is None or request.tokens != tokens):
                        await _close(runner)
                        runner, tokens = self._runner(request.tokens), request.tokens
                    message = request.reply = await self._next_reply(runner, request.tokens)
                step = await self._took(message, runner)
                if step != "go on":
                    return None if step == "anew" else step
        finally:
            await _close(runner)

    async def _took(self, message: BetaMessage, runner: Runner | None) -> Step:
        """What is done about a reply."""
        self._patience.restored()
        if self._compaction.is_running:
            await self._compacted(message)
            return "anew"
        self._turns += 1
        if self._search_refused is not None:
            await self._remark(f"`{WEB_SEARCH}` is left out: {self._search_refused}")
            self._search_refused = None
        if self._notice_refused:
            self._notice_refused = False
            self._plain_notices.add(self._terms.model)
        self._compaction.took(message)
        self._workbench.calls.output_tokens = self._ledger.total.output_tokens
        await self._transcript.add_reply(message)
        await self._searches.took(message)
        return await self._step(message, runner)

    async def _next_reply(self, runner: Runner | None, tokens: int) -> BetaMessage:
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

            async with self._first_stream(tokens) if runner is None else _next_stream(runner) as stream:
                return await receive(stream, self._ledger, self._reporter, self._timing, opened=opened)

    def _first_stream(self, tokens: int) -> AbstractAsyncContextManager[Stream]:
        return messages_of(self._client).stream(**self._request(tokens), tools=self._tools.definitions)

    def _runner(self, tokens: int) -> Runner:
        runner: Runner = messages_of(self._client).tool_runner(
            **self._request(tokens),
            tools=self._tools.offered,
            stream=True,
            # Else the service keeps the conversation, and gateways, the offline model and resume see only its end.
            thread=False,
        )
        if self._compaction.is_running:
            runner.compact_before_next_turn()
        return runner

    def _request(self, tokens: int) -> dict[str, Any]:
        """All of a request but the tools, in the words of the client."""
        terms = self._terms
        system = terms.system
        return {
            "model": terms.model,
            "max_tokens": tokens,
            "system": [text_block(system.shared), {**text_block(system.place), **CACHED}],
            "messages": list(self._transcript.messages),
            "tool_choice": {"type": "tool", "name": ANSWER_TOOL} if self._forced else omit,
            "output_config": {"effort": terms.effort} if terms.effort else omit,
            "thinking": {"type": "adaptive"} if terms.thinks_when_asked and not self._forced else omit,
            "speed": "fast" if terms.is_fast else omit,
            "betas": [*terms.betas, *self._compaction.betas] or omit,
            "timeout": httpx2.Timeout(terms.silence_s, connect=CONNECT_TIMEOUT_S, pool=None),
            "extra_headers": terms.headers or None,
        }

    # --- what follows a reply

    async def _step(self, message: BetaMessage, runner: Runner | None) -> Step:
        calls = [block for block in message.content if block.type == "tool_use"]
        match message.stop_reason:
            case "refusal":
                return self._ending.refused(message)
            case "model_context_window_exceeded":
                return self._limit() or self._outgrown(message)
            case "max_tokens":
                return await self._cut_off(message)
            case "pause_turn" | "compaction":
                return self._limit() or self._next_turn(runner)
            case _ if calls:
                return await self._run_tools(message, calls, runner)
            case _:
                return await self._ended(message)

    async def _compacted(self, message: BetaMessage) -> None:
        """Goes on from the service's summary, which is part of the record as every message is."""
        await self._transcript.record(message)
        if self._compaction.finished(message):
            await self._transcript.begin_again(message)

    def _outgrown(self, message: BetaMessage) -> Step:
        """The window was full in the middle of a reply: that reply is asked for again, after a compaction."""
        if not self._compaction.outgrew():
            error = "the conversation no longer fits into the model's context window"
            return self._ending.outcome("failed", error=error)
        self._transcript.drop_reply(message)
        return "anew"

    async def _run_tools(self, message: BetaMessage, calls: Sequence[BetaToolUseBlock], runner: Runner | None) -> Step:
        self._cut_text = ""
        self._last_text = text_of(message) or self._last_text
        # The runner warns on stderr of tools it does not know, and skips calls that a gateway labels `end_turn`.
        if message.stop_reason != "tool_use" or not self._tools.has_all(calls):
            runner = None
        results = await (self._tools.results(calls) if runner is None else runner.generate_tool_call_response())
        self._tools.check()
        if results is not None:
            await self._transcript.add_results(results)
        if self._answer is not None and self._answer.accepted:
            if not await self._goes_on():
                return self._ending.outcome("ok", value=self._answer.value)
            self._answer.reopen()
            return "anew"
        if self._answer is not None and self._answer.exhausted:
            violation = "; ".join(self._answer.violations)
            return self._ending.outcome("invalid", error=f"no answer fitted the schema; the last one: {violation}")
        limit = self._limit()
        if limit is None and await self._transcript.take_messages():
            return "anew"
        return limit or self._next_turn(runner)

    def _next_turn(self, runner: Runner | None) -> Literal["go on", "anew"]:
        """The same runner, unless a compaction is due."""
        return "anew" if runner is None or self._compaction.is_due else "go on"

    async def _ended(self, message: BetaMessage) -> Step:
        """The model stopped of its own accord."""
        text = self._cut_text + text_of(message)
        if await self._goes_on(or_ends=self._answer is None or self._nudged):
            self._last_text = text or self._last_text
            return "anew"
        if self._answer is None:
            # After tool calls a model may end with nothing to add to what it said before them.
            return self._ending.outcome("ok", value=text or self._last_text)
        if self._nudged:
            return self._ending.outcome("invalid", error=f"the agent ended without calling the `{ANSWER_TOOL}` tool")
        limit = self._limit()
        if limit is not None:
            return limit
        self._nudged = self._forced = True
        await self._transcript.say(NUDGE)
        return "anew"

    async def _cut_off(self, message: BetaMessage) -> Step:
        """The reply reached the limit of output tokens: goes on from what of it is whole, a few times."""
        limit = self._limit()
        if limit is not None:
            return limit
        if self._continuations == MAX_CONTINUATIONS:
            times = f"{MAX_CONTINUATIONS + 1} times in a row"
            error = f"the reply was cut off at {self._purse.tokens} output tokens, {times}"
            return self._ending.outcome("over_budget" if self._purse.is_short else "failed", error=error)
        self._continuations += 1
        self._cut_text += text_of(message)
        self._transcript.keep_whole_text(message)
        await self._transcript.say(CUT_OFF)
        return "anew"

    async def _goes_on(self, *, or_ends: bool = True) -> bool:
        """Whether the agent, which has come to an end of its own, has a message to go on with, and may.

        `or_ends` says that it ends otherwise, and takes no message from then on.
        """
        if self._limit() is not None or not await self._transcript.take_messages(at_end=or_ends):
            return False
        self._cut_text = ""
        self._nudged = self._forced = False
        return True

    def _limit(self) -> AgentOutcome | None:
        return self._ending.limit(self._turns, self._last_text)

    # --- what follows a failed request

    async def _after(self, fault: Fault) -> AgentOutcome | None:
        """The end, where the failure is this agent's alone: None to try again, as the circuit allows."""
        match fault.kind:
            case "agent" if self._compaction.is_running:
                self._compaction.refused()
                await self._remark(f"conversations are not compacted, a model's window is their limit: {fault.message}")
                return None
            case "agent" if self._tools.search is not None and self._turns == 0:
                # A gateway or a model may not have it; where something else was refused, that is refused again.
                self._tools.search = None
                self._search_refused = fault.message
                return None
            case "agent" if self._transcript.holds_notices and self._turns == 0:
                # Gateways may not know them; where something else was refused, that is refused again.
                self._transcript.tell_in_text()
                self._notice_refused = True
                return None
            case "agent" if self._forced:
                # Some models take no forced tool while they think; the nudge's words remain.
                self._forced = False
                return None
            case "agent":
                return self._ending.outcome("failed", error=fault.message)
            case "stalled" if self._patience.stalled_again():
                error = f"the model service sent nothing for {self._terms.silence_s:g} s, twice"
                return self._ending.outcome("timed_out", error=error)
            case "again" | "run" if self._patience.failed_too_often():
                tries = f"tried {self._patience.failures} times, while others were answered"
                return self._ending.outcome("failed", error=f"{fault.message} ({tries})")
            case "stalled" | "again" | "run":
                return None
            case _:
                assert_never(fault.kind)

    async def _remark(self, message: str) -> None:
        await self._reporter.report(Remark(level="info", message=message))


@asynccontextmanager
async def _next_stream(runner: Runner) -> AsyncIterator[Stream]:
    """The runner's next request; the runner closes it."""
    stream = await anext(runner, None)
    if stream is None:
        raise BrokenStreamError("the runner stopped without an end")
    yield stream


async def _close(runner: Runner | None) -> None:
    if runner is not None:
        with anyio.move_on_after(CLOSE_LIMIT_S, shield=True):
            await runner.close()
