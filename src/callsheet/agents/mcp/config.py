"""MCP servers as people configure them: `.mcp.json` of a project, `~/.claude.json` of a user.

A server that is not usable is told with its place and never hides the others.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, assert_never

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from callsheet.library.files import UnreadableError, read_text
from callsheet.model.dataclass import dataclass

FILE_LIMIT_BYTES = 16 * 1024 * 1024
PROJECT_FILE = ".mcp.json"
USER_FILE = ".claude.json"

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,62}[A-Za-z0-9])?")
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class StdioServer:
    """A server that is a program, spoken to over its standard input and output.

    Attributes:
        folder: Where it is started, and what a command with a slash in it is relative to.
        environ: What it is given beyond the usual.
    """

    command: str
    arguments: tuple[str, ...]
    environ: Mapping[str, str]
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpServer:
    """A server elsewhere, spoken to over streamable HTTP."""

    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """One configured server.

    Attributes:
        name: As its tools are called by: `mcp__name__tool`. Holds no `__`.
        source: The file and the place in it.
        scope: `project`: of a file of the workspace, which takes effect only once it is trusted.
        how: How it is reached.
        variables: Environment variables whose values it is given or sent: a person should know before trusting it.
    """

    name: str
    source: str
    scope: Literal["local", "project", "user"]
    how: StdioServer | HttpServer
    variables: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """What it would do, on one line, for a person who is asked to trust it; without any secret."""
        match self.how:
            case StdioServer(command=command, arguments=arguments):
                does = f"runs {' '.join([command, *arguments])}"
            case HttpServer(url=url):
                does = f"connects to {url}"
            case _:
                assert_never(self.how)
        given = f", with {', '.join(self.variables)}" if self.variables else ""
        return f"MCP server {self.name}: {does}{given} ({self.source})"


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServers:
    """What was found.

    Attributes:
        servers: Those that take effect, one of each name.
        untrusted: Those of the workspace that would, once it is trusted.
        faults: What cannot be used, one line each, with the place and the remedy.
    """

    servers: tuple[McpServer, ...] = ()
    untrusted: tuple[McpServer, ...] = ()
    faults: tuple[str, ...] = ()


class _Stdio(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    type: Literal["stdio"] = "stdio"
    command: str = Field(min_length=1)
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)


class _Http(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    type: Literal["http", "streamable-http"]
    url: str = Field(min_length=1)
    headers: dict[str, str] = Field(default_factory=dict)


_Entry: TypeAlias = Annotated[_Stdio | _Http, Field(discriminator="type")]
_ENTRY: TypeAdapter[_Stdio | _Http] = TypeAdapter(_Entry)


class _UnusableError(Exception):
    """An entry that cannot be used; says why."""


def find_servers(
    *,
    workspace: Path,
    home: Path,
    environ: Mapping[str, str],
    trusted: bool,
    config_dir: Path | None = None,
    project: Path | None = None,
) -> McpServers:
    """All servers configured for a workspace; a nearer one hides those of its name: local, project, user.

    Args:
        workspace: Its root, where `.mcp.json` lies.
        home: The user's folder, where `.claude.json` lies.
        environ: What `${NAME}` is taken from.
        trusted: Whether the workspace's own file takes effect.
        config_dir: `CLAUDE_CONFIG_DIR`, which then has `.claude.json`.
        project: Where `.mcp.json` lies instead of the workspace.
    """
    project_path = (project or workspace) / PROJECT_FILE
    user_path = (config_dir if config_dir is not None else home) / USER_FILE
    reader = _Reader(environ)
    mine = reader.read(user_path)
    entries = mine.get("projects")
    entry = entries.get(str(workspace)) if isinstance(entries, dict) else None
    local = entry if isinstance(entry, dict) else {}
    found = [
        *reader.servers(local, user_path, "local", folder=workspace, at=f"projects.{workspace}."),
        *reader.servers(reader.read(project_path), project_path, "project", folder=workspace),
        *reader.servers(mine, user_path, "user", folder=home),
    ]
    is_held_back = [server.scope == "project" and not trusted for server in found]
    servers = [server for server, held_back in zip(found, is_held_back, strict=True) if not held_back]
    untrusted = [server for server, held_back in zip(found, is_held_back, strict=True) if held_back]
    return McpServers(
        servers=tuple(_nearest(servers)), untrusted=tuple(_nearest(untrusted)), faults=tuple(reader.faults)
    )


def _nearest(servers: Sequence[McpServer]) -> list[McpServer]:
    return list({server.name: server for server in reversed(servers)}.values())[::-1]


class _Reader:
    """Reads files of servers and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.faults: list[str] = []

    def read(self, path: Path) -> dict[str, Any]:
        """The file's object; empty where there is none or it cannot be read."""
        if not os.path.lexists(path):
            return {}
        try:
            value = json.loads(read_text(path, limit_bytes=FILE_LIMIT_BYTES))
        except UnreadableError as error:
            self.faults.append(f"{path} {error.reason}")
            return {}
        except (ValueError, RecursionError) as error:
            place = f" in line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else ""
            self.faults.append(f"{path} is not JSON{place}")
            return {}
        if not isinstance(value, dict):
            self.faults.append(f"{path} must hold an object with `mcpServers`")
            return {}
        return value

    def servers(
        self,
        value: dict[str, Any],
        path: Path,
        scope: Literal["local", "project", "user"],
        *,
        folder: Path,
        at: str = "",
    ) -> Iterator[McpServer]:
        """The usable servers of an object that has `mcpServers`."""
        entries = value.get("mcpServers", {})
        if not isinstance(entries, dict):
            self.faults.append(f"{path}: {at}mcpServers must be an object of servers by name")
            return
        taken: dict[str, str] = {}
        for name, entry in entries.items():
            place = f"{at}mcpServers.{name}"
            try:
                tool_name = _tool_name(name)
                if tool_name in taken:
                    raise _UnusableError(f": its tools would be called like those of {taken[tool_name]!r}; rename one")
                taken[tool_name] = name
                yield self._server(name, entry, f"{path}: {place}", scope, folder)
            except _UnusableError as error:
                self.faults.append(f"{path}: {place}{error}")

    def _server(
        self, name: str, entry: object, source: str, scope: Literal["local", "project", "user"], folder: Path
    ) -> McpServer:
        if isinstance(entry, dict) and entry.get("type") == "sse":
            raise _UnusableError(": `sse` is no longer spoken; give the server's `http` address")
        if isinstance(entry, dict) and "type" not in entry:
            entry = {**entry, "type": "http" if "url" in entry and "command" not in entry else "stdio"}
        try:
            read = _ENTRY.validate_python(entry)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            inner = ".".join(str(part) for part in first["loc"] if part not in ("stdio", "http", "streamable-http"))
            raise _UnusableError(f"{'.' if inner else ''}{inner}: {first['msg']}") from None
        variables: dict[str, None] = {}
        how = self._stdio(read, folder, variables) if isinstance(read, _Stdio) else self._http(read, variables)
        return McpServer(name=_tool_name(name), source=source, scope=scope, how=how, variables=tuple(variables))

    def _stdio(self, read: _Stdio, folder: Path, variables: dict[str, None]) -> StdioServer:
        texts = [read.command, *read.args, *read.env.keys(), *read.env.values()]
        if any("\0" in text for text in texts) or any("=" in key or not key for key in read.env):
            raise _UnusableError(": it holds a NUL character, or a variable without a proper name")
        return StdioServer(
            command=self._expanded(read.command, "command", variables),
            arguments=tuple(self._expanded(each, f"args.{n}", variables) for n, each in enumerate(read.args)),
            environ={key: self._expanded(value, f"env.{key}", variables) for key, value in read.env.items()},
            folder=folder,
        )

    def _http(self, read: _Http, variables: dict[str, None]) -> HttpServer:
        url = self._expanded(read.url, "url", variables)
        if not re.fullmatch(r"https?://[^\s/?#@]+(?:[/?#]\S*)?", url):
            raise _UnusableError(".url: it must be of the form https://host/path, without a user in it")
        headers = {key: self._expanded(value, f"headers.{key}", variables) for key, value in read.headers.items()}
        for key, value in headers.items():
            if not _HEADER.fullmatch(key) or not value.isprintable() or not value.isascii():
                raise _UnusableError(f".headers.{key}: this cannot be sent as a header")
        return HttpServer(url=url, headers=headers)

    def _expanded(self, text: str, place: str, variables: dict[str, None]) -> str:
        """The text with `${NAME}` and `${NAME:-default}` replaced."""

        def value_of(found: re.Match[str]) -> str:
            name, default = found["name"], found["default"]
            value = self._environ.get(name)
            if value:
                variables.setdefault(name)
                return value
            if default is not None:
                return default
            if value is None:
                raise _UnusableError(f".{place}: ${{{name}}} is not set; set it, or give ${{{name}:-a default}}")
            return value

        return _VARIABLE.sub(value_of, text)


def _tool_name(name: str) -> str:
    """A server's name as it stands within the names of its tools."""
    if not _NAME.fullmatch(name):
        raise _UnusableError(": a server's name is letters, digits, blanks, `.`, `-` and `_`, at most 64 of them")
    tool_name = re.sub(r"[ .]", "_", name)
    if "__" in tool_name:
        raise _UnusableError(": a server's name holds no `__`, which stands between server and tool in rules")
    return tool_name
