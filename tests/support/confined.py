"""A workspace with a home, a record and neighbours around it, and commands run in it under each confinement."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import psutil
from anyio import to_thread

from callsheet.confinement.probe import candidates, failure
from callsheet.confinement.unconfined import Unconfined
from callsheet.model.confinement import CommandLimits, CommandNetwork, CommandProfile, NetworkOff
from callsheet.ports import CommandConfinement
from callsheet.shell.command import CommandResult, OutputLimits, run_command
from callsheet.shell.environment import command_environment
from callsheet.shell.program import ProgramResult, run_program
from tests.support.processes import ended

PYTHON = f"{os.path.realpath(sys.executable)} -I -S -B"


def working_confinements() -> list[CommandConfinement]:
    """Those that hold on this machine, best first."""
    found = [each for each in candidates() if not isinstance(each, tuple)]
    return [each for each in found if anyio.run(failure, each) is None]


CONFINED = working_confinements()
ALL: list[CommandConfinement] = [*CONFINED, Unconfined()]


def name_of(confinement: CommandConfinement) -> str:
    return confinement.name


@dataclass
class Site:
    """Folders as they lie around an agent."""

    base: Path
    confinement: CommandConfinement
    limits: CommandLimits = field(default_factory=CommandLimits)
    network: CommandNetwork = field(default_factory=NetworkOff)
    timeout_s: float = 20
    workspace: Path = field(init=False)
    outside: Path = field(init=False)

    def __post_init__(self) -> None:
        self.base = self.base.resolve()
        self.workspace, self.outside = self.base / "ws", self.base / "outside"
        for folder in (self.workspace, self.outside, self.home / ".ssh", self.record, self.base / "scratch"):
            folder.mkdir(parents=True, mode=0o700)
        (self.home / ".ssh" / "id_ed25519").write_text("PRIVATE", encoding="utf-8")
        (self.record / "callsheet.db").write_text("PRIVATE", encoding="utf-8")
        (self.outside / "note").write_text("before", encoding="utf-8")
        (self.workspace / ".git").mkdir()
        (self.workspace / ".git" / "config").write_text("before", encoding="utf-8")

    @property
    def home(self) -> Path:
        return self.base / "home"

    @property
    def record(self) -> Path:
        """Where confinement can hide it: inside the workspace, or beside it under Landlock."""
        return (self.base if self.confinement.name == "landlock" else self.workspace) / ".callsheet"

    @property
    def profile(self) -> CommandProfile:
        return CommandProfile(
            scratch=self.base / "scratch",
            writable=(self.workspace,),
            visible=(Path(sys.base_prefix), Path(os.path.realpath(sys.executable))),
            protected=(self.workspace / ".git", self.workspace / ".mcp.json"),
            hidden=(self.record,),
            home=self.home,
            network=self.network,
            limits=self.limits,
        )

    async def program(
        self, *words: str, stdin: bytes = b"", timeout_s: float = 20, output_bytes: int = 1_000_000
    ) -> ProgramResult:
        return await run_program(
            words,
            stdin=stdin,
            confinement=self.confinement,
            profile=replace(self.profile, limits=self.limits),
            workspace=self.workspace,
            cwd=self.workspace,
            environ=command_environment(os.environ),
            timeout_s=timeout_s,
            output_bytes=output_bytes,
        )

    async def run(
        self, command: str, *, cwd: Path | None = None, output: OutputLimits | None = None, **limits: int
    ) -> CommandResult:
        return await run_command(
            command,
            confinement=self.confinement,
            profile=replace(self.profile, limits=replace(self.limits, **limits)),
            workspace=self.workspace,
            cwd=cwd or self.workspace,
            environ=command_environment(os.environ),
            timeout_s=self.timeout_s,
            output=output,
        )


def processes_with(word: str) -> Iterator[psutil.Process]:
    """Those on this machine with this word among their arguments."""
    for process in psutil.process_iter():
        try:
            if word in process.cmdline():
                yield process
        except psutil.Error:
            continue


def _sleeping(word: str) -> list[int]:
    """The `sleep`s with this word among their arguments."""
    found = []
    for each in processes_with(word):
        with suppress(psutil.Error):
            if each.name() == "sleep" and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each.pid)
    return found


async def running(word: str, number: int, *, within_s: float = 40) -> bool:
    """Whether so many `sleep` have this word among their arguments, before the time is up."""
    with anyio.move_on_after(within_s):
        # The start of another's process gives no event; each look goes through all of the machine's processes.
        while len(await to_thread.run_sync(_sleeping, word)) < number:
            pass
        return True
    return False


async def gone(word: str, *, within_s: float = 20) -> bool:
    """Whether no `sleep` has this word among its arguments any more, before the time is up."""
    with anyio.move_on_after(within_s):
        while found := await to_thread.run_sync(_sleeping, word):
            await ended(found)
        return True
    return False
