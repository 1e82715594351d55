"""Events and results from their public JSON (FORMATS 1 and 3), as a record has them: the way back of `model.public`.

What an older version did not write has its default, what a newer one has besides is passed over. An event that this
version does not know, or that is damaged, is None: who reads a record shows the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from callsheet.model.confinement import CommandsHeld
from callsheet.model.events import EVENT_NAMES, AgentFinished, Event, RunFinished, RunStarted
from callsheet.model.outcome import Usage
from callsheet.model.run import AgentSummary, RunResult

T = TypeVar("T")

_BODIES: dict[str, type] = {name: body for body, name in EVENT_NAMES.items()}


def recorded_event(payload: Mapping[str, Any]) -> Event | None:
    """The event that a public object is; None where it is none of this version's."""
    body_type = _BODIES.get(payload.get("event", ""))
    if body_type is None:
        return None
    try:
        body: Any
        if body_type is RunFinished:
            body = RunFinished(result=_result(payload))
        elif body_type is AgentFinished:
            body = AgentFinished(agent=_build(AgentSummary, payload), result_preview=payload.get("result_preview"))
        elif body_type is RunStarted:
            body = _started(payload)
        else:
            body = _build(body_type, payload)
        return Event(run_id=payload["run_id"], seq=payload["seq"], at=payload["at"], body=body)
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def recorded_result(payload: Mapping[str, Any]) -> RunResult | None:
    """The result that a public object is; None where it is none."""
    try:
        return _result(payload)
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def _result(payload: Mapping[str, Any]) -> RunResult:
    usage = payload["usage"]
    by_model = {model: _build(Usage, used) for model, used in usage.get("by_model", {}).items()}
    return _build(RunResult, {**payload, "by_model": by_model})


def _started(payload: Mapping[str, Any]) -> RunStarted:
    said = payload.get("commands")
    held = None
    if said is not None:  # what each area is held by, not in which words: those are in no record
        held = CommandsHeld(name=said["name"], coverage=(), unconfined=bool(said["unconfined"]))
    return _build(RunStarted, {**payload, "commands": held})


# --- plain data to dataclasses ----------------------------------------------------------------------------------------


@cache
def _plan(kind: type) -> tuple[tuple[Field[Any], Any], ...]:
    hints = get_type_hints(kind)
    return tuple((field, hints[field.name]) for field in fields(kind))


def _build(kind: type[T], data: Mapping[str, Any]) -> T:
    """An object of a dataclass from what plain data says under the names of its fields."""
    values = {}
    for field, hint in _plan(cast(Any, kind)):
        if field.name in data:
            values[field.name] = _value(hint, data[field.name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise KeyError(field.name)
    return kind(**values)


def _value(hint: Any, value: Any) -> Any:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _optional(get_args(hint), value)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise TypeError(f"{type(value).__name__} is no list")
        (inner, _) = get_args(hint)
        return tuple(_value(inner, each) for each in value)
    if origin is Literal:
        # A word of a newer version is shown as it stands.
        return _checked(value, str)
    if hint is Any or origin is dict or not isinstance(hint, type):
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (str, int, float, bool):
        return _checked(value, hint)
    return value if isinstance(value, hint) else _build(hint, value)


def _optional(kinds: tuple[Any, ...], value: Any) -> Any:
    if value is None and NoneType in kinds:
        return None
    inner = [kind for kind in kinds if kind is not NoneType]
    return _value(inner[0], value) if len(inner) == 1 else value


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} is no {kind.__name__}")
    return value
