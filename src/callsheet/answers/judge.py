"""Judges answers by a schema, with the jsonschema-rs library, and says in words what is wrong with one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from jsonschema_rs import Draft7Validator, Draft201909Validator, Draft202012Validator, ValidationError, Validator

from callsheet.answers.messages import MASK, violation_texts
from callsheet.answers.patterns import LINEAR, Allowance, PatternError, PatternRule, pattern
from callsheet.answers.soundness import is_deeper_than, require_sound, unusable
from callsheet.answers.structure import Schema, pointer, walk
from callsheet.errors import SchemaUnusableError
from callsheet.model.values import JsonValue

MAX_PATTERNS = 200
"""Distinct patterns in one schema: compiling one takes up to 2 ms."""

MAX_EXPLAINING = 50_000
"""Rules times values up to which the library is asked for every violation: 1.2 s at worst for what is made to be slow.
Whether an answer fits is always found out; that takes a thousandth."""

_DRAFTS: dict[str, type[Validator]] = {
    "json-schema.org/draft/2020-12/schema": Draft202012Validator,
    "json-schema.org/draft/2019-09/schema": Draft201909Validator,
    "json-schema.org/draft-07/schema": Draft7Validator,
}

MAX_ANSWER_DEPTH = 100
"""Levels of an answer to a schema that contains itself, see `MAX_REFERENCE_DEPTH`. Other schemas end by themselves."""

_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")


class Judge:
    """One compiled schema."""

    def __init__(self, schema: Schema) -> None:
        """Compiles it.

        Raises:
            SchemaUnusableError: It can never be met, or must not be used.
        """
        _require_readable_patterns(schema)
        self._weight = require_sound(schema, lambda rule, key: pattern(rule).is_in(key))
        self._allowance = Allowance()
        self._validator = _compile(schema, self._allowance)

    def accepts(self, value: JsonValue) -> bool:
        """Whether the value fits."""
        self._allowance.renew()
        if self._weight.recursive and is_deeper_than(value, MAX_ANSWER_DEPTH):
            return False
        try:
            return self._is_valid(value)
        except ValueError:  # the library's own limit of levels, where it needs all of a value
            return False

    def explain(self, value: JsonValue) -> tuple[str, ...]:
        """What is wrong with a value that does not fit, at least one line."""
        self._allowance.renew()
        if is_deeper_than(value, MAX_ANSWER_DEPTH):
            return (f"the answer: nests more than {MAX_ANSWER_DEPTH} levels deep",)
        try:
            return violation_texts(self._violations(value))
        except UnicodeEncodeError:
            return violation_texts(self._violations(_with_whole_characters(value)))

    def _is_valid(self, value: JsonValue) -> bool:
        try:
            return self._validator.is_valid(value)
        except UnicodeEncodeError:
            return self._validator.is_valid(_with_whole_characters(value))

    def _violations(self, value: JsonValue) -> list[ValidationError]:
        """As many violations as can be had in bounded time; none where that is too much."""
        nodes, depth = _extent(value)
        growth = self._weight.overlap**depth
        if self._weight.rules_here * nodes * growth <= MAX_EXPLAINING:
            return list(self._validator.iter_errors(value))
        if self._weight.alternatives or growth > 1:
            return []
        try:
            self._validator.validate(value)
        except ValidationError as violation:
            return [violation]
        return []


def _require_readable_patterns(schema: Schema) -> None:
    seen: set[str] = set()
    for steps, text in _patterns(schema):
        if not isinstance(text, str):
            raise unusable(pointer(steps), "a pattern is text", "put it in quotes")
        try:
            pattern(text)
        except PatternError:
            raise unusable(
                pointer(steps), f"the pattern `{text[:100]}` cannot be read, or is too large", "simplify it"
            ) from None
        seen.add(text)
        if len(seen) > MAX_PATTERNS:
            raise unusable(pointer(steps), f"it has more than {MAX_PATTERNS} patterns", "use fewer")


def _patterns(schema: Schema) -> Iterator[tuple[tuple[str | int, ...], JsonValue]]:
    for steps, inner in walk(schema):
        if "pattern" in inner:
            yield (*steps, "pattern"), inner["pattern"]
        by_name = inner.get("patternProperties")
        if isinstance(by_name, dict):
            yield from (((*steps, "patternProperties", name), name) for name in by_name)


def _compile(schema: Schema, allowance: Allowance) -> Validator:
    """Compiles by the draft that the schema names, else by the newest that it keeps to.

    Unknown drafts and formats are passed over: real schemas carry them, and they refuse nothing that they mean.
    """
    named = _DRAFTS.get(str(schema.get("$schema", "")).partition("://")[2].rstrip("#"), Draft202012Validator)
    schema = {keyword: value for keyword, value in schema.items() if keyword != "$schema"}

    class Rule(PatternRule):
        def __init__(self, _parent: dict[str, Any], text: str, _path: list[str | int]) -> None:
            super().__init__(text, allowance)

    def by(draft: type[Validator]) -> Validator:
        return draft(
            schema,
            offline=True,
            validate_formats=False,
            mask=MASK,
            pattern_options=LINEAR,
            keywords={"pattern": Rule},
        )

    try:
        return by(named)
    except ValidationError as error:
        for older in (Draft202012Validator, Draft7Validator):
            with suppress(ValidationError):
                return by(older)
        raise _misspelt(error) from None
    except ValueError as error:
        raise unusable("", str(error)[:200], "correct it") from None


def _misspelt(error: ValidationError) -> SchemaUnusableError:
    """A keyword whose value is not what the drafts ask for."""
    wrong = json.dumps(error.instance, ensure_ascii=False)[:60]
    place = pointer(tuple(error.instance_path))
    if place.endswith("/type"):
        return unusable(place, f"{wrong} is no type", f"the types are {', '.join(_TYPES)}")
    return unusable(place, error.message.replace(MASK, wrong)[:200], "correct it there")


def _with_whole_characters(value: JsonValue) -> JsonValue:
    """The value with halves of characters (lone surrogates, which JavaScript allows) replaced by `?`.

    Raises:
        ValueError: It nests too deep.
    """
    try:
        whole: JsonValue = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError as error:
        raise ValueError("nests too deep") from error
    return whole


def _extent(value: JsonValue) -> tuple[int, int]:
    """How many values there are, and how many levels."""
    nodes = depth = 0
    level: list[JsonValue] = [value]
    while level:
        depth += 1
        nodes += len(level)
        inner: list[JsonValue] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        level = inner
    return nodes, depth
