"""Where a run takes place, what its caller says about permissions, and who is asked before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from callsheet.app.choices import near
from callsheet.errors import UsageError
from callsheet.model.dataclass import dataclass
from callsheet.permissions.modes import Mode
from callsheet.permissions.sources import Asked, ProjectFiles
from callsheet.permissions.trust import TrustStore


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionChoices:
    """What a caller says about permissions; the flags of `callsheet run`.

    Attributes:
        mode: What is accepted where no rule says anything. `bypass` is only had here.
        allow, deny: Rules, as in `.claude/settings.json`.
        folders: Further folders to work in, relative to where the caller stands.
        trust: What the workspace's own files ask for takes effect, for this run.
        unconfined: Programs that may run files of the workspace need no confinement: the machine is the boundary.
        ignore_hooks: Run although `PreToolUse` hooks are declared, which are not run here.
        config_from: A git ref whose configuration, memory and workflow hold instead of the working tree's.
    """

    mode: Mode | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    trust: bool = False
    unconfined: bool = False
    ignore_hooks: bool = False
    config_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustQuestion:
    """What a person is asked before a workspace's files grant anything.

    Attributes:
        folder: The workspace.
        asked: What its files would do, all of it.
        changed: What is other than when it was trusted last, one line each; None where it never was.
    """

    folder: str
    asked: tuple[Asked, ...]
    changed: tuple[str, ...] | None = None


MODES = tuple(mode.value for mode in Mode)


def asked_mode(name: str) -> Mode:
    """The mode of a name.

    Raises:
        UsageError: There is none; names the nearest.
    """
    if name not in MODES:
        raise UsageError(f"permission mode {name!r} does not exist. {near(name, MODES)}")
    return Mode(name)


class Person(Protocol):
    """Who is asked before anything starts."""

    def trusts(self, question: TrustQuestion) -> bool:
        """Whether the workspace is trusted, from now on."""
        ...

    def goes_without_hooks(self, files: tuple[str, ...]) -> bool:
        """Whether the run shall go on though the hooks that these files declare are not run."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a run takes place, and where its configuration is read.

    Attributes:
        root: The workspace.
        project: Where its configuration lies: the workspace, or a copy of what a commit has.
        start: The caller's folder, as the configuration has it.
        home: The user's home folder.
        config_dir: The folder of the user's own settings.
        environ: The environment.
    """

    root: Path
    project: ProjectFiles
    start: Path
    home: Path
    config_dir: Path
    environ: Mapping[str, str]

    @property
    def user_dir(self) -> Path:
        """Where the user keeps what is shared with the reference: `~/.claude`, or `CLAUDE_CONFIG_DIR`."""
        named = self.environ.get("CLAUDE_CONFIG_DIR")
        return Path(named) if named else self.home / ".claude"

    @property
    def is_own(self) -> bool:
        """Whether the user's own folder is really the user's: not one that the workspace could bring along."""
        folder, root = self.config_dir.resolve(), self.root.resolve()
        return self.config_dir.is_absolute() and (
            not folder.is_relative_to(root) or self.home.resolve().is_relative_to(root)
        )

    @property
    def store(self) -> TrustStore | None:
        """Where trust is kept; None where it could not be believed."""
        return TrustStore(self.config_dir) if self.is_own else None
