"""bash: each command in a new shell, held as its agent is, with one thing carried over: the folder (DESIGN 5)."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio import to_thread

from callsheet.agents.tools import profile as profiles
from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.gate import Passed
from callsheet.agents.tools.holding import Held
from callsheet.agents.tools.inputs import BashInput
from callsheet.agents.tools.names import ToolFailure
from callsheet.agents.tools.watching import Changes
from callsheet.errors import ConfinementError, UsageError
from callsheet.model.call import AgentTask
from callsheet.model.confinement import CommandProfile, NetworkOff
from callsheet.model.dataclass import dataclass
from callsheet.permissions.decide import Decision
from callsheet.permissions.modes import Mode
from callsheet.permissions.rules import Effect, Family
from callsheet.ports import CommandConfinement
from callsheet.shell.command import CommandResult, OutputLimits, run_command
from callsheet.shell.program import ProgramResult, run_program

DEFAULT_TIMEOUT_S = 120.0
MAX_TIMEOUT_S = 600.0
SHOWN_BYTES = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A command that ran.

    Attributes:
        output: What it printed.
        note: Our words on how it ended, for the agent.
        detail: For the record: how it ended, and where the whole of a long output is.
        is_failure: A limit ended it.
    """

    output: str
    note: str
    detail: str
    is_failure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldProgram:
    """What holds a program.

    Attributes:
        is_confined: Something does; else the machine is the boundary.
        profile: What it may touch, as an agent's command.
        environ: What it gets of the host's environment.
    """

    confinement: CommandConfinement
    is_confined: bool
    profile: CommandProfile
    environ: dict[str, str]


