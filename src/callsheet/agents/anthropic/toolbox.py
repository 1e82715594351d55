"""The tools of one agent in the form in which the SDK's tool runner takes them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, cast

from anthropic.lib.tools import BetaAsyncBuiltinFunctionTool, ToolError
from anthropic.types.beta import BetaMessageParam, BetaToolUnionParam, BetaToolUseBlock
from anthropic.types.beta.beta_tool_result_block_param import Content

from callsheet.agents.answer import MAX_ATTEMPTS, Answer, ValueJudge, answer_description, answer_input
from callsheet.agents.prompt import ANSWER_TOOL
from callsheet.agents.tools.inputs import tool_definitions
from callsheet.agents.tools.names import ToolContent, ToolFailure, ToolName
from callsheet.agents.tools.servers import ServerTools
from callsheet.agents.tools.workbench import Workbench
from callsheet.errors import CallsheetError
from callsheet.model.values import JsonValue

CACHED = {"cache_control": {"type": "ephemeral"}}


class FileTool(BetaAsyncBuiltinFunctionTool):
    """A shared definition and what an agent's workbench does with it; costs nothing to make.

    Attributes:
        fault: An error of ours that the runner would otherwise have shown to the model.
    """

    def __init__(self, definition: Mapping[str, Any], work: Callable[[JsonValue], Awaitable[ToolContent]]) -> None:
        self._definition = definition
        self._work = work
        self.fault: CallsheetError | None = None

    @property
    def name(self) -> str:
        return str(self._definition["name"])

    def to_dict(self) -> BetaToolUnionParam:
        return cast(BetaToolUnionParam, self._definition)

    async def call(self, input: object) -> str | list[Content]:
        try:
            return cast("str | list[Content]", await self._work(cast(JsonValue, input)))
        except ToolFailure as failure:
            raise ToolError(failure.message) from None
        except CallsheetError as error:
            self.fault = error
            raise ToolError("the tool is not available") from error


class AnswerTool(Answer, BetaAsyncBuiltinFunctionTool):
    """The answer as a tool."""

    def __init__(
        self, schema: dict[str, JsonValue], judge: ValueJudge | None = None, *, attempts: int = MAX_ATTEMPTS
    ) -> None:
        super().__init__(schema, judge, attempts=attempts)
        self._definition: dict[str, Any] = {
            "name": ANSWER_TOOL,
            "description": answer_description(schema),
            "input_schema": answer_input(schema),
        }

    @property
    def name(self) -> str:
        return ANSWER_TOOL

    def to_dict(self) -> BetaToolUnionParam:
        return cast(BetaToolUnionParam, self._definition)

    async def call(self, input: object) -> str:
        try:
            return await self.take(cast(JsonValue, input))
        except ToolFailure as failure:
            raise ToolError(failure.message) from None


class Toolset:
    """All tools of one agent.

    Attributes:
        by_name: Each as the runner takes it.
        answer: The one that takes its value; None where its last text is the value.
        search: The service's own that searches the web; None where the agent has none.
    """

    def __init__(
        self, tools: Sequence[FileTool], answer: AnswerTool | None, search: BetaToolUnionParam | None = None
    ) -> None:
        self._file_tools = tools
        self.answer = answer
        self.search = search
        self.by_name: dict[str, FileTool | AnswerTool] = {tool.name: tool for tool in tools}
        if answer is not None:
            self.by_name[answer.name] = answer

    @property
    def offered(self) -> list[FileTool | AnswerTool | BetaToolUnionParam]:
        """All of them, as the runner takes them."""
        ours = self.by_name.values()
        return [*ours] if self.search is None else [self.search, *ours]

    @property
    def definitions(self) -> list[BetaToolUnionParam]:
        """All of them, as requests have them."""
        ours = [tool.to_dict() for tool in self.by_name.values()]
        return ours if self.search is None else [self.search, *ours]

    def has_all(self, calls: Sequence[BetaToolUseBlock]) -> bool:
        """Whether there is a tool for each call."""
        return all(call.name in self.by_name for call in calls)

    def check(self) -> None:
        """Raises an error of ours that a tool met, which is not the model's to see.

        Raises:
            CallsheetError: A tool met one.
        """
        for tool in self._file_tools:
            if tool.fault is not None:
                raise tool.fault

    async def results(self, calls: Sequence[BetaToolUseBlock]) -> BetaMessageParam:
        """Does calls without a runner: of a first turn, of tools that are not there, under another stop reason."""
        results: list[dict[str, Any]] = []
        for call in calls:
            result: dict[str, Any] = {"type": "tool_result", "tool_use_id": call.id}
            tool = self.by_name.get(call.name)
            if tool is None:
                text = f"there is no tool `{call.name}`; you have: {', '.join(self.by_name) or 'none'}"
                results.append({**result, "content": text, "is_error": True})
                continue
            try:
                results.append({**result, "content": await tool.call(call.input)})
            except ToolError as error:
                results.append({**result, "content": error.content, "is_error": True})
        return cast(BetaMessageParam, {"role": "user", "content": results})


def file_tools(names: Sequence[ToolName], workbench: Workbench) -> list[FileTool]:
    """The named tools bound to a workbench; the last carries the mark up to which prompts are cached."""
    return [FileTool(_wire_form(name, cached=name == names[-1]), partial(workbench.call, name)) for name in names]


def server_tools(tools: ServerTools, workbench: Workbench) -> list[FileTool]:
    """The tools of MCP servers that an agent was offered, bound to a workbench."""
    return [
        FileTool(
            {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema},
            partial(workbench.call_server, tools, tool.name),
        )
        for tool in tools.offer.tools
    ]


@cache
def definition_chars(names: tuple[ToolName, ...]) -> int:
    """How long the definitions of the named tools are in a prompt."""
    return sum(len(json.dumps(_wire_form(name, cached=False))) for name in names)


@cache
def _wire_form(name: ToolName, *, cached: bool) -> dict[str, Any]:
    definition = tool_definitions()[name]
    form = {"name": name, "description": definition.description, "input_schema": definition.input_schema}
    return {**form, **CACHED} if cached else form
