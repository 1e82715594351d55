"""Violations of a schema in words, for the agent that has to mend its answer and for whoever reads the record."""

from __future__ import annotations

import json
from collections.abc import Iterable

from jsonschema_rs import ValidationError, ValidationErrorKind

from callsheet.answers.structure import pointer
from callsheet.model.values import JsonValue

MASK = "\x00"
"""Stands in the library's messages where the value would be written out in full."""

MAX_TEXTS = 10
MAX_TEXT_CHARS = 300
_MAX_VALUE_CHARS = 60
_MAX_POINTER_CHARS = 120


def violation_texts(violations: Iterable[ValidationError]) -> tuple[str, ...]:
    """At most ten lines in order of place, each `/path/into/answer: what is wrong`; never empty."""
    ordered = sorted(violations, key=_place)
    lines = list(dict.fromkeys(_line(violation) for violation in ordered[: MAX_TEXTS * 5]))
    if not lines:
        return ("the answer: does not fit the schema (it is too large to say where)",)
    if len(lines) > MAX_TEXTS:
        rest = len(lines) - MAX_TEXTS + 1 + max(0, len(ordered) - MAX_TEXTS * 5)
        lines[MAX_TEXTS - 1 :] = [f"and {rest:,} more"]
    return tuple(lines)


def _place(violation: ValidationError) -> list[tuple[int, int, str]]:
    return [(0, step, "") if isinstance(step, int) else (1, 0, step) for step in violation.instance_path]


def _line(violation: ValidationError) -> str:
    where = pointer(tuple(violation.instance_path))
    if len(where) > _MAX_POINTER_CHARS:
        where = where[: _MAX_POINTER_CHARS // 2] + "…" + where[-_MAX_POINTER_CHARS // 2 :]
    line = f"{where or 'the answer'}: {_what(violation)}"
    return line if len(line) <= MAX_TEXT_CHARS else line[: MAX_TEXT_CHARS - 1] + "…"


def _what(violation: ValidationError) -> str:
    kind = violation.kind
    match kind:
        case ValidationErrorKind.Required(name):
            return f'"{name}" is missing'
        case ValidationErrorKind.AdditionalProperties(names) | ValidationErrorKind.UnevaluatedProperties(names):
            return f"{_list(names)} {'is' if len(names) == 1 else 'are'} not allowed here"
        case ValidationErrorKind.Enum(options):
            return f"{_short(violation.instance)} is not one of {_list(options)}"
        case ValidationErrorKind.Constant(expected):
            return f"{_short(violation.instance)} is not {_short(expected)}"
        case ValidationErrorKind.FalseSchema():
            return f"{_short(violation.instance)} is not allowed here"
        case ValidationErrorKind.Custom():
            return f"{_short(violation.instance)} {violation.message}"
        case ValidationErrorKind.AnyOf(forms) | ValidationErrorKind.OneOfNotValid(forms):
            return f"{_short(violation.instance)} fits none of {len(forms)} forms{_nearest(violation, forms)}"
        case ValidationErrorKind.OneOfMultipleValid():
            return f"{_short(violation.instance)} fits more than one of the forms of which exactly one is meant"
        case _:
            return violation.message.replace(MASK, _short(violation.instance))


def _nearest(violation: ValidationError, forms: list[list[ValidationError]]) -> str:
    """What keeps the value from the form that it is nearest to: the one that fails deepest and least often."""
    here = len(violation.instance_path)
    tried = [form for form in forms if form]
    if not tried:
        return ""
    nearest = min(tried, key=lambda form: (-min(len(error.instance_path) for error in form), len(form)))
    inner = nearest[0]
    below = pointer(tuple(inner.instance_path[here:]))
    return f"; for the nearest, {below + ' ' if below else ''}{_what(inner)}"


def _list(values: Iterable[object]) -> str:
    return ", ".join(_short(value) for value in values)


def _short(value: object) -> str:
    """The value as JSON, cut to a length that leaves room for what is said of it."""
    text = json.dumps(_cut(value), ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_VALUE_CHARS else text[: _MAX_VALUE_CHARS - 1] + "…"


def _cut(value: object, levels: int = 3) -> JsonValue:
    """A part of the value that is certainly enough to show, so that a large one costs nothing."""
    if isinstance(value, dict):
        return {str(key)[:80]: _cut(inner, levels - 1) for key, inner in list(value.items())[:20]} if levels else {}
    if isinstance(value, list):
        return [_cut(inner, levels - 1) for inner in value[:20]] if levels else []
    if isinstance(value, str):
        return value[:80]
    return value if isinstance(value, bool | int | float) or value is None else str(value)
