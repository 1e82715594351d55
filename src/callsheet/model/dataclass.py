"""`dataclass` as the standard library's, whose methods are written when they are first called.

The standard library writes and compiles every method of every class where the class is defined, seven for a frozen one
with slots. A run loads some 250 such classes and calls few of their methods: that was the larger part of its start.
Type checkers, `fields`, `replace`, `asdict`, `match` and `pickle` see no difference.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, FrozenInstanceError
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

__all__ = ["dataclass"]

_T = TypeVar("_T")


def _dataclass(*, kw_only: bool = False, **options: bool) -> Callable[[type[_T]], type[_T]]:
    """As `dataclasses.dataclass`, which still makes those that are not frozen, have no slots, or ask for more."""
    if options != {"frozen": True, "slots": True}:
        return dataclasses.dataclass(**options, kw_only=kw_only)
    bare = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)

    def make(cls: type[_T]) -> type[_T]:
        if cls.__doc__ is None:
            cls.__doc__ = cls.__name__  # else it becomes the signature, for which `__init__` is needed
        own = {name for name, value in vars(cls).items() if value is not None}
        made = bare(cls)
        for name in _WRITTEN.keys() - own:
            setattr(made, name, _deferred(made, name))
        for name, method in _SHARED.items():
            setattr(made, name, method)
        return made

    return make


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _dataclass


def _deferred(cls: type[Any], name: str) -> Callable[..., Any]:
    """Stands in for a method until it is first called."""

    def method(*args: Any, **named: Any) -> Any:
        written = _WRITTEN[name](cls)
        written.__qualname__ = f"{cls.__qualname__}.{name}"
        setattr(cls, name, written)
        return written(*args, **named)

    return method


def _init(cls: type[Any]) -> Callable[..., Any]:
    needs: dict[str, object] = {"_MISSING": MISSING}
    parameters: dict[bool, list[str]] = {False: ["self"], True: []}
    lines = []
    for field in dataclasses.fields(cls):
        if not field.init:
            raise TypeError(f"{cls.__qualname__}.{field.name}: no field without a parameter; no class needed one")
        name = parameter = value = field.name
        if field.default_factory is not MISSING:
            needs[f"_new_{name}"] = field.default_factory
            parameter, value = f"{name}=_MISSING", f"_new_{name}() if {name} is _MISSING else {name}"
        elif field.default is not MISSING:
            needs[f"_default_{name}"] = field.default
            parameter = f"{name}=_default_{name}"
        parameters[field.kw_only is True].append(parameter)
        needs[f"_set_{name}"] = getattr(cls, name).__set__  # the slot's own: past the refusal, at half the price
        lines.append(f"_set_{name}(self, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    named = ["*", *parameters[True]] if parameters[True] else []
    written = _compiled(cls, f"__init__({', '.join([*parameters[False], *named])})", lines, needs)
    written.__annotations__ = {field.name: field.type for field in dataclasses.fields(cls)} | {"return": None}
    return written


def _repr(cls: type[Any]) -> Callable[..., Any]:
    shown = ", ".join(f"{field.name}={{self.{field.name}!r}}" for field in dataclasses.fields(cls) if field.repr)
    return _compiled(cls, "__repr__(self)", [f"return f'{{type(self).__qualname__}}({shown})'"])


def _eq(cls: type[Any]) -> Callable[..., Any]:
    same = f"({_compared(cls, 'self')}) == ({_compared(cls, 'other')})"
    return _compiled(cls, "__eq__(self, other)", [f"return {same} if type(self) is type(other) else NotImplemented"])


def _hash(cls: type[Any]) -> Callable[..., Any]:
    return _compiled(cls, "__hash__(self)", [f"return hash(({_compared(cls, 'self')}))"])


def _compared(cls: type[Any], of: str) -> str:
    return "".join(f"{of}.{field.name}, " for field in dataclasses.fields(cls) if field.compare)


_WRITTEN: Mapping[str, Callable[[type[Any]], Callable[..., Any]]] = {
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
}


def _compiled(
    cls: type[Any], head: str, lines: list[str], needs: Mapping[str, object] | None = None
) -> Callable[..., Any]:
    """A function among the names of the class's module, which annotations are looked up in, and `needs`."""
    needs = needs or {}
    body = "".join(f"\n  {line}" for line in lines) or "\n  pass"
    made: dict[str, Any] = {}
    source = f"def make({', '.join(needs)}):\n def {head}:{body}\n return {head.partition('(')[0]}"
    exec(source, vars(sys.modules[cls.__module__]), made)
    function: Callable[..., Any] = made["make"](*needs.values())
    return function


def _refuse_to_set(self: object, name: str, value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _set_state(self: object, state: tuple[None, dict[str, object]]) -> None:
    """What `pickle` and `copy` do by setting each field otherwise."""
    for name, value in state[1].items():
        object.__setattr__(self, name, value)


_SHARED: Mapping[str, Callable[..., Any]] = {
    "__setattr__": _refuse_to_set,
    "__delattr__": _refuse_to_delete,
    "__setstate__": _set_state,
}
