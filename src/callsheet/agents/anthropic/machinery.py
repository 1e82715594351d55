"""What a backend holds once the client is imported, and how a task becomes a conversation."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace

import anthropic
import anyio
from anthropic.types.beta import BetaToolUnionParam

from callsheet.agents.answer import judge_of, terms_of
from callsheet.agents.anthropic.client import Client, Lanes
from callsheet.agents.anthropic.conversation import Conversation
from callsheet.agents.anthropic.door import Doors
from callsheet.agents.anthropic.ledger import CHARS_PER_TOKEN, Ledger, Prices
from callsheet.agents.anthropic.lines import ModelLines
from callsheet.agents.anthropic.opening import opened
from callsheet.agents.anthropic.purse import Purse
from callsheet.agents.anthropic.searches import search_tool
from callsheet.agents.anthropic.terms import Terms
from callsheet.agents.anthropic.toolbox import AnswerTool, FileTool, Toolset, definition_chars, file_tools, server_tools
from callsheet.agents.anthropic.warmup import Warmups
from callsheet.agents.bounding import Price, utf8_bytes
from callsheet.agents.models import ModelTable
from callsheet.agents.prompt import Background, Prompts, SystemPrompt
from callsheet.agents.services import TITLES
from callsheet.agents.timing import Timing
from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.fence import Fence
from callsheet.agents.tools.names import WEB_SEARCH, ToolFailure, ToolName
from callsheet.agents.tools.ripgrep import Ripgrep
from callsheet.agents.tools.workbench import Workbench
from callsheet.agents.toolset import Selection
from callsheet.model.call import AgentTask
from callsheet.model.outcome import AgentOutcome
from callsheet.model.reports import Remark
from callsheet.ports import AgentReporter

DEFAULT_STALL_MS = 180_000.0
"""How long the service may be silent before a request counts as stalled (CONTRACT K04)."""


class Machinery:
    """The opened clients and all that agents share."""

    def __init__(
        self,
        doors: Doors,
        *,
        clients: Sequence[Client],
        models: ModelTable,
        price: Price,
        has_own_price: Callable[[str], bool],
        search_price: Callable[[str], float | None],
        headers: Callable[[AgentTask], Mapping[str, str]],
        timing: Timing,
        bounds: Bounds,
        background: Background,
        warms_cache: bool,
    ) -> None:
        self._lanes = Lanes(clients)
        self._models = models
        self._has_own_price = has_own_price
        self._lines = ModelLines(models, clients[0], doors.door(_service(clients[0]), "", models.service.name))
        self._prices = Prices(price, search_price)
        self._headers = headers
        self._timing = timing
        self._bounds = bounds
        self._prompts = Prompts(fence=bounds.fence, background=background)
        self._doors = doors
        self._warmups = Warmups(timing)
        self._warms_cache = warms_cache
        self._ripgrep = Ripgrep()
        self._said: set[tuple[str, str]] = set()
        self._plain_notices: set[str] = set()

    async def run(self, task: AgentTask, selection: Selection, reporter: AgentReporter) -> AgentOutcome:
        """Does a task with the tools that were selected for it.

        Raises:
            SchemaUnusableError: The call's schema cannot be used.
            UsageError: The call's folder is not one of the workspace.
            BackendUnavailableError: As `AgentBackend.run`.
        """
        options, tools = task.options, selection.names
        judge, attempts = judge_of(self._bounds.judge, task), terms_of(self._bounds.answers, task).attempts
        answer = AnswerTool(options.schema, judge, attempts=attempts) if options.schema is not None else None
        workbench = Workbench(bounds=self._bounds, task=task, ripgrep=self._ripgrep, reporter=reporter)
        name = f"{task.run_id}/{task.agent_id}"
        model = await self._lines.resolve(task.model, task.agent_type.model, agent=name, reporter=reporter)
        shelf = self._bounds.skills if "skill" in tools else None
        offered = [*file_tools(tools, workbench)]
        if (served := await workbench.server_tools()) is not None:
            offered += server_tools(served, workbench)
        search = await self._search(task, selection, workbench, reporter)
        toolset = Toolset(offered, answer, search)
        begun = await opened(
            self._prompts,
            task,
            workbench.root,
            model=model,
            tools=toolset.definitions,
            skills=shelf.listing if shelf else "",
        )
        system = begun.system
        if begun.opening is not None:
            workbench.fence = Fence(begun.opening.word)
        shown = tuple(tool.name for tool in offered) + (() if search is None else (json.dumps(search),))
        terms = self._terms(task, model, system, tools, shown)
        terms = replace(terms, opening_tokens=_opening_tokens(tools, [*offered[len(tools) :], answer], system))
        await self._say_left_out(task, terms, reporter)
        with self._lanes.lane() as client:
            ledger = Ledger(
                self._prices,
                fast_price=self._models.fast_price(terms.model),
                priced_as=terms.model if self._models.service.prices or self._has_own_price(terms.model) else None,
            )
            conversation = Conversation(
                client=client,
                terms=terms,
                tools=toolset,
                workbench=workbench,
                ledger=ledger,
                purse=Purse(terms, ledger=ledger, prices=self._prices, reporter=reporter),
                door=self._doors.door(_service(client), terms.model, self._models.service.name),
                warmups=self._warmups,
                reporter=reporter,
                timing=self._timing,
                plain_notices=self._plain_notices,
                opening=begun.opening,
            )
            try:
                return await conversation.run(
                    context=options.context, prompt=task.prompt, kept=task.kept, earlier=begun.earlier
                )
            except anyio.get_cancelled_exc_class():
                with anyio.CancelScope(shield=True):
                    await reporter.report(workbench.touched)
                raise
            finally:
                await workbench.aclose()

    async def aclose(self) -> None:
        """Closes all connections, and removes what agents' commands were given for the run."""
        try:
            await self._lanes.aclose()
        finally:
            await self._bounds.aclose()

    async def _search(
        self, task: AgentTask, selection: Selection, workbench: Workbench, reporter: AgentReporter
    ) -> BetaToolUnionParam | None:
        """The service's search of the web, where it has one and the agent may; says why not where it was named."""
        if not selection.searches:
            return None
        service = self._models.service
        if not service.search:
            if selection.names_search:
                await self._say_once(task, f"`{WEB_SEARCH}` is left out: {TITLES[service.name]} has none", reporter)
            return None
        try:
            blocked = await workbench.may_search(is_named=selection.names_search)
        except ToolFailure as failure:
            hint = f"; it takes a rule {', '.join(failure.would_allow)}" if failure.would_allow else ""
            message = f"`{WEB_SEARCH}` is left out: WebSearch is not allowed{hint} (agent type {task.agent_type.name})"
            await self._say_once(task, message, reporter)
            return None
        return None if blocked is None else search_tool(service.search, blocked)

    def _terms(
        self, task: AgentTask, model: str, system: SystemPrompt, tools: tuple[ToolName, ...], offered: tuple[str, ...]
    ) -> Terms:
        options, models = task.options, self._models
        effort = task.effort or task.agent_type.effort
        beta = models.fast_beta(model) if options.speed == "fast" else None
        return Terms(
            model=model,
            system=system,
            effort=effort if models.takes_effort(model, effort) else None,
            request_tokens=models.tokens_per_request(model, terms_of(self._bounds.answers, task).reply_tokens),
            max_turns=min(task.max_turns, options.max_turns or task.max_turns),
            silence_s=(options.stall_ms or DEFAULT_STALL_MS) / 1000,
            headers=self._headers(task),
            thinks_when_asked=models.thinks_when_asked(model),
            is_fast=beta is not None,
            betas=(beta,) if beta else (),
            compact_at_tokens=models.compact_at(model),
            agent=f"{task.run_id}/{task.agent_id}",
            backend=task.backend,
            asked=task.model,
            takes_notices=models.takes_notices(model) and model not in self._plain_notices,
            prefix=self._prefix(task, model, system, tools, offered) if self._warms_cache else None,
        )

    def _prefix(
        self,
        task: AgentTask,
        model: str,
        system: SystemPrompt,
        tools: tuple[ToolName, ...],
        offered: tuple[str, ...],
    ) -> object | None:
        """What stands for the beginning of a task's prompt; None where the model's cache does not keep it."""
        least_tokens = self._models.cacheable_tokens(model)
        context = task.options.context or ""
        chars = definition_chars(tools) + len(system.shared) + len(system.place) + len(context)
        if least_tokens is None or chars < least_tokens * CHARS_PER_TOKEN:
            return None
        schema = json.dumps(task.options.schema)
        # The two ways of being served have caches of their own.
        is_fast = task.options.speed == "fast" and self._models.fast_beta(model) is not None
        return hash((model, is_fast, offered, schema, system.shared, system.place, context))

    async def _say_left_out(self, task: AgentTask, terms: Terms, reporter: AgentReporter) -> None:
        """Says once a run and model what was asked for and the model does not take."""
        effort = task.effort or task.agent_type.effort
        left_out = []
        if effort is not None and terms.effort is None:
            left_out.append(f"`effort` is left out: {terms.model} takes none")
        if task.options.speed == "fast" and not terms.is_fast:
            where = "" if self._models.service.fast else f" at {TITLES[self._models.service.name]}"
            left_out.append(f"`speed` is left out: {terms.model} has no fast mode{where}")
        for message in left_out:
            await self._say_once(task, message, reporter)

    async def _say_once(self, task: AgentTask, message: str, reporter: AgentReporter) -> None:
        if (task.run_id, message) not in self._said:
            self._said.add((task.run_id, message))
            await reporter.report(Remark(level="info", message=message))


def _opening_tokens(
    names: Sequence[ToolName], others: Sequence[FileTool | AnswerTool | None], system: SystemPrompt
) -> int:
    """How long system prompt and tools are at most: no token is shorter than a byte."""
    named = definition_chars(tuple(names))
    return (
        named
        + sum(len(json.dumps(tool.to_dict())) for tool in others if tool is not None)
        + utf8_bytes(system.shared)
        + utf8_bytes(system.place)
    )


def _service(client: Client) -> Hashable:
    """What stands for a service and an account at it. On other platforms the process has one account at most."""
    if isinstance(client, anthropic.AsyncAnthropic):
        return str(client.base_url), hash((client.api_key, client.auth_token))
    return str(client.base_url)
