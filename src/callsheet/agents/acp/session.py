"""One agent's session with its program, from its task to its outcome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio

from callsheet import __version__
from callsheet.agents.acp.asking import chosen, wishes
from callsheet.agents.acp.connection import Connection, NoSuchMethod, Object, SaidNo, Silent
from callsheet.agents.acp.deeds import Deeds
from callsheet.agents.acp.files import Files
from callsheet.agents.acp.program import Program, ProgramGone
from callsheet.agents.acp.speech import Speech
from callsheet.agents.acp.tally import Tally
from callsheet.agents.answer import Answer, judge_of, terms_of
from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.calls import ToolCalls
from callsheet.agents.tools.gate import Gate
from callsheet.agents.tools.names import ToolFailure, ToolName
from callsheet.errors import BackendUnavailableError, OverBudgetError
from callsheet.groups import lone_error
from callsheet.model.call import ACP_BACKENDS, AgentTask
from callsheet.model.outcome import AgentOutcome, AgentStatus
from callsheet.model.reports import Progress
from callsheet.model.spending import Need
from callsheet.model.values import JsonValue
from callsheet.ports import AgentReporter

VERSION = 1
"""Of the protocol."""

DEFAULT_STALL_MS = 600_000.0
"""How long a program may send nothing, and wait for nothing of ours, before it counts as stalled (CONTRACT K04).

Longer than a model's silence: what it runs by itself, a build, is silent too."""

STARTED_WITHIN_S = 60.0
TURN_TOKENS = 32_000
"""What is set aside for a turn, of which nobody can say before how many requests it has."""

_CANCELLED_WITHIN_S = 0.5
_LAST_REPORT_LIMIT_S = 0.3
_AUTH_REQUIRED = -32000

SCHEMA_PROMPT = """\
Your last message must be one JSON value and nothing else: no words before or after it, no code fence. It is the \
return value, and must fit this JSON Schema:
"""

_STOPPED = {
    "max_tokens": "its model reached the limit of tokens in the middle",
    "max_turn_requests": "it reached its own limit of requests in one turn",
    "refusal": "its model refused",
    "cancelled": "it cancelled its turn by itself",
}


