"""The tools of one agent in the form in which the SDK's tool runner takes them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, cast

from anthropic.lib.tools import BetaAsyncBuiltinFunctionTool, ToolError
from anthropic.types.beta import BetaMessageParam, BetaToolUnionParam, BetaToolUseBlock
from anthropic.types.beta.beta_tool_result_block_param import Content

from callsheet.agents.prompt import ANSWER_TOOL, FULL_SCHEMA_INTRO
from callsheet.agents.tools.inputs import tool_definitions
from callsheet.agents.tools.names import ToolContent, ToolFailure, ToolName
from callsheet.agents.tools.servers import ServerTools
from callsheet.agents.tools.workbench import Workbench
from callsheet.answers.schema import AnswerSchema
from callsheet.errors import CallsheetError
from callsheet.model.values import JsonValue

MAX_ATTEMPTS = 5
"""Answers that an agent may give until one fits (CONTRACT A03)."""

CACHED = {"cache_control": {"type": "ephemeral"}}
_ROOT_KEYS_REFUSED = ("oneOf", "anyOf", "allOf", "$schema", "$id")
"""What the service does not take at the root of a tool's schema. The answer is still held to them."""


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


class AnswerTool(BetaAsyncBuiltinFunctionTool):
    """Takes the value that an agent returns, and says what is wrong with it.

    Attributes:
        attempts: Answers given so far.
        accepted: Whether one fitted; `value` is it.
        violations: What was wrong with the last one.
    """

    def __init__(self, schema: dict[str, JsonValue]) -> None:
        self._schema = AnswerSchema.compile(schema)
        self._definition = _answer_definition(schema)
        self._most = MAX_ATTEMPTS
        self.attempts = 0
        self.accepted = False
        self.value: JsonValue = None
        self.violations: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return ANSWER_TOOL

    @property
    def exhausted(self) -> bool:
        """All attempts are used up and none fitted."""
        return not self.accepted and self.attempts >= self._most

    def reopen(self) -> None:
        """Takes another answer instead of the one that was accepted, in as many attempts."""
        self.accepted = False
        self._most = self.attempts + MAX_ATTEMPTS

    def to_dict(self) -> BetaToolUnionParam:
        return cast(BetaToolUnionParam, self._definition)

    async def call(self, input: object) -> str:
        if self.accepted:
            return "An answer was accepted already; this one is not taken."
        self.attempts += 1
        value = cast(JsonValue, input)
        self.violations = _not_json(value) or self._schema.violations(value)
        if not self.violations:
            self.accepted, self.value = True, value
            return "Accepted."
        listed = "\n".join(f"- {violation}" for violation in self.violations)
        raise ToolError(f"Attempt {self.attempts} of {self._most} does not fit the schema:\n{listed}")


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
        """All of them, as requests have them."""
        ours = self.by_name.values()
        return [*ours] if self.search is None else [self.search, *ours]

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
        """Does what the runner would not do: calls of tools that are not there, or under another stop reason."""
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


def _not_json(value: JsonValue) -> tuple[str, ...]:
    """The client's parser lets pass what JSON cannot hold."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return ("NaN and Infinity are not JSON numbers",)
    return ()


def _answer_definition(schema: dict[str, JsonValue]) -> dict[str, Any]:
    """The tool as a model is shown it; the schema at full length where its root had to be cut."""
    root = {key: value for key, value in schema.items() if key not in _ROOT_KEYS_REFUSED}
    description = "Returns your result. Its input is the value that the calling script gets."
    if any(key in schema for key in ("oneOf", "anyOf", "allOf")):
        description += f" {FULL_SCHEMA_INTRO}{json.dumps(schema, ensure_ascii=False)}"
    return {"name": ANSWER_TOOL, "description": description, "input_schema": root}


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
