"""The run's own config: the YAML file that teams keep beside a workflow (`--config`, FORMATS 5)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import field
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from callsheet.app.choices import Choices
from callsheet.app.source import expanded
from callsheet.errors import ConfigError, UsageError
from callsheet.model.dataclass import dataclass
from callsheet.permissions.sources import ProjectFiles

MAX_CONFIG_BYTES = 64 * 1024
_MAX_SHOWN = 20

ConfigPlace = Literal["own", "workspace", "leads out"]
"""Where a config lies: elsewhere, so that it is the caller's own; in the workspace; or elsewhere, by a link in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What a run config says.

    Attributes:
        path: The file, all links followed; where it is that of a git ref, where it would lie in the workspace.
        name: How people know it.
        place: Where it lies: one in the workspace grants nothing until a person trusts it.
        digest: Of its content.
        workflow: The saved workflow that it is for; None where it names none.
        script: The script's file, absolute; None where it names none.
        lines: Where each key stands, by the way to it: `models.default`.
    """

    path: Path
    name: str
    place: ConfigPlace
    digest: str
    choices: Choices
    workflow: str | None = None
    script: Path | None = None
    lines: Mapping[str, int] = field(default_factory=dict)

    def at(self, key: str) -> str:
        """A key with its file and line, for messages."""
        line = self.lines.get(key)
        return f"{self.name}, line {line}: {key}" if line is not None else f"{self.name}: {key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """A config file, found.

    Attributes:
        path: Where it is read.
        real: All links followed; of one in a git ref where it would lie in the workspace.
        folder: What `workflow.script` is relative to.
    """

    path: Path
    real: Path
    name: str
    place: ConfigPlace
    folder: Path


def find_config(named: Path, *, start: Path, root: Path, project: ProjectFiles) -> ConfigFile:
    """Finds a run config; of one that lies in the workspace the copy that a git ref has, where that holds.

    Args:
        named: As given.
        start: The folder that it is relative to.
        root: The workspace.
        project: Where the workspace's configuration lies: the workspace, or such a copy.
    """
    path = Path(os.path.normpath(start / expanded(os.fspath(named))))
    real_root = Path(os.path.realpath(root))
    inside = next((path.relative_to(each) for each in (root, real_root) if path.is_relative_to(each)), None)
    if inside is not None and project.commit is not None:
        copy = project.folder / inside
        return ConfigFile(
            path=copy, real=real_root / inside, name=project.name(str(inside)), place="workspace", folder=copy.parent
        )
    real = Path(os.path.realpath(path))
    if real.is_relative_to(real_root):
        place: ConfigPlace = "workspace"
    else:
        place = "own" if inside is None else "leads out"
    return ConfigFile(path=path, real=real, name=str(named), place=place, folder=path.parent)


def read_config(file: ConfigFile, *, root: Path) -> RunConfig:
    """Reads a run config.

    Args:
        file: It.
        root: Where scripts may lie that a config of the workspace names: the workspace, or the copy that stands for it.

    Raises:
        ConfigError: It cannot be read, or something in it cannot hold: all that is wrong, each with its line.
    """
    from callsheet.permissions.settings_files import read_small_file

    if not file.path.is_file():
        raise ConfigError(_no_file(file))
    data = read_small_file(file.path, name=file.name)
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{file.name} is larger than {MAX_CONFIG_BYTES // 1024} KiB; a run config is not.")
    from callsheet.app.run_config_text import said_of

    said = said_of(data, name=file.name)
    script = None if said.script is None else Path(os.path.normpath(file.folder / said.script))
    config = RunConfig(
        path=file.real,
        name=file.name,
        place=file.place,
        digest=hashlib.sha256(data).hexdigest(),
        choices=said.choices,
        workflow=said.workflow,
        script=script,
        lines=said.lines,
    )
    if script is not None and file.place != "own" and not _lies_in(script, root):
        raise ConfigError(
            f"{config.at('workflow.script')} leads out of the workspace, which a file in it may not. Name that script "
            "on the command line: callsheet run SCRIPT --config FILE."
        )
    return config


def _no_file(file: ConfigFile) -> str:
    """That there is no such config, and which are there."""
    what = "is a folder" if file.path.is_dir() else "is no file"
    try:
        there = sorted(each.name for each in file.folder.iterdir() if each.suffix in (".yaml", ".yml"))
    except OSError:
        there = []
    near = get_close_matches(file.path.name, there, n=1) or there[:5]
    hint = f"There is {' and '.join(near)} in {file.folder}." if near else "Name a YAML file."
    return f"--config {file.name} {what}. {hint}"


def workflow_of(config: RunConfig) -> str:
    """The path or name of the script that a config is for.

    Raises:
        UsageError: It names none.
    """
    if config.script is not None:
        return str(config.script)
    if config.workflow is not None:
        return config.workflow
    raise UsageError(
        f"{config.name} names no workflow: write `name: …` of a saved one or `script: path.js` below `workflow:`, or "
        "name the script: callsheet run SCRIPT --config FILE."
    )


def faulty(name: str, faults: list[tuple[int | None, str]]) -> ConfigError:
    """The refusal of a config: what is wrong, each with its line."""
    lines = sorted(faults, key=lambda fault: fault[0] or 0)
    if len(lines) == 1:
        line, message = lines[0]
        return ConfigError(f"{name}, line {line}: {message}" if line is not None else f"{name}: {message}")
    shown = [
        f"  line {line}: {message}" if line is not None else f"  {message}" for line, message in lines[:_MAX_SHOWN]
    ]
    if len(lines) > _MAX_SHOWN:
        shown.append(f"  … and {len(lines) - _MAX_SHOWN} more")
    return ConfigError("\n".join((f"{name} has {len(lines)} faults:", *shown)))


def _lies_in(path: Path, root: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
