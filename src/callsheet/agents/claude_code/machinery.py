"""How a task becomes a conversation through Claude Code's program."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ClaudeSDKError, HookMatcher

from callsheet.agents.answer import Answer, judge_of, terms_of
from callsheet.agents.anthropic.ledger import Prices
from callsheet.agents.bounding import Price, utf8_bytes
from callsheet.agents.claude_code.environment import program_environment
from callsheet.agents.claude_code.program import Program, open_program
from callsheet.agents.claude_code.purse import Purse
from callsheet.agents.claude_code.session import Session
from callsheet.agents.claude_code.tally import Tally
from callsheet.agents.claude_code.toolbox import PREFIX, SERVER, Desk, Tool, agent_tools, tool_server
from callsheet.agents.claude_code.turns import Terms, Turns
from callsheet.agents.models import ModelTable
from callsheet.agents.prompt import Background, Prompts, SystemPrompt
from callsheet.agents.timing import Timing
from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.names import WEB_SEARCH
from callsheet.agents.tools.ripgrep import Ripgrep
from callsheet.agents.tools.workbench import Workbench
from callsheet.agents.toolset import Selection
from callsheet.errors import BackendUnavailableError, OverBudgetError
from callsheet.model.call import AgentTask
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import AgentOutcome
from callsheet.model.reports import Remark
from callsheet.ports import AgentReporter

DEFAULT_STALL_MS = 180_000.0
"""How long the service may be silent before a turn counts as stalled (CONTRACT K04)."""

STARTED_WITHIN_S = 50.0
_BUDGET_WITHIN_S = 7 * 24 * 3600.0
"""The program waits so long for its next request to be reserved; by itself it would go on after a minute."""

_LET_GO_WITHIN_S = 1.0

PROGRAM_PROMPT = f"""
The names of your tools begin with `{PREFIX}`, and are meant where this text calls them without it. The program that \
you run in may name another working directory: that is its own, of no use to you; yours is the one above.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the program may take: to start, and to end a turn that is interrupted."""

    started_s: float = STARTED_WITHIN_S
    interrupted_s: float = 5.0


class Machinery:
    """What all agents of a backend share."""

    def __init__(
        self,
        *,
        program: Path,
        environ: Mapping[str, str],
        models: ModelTable,
        price: Price,
        has_own_price: Callable[[str], bool],
        timing: Timing,
        bounds: Bounds,
        background: Background,
        patience: Patience,
    ) -> None:
        # What the SDK has to say of errors is said by us; without a handler it would go to standard error.
        logging.getLogger("claude_agent_sdk").addHandler(logging.NullHandler())
        self._program = program
        self._environ = environ
        self._models = models
        self._prices = Prices(price)
        self._has_own_price = has_own_price
        self._timing = timing
        self._bounds = bounds
        self._prompts = Prompts(fence=bounds.fence, background=background)
        self._patience = patience
        self._ripgrep = Ripgrep()
        self._said: set[tuple[str, str]] = set()

    async def run(self, task: AgentTask, selection: Selection, reporter: AgentReporter) -> AgentOutcome:
        """Does a task with the tools that were selected.

        Raises:
            SchemaUnusableError: The call's schema cannot be used.
            UsageError: The call's folder is not one of the workspace.
            BackendUnavailableError: As `AgentBackend.run`.
        """
        options, bounds, names = task.options, self._bounds, selection.names
        judge, attempts = judge_of(bounds.judge, task), terms_of(bounds.answers, task).attempts
        answer = Answer(options.schema, judge, attempts=attempts) if options.schema is not None else None
        opening = [_text(text) for text in (options.context, task.prompt) if text]
        workbench = Workbench(bounds=bounds, task=task, ripgrep=self._ripgrep, reporter=reporter)
        shelf = bounds.skills if "skill" in names else None
        system = await self._prompts.of(task, workbench.root, skills=shelf.listing if shelf else "")
        if options.speed == "fast":
            await self._say_once(task, "`speed` is left out: Claude Code's agents have no fast mode", reporter)
        if selection.names_search:
            await self._say_once(task, f"`{WEB_SEARCH}` is left out: Claude Code's agents have none here", reporter)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(workbench.aclose)
            served = await workbench.server_tools()
            tools = agent_tools(names, served, answer, options.schema, workbench)
            desk = Desk()
            stack.callback(desk.close)
            scratch = await stack.enter_async_context(bounds.scratch(task.agent_id))
            tally = Tally(self._prices)
            purse = self._purse(task, system, tools, tally, reporter)
            purse.added(opening)
            stack.push_async_callback(purse.aclose)
            try:
                await purse.open()
            except OverBudgetError as error:
                return AgentOutcome(status=error.status, error=error.message, model=purse.model)
            program = await stack.enter_async_context(self._open(task, system, scratch, purse.request_tokens))
            session: Session | None = None

            async def stops() -> str | None:
                return await session.stops() if session is not None else None

            client = _client(program, tools, desk, stops, purse.added)
            stack.push_async_callback(_let_go, client, program)
            await self._connect(client, program)
            terms = self._terms(task)
            turns = Turns(
                client=client,
                program=program,
                terms=terms,
                environ=self._environ,
                desk=desk,
                tally=tally,
                purse=purse,
                reporter=reporter,
                timing=self._timing,
            )
            session = Session(
                client=client,
                program=program,
                terms=terms,
                turns=turns,
                desk=desk,
                answer=answer,
                workbench=workbench,
                tally=tally,
                purse=purse,
                reporter=reporter,
            )
            return await session.run(opening)

    async def aclose(self) -> None:
        """Removes what agents' commands were given for the run."""
        await self._bounds.aclose()

    def _terms(self, task: AgentTask) -> Terms:
        options = task.options
        return Terms(
            model=self._models.resolve(task.model, task.agent_type.model),
            max_turns=min(task.max_turns, options.max_turns or task.max_turns),
            total_tokens=options.max_tokens,
            max_cost_usd=options.max_cost_usd,
            silence_s=(options.stall_ms or DEFAULT_STALL_MS) / 1000,
            interrupted_s=self._patience.interrupted_s,
        )

    def _purse(
        self, task: AgentTask, system: SystemPrompt, tools: Sequence[Tool], tally: Tally, reporter: AgentReporter
    ) -> Purse:
        model = self._models.resolve(task.model, task.agent_type.model)
        asked = terms_of(self._bounds.answers, task).reply_tokens
        total, most = task.options.max_tokens, self._models.tokens_per_request(model, asked)
        offered = sum(
            len(PREFIX) + utf8_bytes(tool.name + tool.description) + len(json.dumps(tool.input_schema))
            for tool in tools
        )
        return Purse(
            model=model,
            request_tokens=most if total is None else min(total, most),
            window_tokens=self._models.window(model),
            opening_tokens=offered + utf8_bytes(system.shared) + utf8_bytes(system.place) + len(PROGRAM_PROMPT),
            prices=self._prices,
            has_own_price=self._has_own_price,
            tally=tally,
            reporter=reporter,
        )

    def _open(self, task: AgentTask, system: SystemPrompt, scratch: Path, request_tokens: int) -> Any:
        """The program, in an empty folder of its own: nothing of the workspace is its to read."""
        folder, temporary = scratch / "program", scratch / "tmp"
        for made in (folder, temporary):
            made.mkdir(mode=0o700, exist_ok=True)
        prompt = scratch / "system-prompt.md"
        text = f"{system.shared}\n{system.place}\n{PROGRAM_PROMPT}"
        prompt.write_text(text, encoding="utf-8", errors="replace")
        environ = program_environment(
            self._environ,
            temporary=temporary,
            workspace=Path(task.workspace.root),
            output_tokens=request_tokens,
        )
        return open_program(self._argv(task, prompt), environ, folder=folder, scratch=scratch)

    def _argv(self, task: AgentTask, prompt: Path) -> list[str]:
        """The command line. What a script says is bound to its flag, whatever it begins with."""
        servers = {"mcpServers": {SERVER: {"type": "sdk", "name": SERVER, "disableAutoBackground": True}}}
        effort = task.effort or task.agent_type.effort
        max_cost = task.options.max_cost_usd
        return [
            str(self._program),
            *("--output-format=stream-json", "--input-format=stream-json", "--verbose", "--include-partial-messages"),
            *("--tools", "", f"--allowedTools={PREFIX.removesuffix('__')}", "--permission-mode=dontAsk"),
            *("--strict-mcp-config", f"--mcp-config={json.dumps(servers)}", "--setting-sources="),
            # Restricted: no settings but managed ones, no way around rules, no socket for messages of other sessions.
            *("--restricted", "--no-session-persistence", "--disable-slash-commands", "--no-chrome"),
            f"--system-prompt-file={prompt}",
            f"--model={self._models.resolve(task.model, task.agent_type.model)}",
            *((f"--effort={effort}",) if effort else ()),
            *((f"--max-budget-usd={max_cost}",) if max_cost is not None else ()),
        ]

    async def _connect(self, client: ClaudeSDKClient, program: Program) -> None:
        """Waits until the program is ready.

        Raises:
            BackendUnavailableError: It does not come up.
        """
        with anyio.move_on_after(self._patience.started_s):
            try:
                await client.connect()
                return
            except ClaudeSDKError as error:
                why = await program.ended() if program.is_gone else error
                message = f"Claude Code's program {self._program} does not start: {why}"
                raise BackendUnavailableError(message, cause="program") from error
        message = (
            f"Claude Code's program {self._program} does not start: no sign of it for {self._patience.started_s:g} s"
        )
        raise BackendUnavailableError(message, cause="program")

    async def _say_once(self, task: AgentTask, message: str, reporter: AgentReporter) -> None:
        if (task.run_id, message) not in self._said:
            self._said.add((task.run_id, message))
            await reporter.report(Remark(level="info", message=message))


