"""Where permission rules come from: settings files, the run's config, flags (FORMATS 6; DESIGN 14).

Deny beats ask beats allow over all of them. Of single values the first that is set holds: managed settings, flags,
local, project, user. Files inside the workspace may restrict; what they would grant waits for a person's trust.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from callsheet.errors import BypassRefusedError, UsageError
from callsheet.model.dataclass import dataclass
from callsheet.permissions.modes import Mode, mode_named
from callsheet.permissions.rules import TOOL_NAMES, Effect, Fault, Origin, Rule, read_rule

if TYPE_CHECKING:
    from callsheet.permissions.settings_files import SettingsFile

MANAGED_SETTINGS = Path("/etc/claude-code/managed-settings.json")

_CREDENTIALS = "is not read: credentials come from your own environment"
_PROGRAM = "names a program, which is never started"
_NEVER = {
    "env": "is not read: no file of a workspace sets variables, addresses or credentials",
    **dict.fromkeys(("apiKeyHelper", "awsAuthRefresh", "awsCredentialExport", "gcpAuthRefresh"), _CREDENTIALS),
    **dict.fromkeys(("otelHeadersHelper", "statusLine", "fileSuggestion"), _PROGRAM),
    "model": "is not read: name one with --model or in your own config.toml",
    "sandbox": "is not read: what holds commands is not for a workspace to say",
    "enableAllProjectMcpServers": "is not read: a workspace cannot approve its own servers",
    "enabledMcpjsonServers": "is not read: a workspace cannot approve its own servers",
    "enabledPlugins": "is not read: there are no plugins here",
    "extraKnownMarketplaces": "is not read: there are no plugins here",
}
"""Keys of settings files that would act elsewhere, and are never obeyed here."""

Level: TypeAlias = Literal["managed", "flags", "local", "project", "user", "kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the person who starts a run says about permissions, on the command line or in the run's own config.

    Attributes:
        mode: `--permission-mode`.
        allow: Rules of `--allow`.
        ask: Rules that the run's config asks for.
        deny: Rules of `--deny`.
        folders: `--add-dir`.
        trust: What the workspace's files grant takes effect: a person trusts it, or says `--trust`.
        name: How these are called where a decision names its source.
    """

    mode: Mode | None = None
    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    trust: bool = False
    name: str = "flags"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Rules that a person allowed "always for this project", kept in the user's own folder.

    Attributes:
        name: The file that they are kept in.
    """

    rules: tuple[str, ...]
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One thing that a file of the workspace asks for, and that only a person's trust can grant.

    Attributes:
        source: The file, as people know it.
        short: What it is, as it stands there: `allow Bash(curl:*)`.
        words: What it would do: the end of a sentence that begins with "it would".
    """

    source: str
    short: str
    words: str

    @property
    def ignored(self) -> str:
        """The line for a run in which it takes no effect."""
        return f"ignored until trusted: {self.short} ({self.source})"


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionSettings:
    """What holds in a workspace.

    Attributes:
        mode: What is accepted where no rule says anything.
        mode_source: Where the mode was said.
        rules: All that take effect.
        folders: Further folders in which files may be read and edited.
        faults: Rules that cannot be read, for people.
        ignored: What takes no effect, one line each: what the workspace would grant and was not trusted to, and what
            may not stand where it does.
        hooks: Files that declare `PreToolUse` hooks, which are not run.
        asked: What the workspace asks for and only trust grants, whether it is trusted or not.
        files: The settings files that were read, the workspace's last.
        only_managed: Only managed rules allow anything here: no person grants another while the run goes on.
    """

    mode: Mode = Mode.ACCEPT_EDITS
    mode_source: str = "default"
    rules: tuple[Rule, ...] = ()
    folders: tuple[Path, ...] = ()
    faults: tuple[Fault, ...] = ()
    ignored: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()
    files: tuple[str, ...] = ()
    only_managed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One source, and what it says.

    Attributes:
        leads_out: A link out of the workspace: what lies there may restrict, and never grants anything.
        powers: Keys that it has and that are never obeyed.
    """

    origin: Origin
    level: Level
    allow: Sequence[object] = ()
    ask: Sequence[object] = ()
    deny: Sequence[object] = ()
    mode: str | None = None
    folders: Sequence[str] = ()
    forbids_bypass: bool = False
    managed_rules_only: bool = False
    has_hooks: bool = False
    leads_out: bool = False
    powers: tuple[str, ...] = ()


def read_settings(
    *,
    workspace: Path,
    home: Path,
    config_dir: Path | None = None,
    flags: Flags | None = None,
    kept: Kept | None = None,
    project: ProjectFiles | None = None,
    managed: Path = MANAGED_SETTINGS,
) -> PermissionSettings:
    """Reads every settings file that holds in a workspace.

    Args:
        workspace: Its root.
        home: The user's folder.
        config_dir: `CLAUDE_CONFIG_DIR`; None is `~/.claude`.
        flags: What the person who starts the run says.
        kept: What a person allowed for this project before.
        project: Where the workspace's own files lie; None is the workspace itself.
        managed: The administrator's file.

    Raises:
        ConfigError: A file is there and cannot be read as settings: its rules might deny something.
        UsageError: `--permission-mode bypass` where the settings forbid it; a flag's rule that cannot be read.
    """
    given = flags if flags is not None else Flags()
    user_dir = config_dir if config_dir is not None else home / ".claude"
    own = project if project is not None else ProjectFiles(folder=workspace)
    layers = [
        *_layer(managed, "managed", folder=workspace),
        _Layer(
            origin=Origin(name=given.name, folder=workspace),
            level="flags", allow=given.allow, ask=given.ask, deny=given.deny,
        ),
        *_project_layers(own, workspace, user_file=user_dir / "settings.json"),
        *([_kept_layer(kept, workspace)] if kept is not None else []),
        *_layer(user_dir / "settings.json", "user", folder=user_dir),
    ]  # fmt: skip
    return _Merge(layers, given, workspace=workspace, home=home).settings()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFiles:
    """Where the workspace's own settings files lie.

    Attributes:
        folder: The workspace, or a copy of what a commit has.
        commit: The name of that commit, for people; None where it is the workspace.
    """

    folder: Path
    commit: str | None = None

    def name(self, relative: str) -> str:
        """A file as people know it."""
        return f"{self.commit}:{relative}" if self.commit is not None else str(self.folder / relative)


def _project_layers(project: ProjectFiles, workspace: Path, *, user_file: Path) -> Iterator[_Layer]:
    files: tuple[tuple[Level, str], ...] = (
        ("local", ".claude/settings.local.json"),
        ("project", ".claude/settings.json"),
    )
    root = os.path.realpath(project.folder)
    for level, relative in files:
        path = project.folder / relative
        if path == user_file:  # the home folder itself is the workspace
            continue
        leads_out = not os.path.realpath(path).startswith(root.rstrip("/") + "/")
        yield from _layer(path, level, folder=workspace, name=project.name(relative), leads_out=leads_out)


def _layer(
    path: Path, level: Level, *, folder: Path, name: str | None = None, leads_out: bool = False
) -> Iterator[_Layer]:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError:
        pass  # what is wrong is said when it is read
    from callsheet.permissions.settings_files import read_settings_file

    shown = name or str(path)
    yield _said(read_settings_file(path, name=shown), Origin(name=shown, folder=folder), level, leads_out)


def _said(file: SettingsFile, origin: Origin, level: Level, leads_out: bool) -> _Layer:
    return _Layer(
        origin=origin,
        level=level,
        allow=file.permissions.allow,
        ask=file.permissions.ask,
        deny=file.permissions.deny,
        mode=file.permissions.default_mode,
        folders=file.permissions.additional_directories,
        forbids_bypass=file.permissions.disable_bypass is not None,
        managed_rules_only=file.managed_rules_only,
        has_hooks=bool(file.hooks.get("PreToolUse")),
        leads_out=leads_out,
        powers=(
            *(key for key in file.other_keys if key in _NEVER),
            *(f"hooks.{event}" for event in file.hooks if event != "PreToolUse"),
        ),
    )


def _kept_layer(kept: Kept, workspace: Path) -> _Layer:
    return _Layer(origin=Origin(name=kept.name, folder=workspace), level="kept", allow=kept.rules)


class _Merge:
    """Puts the layers together."""

    def __init__(self, layers: Sequence[_Layer], flags: Flags, *, workspace: Path, home: Path) -> None:
        self._layers = layers
        self._flags = flags
        self._workspace = workspace
        self._home = home
        self._rules: list[Rule] = []
        self._faults: list[Fault] = []
        self._ignored: list[str] = []
        self._asked: list[Asked] = []

    def settings(self) -> PermissionSettings:
        only_managed = any(layer.level == "managed" and layer.managed_rules_only for layer in self._layers)
        for layer in self._layers:
            self._take_rules(layer, only_managed=only_managed)
            if layer.level in ("local", "project"):
                self._ignored += [
                    f"ignored: {key} {_NEVER.get(key, _PROGRAM)} ({layer.origin.name})" for key in layer.powers
                ]
        folders = [folder for layer in self._layers for folder in self._folders(layer)]
        mode, source = self._mode()
        files = [layer.origin.name for layer in self._layers if layer.level not in ("flags", "kept")]
        return PermissionSettings(
            mode=mode,
            mode_source=source,
            rules=tuple(self._rules),
            folders=tuple(dict.fromkeys(folders)),
            faults=tuple(self._faults),
            ignored=tuple(self._ignored),
            hooks=tuple(layer.origin.name for layer in self._layers if layer.has_hooks),
            asked=tuple(self._asked),
            files=tuple(files),
            only_managed=only_managed,
        )

    def _may(self, layer: _Layer, short: str, words: str) -> bool:
        """Whether something that a layer grants takes effect; where it does not, that is said."""
        if layer.level not in ("local", "project"):
            return True
        if layer.leads_out:
            self._ignored.append(f"ignored: {short} ({layer.origin.name} is a link out of the workspace)")
            return False
        asked = Asked(source=layer.origin.name, short=short, words=words)
        self._asked.append(asked)
        if not self._flags.trust:
            self._ignored.append(asked.ignored)
        return self._flags.trust

    def _take_rules(self, layer: _Layer, *, only_managed: bool) -> None:
        lists = ((Effect.DENY, layer.deny), (Effect.ASK, layer.ask), (Effect.ALLOW, layer.allow))
        for effect, entries in lists:
            for entry in entries:
                short = f"allow {entry}"
                if effect is Effect.ALLOW and not self._may(layer, short, f"let agents use {entry} without asking"):
                    continue
                if effect is Effect.ALLOW and only_managed and layer.level != "managed":
                    self._ignored.append(f"ignored: only managed rules allow here: {short} ({layer.origin.name})")
                else:
                    self._take_rule(layer, effect, entry)

    def _take_rule(self, layer: _Layer, effect: Effect, entry: object) -> None:
        rule, fault = read_rule(effect, entry, layer.origin, home=self._home)
        if fault is not None and layer.level == "flags":
            raise UsageError(_wrong_flag(effect, fault, name=self._flags.name))
        if rule is not None:
            self._rules.append(rule)
        if fault is not None:
            self._faults.append(fault)

    def _folders(self, layer: _Layer) -> Iterator[Path]:
        if layer.level == "flags":
            yield from self._flags.folders
        for name in layer.folders:
            if self._may(layer, f"additional directory {name}", f"let agents read and edit files in {name}"):
                yield self._home / name[2:] if name.startswith("~/") else self._workspace / name

    def _mode(self) -> tuple[Mode, str]:
        """The mode that holds, and where it was said. A workspace that is not trusted can only make it stricter."""
        said = [
            (layer, mode)
            for layer in self._layers
            if (mode := self._flags.mode if layer.level == "flags" else self._default_mode(layer)) is not None
        ]
        own = [(layer, mode) for layer, mode in said if layer.level in ("local", "project")]
        others = [each for each in said if each not in own]
        mode, source = next(((mode, layer.origin.name) for layer, mode in others), (Mode.ACCEPT_EDITS, "default"))
        is_settled = any(layer.level in ("managed", "flags") for layer, _ in others)
        for layer, wanted in reversed(own):
            is_stricter = wanted.freedom < mode.freedom and self._flags.mode is None
            is_freer = wanted.freedom > mode.freedom and not is_settled
            if is_stricter or (is_freer and self._may(layer, f"mode {wanted}", f"set the mode {wanted}")):
                mode, source = wanted, layer.origin.name
        return self._without_bypass(mode, source)

    def _default_mode(self, layer: _Layer) -> Mode | None:
        name = layer.mode
        if name is None:
            return None
        mode = mode_named(name)
        if mode is None:
            message = f"{layer.origin.name}: defaultMode {name!r} is not known here; it has no effect."
            self._faults.append(Fault(origin=layer.origin, text=name, message=message))
        if mode is Mode.BYPASS:
            name = layer.origin.name
            self._ignored.append(f"ignored: mode bypass; it is only had with --permission-mode bypass ({name})")
            return None
        return mode

    def _without_bypass(self, mode: Mode, source: str) -> tuple[Mode, str]:
        lock = next((layer for layer in self._layers if layer.forbids_bypass), None)
        if mode is not Mode.BYPASS or lock is None:
            return mode, source
        raise BypassRefusedError(
            f"--permission-mode bypass is switched off by {lock.origin.name}. Leave the flag out, or allow what "
            "the run needs with rules.",
            why=f"it is switched off by {lock.origin.name}",
        )


def _wrong_flag(effect: Effect, fault: Fault, *, name: str) -> str:
    """A rule of a flag that cannot be read, with the flag and the nearest known tool."""
    from difflib import get_close_matches

    flag = f"--{effect}" if name == "flags" else f"{name}: {effect}"
    tool = fault.text.partition("(")[0].strip()
    lowered = {known.lower(): known for known in TOOL_NAMES}
    near = get_close_matches(tool.lower(), lowered, n=1, cutoff=0.6)
    if tool in TOOL_NAMES or tool.startswith("mcp__"):
        return f"{flag} {fault.text!r}: {fault.message.partition(': ')[2]}"
    hint = f"Did you mean {lowered[near[0]]}?" if near else f"Known are {', '.join(TOOL_NAMES)} and mcp__server__tool."
    return f"{flag} {fault.text!r}: there is no tool {tool or 'without a name'}. {hint}"
