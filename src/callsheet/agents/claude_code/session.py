"""One agent's conversation through Claude Code's program, from its task to its outcome.

The program talks to the model and keeps the conversation. It ends a turn when the model has ended, when a request has
failed for good, or when we stop it between two requests; what follows then is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

import anyio
from claude_agent_sdk import ClaudeSDKClient, ResultMessage

from callsheet.agents.answer import Answer
from callsheet.agents.claude_code.faults import Failure, unavailable
from callsheet.agents.claude_code.program import Program
from callsheet.agents.claude_code.purse import Purse
from callsheet.agents.claude_code.tally import Tally
from callsheet.agents.claude_code.toolbox import Desk
from callsheet.agents.claude_code.turns import Died, Ended, Foreign, Refused, Silent, Spent, Terms, Turn, Turns
from callsheet.agents.prompt import ANSWER_TOOL, NUDGE, PERSON_INTRO
from callsheet.agents.tools.workbench import Workbench
from callsheet.errors import BackendUnavailableError, OverBudgetError
from callsheet.model.outcome import AgentOutcome, AgentStatus
from callsheet.model.values import JsonValue
from callsheet.ports import AgentReporter

WENT_ON = "The model service could not be reached for a while. Go on where you stopped."
STALLED = "Your last message did not come through. Go on where you stopped."
LAST_REPORT_LIMIT_S = 0.5


class Session:
    """One agent. Made for one `run`."""

    def __init__(
        self,
        *,
        client: ClaudeSDKClient,
        program: Program,
        terms: Terms,
        turns: Turns,
        desk: Desk,
        answer: Answer | None,
        workbench: Workbench,
        tally: Tally,
        purse: Purse,
        reporter: AgentReporter,
    ) -> None:
        self._client = client
        self._program = program
        self._terms = terms
        self._turns = turns
        self._desk = desk
        self._answer = answer
        self._workbench = workbench
        self._tally = tally
        self._purse = purse
        self._over: OverBudgetError | None = None
        self._reporter = reporter
        self._transcript = turns.transcript
        self._from_people: list[str] = []
        self._nudged = False
        self._next: str | None = None

    async def run(self, opening: Sequence[dict[str, Any]]) -> AgentOutcome:
        """Does the task to its end; where the run waits for the service, it goes on from here.

        Raises:
            BackendUnavailableError: The service is out of reach for every agent, and the run does not wait (K05).
        """
        away: BackendUnavailableError | None = None
        outcome: AgentOutcome | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._turns.pump)
            tasks.start_soon(self._desk.serve)
            try:
                outcome = await self._converse(list(opening))
            except BackendUnavailableError as error:
                away = error
            finally:
                tasks.cancel_scope.cancel("the agent has ended")
                self._tally.broke()
                self._turns.end()
                with anyio.move_on_after(LAST_REPORT_LIMIT_S, shield=True):
                    await self._turns.report()
                    await self._purse.settle()  # now: the program may take longer to end than a cancelled agent has
        if away is not None:
            raise away
        assert outcome is not None
        return outcome

    async def _converse(self, opening: list[dict[str, Any]]) -> AgentOutcome:
        try:
            failed = await self._say(opening)
            while failed is None:
                outcome = await self._after(await self._turns.next())
                if outcome is not None:
                    return outcome
                failed = await self._say_next()
        except OverBudgetError as error:
            return self._end(error.status, error=error.message)
        return self._end("failed", error=f"Claude Code's program failed: {failed.why}")

    # --- what is said to the model

    async def _say(self, content: list[dict[str, Any]], *, from_person: bool = False) -> Died | None:
        await self._transcript.said(content, from_person=from_person)
        return await self._send(content)

    async def _send(self, content: list[dict[str, Any]]) -> Died | None:
        async def message() -> Any:
            yield {"type": "user", "message": {"role": "user", "content": content}, "parent_tool_use_id": None}

        await self._purse.renew()
        self._program.is_idle = False
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
        self._purse.added(content)
        return await self._send(content)

    # --- what follows a turn

    async def stops(self) -> str | None:
        """Why the turn is to end before the next request, which is reserved; None where it goes on.

        Asked when the tools of a reply have run.
        """
        await self._purse.until_settled()
        self._workbench.calls.output_tokens = self._tally.total.output_tokens
        answer = self._answer
        if answer is not None and (answer.accepted or answer.exhausted):
            return "The answer is taken."
        if self._limit() is not None:
            return "The agent has reached its limit."
        self._from_people += await self._reporter.take_messages()
        if self._from_people:
            return "A person sends a message."
        try:
            await self._purse.renew()
        except OverBudgetError as error:
            self._over = error
            return "There is no budget for more."
        return None

    async def _after(self, turn: Turn) -> AgentOutcome | None:
        """The outcome, or None where the agent goes on with what `_say_next` says."""
        self._workbench.calls.output_tokens = self._tally.total.output_tokens
        match turn:
            case Died(why=why):
                return self._end("failed", error=f"Claude Code's program failed: {why}")
            case Foreign(tools=tools):
                message = f"Claude Code's program has tools that Callsheet does not decide about: {', '.join(tools)}"
                return self._end("failed", error=message)
            case Spent():
                return self._over_tokens()
            case Refused(error=error):
                return self._end(error.status, error=error.message)
            case Silent():
                return self._after_silence(turn)
            case Ended(result=result, failure=failure):
                return await self._after_end(result, failure)
            case _:
                assert_never(turn)

    async def _after_end(self, result: ResultMessage, failure: Failure | None) -> AgentOutcome | None:
        answer = self._answer
        if self._over is not None:
            return self._end(self._over.status, error=self._over.message)
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
        if failure is not None:
            return await self._after_failure(result, failure)
        if (limit_reached := self._limit()) is not None and result.terminal_reason != "completed":
            return limit_reached
        return None if self._from_people else await self._ended(result)

    async def _after_failure(self, result: ResultMessage, failure: Failure) -> AgentOutcome | None:
        error = unavailable(failure)
        if error is None or result.stop_reason == "refusal":
            return self._end("failed", error=failure.text)
        await self._reporter.hold(error)
        self._next = WENT_ON
        return None

    def _after_silence(self, turn: Silent) -> AgentOutcome | None:
        if turn.is_again or not turn.is_over:
            times = ", twice" if turn.is_again else ", and its program does not answer"
            error = f"the model service sent nothing for {self._terms.silence_s:g} s{times}"
            return self._end("timed_out", error=error)
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
            judged=self._answer.judged if self._answer else 0,
            model=self._tally.model or self._terms.model,
            files_read=tuple(sorted(self._workbench.files_read)),
            files_changed=tuple(sorted(self._workbench.files_changed)),
            tools_called=tuple(self._workbench.calls.names),
        )


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