def _client(
    program: Program,
    tools: Sequence[Tool],
    desk: Desk,
    stops: Callable[[], Awaitable[str | None]],
    heard: Callable[[Sequence[Any]], None],
) -> ClaudeSDKClient:
    """The SDK's client: our tools are all there are, and each turn stops where we say."""
    names = frozenset(f"{PREFIX}{tool.name}" for tool in tools)

    async def before_tool(given: Any, _id: str | None, _context: Any) -> Any:
        is_ours = given.get("tool_name") in names
        decision = {"hookEventName": "PreToolUse", "permissionDecision": "allow" if is_ours else "deny"}
        reason = "" if is_ours else "This agent does not have this tool."
        return {"hookSpecificOutput": {**decision, "permissionDecisionReason": reason}}

    async def after_tools(_given: Any, _id: str | None, _context: Any) -> Any:
        reason = await desk.have(stops)
        return {"continue_": False, "stopReason": reason} if reason is not None else {}

    hooks: Any = {
        "PreToolUse": [HookMatcher(hooks=[before_tool], on_failure="block")],
        "PostToolBatch": [HookMatcher(hooks=[after_tools], timeout=_BUDGET_WITHIN_S)],
    }
    options = ClaudeAgentOptions(
        tools=[],
        mcp_servers={SERVER: {"type": "sdk", "name": SERVER, "instance": tool_server(tools, desk, heard)}},
        setting_sources=[],
        verbatim_prompts=True,
        hooks=hooks,
    )
    return ClaudeSDKClient(options, transport=program)


async def _let_go(client: ClaudeSDKClient, program: Program) -> None:
    """Ends the program first, and then what the SDK still does about it; both bounded."""
    await program.close()
    with anyio.move_on_after(_LET_GO_WITHIN_S, shield=True):
        await client.disconnect()


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
