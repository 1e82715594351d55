"""One agent's tools: each call is checked, decided, run and recorded, in that order, in this one place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import assert_never

from anyio import to_thread

from callsheet.agents.tools import files, search
from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.calls import ToolCalls, summary
from callsheet.agents.tools.gate import Gate, Passed
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
    parse_input,
)
from callsheet.agents.tools.names import CHANGING_TOOLS, WEB_SEARCH, ToolContent, ToolFailure, ToolName
from callsheet.agents.tools.ripgrep import Ripgrep
from callsheet.agents.tools.servers import ServerTools
from callsheet.agents.tools.shell import Shell
from callsheet.agents.tools.watching import Changes
from callsheet.agents.toolset import may_use_server_tool, may_use_servers
from callsheet.errors import NotFoundError
from callsheet.model.call import AgentTask
from callsheet.model.reports import Touched
from callsheet.model.values import JsonValue
from callsheet.permissions.rules import Effect
from callsheet.ports import AgentReporter

SKILL_CHARS = 100_000
MOST_NOTED = 200
"""Files that one command names and reads, of which is noted that the agent has seen them."""


class Workbench:
    """The tools bound to one agent's place, permissions and record. Calls of one agent come one after another.

    Attributes:
        fence: Stands around text that is not ours: the run's, unless its conversation has another.
        calls: Its tool calls so far.
        files_read, files_changed: Relative to the workspace, absolute outside it. A grep has read the files whose lines
            it showed, a shell command those that it names.
    """

    def __init__(self, *, bounds: Bounds, task: AgentTask, ripgrep: Ripgrep, reporter: AgentReporter) -> None:
        """Makes a workbench; nothing is started.

        Raises:
            UsageError: The task's folder is not one of the workspace.
        """
        self._bounds = bounds
        self._task = task
        self._ripgrep = ripgrep
        self._reporter = reporter
        self._gate = Gate(bounds=bounds, task=task, reporter=reporter)
        self._shell: Shell | None = None
        self._stamps: dict[Path, bytes] = {}
        self.fence = bounds.fence
        self.calls = ToolCalls(reporter)
        self.files_read: set[str] = set()
        self.files_changed: set[str] = set()

    async def server_tools(self) -> ServerTools | None:
        """What the agent has of the run's MCP servers, starting those that it may use; None where that is nothing."""
        servers = self._bounds.servers
        if servers is None or not may_use_servers(self._task):
            return None
        task, decide = self._task, self._gate.decide

        def may_use(name: str) -> bool:
            return may_use_server_tool(task, name) and decide(name, {}).decision is not Effect.DENY

        tools = await servers.offer(may_use, self._reporter)
        return tools if tools.offer.tools else None

    @property
    def root(self) -> Path:
        """The workspace, all links followed."""
        return self._gate.root

    async def call(self, name: ToolName, value: JsonValue) -> ToolContent:
        """Runs one tool call. What it did is recorded; a call that changes something is on record before it runs (R01).

        Cancelling leaves the file as it was before or as it is after the change, ends a command with all that it
        started, and leaves the intent on record.

        Raises:
            ToolFailure: What the model is told instead of a result.
        """

        async def work(n: int) -> tuple[ToolContent, str | None]:
            arguments = parse_input(name, value)
            await self.calls.begun(name, summary(arguments))
            passed = await self._admitted(name, arguments)
            if name in CHANGING_TOOLS and not passed.decision.is_read_only:
                await self.calls.intended(n, name, value)
            return await self._run(arguments, passed)

        return await self.calls.recorded(name, value, work)

    async def call_server(self, tools: ServerTools, name: str, value: JsonValue) -> ToolContent:
        """Runs one call of a tool of an MCP server, decided, asked and recorded as every other; always on record first.

        Cancelling tells the server, and leaves the intent on record.

        Args:
            tools: What the agent has of the servers.
            name: `mcp__server__tool`, or one of the tools that find and call them where there are many.
            value: The input.

        Raises:
            ToolFailure: What the model is told instead of a result.
        """
        tool, given = tools.meant(name, value)

        async def work(n: int) -> tuple[ToolContent, str | None]:
            tools.offer.meant(name, value)
            shown = json.dumps(given, ensure_ascii=False)
            await self.calls.begun(tool, shown)
            if not tool.startswith("mcp__"):
                return self.fence.around(tools.offer.search(given)), None
            if not tools.may_use(tool):
                raise ToolFailure(f"{tool}: this agent does not have this tool", denied=True, rule="agent's tools")
            await self._gate.admit(tool, given if isinstance(given, dict) else {}, shown=shown)
            await self.calls.intended(n, tool, given)
            return await self._served(tools, tool, given), None

        return await self.calls.recorded(tool, given, work)

    async def may_search(self, *, is_named: bool) -> tuple[str, ...] | None:
        """Whether the agent may have the service search the web.

        The service searches while it replies, so all is decided before. A person is asked only where agent type or call
        name the search: else every agent would ask that might never search.

        Args:
            is_named: They do.

        Returns:
            Hosts of which, and of what lies beneath them, no result is to be given; None where it may not.

        Raises:
            ToolFailure: They do, and it is not allowed.
        """
        if self._gate.decide(WEB_SEARCH, {}).decision is not Effect.ALLOW:
            if not is_named:
                return None
            await self._gate.admit(WEB_SEARCH, {}, shown="search the web, as often as it needs")
        return self._gate.shunned_hosts()

    async def note_search(self, given: JsonValue, *, detail: str, is_failure: bool) -> None:
        """Records a search that the service did while it replied.

        Args:
            given: Its input.
            detail: What came of it.
            is_failure: Nothing did.
        """
        query = given.get("query") if isinstance(given, dict) else None
        await self.calls.begun(WEB_SEARCH, query if isinstance(query, str) else "")
        await self.calls.ended_elsewhere(WEB_SEARCH, given, detail=detail, is_failure=is_failure)

    async def _served(self, tools: ServerTools, tool: str, given: JsonValue) -> ToolContent:
        """What a server gave back, marked as what it is; also where it says why it failed."""
        fence = self.fence
        try:
            content = await tools.pool.call(tool, given, ask=self._reporter.ask)
        except ToolFailure as failure:
            if failure.denied:
                raise
            raise ToolFailure(fence.around(failure.message), detail=failure.message) from None
        finally:
            if self._bounds.servers is not None:
                await self._bounds.servers.tell(self._reporter)
        if isinstance(content, str):
            return fence.around(content)
        return [
            {**block, "text": fence.around(block["text"])} if block["type"] == "text" else block for block in content
        ]

    @property
    def touched(self) -> Touched:
        """What the agent has done so far."""
        return Touched(
            files_read=tuple(sorted(self.files_read)),
            files_changed=tuple(sorted(self.files_changed)),
            tools_called=tuple(self.calls.names),
        )

    async def aclose(self) -> None:
        """Removes what the agent's commands left in private. Idempotent; bounded."""
        if self._shell is not None:
            await self._shell.aclose()

    async def _admitted(self, name: ToolName, arguments: AnyInput) -> Passed:
        """Decides, and asks where that is the decision."""
        match arguments:
            case BashInput(command=command):
                given: dict[str, object] = {"command": command or ":"}
                return await self._gate.admit(name, given, shown=command, folder=self._bash.folder)
            case ReadInput() | WriteInput() | EditInput():
                path = arguments.file_path
                return await self._gate.admit(name, {"file_path": path}, shown=path)
            case GlobInput() | GrepInput():
                given = {"path": arguments.path or ".", "pattern": arguments.pattern}
                shown = f"{arguments.pattern} in {arguments.path or '.'}"
                return await self._gate.admit(name, given, shown=shown)
            case WebFetchInput(url=url):
                return await self._gate.admit(name, {"url": url}, shown=url)
            case SkillInput(name=skill):
                return await self._gate.admit(name, {"name": skill}, shown=skill)
            case _:
                assert_never(arguments)

    async def _run(self, arguments: AnyInput, passed: Passed) -> tuple[ToolContent, str | None]:
        """What a call does, now that it may: for the agent, and for the record."""
        match arguments:
            case BashInput():
                return await self._command(arguments, passed)
            case ReadInput():
                return await self._read(arguments, passed), None
            case WriteInput():
                return await self._write(arguments, passed), None
            case EditInput():
                return await self._edit(arguments, passed), None
            case GlobInput():
                start = _start("glob", arguments.path, passed)
                return self._shown(await search.glob(self._ripgrep, arguments, start, self._seen(passed))), None
            case GrepInput():
                start = _start("grep", arguments.path, passed)
                found = await search.grep(self._ripgrep, arguments, start, self._seen(passed))
                self.files_read |= found.files
                return self._shown(found), None
            case WebFetchInput():
                return await self._fetch(arguments, passed), None
            case SkillInput():
                return await self._skill(arguments), None
            case _:
                assert_never(arguments)

    # --- files

    async def _read(self, arguments: ReadInput, passed: Passed) -> ToolContent:
        path = _path(passed)
        done = await files.read(self._gate.place(path), arguments)
        self._knows(path, done)
        self.files_read.add(self._gate.name(path))
        if not isinstance(done.content, str):
            return done.content
        return self.fence.around(done.content, note="" if done.content else "[there is no text]")

    async def _write(self, arguments: WriteInput, passed: Passed) -> ToolContent:
        path = _path(passed)
        async with self._bounds.locks.hold(path):
            done = await files.write(self._gate.place(path), arguments, known=self._stamps.get(path))
        self._changed(path, done)
        return done.content

    async def _edit(self, arguments: EditInput, passed: Passed) -> ToolContent:
        path = _path(passed)
        async with self._bounds.locks.hold(path):
            done = await files.edit(self._gate.place(path), arguments, known=self._stamps.get(path))
        self.files_read.add(self._gate.name(path))
        self._changed(path, done)
        return done.content

    def _changed(self, path: Path, done: files.Done) -> None:
        name = self._gate.name(path)
        self._knows(path, done)
        self.files_changed.add(name)
        self._bounds.note_edit(path, self._task.agent_id)

    def _knows(self, path: Path, done: files.Done) -> None:
        if done.stamp is not None:
            self._stamps[path] = done.stamp

    # --- searches

    def _shown(self, found: search.Found) -> str:
        return self.fence.around(found.text, found.note) if found.text else found.note

    def _seen(self, passed: Passed) -> search.MayRead:
        return lambda path: self._gate.sees(path, was_asked=passed.was_asked)

    # --- the web

    async def _fetch(self, arguments: WebFetchInput, passed: Passed) -> ToolContent:
        """A page; where a person was asked, the place that was shown is allowed, whatever kind of place it is."""
        from callsheet.agents.web.targets import read_target

        target = read_target(arguments.url)
        agreed = target.address if passed.was_asked else None

        def allowed(place: str) -> bool:
            return place == agreed or self._gate.allows_place(place)

        fetcher = await self._bounds.web()
        page = await fetcher.fetch(arguments.url, allowed=allowed, start=arguments.start or 0)
        return self.fence.around(page.shown(), page.note)

    # --- skills

    async def _skill(self, arguments: SkillInput) -> ToolContent:
        """A skill as it is: it is meant to be followed, and so not marked as data."""
        shelf = self._bounds.skills
        if shelf is None:
            raise ToolFailure("skill: there are no skills here")
        try:
            text = await to_thread.run_sync(shelf.read, arguments.name, abandon_on_cancel=True)
        except NotFoundError as error:
            raise ToolFailure(f"skill: {error.message}") from None
        if len(text) > SKILL_CHARS:
            return f"{text[:SKILL_CHARS]}\n[cut here: {len(text) - SKILL_CHARS} more characters stand in its file]"
        return text

    # --- commands

    @property
    def _bash(self) -> Shell:
        if self._shell is None:
            self._shell = Shell(bounds=self._bounds, task=self._task, root=self.root)
        return self._shell

    async def _command(self, arguments: BashInput, passed: Passed) -> tuple[ToolContent, str | None]:
        if not arguments.command:
            return self._bash.restart(), None
        for path in passed.decision.reads[:MOST_NOTED]:
            await self._note_read(path)
        changes, since = Changes(), self._bounds.edits
        try:
            ran = await self._bash.run(arguments, passed, changes)
        finally:
            # Others work in the same folders meanwhile; what their file tools changed is known.
            others = self._bounds.edited_by_others(self._task.agent_id, since=since)
            self.files_changed |= {path for path in changes.paths if f"{self.root}/{path}" not in others}
        text = self.fence.around(ran.output, ran.note) if ran.output else ran.note
        if ran.is_failure:
            raise ToolFailure(text, detail=ran.detail)
        return text, ran.detail

    async def _note_read(self, path: Path) -> None:
        """A file that a command reads is one that the agent has seen, as it is now."""
        stamp = await files.stamp_at(self._gate.place(path))
        if stamp is not None:
            self._stamps[path] = stamp
            self.files_read.add(self._gate.name(path))


def _path(passed: Passed) -> Path:
    path = passed.decision.path
    assert path is not None, "what a file tool may touch leads somewhere"
    return path


def _start(tool: ToolName, path: str | None, passed: Passed) -> Path:
    """Where a search begins."""
    start = _path(passed)
    if not start.exists():
        raise ToolFailure(f"{tool}: {path}: there is no such file or folder")
    return start
