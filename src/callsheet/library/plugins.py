"""Installed Claude Code plugins, as far as they bring agent types (FORMATS 6).

The user's own folder says which there are: `plugins/installed_plugins.json`, and `settings.json`, which may switch one
off. Nothing of a plugin is run; of its files only the agent types are read, and only those that lie within it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from callsheet.library.files import UnreadableError, read_text
from callsheet.library.places import files_in
from callsheet.model.dataclass import dataclass

MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_AGENTS = 500
_AGENTS = "agents"
_SUFFIXES = (".md",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """An installed plugin.

    Attributes:
        name: What stands before the colon in the names of its agent types.
        agents: Files of its agent types, by name.
    """

    name: str
    agents: tuple[Path, ...]


def installed_plugins(config: Path, workspace: Path, *, named: str | None = None) -> Iterator[Plugin]:
    """The plugins that are installed for the user or for this workspace, and not switched off; each name once.

    What cannot be read is passed over: the list is another program's.

    Args:
        config: The user's own folder, `~/.claude`.
        workspace: Plugins of other projects do not count.
        named: Only the plugin of this name.
    """
    listed = _table(_json(config / "plugins" / "installed_plugins.json").get("plugins"))
    switched = _table(_json(config / "settings.json").get("enabledPlugins")) if listed else {}
    seen: set[str] = set()
    for key, entries in listed.items():
        if switched.get(key) is False:
            continue
        for entry in entries if isinstance(entries, list) else [entries]:
            folder = _folder(_table(entry), workspace)
            plugin = None if folder is None else _plugin(folder, key.partition("@")[0])
            if plugin is not None and plugin.name not in seen and named in (None, plugin.name):
                seen.add(plugin.name)
                yield plugin


def _folder(entry: Mapping[str, Any], workspace: Path) -> Path | None:
    """Where a plugin lies, if it counts here."""
    path, project = entry.get("installPath"), entry.get("projectPath")
    if not isinstance(path, str) or not Path(path).is_absolute() or "\0" in path:
        return None
    if entry.get("scope", "user") not in ("user", "managed") and (
        not isinstance(project, str) or os.path.realpath(project) != os.path.realpath(workspace)
    ):
        return None
    folder = Path(os.path.realpath(path))
    return folder if folder.is_dir() else None


def _plugin(folder: Path, name: str) -> Plugin | None:
    manifest = _json(folder / ".claude-plugin" / "plugin.json")
    said = manifest.get("name")
    name = said if isinstance(said, str) and said.strip() else name
    named = manifest.get(_AGENTS)
    places = [_AGENTS, *([named] if isinstance(named, str) else named if isinstance(named, list) else [])]
    files: dict[Path, None] = {}
    for place in places:
        if isinstance(place, str) and "\0" not in place:
            files |= dict.fromkeys(_files(folder, place))
    return Plugin(name=name.strip(), agents=tuple(files)[:MAX_AGENTS]) if name.strip() else None


def _files(folder: Path, place: str) -> Iterator[Path]:
    """A file, or the files of a folder, of a plugin; nothing that lies outside of it in the end."""
    path = Path(os.path.realpath(folder / place))
    found = [path / entry.name for entry in files_in(path, _SUFFIXES)] if path.is_dir() else [path]
    for each in found:
        real = Path(os.path.realpath(each))
        if real.is_relative_to(folder) and real.suffix in _SUFFIXES and real.is_file():
            yield real


def _json(path: Path) -> Mapping[str, Any]:
    try:
        return _table(json.loads(read_text(path, limit_bytes=MAX_FILE_BYTES)))
    except (UnreadableError, ValueError, RecursionError):
        return {}


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