class Shell:
    """The commands of one agent; one at a time.

    Attributes:
        folder: Where the next one starts, all links followed.
    """

    def __init__(self, *, bounds: Bounds, task: AgentTask, root: Path) -> None:
        self._bounds = bounds
        self._task = task
        self._root = root
        self._first = (root / task.workspace.cwd).resolve()
        self.folder = self._first
        self._scratch: Path | None = None
        self._stack = AsyncExitStack()

    @classmethod
    def of_task(cls, *, bounds: Bounds, task: AgentTask) -> Shell:
        """The shell of an agent that has no other tools.

        Raises:
            UsageError: The task's folder is not one of the workspace.
        """
        root = Path(task.workspace.root).resolve()
        shell = cls(bounds=bounds, task=task, root=root)
        if not shell.folder.is_dir() or not shell.folder.is_relative_to(root):
            raise UsageError(f"{task.workspace.cwd} is not a folder of the workspace {root}.")
        return shell

    @property
    def root(self) -> Path:
        """The workspace, all links followed."""
        return self._root

    def restart(self) -> str:
        """Forgets the folder; says so."""
        self.folder = self._first
        return "Each command gets a new shell, there is none to restart; the next one starts in the first folder."

    async def run(self, arguments: BashInput, passed: Passed, changes: Changes) -> Ran:
        """Runs a command that may run; nothing of it is left running. Cancelling ends it, and `changes` is filled in.

        Raises:
            ToolFailure: It could not be run, or not be held.
        """
        assert passed.held is not None
        folder = self.folder
        if not folder.is_dir() or folder.resolve() != folder:
            self.folder = self._first
            raise ToolFailure(f"bash: {folder} is gone; the next command starts in {self._first}")
        timeout_s = min((arguments.timeout_ms or DEFAULT_TIMEOUT_S * 1000) / 1000, MAX_TIMEOUT_S)
        spool: Path | None = None
        try:
            spool = await to_thread.run_sync(self._spool)
            profile = await self._profile(passed, passed.held)
            async with self._watched(passed, changes):
                result = await run_command(
                    arguments.command,
                    confinement=passed.held.confinement,
                    profile=profile,
                    workspace=self._root,
                    cwd=folder,
                    environ=self._bounds.environment(self._root, is_confined=_is_confined(passed.held)),
                    timeout_s=timeout_s,
                    output=OutputLimits(shown_bytes=SHOWN_BYTES, spool=spool),
                )
        except ConfinementError as error:
            raise ToolFailure(f"bash: {error.message}") from None
        except OSError as error:
            raise ToolFailure(f"bash: the command could not be started: {error.strerror or error}") from None
        except anyio.get_cancelled_exc_class():
            if spool is not None:
                with suppress(OSError):  # no record will name it
                    spool.unlink()
            raise
        self.folder = result.cwd
        return self._ran(result, changes)

    async def run_program(
        self, words: Sequence[str], stdin: bytes, changes: Changes, *, timeout_s: float
    ) -> ProgramResult:
        """Runs a program that a person declared: no rule is asked, what holds commands holds it.

        Cancelling ends it with all that it started, and `changes` is filled in.

        Raises:
            ToolFailure: It could not be run, or nothing holds commands here.
        """
        passed = await self._declared()
        assert passed.held is not None
        held = passed.held
        try:
            profile = await self._profile(passed, held)
            async with self._watched(passed, changes):
                return await run_program(
                    words,
                    stdin=stdin,
                    confinement=held.confinement,
                    profile=profile,
                    workspace=self._root,
                    cwd=self.folder,
                    environ=self._bounds.environment(self._root, is_confined=_is_confined(held)),
                    timeout_s=timeout_s,
                )
        except ConfinementError as error:
            raise ToolFailure(error.message) from None
        except OSError as error:
            raise ToolFailure(f"it could not be started: {error.strerror or error}") from None

    async def hold_program(self) -> HeldProgram:
        """What is to hold a program that a person declared and that lives as long as its agent; none is started.

        Raises:
            ToolFailure: Nothing holds commands here, or there is no place for what is the agent's own.
        """
        passed = await self._declared()
        assert passed.held is not None
        try:
            profile = await self._profile(passed, passed.held)
        except OSError as error:
            raise ToolFailure(f"it could not be held: {error.strerror or error}") from None
        is_confined = _is_confined(passed.held)
        environ = self._bounds.environment(self._root, is_confined=is_confined)
        return HeldProgram(
            confinement=passed.held.confinement, is_confined=is_confined, profile=profile, environ=environ
        )

    async def _declared(self) -> Passed:
        """A program that a person declared may run: no rule is asked, what holds commands holds it."""
        held = await self._bounds.held()
        if held.is_needed:
            raise ToolFailure(
                f"nothing confines programs on this machine ({held.why}; `callsheet doctor` tells more), and this one "
                "may run files of the workspace. Start the run with --unconfined where the machine itself is the "
                "boundary."
            )
        decision = Decision(
            decision=Effect.ALLOW, reason="It was declared in settings.", rule="settings", needs_confinement=True
        )
        return Passed(decision=decision, held=held)

    @asynccontextmanager
    async def _watched(self, passed: Passed, changes: Changes) -> AsyncIterator[None]:
        """Fills in what a command changed, once it has ended; what only reads is not watched."""
        if passed.decision.is_read_only:
            yield
            return
        watched: Changes | None = None
        try:
            async with self._bounds.watch(self._root) as watched:
                yield
        finally:
            if watched is not None:
                changes.paths, changes.notes = watched.paths, watched.notes

    async def aclose(self) -> None:
        """Removes the agent's private folder. Idempotent."""
        self._scratch = None
        await self._stack.aclose()

    def _ran(self, result: CommandResult, changes: Changes) -> Ran:
        how = f"exit status {result.exit_status}"
        detail = f"{how}, {result.duration_s:.1f} s, {result.output_bytes} bytes"
        if result.output_path is not None:
            if result.output_bytes > SHOWN_BYTES:
                detail += f", all of it in {result.output_path}"
            else:
                with suppress(OSError):
                    result.output_path.unlink()
        words = [how]
        if not result.output:
            words.insert(0, "no output")
        if self.folder != self._first:
            words.append(f"now in {self.folder}")
        notes = [f"[{'; '.join(words)}]", *((f"[{result.note}]",) if result.note else ())]
        notes += [f"[{note}]" for note in changes.notes]
        if result.note is not None:
            detail += f"; {result.note}"
        return Ran(
            output=result.output.removesuffix("\n"),
            note="\n".join(notes),
            detail=detail,
            is_failure=result.ended != "ended",
        )

    def _spool(self) -> Path | None:
        folder = self._bounds.outputs
        if folder is None:
            return None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / f"{self._task.agent_id}-{secrets.token_hex(4)}.txt"

    async def _profile(self, passed: Passed, held: Held) -> CommandProfile:
        bounds = self._bounds
        settings = bounds.settings_in(self._root)
        if self._scratch is None:
            self._scratch = await self._stack.enter_async_context(bounds.scratch(self._task.agent_id))
        home = bounds.home.resolve()
        folders = profiles.themselves(bounds.folders())
        readable, writable = self._workspace_places(passed, folders, home)
        programs = profiles.program_places(bounds.environment(self._root, is_confined=True)["PATH"], home)
        seen = readable or (self._root, *folders, *self._granted(Family.READ, home))
        visible = [*bounds.visible_in(self._root), *programs, *seen]
        hidden = self._hidden(passed, held)
        if readable is not None and self._root not in readable:
            hidden.append(self._root)
        protected = () if _may_change_protected(passed, settings.mode) else await bounds.protected(self._root)
        return CommandProfile(
            scratch=self._scratch,
            writable=writable,
            visible=tuple(visible),
            protected=profiles.themselves(protected),
            hidden=tuple(hidden),
            home=home,
            network=NetworkOff() if passed.decision.is_read_only else bounds.network(),
            limits=bounds.limits,
        )

    def _hidden(self, passed: Passed, held: Held) -> list[Path]:
        """What a command sees nothing of.

        Landlock cannot take a part out of what it grants, and refuses. Commands that the rules understand in full are
        kept from the record by the rules, and need not fail for that.
        """
        bounds = self._bounds
        hidden = [*bounds.hidden, self._root / ".callsheet"]
        if held.confinement.name == "bubblewrap":
            return hidden + list(profiles.denied_places(bounds.settings_in(self._root).rules, folder=self._first))
        is_understood = not (passed.was_asked or passed.decision.needs_confinement)
        if is_understood and bounds.settings.mode is not Mode.BYPASS:
            return [place for place in hidden if not place.is_relative_to(self._root)]
        return hidden

    def _workspace_places(
        self, passed: Passed, folders: tuple[Path, ...], home: Path
    ) -> tuple[tuple[Path, ...] | None, tuple[Path, ...]]:
        """What of the workspace, and of folders beside it, a command sees (None: all) and may change."""
        scope, read_only = self._task.options.scope, self._task.agent_type.read_only
        readable = profiles.readable_places(self._root, scope)
        if passed.decision.is_read_only:
            return readable, ()
        writable = profiles.writable_places(self._root, scope, read_only=read_only)
        if not read_only and (scope is None or (scope.read is None and scope.write is None)):
            return readable, (*writable, *folders, *self._granted(Family.EDIT, home))
        if readable is not None and self._root not in readable:
            inner = tuple(place for place in readable if any(place.is_relative_to(each) for each in writable))
            writable = (*(place for place in writable if place != self._root), *inner)
        return readable, writable

    def _granted(self, family: Family, home: Path) -> tuple[Path, ...]:
        rules = self._bounds.settings_in(self._root).rules
        return profiles.granted_outside(rules, family, root=self._root, home=home)


def _may_change_protected(passed: Passed, mode: Mode) -> bool:
    """Whether protected paths are open to a command: a person said so, of this one or of all."""
    return mode is Mode.BYPASS or (passed.was_asked and passed.decision.rule.startswith("protected path"))


def _is_confined(held: Held) -> bool:
    return held.confinement.name != "none"
