"""Everything in a workspace that asks for something: what a person's trust would grant, and what nothing grants.

One list in one place: what is asked before a workspace is trusted, what `callsheet trust` shows, and the lines in which
a run says what it ignored are all made of it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app.git_claims import git_lines
from callsheet.app.settings import WORKSPACE_FILES, settings_file
from callsheet.model.dataclass import dataclass
from callsheet.permissions.sources import Asked, ProjectFiles

if TYPE_CHECKING:
    from callsheet.library.library import Library

SETTINGS = (".claude/settings.json", ".claude/settings.local.json")
SERVERS = ".mcp.json"
MEMORY = ("CLAUDE.md", "CLAUDE.local.md", "AGENTS.md", ".claude/CLAUDE.md")
VARIABLES = (".env", ".env.local", ".envrc")
LOOKED_AT = 1024 * 1024
_MOST_NAMES = 20_000

_NAMES = {name.casefold(): name for name in (".claude", ".mcp.json", *WORKSPACE_FILES, *MEMORY, ".callsheet")}
_IMPORT = re.compile(r"(?:^|\s)@((?:~|/|\.\./)[^\s]*)")
_VARIABLE = re.compile(
    r"^\s*(?:export\s+)?((?:ANTHROPIC|CALLSHEET|CLAUDE)_\w+|HTTPS?_PROXY|BASH_ENV)\s*=", re.MULTILINE
)
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")
_FRONT_KEY = re.compile(r"^(permissionMode|hooks|mcpServers|env|command)\s*:", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a workspace asks for beyond its settings files.

    Attributes:
        asked: What only trust grants.
        never: One line for each thing that takes no effect, trusted or not.
        files: The hash of each file that can ask for something, by its name in the workspace.
    """

    asked: tuple[Asked, ...]
    never: tuple[str, ...]
    files: Mapping[str, str]


def claims_of(project: ProjectFiles, library: Library, *, workspace: Path, is_home: bool = False) -> Claims:
    """Looks at a workspace's files. Follows no link out of it, runs nothing, and reads at most a part of each file.

    Args:
        project: Where they lie.
        library: Its agent types.
        workspace: Its root, also where the files lie elsewhere: git, variables and the record are always there.
        is_home: The workspace is the user's home folder: `.claude` in it is the user's own.
    """
    root = project.folder
    asked, never = _servers(project)
    files = _hashes(root, (SERVERS,) if is_home else (*SETTINGS, SERVERS))
    for path, kind in library.widened_types():
        name = _inside(root, path)
        words = f"let agents of type {kind.name} have the tools, model and effort that {name} gives them"
        asked.append(
            Asked(source=project.name(name), short=f"agent type {kind.name} with more than yours", words=words)
        )
        files |= _hashes(root, (name,))
    never += [*_agent_lines(root), *_memory_lines(root), *_name_lines(root)]
    never += [*_variable_lines(workspace), *git_lines(workspace), *_record_lines(workspace)]
    return Claims(asked=tuple(asked), never=tuple(never), files=files)


# --- what is trusted is this content ----------------------------------------------------------------------------------


def _hashes(root: Path, names: tuple[str, ...]) -> dict[str, str]:
    files = {name: _hash(data) for name in names if (data := _start(root, name)) is not None}
    found = settings_file(root)
    if found is not None:
        path, table = found
        files[path.name] = _hash(_start(root, path.name) or b"") if table is None else _table_hash(path, table)
    return files


def _table_hash(path: Path, table: str) -> str:
    """Of `pyproject.toml` only our own table counts: the rest changes every day."""
    import json
    import tomllib

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
        own = values.get(table, {}) if isinstance(values, dict) else {}
    except (OSError, ValueError, RecursionError):
        return "unreadable"
    return _hash(json.dumps(own, sort_keys=True, default=str).encode())


