"""What the agents of one run may do, and what they share: made by app, one for all agents of a run."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from callsheet.agents.tools.fence import Fence
from callsheet.agents.tools.holding import Held, Holding
from callsheet.agents.tools.locks import FileLocks
from callsheet.agents.tools.scratch import Scratch
from callsheet.agents.tools.watching import Watch, watch_files
from callsheet.model.call import AgentTask
from callsheet.model.confinement import CommandLimits, CommandNetwork
from callsheet.model.dataclass import dataclass

if TYPE_CHECKING:
    from callsheet.agents.answer import AnswerJudge, AnswerTerms
    from callsheet.agents.tools.servers import Servers
    from callsheet.agents.web.fetch import WebFetcher
    from callsheet.confinement.probe import Probed
    from callsheet.permissions.decide import Decider
    from callsheet.permissions.rules import Rule
    from callsheet.permissions.sources import PermissionSettings
    from callsheet.ports import CommandConfinement

GRANTED = "allowed in this run"
"""How a rule's place is called that a person granted while the run went on."""

SKILL_FILES = "the files of your skills"
_IN_PATTERNS = re.compile(r"[*?\[\]{}()!\\#]|\s$")
"""What means something in a pattern: a folder with such a name is asked about like any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A copy of the workspace that agents work in instead.

    Attributes:
        of: The workspace.
        visible: What commands may read besides: the repository's data, folders that are linked.
        readable: Folders that agents may read besides, by any tool.
    """

    of: Path
    visible: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The skills that agents may read.

    Attributes:
        listing: What agents are told of them: a line for each.
        read: The whole text of one; raises `NotFoundError`.
    """

    listing: str
    read: Callable[[str], str]


class Bounds:
    """The bounds of one run. Nothing is imported, probed or made until an agent needs it.

    Attributes:
        home: The user's folder.
        workspace: No program in it is used by the host; None for none.
        unconfined: `--unconfined`: the machine is the boundary, commands are not confined.
        hidden: What commands may neither read nor change: the record, wherever it lies. `.callsheet` always is.
        visible: What commands may read although it lies in a hidden place.
        limits: Of each command.
        outputs: The run's folder for the whole of long outputs, beside the record; None to keep none.
        watch: Tells what a command changed.
        locks: Hold files against other agents and, with a folder, other processes.
        fence: Marks text that is not ours in what agents are told.
        skills: What `offer_skills` was given; None for none.
        servers: MCP servers whose tools agents may call; None for none.
        judge: Asked about agents' answers that fit their schemas, by the program itself; None where that is all.
        answers: How the program takes each agent's answers; None for the usual way.
    """

    def __init__(
        self,
        *,
        settings: PermissionSettings | None = None,
        home: Path | None = None,
        environ: Mapping[str, str] | None = None,
        keep_environ: Sequence[str] = (),
        workspace: Path | None = None,
        unconfined: bool = False,
        confinement: CommandConfinement | None = None,
        network: CommandNetwork | None = None,
        hidden: Sequence[Path] = (),
        visible: Sequence[Path] = (),
        limits: CommandLimits | None = None,
        scratch: Path | None = None,
        outputs: Path | None = None,
        locks: Path | None = None,
        watch: Watch = watch_files,
        fence: Fence | None = None,
        web: WebFetcher | None = None,
    ) -> None:
        """Makes bounds; without any argument those of a workspace without settings, for nobody but this process.

        Args:
            settings: Mode and rules at the start; the default mode without rules, where there are none.
            home: The user's folder; the system is asked without one.
            environ: The host's environment, of which commands get a part; this process's without one.
            keep_environ: Names of further variables that commands get.
            workspace: As the attribute.
            unconfined: As the attribute.
            confinement: What holds commands; without one the best that works here, found when first needed.
            network: What commands reach; without one the hosts that `WebFetch(domain:…)` rules allow.
            hidden: As the attribute.
            visible: As the attribute.
            limits: As the attribute.
            scratch: Where agents' private homes are made, one for each, removed at its end; without one a temporary
                folder of the run's own.
            outputs: As the attribute.
            locks: A folder that all processes share which work in the workspace, hidden from agents; None for none.
            watch: As the attribute.
            fence: As the attribute.
            web: Fetches pages; without one what does so over the network, made when first needed.
        """
        self._settings = settings
        self.home = home or Path.home()
        self._environ = os.environ if environ is None else environ
        self._keep_environ = tuple(keep_environ)
        self.workspace = workspace
        self.unconfined = unconfined
        self._holding = Holding(confinement, workspace=workspace)
        self._network = network
        self.hidden = tuple(hidden)
        self.visible = tuple(visible)
        self.limits = limits or CommandLimits()
        self._scratch = Scratch(scratch)
        self.outputs = outputs
        self.watch = watch
        self.locks = FileLocks(locks)
        self.fence = fence or Fence()
        self._web = web
        self._making_web = anyio.Lock()
        self.skills: Shelf | None = None
        self.servers: Servers | None = None
        self.judge: AnswerJudge | None = None
        self.answers: Callable[[AgentTask], AnswerTerms] | None = None
        self._version = 0
        self._granted: set[str] = set()
        self._protected: dict[Path, tuple[Path, ...]] = {}
        self._folders: tuple[Path, ...] | None = None
        self._copies: dict[Path, Copy] = {}
        self._moved: dict[Path, tuple[int, PermissionSettings]] = {}
        self._edits = 0
        self._edited: dict[str, tuple[int, str]] = {}

    # --- rules

    @property
    def settings(self) -> PermissionSettings:
        """Mode and rules that hold now, with what was granted since the start."""
        if self._settings is None:
            from callsheet.permissions.sources import PermissionSettings

            self._settings = PermissionSettings()
        return self._settings

    @property
    def version(self) -> int:
        """Changes whenever a rule is granted: deciders made before are out of date."""
        return self._version

    def decider(self, task: AgentTask) -> Decider:
        """Decides about an agent's tool calls by the rules that hold now.

        Raises:
            UsageError: The task's folder is not one of the workspace.
        """
        from callsheet.permissions.decide import Decider

        root = Path(task.workspace.root)
        return Decider(
            self.settings_in(root),
            root=root,
            cwd=task.workspace.cwd,
            scope=task.options.scope,
            home=self.home,
            read_only=task.agent_type.read_only,
        )

    def add_copy(self, root: Path, copy: Copy) -> None:
        """Agents will work in a copy of the workspace: what the rules say of the one they then say of the other."""
        self._copies[root] = copy

    def settings_in(self, root: Path) -> PermissionSettings:
        """Mode and rules for agents whose workspace has this root: the run's own, or a copy that was added."""
        copy = self._copies.get(root)
        if copy is None:
            return self.settings
        version, settings = self._moved.get(root, (-1, self.settings))
        if version != self._version:
            from callsheet.permissions.moving import moved_settings

            settings = moved_settings(self.settings, root=copy.of, copy=root)
            settings = replace(settings, rules=(*settings.rules, *_reading(copy.readable, root, self.home)))
            self._moved[root] = self._version, settings
        return settings

    def visible_in(self, root: Path) -> tuple[Path, ...]:
        """What commands may read although it lies in a hidden place, where the workspace has this root."""
        copy = self._copies.get(root)
        return self.visible if copy is None else (*self.visible, *copy.visible)

    def offer_skills(self, shelf: Shelf, *, folders: Sequence[Path], root: Path) -> None:
        """Lets every agent of the run read these skills, and the files that lie with them.

        Args:
            shelf: They.
            folders: Where such files lie outside the workspace.
            root: The workspace.
        """
        self.skills = shelf
        rules = [f"Read(/{folder}/**)" for folder in folders if not _IN_PATTERNS.search(str(folder))]
        self.grant(rules, root=root, by=SKILL_FILES)

    def grant(self, rules: Sequence[str], *, root: Path, by: str = GRANTED) -> None:
        """Allows from now on what these rules say, to every agent of the run; `by` is how their place is called."""
        from callsheet.permissions.rules import Effect, Origin, read_rule

        origin = Origin(name=by, folder=root)
        read = [read_rule(Effect.ALLOW, rule, origin, home=self.home)[0] for rule in rules if rule not in self._granted]
        new = tuple(rule for rule in read if rule is not None)
        self._granted.update(rules)
        if new:
            self._settings = replace(self.settings, rules=(*self.settings.rules, *new))
            self._version += 1

    def was_granted(self, rule: str) -> bool:
        """Whether a person granted a rule, as written, while the run went on."""
        return rule in self._granted

    # --- the web

    async def web(self) -> WebFetcher:
        """Fetches pages for all agents of the run. Its libraries are imported at the first call, in a worker thread."""
        async with self._making_web:
            if self._web is None:
                fetcher = await to_thread.run_sync(_import_fetcher, abandon_on_cancel=True)
                self._web = fetcher(environ=self._environ)
            return self._web

    # --- who changed what

    @property
    def edits(self) -> int:
        """How many changes by file tools there were so far in the run."""
        return self._edits

    def note_edit(self, path: Path, agent_id: str) -> None:
        """A file tool of this agent changed this file."""
        self._edits += 1
        self._edited[os.fspath(path)] = self._edits, agent_id

    def edited_by_others(self, agent_id: str, *, since: int) -> set[str]:
        """Files, absolute, that file tools of other agents changed, after `edits` had this value."""
        return {path for path, (n, who) in self._edited.items() if n > since and who != agent_id}

    # --- commands

    async def held(self) -> Held:
        """What holds commands here. The first call may take a few tenths of a second, in worker threads.

        With `unconfined` nothing does, and nothing is tried.
        """
        return await self._holding.held(unconfined=self.unconfined)

    @property
    def probed(self) -> Probed | None:
        """What was found about confinement; None while no command needed it."""
        return self._holding.probed

    def network(self) -> CommandNetwork:
        """What commands may reach by the rules that hold now."""
        if self._network is not None:
            return self._network
        from callsheet.agents.tools.profile import network_of

        return network_of(self.settings.rules)

    def environment(self, root: Path, *, is_confined: bool) -> dict[str, str]:
        """The environment of a command; unconfined, programs of the workspace are not found by name."""
        from callsheet.shell.environment import command_environment

        return command_environment(self._environ, keep=self._keep_environ, workspace=None if is_confined else root)

    def folders(self) -> tuple[Path, ...]:
        """Further folders of the settings, as they were when the run's first command was about to run."""
        if self._folders is None:
            self._folders = tuple(Path(os.path.realpath(folder)) for folder in self.settings.folders)
        return self._folders

    async def protected(self, root: Path) -> tuple[Path, ...]:
        """Protected paths that were there when the run's first command was about to run."""
        if root not in self._protected:
            from callsheet.agents.tools.profile import protected_places

            found = await to_thread.run_sync(protected_places, root)
            self._protected.setdefault(root, found)
        return self._protected[root]

    async def aclose(self) -> None:
        """Removes the run's own temporary folder, should there be one. Idempotent."""
        await self._scratch.aclose()

    def scratch(self, agent_id: str) -> AbstractAsyncContextManager[Path]:
        """A private folder (0700) for one agent, removed with all that is in it when the context is left.

        Raises:
            OSError: It cannot be made.
        """
        return self._scratch.open(agent_id)


def _reading(folders: Sequence[Path], root: Path, home: Path) -> tuple[Rule, ...]:
    """Rules that allow agents to read folders."""
    from callsheet.permissions.rules import Effect, Origin, read_rule

    origin = Origin(name="worktree.link", folder=root)
    read = (read_rule(Effect.ALLOW, f"Read(/{folder}/**)", origin, home=home)[0] for folder in folders)
    return tuple(rule for rule in read if rule is not None)


def _import_fetcher() -> type[WebFetcher]:
    from callsheet.agents.web.fetch import WebFetcher

    return WebFetcher
