"""One agent's tools: each call is checked, decided, run and recorded, in that order, in this one place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Literal, assert_never

from callsheet.agents.tools import files, search
from callsheet.agents.tools.inputs import AnyInput, EditInput, GlobInput, GrepInput, ReadInput, WriteInput, parse_input
from callsheet.agents.tools.names import CHANGING_TOOLS, ToolContent, ToolFailure, ToolName
from callsheet.agents.tools.ripgrep import Ripgrep
from callsheet.model.reports import Progress, ToolCalled
from callsheet.model.values import JsonValue
from callsheet.permissions.paths import PathDecision, PathPolicy
from callsheet.ports import AgentReporter

SUMMARY_CHARS = 80


class Workbench:
    """The file tools bound to one agent's place, permissions and record.

    Attributes:
        output_tokens: What the model has written so far; whoever talks to it keeps this up to date.
        files_read, files_changed: Relative to the workspace. A grep has read the files whose lines it showed.
        tools_called: Names in order of first use.
    """

    def __init__(self, *, policy: PathPolicy, ripgrep: Ripgrep, reporter: AgentReporter) -> None:
        self._root = policy.root
        self._policy = policy
        self._ripgrep = ripgrep
        self._reporter = reporter
        self._calls = 0
        self.output_tokens = 0
        self.files_read: set[str] = set()
        self.files_changed: set[str] = set()
        self.tools_called: dict[str, None] = {}

    async def call(self, name: ToolName, value: JsonValue) -> ToolContent:
        """Runs one tool call. What it did is recorded; a call that changes something is on record before it runs (R01).

        Cancelling leaves the file as it was before or as it is after the change, and the intent on record.

        Raises:
            ToolFailure: What the model is told instead of a result.
        """
        self._calls += 1
        n = self._calls
        self.tools_called.setdefault(name)
        try:
            arguments = parse_input(name, value)
            await self._reporter.report(
                Progress(tool=name, tool_summary=_summary(arguments), tokens=self.output_tokens)
            )
            job = self._allowed_job(arguments)
            if name in CHANGING_TOOLS:
                await self._reporter.report(ToolCalled(n=n, tool=name, input=value, state="intent"))
            result = await job()
        except ToolFailure as failure:
            state: Literal["denied", "failed"] = "denied" if failure.denied else "failed"
            await self._reporter.report(ToolCalled(n=n, tool=name, input=value, state=state, detail=failure.message))
            raise
        await self._reporter.report(ToolCalled(n=n, tool=name, input=value, state="done"))
        return result

    def _allowed_job(self, arguments: AnyInput) -> Callable[[], Awaitable[ToolContent]]:
        """What a call will do, once it is decided that it may."""
        match arguments:
            case ReadInput():
                return partial(self._read, self._granted("read", self._policy.read(arguments.file_path)), arguments)
            case WriteInput():
                return partial(self._write, self._granted("write", self._policy.write(arguments.file_path)), arguments)
            case EditInput():
                return partial(self._edit, self._granted("edit", self._policy.write(arguments.file_path)), arguments)
            case GlobInput():
                return partial(self._glob, self._start("glob", arguments.path), arguments)
            case GrepInput():
                return partial(self._grep, self._start("grep", arguments.path), arguments)
            case _:
                assert_never(arguments)

    async def _read(self, relative: str, arguments: ReadInput) -> ToolContent:
        content = await files.read(self._root, relative, arguments)
        self.files_read.add(relative)
        return content

    async def _write(self, relative: str, arguments: WriteInput) -> ToolContent:
        text = await files.write(self._root, relative, arguments)
        self.files_changed.add(relative)
        return text

    async def _edit(self, relative: str, arguments: EditInput) -> ToolContent:
        text = files.edit(self._root, relative, arguments)
        self.files_read.add(relative)
        self.files_changed.add(relative)
        return text

    async def _glob(self, start: Path, arguments: GlobInput) -> ToolContent:
        return (await search.glob(self._ripgrep, arguments, start, self._may_read)).text

    async def _grep(self, start: Path, arguments: GrepInput) -> ToolContent:
        found = await search.grep(self._ripgrep, arguments, start, self._may_read)
        self.files_read |= found.files
        return found.text

    def _granted(self, tool: ToolName, decision: PathDecision) -> str:
        """The workspace-relative path that a decision allows."""
        if not decision.allowed or decision.relative is None:
            raise ToolFailure(f"{tool}: {decision.reason}", denied=True)
        return decision.relative

    def _start(self, tool: ToolName, path: str | None) -> Path:
        """Where a search begins: what the agent may read, the working folder when it names nothing."""
        decision = self._policy.read(path or ".")
        if not decision.allowed or decision.path is None:
            raise ToolFailure(f"{tool}: {decision.reason}", denied=True)
        if not decision.path.exists():
            raise ToolFailure(f"{tool}: {path}: there is no such file or folder")
        return decision.path

    def _may_read(self, path: Path) -> str | None:
        decision = self._policy.read(str(path))
        return decision.relative if decision.allowed else None


def _summary(arguments: AnyInput) -> str:
    """One line for people who watch."""
    match arguments:
        case ReadInput() | WriteInput() | EditInput():
            text = arguments.file_path
        case GlobInput() | GrepInput():
            text = arguments.pattern
        case _:
            assert_never(arguments)
    line = " ".join(text.split())
    return line if len(line) <= SUMMARY_CHARS else f"{line[: SUMMARY_CHARS - 1]}…"
