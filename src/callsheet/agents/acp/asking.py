"""What an agent asks leave for, in the terms of our rules: by the kind of its tool call, and what that would touch."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from callsheet.agents.acp.connection import Object
from callsheet.agents.tools.names import ToolName
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

_PATH_KEYS = ("path", "file_path", "filePath", "abs_path", "absolute_path", "absolutePath", "target_file", "filename")
_MORE_PATH_KEYS = ("paths", "source", "destination", "old_path", "new_path", "from", "to", "target", "dir_path")
_URL_KEYS = ("url", "uri")
_SHOWN_CHARS = 2000

READING = frozenset({"read", "search", "think"})
"""Kinds that change nothing, as the agent says."""

_FILE_TOOLS: dict[str, tuple[ToolName, ToolName]] = {
    "read": ("read", "read"),
    "edit": ("edit", "write"),
    "delete": ("edit", "write"),
    "move": ("edit", "write"),
}
"""Of kinds that touch files: the tool that an agent must have, and the one whose rules decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One thing that must be allowed.

    Attributes:
        needs: The tool of ours that the agent must have for that; None for none.
        tool: Whose rules decide.
        given: Its input.
        shown: For the person who is asked.
        folder: Of a command: where it would run; None for the agent's own.
    """

    needs: ToolName | None
    tool: str
    given: Mapping[str, object]
    shown: str
    folder: Path | None = None


def wishes(call: Object, *, agent: str, folder: Path) -> tuple[Wish, ...]:
    """What a tool call would do, as far as it says; where that cannot be told, one wish that only a person grants.

    Args:
        call: Kind, title, locations, content and raw input, put together from all that was said of it.
        agent: The agent's name.
        folder: Where it works.
    """
    kind, raw = str(call.get("kind") or "other"), call.get("rawInput")
    given: Object = raw if isinstance(raw, dict) else {}
    found: list[Wish] = []
    match kind:
        case "think":
            return ()
        case "read" | "edit" | "delete" | "move":
            needs, tool = _FILE_TOOLS[kind]
            found = [
                Wish(needs=needs, tool=tool, given={"file_path": path}, shown=path) for path in _paths(call, given)
            ]
            if kind == "move" and len(found) < 2:  # one end of it is not known
                found = []
        case "search":
            paths = _paths(call, given) or [str(folder)]
            found = [Wish(needs="grep", tool="grep", given={"path": path, "pattern": ""}, shown=path) for path in paths]
        case "execute":
            command = _command(given)
            if command is not None:
                where = _folder(given, folder)
                found = [Wish(needs="bash", tool="bash", given={"command": command}, shown=command, folder=where)]
        case "fetch":
            found = [
                Wish(needs="web_fetch", tool="web_fetch", given={"url": url}, shown=url)
                for url in _texts(given, (*_URL_KEYS, "urls"))
            ]
        case _:
            pass
    return tuple(found) or (_unclear(call, kind, raw, agent),)


def _unclear(call: Object, kind: str, raw: JsonValue, agent: str) -> Wish:
    """What our rules know nothing of: a tool of the agent's own, named as tools of servers are."""
    name = re.sub(r"\W+", "-", agent)
    plain = re.sub(r"\W+", "-", kind)
    said = f"{call.get('title') or kind}"
    if raw not in (None, {}):
        said = f"{said} {json.dumps(raw, ensure_ascii=False)}"
    return Wish(needs=None, tool=f"mcp__acp-{name}__{plain}", given={}, shown=said[:_SHOWN_CHARS])


def _paths(call: Object, given: Object) -> list[str]:
    """Every path that a call names, in whatever place."""
    found: dict[str, None] = {}
    for entry in _objects(call.get("locations")):
        if isinstance(path := entry.get("path"), str) and path:
            found.setdefault(path)
    for entry in _objects(call.get("content")):
        if entry.get("type") == "diff" and isinstance(path := entry.get("path"), str) and path:
            found.setdefault(path)
    for path in _texts(given, (*_PATH_KEYS, *_MORE_PATH_KEYS)):
        found.setdefault(path)
    return list(found)


def _texts(given: Object, keys: tuple[str, ...]) -> Iterator[str]:
    for key in keys:
        value = given.get(key)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, str) and each:
                yield each


def _objects(value: JsonValue) -> Iterator[Object]:
    for each in value if isinstance(value, list) else []:
        if isinstance(each, dict):
            yield each


def _command(given: Object) -> str | None:
    """The whole command line, where it is certain that it is one."""
    command, words = given.get("command"), given.get("args")
    if isinstance(command, str) and command.strip():
        more = [word for word in words if isinstance(word, str)] if isinstance(words, list) else []
        return f"{command} {shlex.join(more)}" if more else command
    if isinstance(command, list) and command and all(isinstance(word, str) for word in command):
        return shlex.join([word for word in command if isinstance(word, str)])
    return None


def _folder(given: Object, otherwise: Path) -> Path:
    for name in _texts(given, ("cwd", "directory", "workdir", "working_directory", "dir_path")):
        return (otherwise / name).resolve()
    return otherwise


def chosen(options: JsonValue, *, is_allowed: bool) -> str | None:
    """The option to take; None for none. An agent is never told that something is allowed from now on."""
    kinds = ("allow_once",) if is_allowed else ("reject_once", "reject_always")
    for kind in kinds:
        for option in _objects(options):
            if option.get("kind") == kind and isinstance(choice := option.get("optionId"), str):
                return choice
    return None