class Session:
    """One agent. Made for one `run`.

    Args:
        agent: How its program was named in settings.
        task: What it is to do.
        names: The tools that agent type and call leave it.
        bounds: What it may do.
        reporter: Where it reports.
        folder: Where it works, all links followed.

    Raises:
        SchemaUnusableError: The call's schema cannot be used.
        UsageError: The call's folder is not one of the workspace.
    """

    def __init__(
        self,
        *,
        agent: str,
        task: AgentTask,
        names: frozenset[ToolName],
        bounds: Bounds,
        reporter: AgentReporter,
        folder: Path,
    ) -> None:
        self._agent = agent
        self._task = task
        self._names = names
        self._reporter = reporter
        self._folder = folder
        schema, attempts = task.options.schema, terms_of(bounds.answers, task).attempts
        judge = judge_of(bounds.judge, task)
        self._answer = None if schema is None else Answer(schema, judge, attempts=attempts)
        self._gate = Gate(bounds=bounds, task=task, reporter=reporter)
        self._calls = ToolCalls(reporter)
        self._files = Files(gate=self._gate, bounds=bounds, calls=self._calls, agent_id=task.agent_id)
        self._deeds = Deeds(self._calls, reporter)
        self._tally = Tally()
        self._speech = Speech(reporter)
        self._silence_s = (task.options.stall_ms or DEFAULT_STALL_MS) / 1000
        self._id = ""
        self._logins: tuple[str, ...] = ()

    @property
    def files_read(self) -> set[str]:
        """What it has read through us."""
        return self._files.read

    @property
    def files_changed(self) -> set[str]:
        """What it has changed through us."""
        return self._files.changed

    @property
    def tools_called(self) -> tuple[str, ...]:
        """Its tools, in order of first use."""
        return tuple(self._calls.names)

    async def run(self, program: Program, opening: str) -> AgentOutcome:
        """Does the task to its end.

        Cancelling tells the program so, and waits for half a second at most.

        Raises:
            BackendUnavailableError: It cannot be used by any agent: it speaks no such protocol, or is not logged in.
        """
        connection = Connection(program, updated=self._updated, serve=self._serve)
        with lone_error():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(connection.work)
                try:
                    return await self._ended(connection, opening)
                except anyio.get_cancelled_exc_class():
                    with anyio.move_on_after(_CANCELLED_WITHIN_S, shield=True):
                        if self._id:
                            await connection.cancel(self._id)
                    with anyio.move_on_after(_LAST_REPORT_LIMIT_S, shield=True):
                        await self._report()
                    raise
                finally:
                    tasks.cancel_scope.cancel("the agent has ended")
        raise AssertionError("the session ends or raises")

    async def _ended(self, connection: Connection, opening: str) -> AgentOutcome:
        try:
            await self._begin(connection)
            return await self._converse(connection, opening)
        except Silent:
            error = f"the agent's program sent nothing for {self._silence_s:g} s"
            return await self._closed(self.end("timed_out", error=error))
        except ProgramGone as gone:
            return await self._closed(self.end("failed", error=f"the agent's program failed: {gone}"))
        except OverBudgetError as over:
            return await self._closed(self.end(over.status, error=over.message))
        except SaidNo as no:
            if no.code == _AUTH_REQUIRED:
                raise BackendUnavailableError(self._not_logged_in(no), cause="authentication") from no
            return await self._closed(self.end("failed", error=f"the agent's program says: {no.message}"))

    async def _closed(self, outcome: AgentOutcome) -> AgentOutcome:
        await self._report()
        return outcome

    async def _report(self) -> None:
        """What was said last, and what a turn that broke off has used."""
        await self._speech.flush()
        if (paid := self._tally.broke(self._speech.chars)) is not None:
            await self._reporter.report(paid)
        await self._reporter.report(Progress(tokens=self._tally.total.output_tokens, usage=self._tally.total))

    # --- the conversation

    async def _begin(self, connection: Connection) -> None:
        """Greets the program, and has it open a session in the agent's folder, without any MCP server."""
        can = {"readTextFile": "read" in self._names, "writeTextFile": bool(self._names & {"write", "edit"})}
        params: Object = {
            "protocolVersion": VERSION,
            "clientCapabilities": {"fs": dict(can), "terminal": False},
            "clientInfo": {"name": "callsheet", "version": __version__},
        }
        try:
            with anyio.fail_after(STARTED_WITHIN_S):
                said = await connection.request("initialize", params, silence_s=STARTED_WITHIN_S)
                self._logins = _logins(said.get("authMethods"))
                if said.get("protocolVersion") != VERSION:
                    raise BackendUnavailableError(
                        f"the program of agent {self._agent} does not speak version {VERSION} of the Agent Client "
                        f"Protocol but {said.get('protocolVersion')!r}",
                        cause="program",
                    )
                opened = await connection.request(
                    "session/new", {"cwd": str(self._folder), "mcpServers": []}, silence_s=STARTED_WITHIN_S
                )
        except (TimeoutError, Silent):
            raise ProgramGone(f"it did not open a session within {STARTED_WITHIN_S:g} s") from None
        session = opened.get("sessionId")
        if not isinstance(session, str) or not session:
            raise ProgramGone("it opened no session")
        self._id = session

    async def _converse(self, connection: Connection, opening: str) -> AgentOutcome:
        words: str | None = opening
        if self._answer is not None:
            schema = json.dumps(self._task.options.schema, ensure_ascii=False)
            words = f"{opening}\n\n{SCHEMA_PROMPT}{schema}"
        turns = 0
        while words is not None:
            if turns >= min(self._task.max_turns, self._task.options.max_turns or self._task.max_turns):
                return self.end("failed", error=f"the agent was not done after {turns} turns (maxTurns)")
            if (over := self._over_tokens()) is not None:
                return over
            turns += 1
            stopped = await self._turn(connection, words)
            if stopped != "end_turn":
                why = _STOPPED.get(stopped, f"it stopped with {stopped!r}")
                return self.end("failed", error=f"the agent did not end its work: {why}")
            if self._answer is None:
                return self.end("ok", value=self._speech.last)
            words = await _take(self._answer, self._speech.last)
        assert self._answer is not None
        if self._answer.accepted:
            return self.end("ok", value=self._answer.value)
        violation = "; ".join(self._answer.violations)
        return self.end("invalid", error=f"no answer fitted the schema; the last one: {violation}")

    async def _turn(self, connection: Connection, words: str) -> str:
        """One prompt and all that comes of it; why it stopped."""
        await self._speech.told(words)
        grant = await self._reporter.reserve(self._need())
        self._tally.began(grant.n)
        params: Object = {"sessionId": self._id, "prompt": [{"type": "text", "text": words}]}
        result = await connection.request("session/prompt", params, silence_s=self._silence_s)
        paid = self._tally.ended(result.get("usage"), chars=self._speech.chars)
        await self._speech.flush(paid)
        await self._reporter.report(Progress(tokens=self._tally.total.output_tokens, usage=self._tally.total))
        return str(result.get("stopReason"))

    def _need(self) -> Need:
        most = self._task.options.max_tokens
        tokens = TURN_TOKENS if most is None else max(1, min(TURN_TOKENS, most - self._tally.total.output_tokens))
        return Need(
            model=f"{ACP_BACKENDS}{self._agent}",
            output_tokens=tokens,
            enough_tokens=tokens,
            fixed_usd=None,
            output_usd=None,
            remedy="such an agent pays for its model by itself: give a budget of output tokens (--budget 2M)",
        )

    def _over_tokens(self) -> AgentOutcome | None:
        most, used = self._task.options.max_tokens, self._tally.total.output_tokens
        if most is None or used < most:
            return None
        return self.end("over_budget", error=f"the agent used {used} output tokens, its limit is {most} (maxTokens)")

    # --- what the program says and asks

    async def _updated(self, params: Object) -> None:
        update = params.get("update")
        if params.get("sessionId") != self._id or not isinstance(update, dict):
            return
        match update.get("sessionUpdate"):
            case "agent_message_chunk":
                await self._speech.chunk("text", update.get("content"))
            case "agent_thought_chunk":
                await self._speech.chunk("thinking", update.get("content"))
            case "tool_call" | "tool_call_update":
                await self._speech.flush(is_step=True)
                await self._deeds.told(update)
            case "plan":
                await self._reporter.report(Progress(tool="plan", tool_summary=_plan(update.get("entries"))))
            case "usage_update":
                self._tally.cost(update.get("cost"))
            case _:
                pass

    async def _serve(self, method: str, params: Object) -> Object | None:
        if params.get("sessionId") != self._id:
            raise ToolFailure("there is no such session")
        match method:
            case "fs/read_text_file" if "read" in self._names:
                return await self._files.read_text(params)
            case "fs/write_text_file" if self._names & {"write", "edit"}:
                return await self._files.write_text(params)
            case "session/request_permission":
                return await self._permission(params)
            case _:
                raise NoSuchMethod(method)

    async def _permission(self, params: Object) -> Object:
        """Leave for a tool call of the program's own, by our rules and, where they leave it open, by a person."""
        call, options = params.get("toolCall"), params.get("options")
        asked = call if isinstance(call, dict) else {}
        whole = await self._deeds.asked(asked)
        try:
            for wish in wishes(whole, agent=self._agent, folder=self._folder):
                if wish.needs is not None and wish.needs not in self._names:
                    raise ToolFailure(f"this agent may not use {wish.needs}", denied=True, rule="agent's tools")
                if wish.needs is None and self._task.agent_type.read_only:
                    raise ToolFailure("this agent may change nothing", denied=True, rule="read-only agent")
                await self._gate.admit(wish.tool, wish.given, shown=wish.shown, folder=wish.folder)
            choice = chosen(options, is_allowed=True)
            if choice is None:
                raise ToolFailure("it cannot be allowed just once", denied=True, rule="no such option")
        except ToolFailure as failure:
            await self._deeds.refused(asked, failure)
            choice = chosen(options, is_allowed=False)
        if choice is None:
            return {"outcome": {"outcome": "cancelled"}}
        return {"outcome": {"outcome": "selected", "optionId": choice}}

    # --- the end

    def _not_logged_in(self, no: SaidNo) -> str:
        ways = f" Its ways to log in: {', '.join(self._logins)}." if self._logins else ""
        return (
            f"agent {self._agent} is not logged in ({no.message}). Log in with its own program first, or name the "
            f"variable with its key in agents.{self._agent}.environment.{ways}"
        )

    def end(self, status: AgentStatus, *, value: JsonValue = None, error: str | None = None) -> AgentOutcome:
        """The outcome, with what is known of the agent by now."""
        return AgentOutcome(
            status=status,
            value=value,
            error=error,
            usage=self._tally.total,
            attempts=max(1, self._answer.attempts) if self._answer else 1,
            judged=self._answer.judged if self._answer else 0,
            files_read=tuple(sorted(self._files.read)),
            files_changed=tuple(sorted(self._files.changed)),
            tools_called=self.tools_called,
        )


