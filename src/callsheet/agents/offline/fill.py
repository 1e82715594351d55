"""Puts what was found into a value that has a schema's shape."""

from __future__ import annotations

import re
from collections.abc import Sequence

from callsheet.agents.offline.findings import Finding
from callsheet.model.values import JsonValue

_FIXED = ("enum", "const", "pattern", "format")
_PLACE = re.compile(r"file|path|location|module|source|where", re.IGNORECASE)
_QUOTE = re.compile(r"quote|evidence|snippet|code|excerpt|example", re.IGNORECASE)
_LINE = re.compile(r"^(start_?|end_?)?line(_?(no|number))?$", re.IGNORECASE)


def fill(value: JsonValue, schema: JsonValue, findings: Sequence[Finding]) -> JsonValue:
    """A copy of `value` whose free strings and line numbers come from `findings`; the rest stays.

    Elements of an array take one finding after the other; the fields of one object share theirs.
    """
    return _Filler(schema, findings).node(value, schema, "", 0) if findings else value


class _Filler:
    def __init__(self, root: JsonValue, findings: Sequence[Finding]) -> None:
        self._root = root
        self._findings = findings

    def node(self, value: JsonValue, schema: JsonValue, name: str, index: int) -> JsonValue:
        schema = self._resolved(schema)
        finding = self._findings[index % len(self._findings)]
        match value:
            case dict():
                properties = schema.get("properties")
                known = properties if isinstance(properties, dict) else {}
                return {key: self.node(item, known.get(key), key, index) for key, item in value.items()}
            case list():
                items = schema.get("items")
                return [self.node(item, items, name, index + n) for n, item in enumerate(value)]
            case str() if _is_of(schema, "string") and not any(key in schema for key in _FIXED):
                return _within(_text(name, finding), schema) or value
            case int() if not isinstance(value, bool) and _LINE.match(name) and _allows(schema, finding.line):
                return finding.line
            case _:
                return value

    def _resolved(self, schema: JsonValue) -> dict[str, JsonValue]:
        """The schema itself, or what its local reference names."""
        for _ in range(16):
            if not isinstance(schema, dict):
                return {}
            reference = schema.get("$ref")
            if not isinstance(reference, str) or not reference.startswith("#/"):
                return schema
            target: JsonValue = self._root
            for part in reference[2:].split("/"):
                target = target.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
            schema = target
        return {}


def _text(name: str, finding: Finding) -> str:
    if _QUOTE.search(name):
        return finding.text
    if _PLACE.search(name):
        return finding.path
    return f"offline: {finding.path}:{finding.line} reads “{finding.text}”"


def _within(text: str, schema: dict[str, JsonValue]) -> str | None:
    longest, shortest = schema.get("maxLength"), schema.get("minLength")
    if isinstance(longest, int | float):
        text = text[: int(longest)]
    return None if isinstance(shortest, int | float) and len(text) < shortest else text


def _allows(schema: dict[str, JsonValue], number: int) -> bool:
    return _is_of(schema, "integer") and not any(
        key in schema for key in ("maximum", "exclusiveMaximum", "multipleOf", "enum", "const")
    )


def _is_of(schema: dict[str, JsonValue], kind: str) -> bool:
    named = schema.get("type")
    return kind in named if isinstance(named, list) else named == kind
