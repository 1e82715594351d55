"""Where agents work: worktrees, checkpoints, and what holds the programs that they start."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from callsheet.errors import CheckpointError
from callsheet.model.call import AgentTask, WorkspaceRef
from callsheet.model.confinement import CommandLine, CommandProfile, ConfinedLine, ConfinementName, Coverage
from callsheet.model.events import CheckpointRestored, CheckpointTaken
from callsheet.model.outcome import AgentOutcome, AgentWorktree
from callsheet.model.reports import ToolCalled
from callsheet.model.run import ChangedFile
from callsheet.ports.agents import AgentReporter


class WorkPlace(Protocol):
    """A worktree, for one task."""

    @property
    def workspace(self) -> WorkspaceRef:
        """Where the agent works, instead of the workspace that its task names."""
        ...

    @property
    def kept(self) -> AgentWorktree | None:
        """What is known by now of changes that were kept; None where there are none."""
        ...

    async def settle(self, outcome: AgentOutcome) -> AgentOutcome:
        """Keeps what the agent changed and, where its call says `merge` and it ended `ok`, merges it (CONTRACT A16).

        To be called when the agent has ended, before the place is left. Gives the outcome with what became of the
        changes; `conflict` where they cannot be merged. Whatever goes wrong, no change is lost.
        """
        ...


class Workspaces(Protocol):
    """Makes worktrees for the tasks that ask for one (CONTRACT A07, A16)."""

    def open(self, task: AgentTask, reporter: AgentReporter) -> AbstractAsyncContextManager[WorkPlace]:
        """A place for a task; entering waits while another has the worktree of that name.

        Leaving keeps what was changed, also when the agent was cancelled; every wait then is bounded.

        Raises:
            WorktreeError: There can be no worktree; says why.
        """
        ...


class CheckpointTaker(Protocol):
    """Keeps the state of the workspace, so that there is a way back to it."""

    async def take(self) -> CheckpointTaken:
        """Keeps it as it is now. Agents may be at work.

        Raises:
            CheckpointError: It could not be kept; says why.
        """
        ...

    async def changed(self) -> Sequence[ChangedFile]:
        """What is other in the last one than in the first, by path, whoever changed it.

        Raises:
            CheckpointError: That cannot be told.
        """
        return ()

    async def before_change(self, task: AgentTask, call: ToolCalled) -> None:
        """An agent is about to do what may change something: how that was is kept. Returns when it may go on.

        One that does not say otherwise keeps nothing of single agents.

        Raises:
            CheckpointError: It could not be kept: this change will not be taken back by itself.
        """
        return

    async def after_change(self, task: AgentTask, call: ToolCalled) -> None:
        """The agent has done it, or not. Raises as `before_change`."""
        return

    async def ended(self, task: AgentTask, outcome: AgentOutcome) -> None:
        """The agent has ended. Raises as `before_change`."""
        return

    async def take_back(self, task: AgentTask, paths: Sequence[str]) -> CheckpointRestored:
        """Takes back what an agent that has ended changed in these files. Others may be at work.

        A file that somebody else changed since, or whose earlier state is not known, is left, and why.

        Raises:
            CheckpointError: Nothing was taken back.
        """
        raise CheckpointError("changes of single agents are not kept here")


class CommandConfinement(Protocol):
    """What holds the programs that agents start (DESIGN 10). `model.sandbox.Confinement` is what holds a script."""

    @property
    def name(self) -> ConfinementName:
        """The name in `callsheet doctor` and `run.started`."""
        ...

    @property
    def coverage(self) -> tuple[Coverage, ...]:
        """What it covers on this machine, one row for every area."""
        ...

    def open(self, line: CommandLine, profile: CommandProfile) -> AbstractAsyncContextManager[ConfinedLine]:
        """Makes ready what the command needs (filters, proxy); leaving takes it away, whatever became of the command.

        The command is started by the caller, within the context, and must have ended before it is left.

        Raises:
            ConfinementError: This confinement cannot hold the profile; names what to change. Nothing was started.
        """
        ...
