"""The backend: one kind of agent that speaks the Agent Client Protocol, as a person declared it in settings."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from callsheet.agents.prompt import Background, Prompts
from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.watching import Changes
from callsheet.agents.toolset import Selection, Toolset
from callsheet.model.call import ACP_BACKENDS, AcpProgram, AgentTask
from callsheet.model.outcome import AgentOutcome
from callsheet.model.reports import Remark, Touched
from callsheet.ports import AgentBackend, AgentReporter

if TYPE_CHECKING:
    from callsheet.agents.acp.session import Session
    from callsheet.agents.tools.shell import Shell

_LAST_REPORT_LIMIT_S = 0.5


class AcpBackend(AgentBackend):
    """Agents through a program that speaks the Agent Client Protocol; each agent has one to itself."""

    def __init__(
        self,
        name: str,
        program: AcpProgram,
        *,
        bounds: Bounds,
        environ: Mapping[str, str] | None = None,
        background: Background | None = None,
        hosts: tuple[str, ...] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Makes the backend; nothing is looked for or started yet.

        Args:
            name: As it was declared; the backend is `acp:NAME`.
            program: It.
            bounds: What agents may do, and what holds the program.
            environ: The host's environment, of which the program gets little; this process's without one.
            background: What agents are told of project and machine; nothing without it.
            hosts: What the program may reach at most, whatever was declared; None for no such limit.
            timeout_s: How long an agent may take; None for no limit of its own.
        """
        self._agent = name
        self._program = program
        self._bounds = bounds
        self._toolset = Toolset(bounds)
        self._environ = os.environ if environ is None else environ
        self._background = background or Background()
        self._prompts = Prompts(fence=bounds.fence, background=self._background)
        self._hosts = hosts
        self._timeout_s = timeout_s
        self._said: set[tuple[str, str]] = set()

    @property
    def name(self) -> str:
        return f"{ACP_BACKENDS}{self._agent}"

    def default_model(self) -> str | None:
        return None

    async def run(self, task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        return await self._toolset.run(task, reporter, self._run)

    async def aclose(self) -> None:
        pass

    async def _run(self, task: AgentTask, selection: Selection, reporter: AgentReporter) -> AgentOutcome:
        from callsheet.agents.acp.session import Session
        from callsheet.agents.tools.names import ToolFailure
        from callsheet.agents.tools.shell import Shell

        await self._say_what_is_left_out(task, reporter)
        names = frozenset(selection.names)
        if not names & {"write", "edit", "bash"}:  # then nothing of it may change anything
            task = replace(task, agent_type=replace(task.agent_type, read_only=True))
        shell = Shell.of_task(bounds=self._bounds, task=task)
        session = Session(
            agent=self._agent, task=task, names=names, bounds=self._bounds, reporter=reporter, folder=shell.folder
        )
        changes = Changes()
        since = self._bounds.edits
        root = shell.root

        def changed() -> set[str]:
            others = self._bounds.edited_by_others(task.agent_id, since=since)
            return session.files_changed | {path for path in changes.paths if f"{root}/{path}" not in others}

        outcome: AgentOutcome | None = None
        try:
            opening = await self._opening(task, shell.root)
            async with self._watched(task, root) as changes:
                with anyio.move_on_after(self._timeout_s):
                    outcome = await self._held(session, opening, shell, task)
        except ToolFailure as failure:
            outcome = session.end("failed", error=failure.message)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(_LAST_REPORT_LIMIT_S, shield=True):
                await reporter.report(
                    Touched(
                        files_read=tuple(sorted(session.files_read)),
                        files_changed=tuple(sorted(changed())),
                        tools_called=session.tools_called,
                    )
                )
            raise
        finally:
            await shell.aclose()
        if outcome is None:
            outcome = session.end("timed_out", error=f"the agent took more than {self._timeout_s or 0:g} s")
        return replace(outcome, files_changed=tuple(sorted(changed())))

    @asynccontextmanager
    async def _watched(self, task: AgentTask, root: Path) -> AsyncGenerator[Changes]:
        """Fills in what the program changed by itself, once it has ended; what may change nothing is not watched."""
        if task.agent_type.read_only:
            yield Changes()
            return
        async with self._bounds.watch(root) as changes:
            yield changes

    async def _held(self, session: Session, opening: str, shell: Shell, task: AgentTask) -> AgentOutcome:
        """Starts the program as it may be started, and has the session with it."""
        from callsheet.agents.acp.launch import launching
        from callsheet.agents.acp.program import Program
        from callsheet.agents.supervised import open_supervised

        start = launching(
            self._program,
            await shell.hold_program(),
            folder=shell.folder,
            root=shell.root,
            home=self._bounds.home,
            host=self._environ,
            hosts=self._hosts,
        )
        name = start.program.argv[0]
        async with open_supervised(start.program, start.launcher, environ=start.environ, name=name) as running:
            return await session.run(Program(running), opening)

    async def _opening(self, task: AgentTask, root: Path) -> str:
        """What the agent is told: the protocol has no place for a system prompt, so it is in the first one."""
        plain = replace(task, options=replace(task.options, schema=None))  # there is no tool that takes the answer
        system = await self._prompts.of(plain, root)
        place = "\n".join(line for line in system.place.splitlines() if not line.startswith("In tool results"))
        parts = (system.shared, place, task.options.context, task.prompt)
        return "\n\n".join(part for part in parts if part)

    async def _say_what_is_left_out(self, task: AgentTask, reporter: AgentReporter) -> None:
        options = task.options
        asked = {"model": options.model, "effort": options.effort, "speed": options.speed == "fast" or None}
        for name in (name for name, value in asked.items() if value is not None):
            if (task.run_id, name) not in self._said:
                self._said.add((task.run_id, name))
                message = f"`{name}` is left out: {self.name} chooses its model by itself"
                await reporter.report(Remark(level="info", message=message))
