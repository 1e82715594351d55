"""One schema that says what several say together (`allOf`, a reference, a branch), as far as that can be written."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

from callsheet.answers.structure import LocalReferences, Schema, is_schema
from callsheet.model.values import JsonValue

MAX_STEPS = 60
"""References and branches that are followed for one value."""

_LARGER_WINS = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_SMALLER_WINS = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})


def merged(one: Schema, other: Schema) -> Schema:
    """A schema that asks for both. Where two keywords cannot be put together the second one's stands."""
    result = dict(one)
    for keyword, value in other.items():
        if keyword not in result:
            result[keyword] = value
        elif keyword in ("anyOf", "oneOf"):
            later = result.get("allOf")
            result["allOf"] = [*(later if isinstance(later, list) else []), {keyword: value}]
        else:
            result[keyword] = _both(keyword, result[keyword], value)
    return result


def _both(keyword: str, one: JsonValue, other: JsonValue) -> JsonValue:
    if keyword in _LARGER_WINS | _SMALLER_WINS and isinstance(one, int | float) and isinstance(other, int | float):
        return max(one, other) if keyword in _LARGER_WINS else min(one, other)
    if keyword == "type":
        return _both_types(_listed(one), _listed(other))
    if keyword == "enum" and isinstance(one, list) and isinstance(other, list):
        return [value for value in one if value in other]
    if keyword in ("required", "allOf") and isinstance(one, list) and isinstance(other, list):
        return one + [item for item in other if item not in one]
    if keyword == "properties" and is_schema(one) and is_schema(other):
        return {name: _both_schemas(one.get(name, True), other.get(name, True)) for name in {**one, **other}}
    if keyword in ("items", "additionalProperties", "contains"):
        return _both_schemas(one, other)
    return other


def _both_schemas(one: JsonValue, other: JsonValue) -> JsonValue:
    if False in (one, other):
        return False
    if is_schema(one) and is_schema(other):
        return {"allOf": [one, other]}
    return one if is_schema(one) else other


def _both_types(one: list[JsonValue], other: list[JsonValue]) -> JsonValue:
    kept = [kind for kind in one if kind in other or (kind == "integer" and "number" in other)]
    kept += [kind for kind in other if kind == "integer" and "number" in one and kind not in kept]
    return cast(JsonValue, kept)


def _listed(kind: JsonValue) -> list[JsonValue]:
    return kind if isinstance(kind, list) else [kind]


class Flattener:
    """Writes one schema without references, `allOf` and branches for the value it is asked about."""

    def __init__(self, root: Schema, *, branch: int, conditional: str | None) -> None:
        """Prepares it.

        Args:
            root: The whole schema, for its references.
            branch: Which form of `anyOf` and `oneOf` to take, counted from 0 among those that are not just null.
            conditional: `then` or `else`: which side of an `if` to take; None for neither.
        """
        self._references = LocalReferences(root)
        self._branch = branch
        self._conditional = conditional

    def flat(self, schema: Schema) -> Schema:
        """The schema with everything put together that judges the same value."""
        steps = MAX_STEPS
        combined = schema
        while steps and (step := self._step(combined)) is not None:
            combined = step(combined)
            steps -= 1
        return combined

    def _step(self, schema: Schema) -> Callable[[Schema], Schema] | None:
        if "$ref" in schema or "$dynamicRef" in schema:
            return self._follow
        for keyword in ("anyOf", "oneOf", "allOf"):  # in this order: a second `anyOf` waits in `allOf`
            if isinstance(schema.get(keyword), list):
                return partial(self._choose, keyword)
        if self._conditional is not None and is_schema(schema.get("if")):
            return self._decide
        return None

    def _follow(self, schema: Schema) -> Schema:
        combined = {keyword: value for keyword, value in schema.items() if keyword not in ("$ref", "$dynamicRef")}
        for target in self._references.of(schema):
            combined = merged(target, combined)
        return combined

    def _choose(self, keyword: str, schema: Schema) -> Schema:
        combined = {key: value for key, value in schema.items() if key != keyword}
        listed = schema[keyword]
        forms = [form for form in listed if is_schema(form)] if isinstance(listed, list) else []
        if keyword != "allOf":
            forms = [form for form in forms if form.get("type") != "null"] or forms
            forms = forms[self._branch % len(forms) :][:1] if forms else []
        for form in forms:
            combined = merged(combined, form)
        return combined

    def _decide(self, schema: Schema) -> Schema:
        combined = {key: value for key, value in schema.items() if key not in ("if", "then", "else")}
        condition, outcome = schema["if"], schema.get(self._conditional or "then")
        if self._conditional == "then" and is_schema(condition):
            combined = merged(combined, condition)
        return merged(combined, outcome) if is_schema(outcome) else combined
