"""The tool calls of one agent, numbered, and reported as they begin, as they are about to change things, and end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias, assert_never

from callsheet.agents.tools.inputs import (
    AnyInput,
    BashInput,
    EditInput,
    GlobInput,
    GrepInput,
    ReadInput,
    SkillInput,
    WebFetchInput,
    WriteInput,
)
from callsheet.agents.tools.names import ToolContent, ToolFailure
from callsheet.model.reports import Progress, ToolCalled
from callsheet.model.values import JsonValue
from callsheet.ports import AgentReporter

SUMMARY_CHARS = 80

Work: TypeAlias = Callable[[int], Awaitable[tuple[ToolContent, str | None]]]
"""Does the call of a number; gives what the agent is told, and what is noted of it."""


class ToolCalls:
    """Those of one agent, one after another.

    Attributes:
        names: Of the tools, in order of first use.
        output_tokens: What the model has written so far; whoever talks to it keeps this up to date.
    """

    def __init__(self, reporter: AgentReporter) -> None:
        self._reporter = reporter
        self._last = 0
        self.names: dict[str, None] = {}
        self.output_tokens = 0

    async def begun(self, name: str, text: str) -> None:
        """Shows people what the agent is at: a tool, and what it is called for."""
        line = " ".join(text.split())
        line = line if len(line) <= SUMMARY_CHARS else f"{line[: SUMMARY_CHARS - 1]}…"
        await self._reporter.report(Progress(tool=name, tool_summary=line, tokens=self.output_tokens))

    async def intended(self, n: int, name: str, value: JsonValue) -> None:
        """Puts on record that a call is about to change something (CONTRACT R01)."""
        await self._reporter.report(ToolCalled(n=n, tool=name, input=value, state="intent"))

    async def recorded(self, name: str, value: JsonValue, work: Work) -> ToolContent:
        """Does a call, whose number `work` is given, and reports what came of it."""
        n = self.number(name)
        try:
            result, detail = await work(n)
        except ToolFailure as failure:
            state: Literal["denied", "failed"] = "denied" if failure.denied else "failed"
            await self._reporter.report(
                ToolCalled(
                    n=n,
                    tool=name,
                    input=value,
                    state=state,
                    detail=failure.detail or failure.message,
                    rule=failure.rule,
                    would_allow=failure.would_allow,
                )
            )
            raise
        await self._reporter.report(ToolCalled(n=n, tool=name, input=value, state="done", detail=detail))
        return result

    async def ended_elsewhere(self, name: str, value: JsonValue, *, detail: str, is_failure: bool) -> None:
        """Reports a call that others did."""
        state: Literal["done", "failed"] = "failed" if is_failure else "done"
        await self._reporter.report(ToolCalled(n=self.number(name), tool=name, input=value, state=state, detail=detail))

    def number(self, name: str) -> int:
        """The number of a call that is about to be made."""
        self._last += 1
        self.names.setdefault(name)
        return self._last


def summary(arguments: AnyInput) -> str:
    """One line for people who watch."""
    match arguments:
        case BashInput():
            text = arguments.command
        case ReadInput() | WriteInput() | EditInput():
            text = arguments.file_path
        case GlobInput() | GrepInput():
            text = arguments.pattern
        case WebFetchInput():
            text = arguments.url
        case SkillInput():
            text = arguments.name
        case _:
            assert_never(arguments)
    return text
