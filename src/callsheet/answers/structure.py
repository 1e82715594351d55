"""Where the parts of a JSON Schema stand, and what its local references mean. Knows keywords; judges nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from typing import Literal, TypeGuard
from urllib.parse import unquote

from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

Schema = dict[str, JsonValue]

REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")

Where = Literal["here", "below", "defined"]
"""`here`: judges the same value; `below`: judges a part of it; `defined`: judges nothing until it is referred to."""

_ONE: dict[str, Where] = {
    "not": "here",
    "if": "here",
    "then": "here",
    "else": "here",
    "items": "below",
    "additionalItems": "below",
    "additionalProperties": "below",
    "contains": "below",
    "propertyNames": "below",
    "unevaluatedItems": "below",
    "unevaluatedProperties": "below",
}
_LIST: dict[str, Where] = {
    "allOf": "here",
    "anyOf": "here",
    "oneOf": "here",
    "items": "below",
    "prefixItems": "below",
}
_MAP: dict[str, Where] = {
    "dependentSchemas": "here",
    "dependencies": "here",
    "properties": "below",
    "patternProperties": "below",
    "$defs": "defined",
    "definitions": "defined",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A schema inside a schema.

    Attributes:
        steps: The way to it from the enclosing schema, for instance `("properties", "name")`.
    """

    schema: Schema
    steps: tuple[str | int, ...]
    where: Where


def is_schema(value: JsonValue) -> TypeGuard[Schema]:
    """Whether the value is a schema with keywords in it (not `true` or `false`)."""
    return isinstance(value, dict)


def parts(schema: Schema) -> Iterator[Part]:
    """The schemas directly inside, in the order written. Values (`enum`, `default` …) are not schemas."""
    for keyword, value in schema.items():
        if isinstance(value, list):
            where = _LIST.get(keyword)
            if where is not None:
                for index, inner in enumerate(value):
                    if is_schema(inner):
                        yield Part(schema=inner, steps=(keyword, index), where=where)
        elif is_schema(value):
            if keyword in _MAP:
                for name, inner in value.items():
                    if is_schema(inner):
                        yield Part(schema=inner, steps=(keyword, name), where=_MAP[keyword])
            elif keyword in _ONE:
                yield Part(schema=value, steps=(keyword,), where=_ONE[keyword])


def walk(schema: Schema, at: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Schema]]:
    """The schema and every schema inside it, each with its place. References are not followed."""
    yield at, schema
    for part in parts(schema):
        yield from walk(part.schema, (*at, *part.steps))


def pointer(steps: tuple[str | int, ...]) -> str:
    """The JSON Pointer of a place (RFC 6901); empty for the whole."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


class LocalReferences:
    """What the references inside one schema (`#`, `#/$defs/x`, `#name`) mean."""

    def __init__(self, root: Schema) -> None:
        self._root = root

    @cached_property
    def _anchors(self) -> dict[str, Schema]:
        found: dict[str, Schema] = {}
        for _, schema in walk(self._root):
            for keyword in ("$anchor", "$dynamicAnchor"):
                name = schema.get(keyword)
                if isinstance(name, str):
                    found.setdefault(name, schema)
            own = schema.get("$id")
            if isinstance(own, str) and own.startswith("#"):
                found.setdefault(own[1:], schema)
        return found

    def target(self, reference: str) -> JsonValue:
        """What a reference leads to.

        Raises:
            LookupError: It leads nowhere.
        """
        fragment = unquote(reference[1:])
        if not fragment:
            return self._root
        if not fragment.startswith("/"):
            return self._anchors[fragment]
        found: JsonValue = self._root
        for step in fragment[1:].split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict):
                found = found[key]
            elif isinstance(found, list) and key.isdecimal() and len(key) < 6:
                found = found[int(key)]
            else:
                raise LookupError(reference)
        return found

    def of(self, schema: Schema) -> Iterator[Schema]:
        """The schemas that this one refers to. What leads nowhere is passed over."""
        for keyword in REFERENCES:
            reference = schema.get(keyword)
            if isinstance(reference, str) and reference.startswith("#"):
                with suppress(LookupError):
                    found = self.target(reference)
                    if is_schema(found):
                        yield found