async def _take(answer: Answer, text: str) -> str | None:
    """Takes an answer; what is said where it does not fit and there is another attempt."""
    try:
        value = _json(text)
    except (ValueError, RecursionError) as fault:
        answer.attempts += 1
        answer.violations = (f"the last message is not one JSON value: {fault}",)
        told = answer.violations[0]
    else:
        try:
            await answer.take(value)
            return None
        except ToolFailure as failure:
            told = failure.message
    if answer.exhausted:
        return None
    return f"{told}\n\nAnswer again with the corrected JSON value, and nothing else."


def _json(text: str) -> Any:
    """The value of a message, also where a model put it between fences in spite of what it was told."""
    plain = text.strip()
    if plain.startswith("```") and plain.endswith("```") and "\n" in plain:
        plain = plain[plain.index("\n") + 1 : -3]
    return json.loads(plain)


def _logins(methods: JsonValue) -> tuple[str, ...]:
    found = [each.get("name") for each in methods if isinstance(each, dict)] if isinstance(methods, list) else []
    return tuple(name[:100] for name in found if isinstance(name, str))[:10]


def _plan(entries: JsonValue) -> str:
    """Where a plan stands, in one line."""
    steps = [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []
    done = sum(step.get("status") == "completed" for step in steps)
    now = next((step.get("content") for step in steps if step.get("status") == "in_progress"), "")
    return f"{done} of {len(steps)} done{f': {now}' if now else ''}"[:200]