def _hash(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


# --- MCP servers ------------------------------------------------------------------------------------------------------


def _servers(project: ProjectFiles) -> tuple[list[Asked], list[str]]:
    data = _start(project.folder, SERVERS)
    if data is None:
        return [], []
    import json

    source = project.name(SERVERS)
    try:
        servers = json.loads(data.decode("utf-8-sig"))["mcpServers"]
        named = [(str(name), entry) for name, entry in servers.items() if isinstance(entry, dict)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [], [f"ignored: {source} cannot be read as MCP servers"]
    asked = [Asked(source=source, short=f"MCP server {name}", words=_words(name, entry)) for name, entry in named]
    return asked, []


def _words(name: str, entry: Mapping[str, object]) -> str:
    """What a server would do, told as `agents.mcp.config` will take it, and what of the host's it would get to know."""
    kind = entry.get("type", "stdio" if "command" in entry or "url" not in entry else "http")
    if kind == "stdio":
        words, environ = entry.get("args"), entry.get("env")
        line = " ".join(map(str, [entry.get("command", ""), *(words if isinstance(words, list) else [])]))
        sets = f", with {', '.join(environ)} set" if isinstance(environ, dict) and environ else ""
        does = f"start the program {line} as MCP server {name}{sets}"
    else:
        does = f"connect to {entry.get('url', '')} as MCP server {name}"
    told = dict.fromkeys(_REFERENCE.findall(" ".join(_texts(entry))))
    return f"{does}, telling it {', '.join(told)} of your environment" if told else does


def _texts(entry: Mapping[str, object]) -> Iterator[str]:
    for value in entry.values():
        within = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        yield from (text for text in within if isinstance(text, str))


# --- what nothing grants ----------------------------------------------------------------------------------------------


def _agent_lines(root: Path) -> Iterator[str]:
    folder = root / ".claude" / "agents"
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.suffix == ".md")[:1000]
    except OSError:
        return
    for name in names:
        relative = f".claude/agents/{name}"
        text = (_start(root, relative) or b"")[:32_768].decode("utf-8", "replace")
        front = text.split("\n---", 1)[0] if text.startswith("---") else ""
        if keys := dict.fromkeys(_FRONT_KEY.findall(front)):
            yield f"ignored: {', '.join(keys)} of an agent type {_has(keys)} no meaning here ({relative})"


def _memory_lines(root: Path) -> Iterator[str]:
    for name in MEMORY:
        text = (_start(root, name) or b"").decode("utf-8", "replace")
        out = dict.fromkeys(each for each in _IMPORT.findall(text) if _leads_out(root, root / name, each))
        if out:
            yield f"ignored: imports from outside the workspace: {', '.join(f'@{each}' for each in out)} ({name})"


def _leads_out(root: Path, file: Path, name: str) -> bool:
    if name.startswith("~"):
        return True
    target = os.path.realpath(file.parent / name)
    return not Path(target).is_relative_to(os.path.realpath(root))


def _variable_lines(root: Path) -> Iterator[str]:
    for name in VARIABLES:
        text = (_start(root, name) or b"").decode("utf-8", "replace")
        if names := dict.fromkeys(_VARIABLE.findall(text)):
            yield f"ignored: {', '.join(names)}: no file of a workspace sets variables ({name})"


def _name_lines(root: Path) -> Iterator[str]:
    """Names that only a file system which does not tell cases apart takes for ours."""
    try:
        with os.scandir(root) as entries:
            for _, entry in zip(range(_MOST_NAMES), entries, strict=False):
                known = _NAMES.get(entry.name.casefold())
                if known is not None and entry.name not in _NAMES.values() and not (root / known).exists():
                    yield f"ignored: {entry.name}: the name that is read is {known}"
    except OSError:
        return


def _record_lines(root: Path) -> Iterator[str]:
    """Our own folder has mode 0700; one that came with the files of a repository has not."""
    try:
        found = (root / ".callsheet").lstat()
    except OSError:
        return
    if stat.S_ISDIR(found.st_mode) and found.st_mode & 0o077 and (root / ".callsheet" / "callsheet.db").exists():
        yield "the record was there before Callsheet made one: a repository may have brought it (.callsheet)"


def _has(keys: Mapping[str, None]) -> str:
    return "has" if len(keys) == 1 else "have"


def _inside(root: Path, path: Path) -> str:
    real = os.path.realpath(root)
    return str(path.relative_to(real)) if path.is_relative_to(real) else str(path)


def _start(root: Path, name: str) -> bytes | None:
    """The beginning of a file of the workspace; None where there is none, or it lies elsewhere."""
    path = os.path.realpath(root / name)
    if not Path(path).is_relative_to(os.path.realpath(root)) or not Path(path).is_file():
        return None
    from callsheet.library.files import UnreadableError, read_start

    try:
        return read_start(Path(path), limit_bytes=LOOKED_AT)
    except UnreadableError:
        return None
