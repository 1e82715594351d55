"""The tools of a server as a model is shown them: names, descriptions and schemas that no service will choke on."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping

from callsheet.answers.schema import AnswerSchema
from callsheet.errors import SchemaUnusableError
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

DESCRIPTION_CHARS = 8000
TOOLS_PER_SERVER = 1000
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NOT_AT_ROOT = ("oneOf", "anyOf", "allOf", "$schema", "$id", "not", "if", "then", "else")
"""What the model service does not take at the root of a tool's schema."""

_MAX_DEPTH = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenTool:
    """A tool as its server describes it."""

    name: str
    title: str | None
    description: str | None
    input_schema: Mapping[str, JsonValue]

    @property
    def fingerprint(self) -> str:
        """The same for the same description and schema."""
        said = [self.name, self.title, self.description, self.input_schema]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class McpTool:
    """A tool as agents know it. Shared by all agents: never change one.

    Attributes:
        name: `mcp__server__tool`.
        server, tool: What it is called by the configuration, and by the server.
        fingerprint: Of what the server said of it.
    """

    name: str
    server: str
    tool: str
    description: str
    input_schema: dict[str, JsonValue]
    fingerprint: str

    def as_text(self) -> str:
        """The definition for a model to read."""
        return json.dumps(
            {"name": self.name, "description": self.description, "input_schema": self.input_schema}, ensure_ascii=False
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolList:
    """The tools of a server.

    Attributes:
        left_out: Those that cannot be offered, one line each.
    """

    tools: tuple[McpTool, ...]
    left_out: tuple[str, ...]


def read_tools(server: str, given: Iterable[GivenTool]) -> ToolList:
    """What of a server's tools can be offered."""
    tools: dict[str, McpTool] = {}
    left_out: list[str] = []
    for number, each in enumerate(given):
        if number == TOOLS_PER_SERVER:
            left_out.append(f"{server}: it has more than {TOOLS_PER_SERVER} tools; the others are left out")
            break
        name = f"mcp__{server}__{re.sub(r'[^A-Za-z0-9_-]', '_', each.name)}"
        if not each.name or not _NAME.fullmatch(name):
            left_out.append(f"{server}: the tool {_shown(each.name)} is left out: its name cannot be used")
        elif name in tools:
            left_out.append(f"{server}: the tool {_shown(each.name)} is left out: another one is called {name}")
        else:
            tools[name] = _tool(server, name, each)
    return ToolList(tools=tuple(tools.values()), left_out=tuple(left_out))


def _tool(server: str, name: str, given: GivenTool) -> McpTool:
    schema, extra = usable_schema(given.input_schema)
    said = readable(given.description or given.title or "")
    if len(said) > DESCRIPTION_CHARS:
        said = f"{said[:DESCRIPTION_CHARS]}… [cut]"
    description = "\n\n".join(part for part in (said, extra) if part) or f"The tool {given.name} of {server}."
    return McpTool(
        name=name,
        server=server,
        tool=given.name,
        description=description,
        input_schema=schema,
        fingerprint=given.fingerprint,
    )


def usable_schema(given: Mapping[str, JsonValue]) -> tuple[dict[str, JsonValue], str]:
    """A schema that the model service takes, and a note for the description where it says less than the one given.

    One tool with a schema that is refused would fail every request of an agent, whatever it is about.
    """
    try:
        cleaned = _cleaned(dict(given), _MAX_DEPTH)
    except _TooDeepError:
        return {"type": "object"}, ""
    assert isinstance(cleaned, dict)
    schema = {"type": "object", **{key: value for key, value in cleaned.items() if key not in _NOT_AT_ROOT}}
    schema["type"] = "object"
    properties = schema.get("properties", {})
    names_fit = isinstance(properties, dict) and all(map(_KEY.fullmatch, properties))
    try:
        AnswerSchema.compile(schema)
    except SchemaUnusableError:
        names_fit = False
    if not names_fit:
        schema = {"type": "object"}
    said_less = not names_fit or any(key in cleaned for key in _NOT_AT_ROOT if key not in ("$schema", "$id"))
    text = json.dumps(cleaned, ensure_ascii=False)
    note = f"The full schema of its input: {text}" if said_less and len(text) <= DESCRIPTION_CHARS else ""
    return schema, note


class _TooDeepError(Exception):
    pass


def _cleaned(value: JsonValue, depth: int) -> JsonValue:
    """A copy whose texts hold nothing invisible."""
    if depth == 0:
        raise _TooDeepError
    match value:
        case str():
            return readable(value)
        case list():
            return [_cleaned(item, depth - 1) for item in value]
        case dict():
            return {readable(key): _cleaned(item, depth - 1) for key, item in value.items()}
        case _:
            return value


def readable(text: str) -> str:
    """The text without characters that people do not see and models read: controls, tags, private use, halves."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char for char in text if char in "\n\t\u200d" or unicodedata.category(char) not in _UNSEEN)


_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs"})


def _shown(name: str) -> str:
    return repr(readable(name)[:80])
