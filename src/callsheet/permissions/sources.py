"""Where permission rules come from: settings files, the run's config, flags (FORMATS 6; DESIGN 14).

Deny beats ask beats allow over all of them. Of single values the first that is set holds: managed settings, flags,
local, project, user. Files inside the workspace may restrict; what they would grant waits for a person's trust.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from callsheet.errors import ConfigError, UsageError
from callsheet.permissions.modes import Mode, mode_named
from callsheet.permissions.rules import Effect, Fault, Origin, Rule, read_rule

MANAGED_SETTINGS = Path("/etc/claude-code/managed-settings.json")
MAX_SETTINGS_BYTES = 1024 * 1024


class _Permissions(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    allow: list[Any] = Field(default_factory=list)
    ask: list[Any] = Field(default_factory=list)
    deny: list[Any] = Field(default_factory=list)
    default_mode: str | None = Field(default=None, alias="defaultMode")
    additional_directories: list[str] = Field(default_factory=list, alias="additionalDirectories")
    disable_bypass: Literal["disable"] | None = Field(default=None, alias="disableBypassPermissionsMode")


class _Settings(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    permissions: _Permissions = Field(default_factory=_Permissions)
    managed_rules_only: bool = Field(default=False, alias="allowManagedPermissionRulesOnly")
    hooks: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the person who starts a run says about permissions, on the command line or in the run's own config.

    Attributes:
        mode: `--permission-mode`.
        allow: Rules of `--allow`.
        ask: Rules that the run's config asks for.
        deny: Rules of `--deny`.
        folders: `--add-dir`.
        trust: `--trust`: what the workspace's files grant takes effect.
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
class PermissionSettings:
    """What holds in a workspace.

    Attributes:
        mode: What is accepted where no rule says anything.
        mode_source: Where the mode was said.
        rules: All that take effect.
        folders: Further folders in which files may be read and edited.
        faults: Rules that cannot be read, for people.
        ignored: What the workspace would grant and was not trusted to, one line each.
        hooks: Files that declare `PreToolUse` hooks, which are not run.
    """

    mode: Mode = Mode.ACCEPT_EDITS
    mode_source: str = "default"
    rules: tuple[Rule, ...] = ()
    folders: tuple[Path, ...] = ()
    faults: tuple[Fault, ...] = ()
    ignored: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    origin: Origin
    settings: _Settings
    level: Literal["managed", "flags", "local", "project", "user"]


def read_settings(
    *,
    workspace: Path,
    home: Path,
    config_dir: Path | None = None,
    flags: Flags | None = None,
    managed: Path = MANAGED_SETTINGS,
) -> PermissionSettings:
    """Reads every settings file that holds in a workspace.

    Args:
        workspace: Its root.
        home: The user's folder.
        config_dir: `CLAUDE_CONFIG_DIR`; None is `~/.claude`.
        flags: What the person who starts the run says.
        managed: The administrator's file.

    Raises:
        ConfigError: A file is there and cannot be read as settings: its rules might deny something.
        UsageError: `--permission-mode bypass` where the settings forbid it; a flag's rule that cannot be read.
    """
    given = flags if flags is not None else Flags()
    user_dir = config_dir if config_dir is not None else home / ".claude"
    project = workspace / ".claude"
    layers = [
        *_layer(managed, "managed", folder=workspace),
        _flags_layer(given, workspace),
        *_layer(project / "settings.local.json", "local", folder=workspace),
        *_layer(project / "settings.json", "project", folder=workspace),
        *_layer(user_dir / "settings.json", "user", folder=user_dir),
    ]
    return _Merge(layers, given, workspace=workspace, home=home).settings()


def _layer(path: Path, level: Literal["managed", "local", "project", "user"], *, folder: Path) -> Iterator[_Layer]:
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {os.strerror(error.errno or 0).lower()}. Mend or remove it."
        ) from None
    if len(data) > MAX_SETTINGS_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_SETTINGS_BYTES} bytes; settings are not. Mend or remove it.")
    try:
        settings = _Settings.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        at = f" at {place}" if place else ""
        raise ConfigError(f"{path} cannot be read as settings{at}: {first['msg']}. Mend or remove it.") from None
    yield _Layer(origin=Origin(name=str(path), folder=folder), settings=settings, level=level)


def _flags_layer(flags: Flags, workspace: Path) -> _Layer:
    permissions = _Permissions(allow=[*flags.allow], ask=[*flags.ask], deny=[*flags.deny])
    origin = Origin(name=flags.name, folder=workspace)
    return _Layer(origin=origin, settings=_Settings(permissions=permissions), level="flags")


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

    def settings(self) -> PermissionSettings:
        only_managed = any(layer.level == "managed" and layer.settings.managed_rules_only for layer in self._layers)
        for layer in self._layers:
            self._take_rules(layer, only_managed=only_managed)
        folders = [folder for layer in self._layers for folder in self._folders(layer)]
        mode, source = self._mode()
        return PermissionSettings(
            mode=mode,
            mode_source=source,
            rules=tuple(self._rules),
            folders=tuple(dict.fromkeys(folders)),
            faults=tuple(self._faults),
            ignored=tuple(self._ignored),
            hooks=tuple(layer.origin.name for layer in self._layers if layer.settings.hooks.get("PreToolUse")),
        )

    def _is_untrusted(self, layer: _Layer) -> bool:
        return layer.level in ("local", "project") and not self._flags.trust

    def _ignore(self, layer: _Layer, what: str) -> None:
        self._ignored.append(f"ignored until trusted: {what} ({layer.origin.name})")

    def _take_rules(self, layer: _Layer, *, only_managed: bool) -> None:
        lists = layer.settings.permissions
        for effect, entries in ((Effect.DENY, lists.deny), (Effect.ASK, lists.ask), (Effect.ALLOW, lists.allow)):
            for entry in entries:
                if effect is Effect.ALLOW and self._is_untrusted(layer):
                    self._ignore(layer, f"allow {entry}")
                elif effect is Effect.ALLOW and only_managed and layer.level != "managed":
                    self._ignored.append(f"ignored: only managed rules allow here: allow {entry} ({layer.origin.name})")
                else:
                    self._take_rule(layer, effect, entry)

    def _take_rule(self, layer: _Layer, effect: Effect, entry: object) -> None:
        rule, fault = read_rule(effect, entry, layer.origin, home=self._home)
        if fault is not None and layer.level == "flags":
            raise UsageError(fault.message)
        if rule is not None:
            self._rules.append(rule)
        if fault is not None:
            self._faults.append(fault)

    def _folders(self, layer: _Layer) -> Iterator[Path]:
        if layer.level == "flags":
            yield from self._flags.folders
        for name in layer.settings.permissions.additional_directories:
            if self._is_untrusted(layer):
                self._ignore(layer, f"additional directory {name}")
                continue
            yield self._home / name[2:] if name.startswith("~/") else self._workspace / name

    def _mode(self) -> tuple[Mode, str]:
        """The mode that holds, and where it was said."""
        mode, source = Mode.ACCEPT_EDITS, "default"
        restricting: list[tuple[Mode, str]] = []
        is_set = False
        for layer in self._layers:
            said = self._flags.mode if layer.level == "flags" else self._default_mode(layer)
            if said is None:
                continue
            if self._is_untrusted(layer):
                if said.freedom < Mode.ACCEPT_EDITS.freedom:
                    restricting.append((said, layer.origin.name))
                elif said is not Mode.ACCEPT_EDITS:
                    self._ignore(layer, f"mode {said}")
                continue
            if not is_set:
                mode, source, is_set = said, layer.origin.name, True
        if self._flags.mode is None:
            for said, name in restricting:
                if said.freedom < mode.freedom:
                    mode, source = said, name
        return self._without_bypass(mode, source)

    def _default_mode(self, layer: _Layer) -> Mode | None:
        name = layer.settings.permissions.default_mode
        if name is None:
            return None
        mode = mode_named(name)
        if mode is None:
            message = f"{layer.origin.name}: defaultMode {name!r} is not known here; it has no effect."
            self._faults.append(Fault(origin=layer.origin, text=name, message=message))
        return mode

    def _without_bypass(self, mode: Mode, source: str) -> tuple[Mode, str]:
        lock = next((layer for layer in self._layers if layer.settings.permissions.disable_bypass), None)
        if mode is not Mode.BYPASS or lock is None:
            return mode, source
        if self._flags.mode is Mode.BYPASS:
            raise UsageError(
                f"--permission-mode bypass is switched off by {lock.origin.name}. Leave the flag out, or allow what "
                "the run needs with rules."
            )
        return Mode.ACCEPT_EDITS, lock.origin.name
