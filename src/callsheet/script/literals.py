"""What a script says literally in its calls, to be tried before any money is spent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

from tree_sitter import Node

from callsheet.model.script import LiteralUse, Script
from callsheet.model.values import JsonValue
from callsheet.script import grammar
from callsheet.script.program import Program, text_of
from callsheet.script.values import LiteralReader

Kind = Literal["model", "agent_type", "effort", "isolation", "workflow", "schema"]

_OPTIONS: dict[str, Kind] = {
    "model": "model",
    "agentType": "agent_type",
    "effort": "effort",
    "isolation": "isolation",
    "schema": "schema",
}
_CHANGED = """
(assignment_expression left: [
  (member_expression object: (_) @held)
  (subscript_expression object: (_) @held)
])
((call_expression function: (member_expression object: (_) @held property: (property_identifier) @method))
 (#any-of? @method "push" "pop" "shift" "unshift" "splice" "sort" "reverse" "fill" "copyWithin"))
((call_expression
   function: (member_expression object: (identifier) @object property: (property_identifier) @method)
   arguments: (arguments . (identifier) @held))
 (#eq? @object "Object") (#eq? @method "assign"))
(unary_expression operator: "delete" argument: (member_expression object: (_) @held))
"""


_BINDINGS = """
[(identifier) (shorthand_property_identifier) (shorthand_property_identifier_pattern) (this)] @name
"""


def workflow_mentions(script: Script) -> int | None:
    """How often a script names `workflow`; None where it may also have it by another way, or that took too long.

    One that names it no more often than it calls it with a literal name runs just those that are named.
    """
    program = Program(script)
    with suppress(grammar.OutOfTimeError):
        names = Counter(text_of(node) for node in program.find(_BINDINGS).get("name", ()))
        return None if names["globalThis"] or names["this"] else names["workflow"]
    return None


def literal_uses(script: Script) -> tuple[LiteralUse, ...]:
    """Models, agent types, efforts, isolations, schemas and names of workflows that calls give literally.

    A constant that is a pure literal counts, unless something in it is changed. Each value is given once for each place
    at which it is written, in order of place.
    """
    program = Program(script)
    uses: dict[tuple[str, int], LiteralUse] = {}
    with suppress(grammar.OutOfTimeError):
        reader = _Reader(program)
        for kind, node in _places(program):
            target = reader.target(node)
            if (kind, target.start_byte) in uses:
                continue
            value, is_literal = reader.read(target)
            if is_literal and (kind == "schema" or isinstance(value, str)):
                uses[kind, target.start_byte] = LiteralUse(kind=kind, value=value, place=program.place(target))
    return tuple(uses[key] for key in sorted(uses, key=lambda key: key[1]))


def _places(program: Program) -> Iterator[tuple[Kind, Node]]:
    for call in program.calls_of("agent", "spawnAgent"):
        members = program.options(call).members
        for option, kind in _OPTIONS.items():
            if option in members:
                yield kind, members[option]
    for call in program.calls_of("workflow"):
        if (name := call.argument(0)) is not None:
            yield "workflow", name


class _Reader:
    """Follows constants to what they surely are."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._changed = frozenset(_first_name(node) for node in program.find(_CHANGED).get("held", ()))

    def target(self, node: Node) -> Node:
        """The literal that a node is or names; the node itself where there is none."""
        resolved = self._resolve(node) if node.type in {"identifier", "shorthand_property_identifier"} else None
        return node if resolved is None else resolved

    def read(self, node: Node) -> tuple[JsonValue, bool]:
        """The value, and whether the node is a pure literal."""
        reader = LiteralReader(resolve=self._resolve)
        value = reader.read(node, "")
        return value, not reader.faults

    def _resolve(self, name: Node) -> Node | None:
        return None if text_of(name) in self._changed else self._program.only_value(name)


def _first_name(node: Node) -> str:
    """The name at the beginning of `a.b[c].d`."""
    while (held := node.child_by_field_name("object")) is not None:
        node = held
    return text_of(node)
