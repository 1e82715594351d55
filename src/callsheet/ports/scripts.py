"""What runs scripts, and where they are found."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from callsheet.model.call import AgentType
from callsheet.model.sandbox import (
    Clock,
    Confinement,
    Delivery,
    SandboxLimits,
    ScriptMessage,
    SyntaxFault,
)
from callsheet.model.script import Script
from callsheet.model.spending import Budget


class ScriptSession(Protocol):
    """One child process that runs the scripts of one run. Deliveries in, messages out.

    After every delivery the child runs until nothing is ready and says `Idle`; the next delivery waits for that.
    """

    async def ready(self) -> Confinement:
        """Waits until the child is up and holds itself; says what holds it. Later calls answer at once.

        Raises:
            SandboxError: It did not come up, or required confinement is not to be had.
        """
        ...

    async def compile(self, body: str) -> SyntaxFault | None:
        """Judges the syntax of `Script.body`; runs nothing of it (CONTRACT S06).

        Raises:
            SandboxError: The child failed.
        """
        ...

    async def deliver(self, delivery: Delivery, clock: Clock, ahead: Sequence[tuple[Delivery, Clock]] = ()) -> int:
        """Hands the child one delivery. Returns when it is written, not when it has been worked off.

        Cancelling may leave the frame half written: the session can then only be closed.

        Args:
            delivery: What happens.
            clock: What the script sees of the world by then.
            ahead: What is to follow at once, in this order, each only where the script said nothing in the turn before
                it: the first turn in which it says anything is the last, and all behind it were never delivered.

        Returns:
            How many of `ahead` were handed in. Each of their turns ends with an `Idle` of its own.

        Raises:
            SandboxError: The child is dead or over a limit.
            SandboxClosedError: The session was closed.
        """
        ...

    async def receive(self) -> Sequence[ScriptMessage]:
        """The next messages of the child, at least one. Safe to cancel: nothing is lost.

        Not calling it stops the reading, and so, once the pipe is full, the child (CONTRACT L03).

        Raises:
            SandboxError: The child is dead, silent, over a limit, flooding, or sent rubbish. Every later call raises
                the same.
            SandboxClosedError: The session was closed.
        """
        ...


class ScriptHost(Protocol):
    """Opens sandboxes."""

    def open(self, limits: SandboxLimits) -> AbstractAsyncContextManager[ScriptSession]:
        """Starts a child; entering returns once it is started, `ready()` waits until it is up.

        Leaving the context ends it in stages, every wait bounded; no process is left, whatever happened before.

        Raises:
            SandboxError: The system would not start a process.
        """
        ...


class WorkflowLibrary(Protocol):
    """Finds scripts and agent types by name (FORMATS 6)."""

    def workflow(self, name: str) -> Script:
        """A saved workflow by `meta.name`, or by its file's stem where that is unique.

        Raises:
            NotFoundError: No such name; lists the names there are.
            ScriptRefusedError: The file is there and is refused.
        """
        ...

    def workflow_at(self, script_path: str, *, relative_to: str | None) -> Script:
        """A script by path, for `workflow({scriptPath})` (CONTRACT W01).

        Args:
            script_path: Relative to the workspace or to the folder of the calling script.
            relative_to: Absolute path of the calling script, None where it has none.

        Raises:
            NotFoundError: No such file, or outside the workspace and the workflow folders, or not `.js`/`.mjs`.
            ScriptRefusedError: The file is there and is refused.
        """
        ...

    def agent_type(self, name: str) -> AgentType:
        """An agent type by name.

        Raises:
            NotFoundError: No such name; lists the names there are.
        """
        ...


class DraftGate(Protocol):
    """What a run has that takes scripts as text (CONTRACT W03): reads them, and tells a person what they would do."""

    def read(self, text: str) -> Script:
        """The script in a text.

        Raises:
            ScriptRefusedError: It is none.
        """
        ...

    async def foreseen(self, script: Script, *, args_json: str | None, left: Budget) -> Sequence[str]:
        """What a script would do, in lines for a person who is to approve it; bounded in time. Touches nothing.

        Args:
            script: It was compiled, and no more is known of it.
            args_json: JSON text of its `args`; None for `undefined`.
            left: What is left of the run's budget.

        Raises:
            CallsheetError: It would not run; nobody is asked about it.
        """
        ...
