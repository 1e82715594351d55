"""Looking at nodes of a script's tree: fields, names that are declared, names at the root of an expression."""

from __future__ import annotations

from collections.abc import Iterator

from tree_sitter import Node

from callsheet.script import grammar
from callsheet.script.program import FUNCTIONS, Program, inner, text_of

NO_VALUES = frozenset({"property_identifier", "statement_identifier", "comment", "string", "regex", "number"})
_NO_ALIASES = frozenset({"template_string", "binary_expression", "unary_expression", "update_expression"})
_ONCE_MORE = ("&&", "||", "??", "&&=", "||=", "??=")
"""Operators whose right side is run only where the left one says so."""


def condition_of(node: Node) -> Node | None:
    """What decides whether, or how often, a part of a statement or expression is run."""
    match node.type:
        case "if_statement" | "ternary_expression" | "while_statement" | "do_statement" | "for_statement":
            return node.child_by_field_name("condition")
        case "for_in_statement":
            return node.child_by_field_name("right")
        case "switch_statement":
            return node.child_by_field_name("value")
        case "binary_expression" | "augmented_assignment_expression":
            is_once_more = text_of(field(node, "operator")) in _ONCE_MORE
            return node.child_by_field_name("left") if is_once_more else None
        case _:
            return None


def own_nodes(node: Node) -> Iterator[Node]:
    """A node and those below it, those of functions within left out."""
    yield node
    for child in node.named_children:
        if child.type not in FUNCTIONS:
            yield from own_nodes(child)


def root_of(node: Node) -> str | None:
    """The name at the beginning of `a.b[c].d`; None where there is none."""
    while node.type in ("member_expression", "subscript_expression", "parenthesized_expression"):
        held = node.child_by_field_name("object") or inner(node)
        if held is None:
            return None
        node = held
    return text_of(node) if node.type == "identifier" else None


def walk(program: Program) -> Iterator[Node]:
    """All nodes of a script, in order of place.

    Raises:
        OutOfTimeError: There are more than can be looked at.
    """
    deadline = grammar.Deadline()
    waiting = [program.root] if program.root is not None else []
    while waiting:
        node = waiting.pop()
        deadline.check()
        yield node
        waiting.extend(reversed(node.named_children))


def field(node: Node, name: str) -> Node:
    """A part of a node; the node itself where it has none of that name."""
    found = node.child_by_field_name(name)
    return node if found is None else found


def method_of(call: Node) -> tuple[str, str] | None:
    """Object and method of a call, as written; None for a call of another sort."""
    callee = field(call, "function")
    if callee.type != "member_expression":
        return None
    return text_of(field(callee, "object")), text_of(field(callee, "property"))


def is_spread(node: Node) -> bool:
    """Whether it is `...x`."""
    return node.type == "spread_element"


def only(node: Node) -> Node:
    """What stands in a node that holds one."""
    return inner(node) or node


def parameters_of(function: Node) -> list[Node]:
    """The parameters of a function, as patterns."""
    single = function.child_by_field_name("parameter")
    if single is not None:
        return [single]
    listed = function.child_by_field_name("parameters")
    return [] if listed is None else [child for child in listed.named_children if child.type != "comment"]


def names_in(pattern: Node) -> Iterator[str]:
    """The names that a pattern declares."""
    match pattern.type:
        case "identifier" | "shorthand_property_identifier_pattern":
            yield text_of(pattern)
        case "assignment_pattern" | "object_assignment_pattern":
            yield from names_in(field(pattern, "left"))
        case "pair_pattern":
            yield from names_in(field(pattern, "value"))
        case "object_pattern" | "array_pattern" | "rest_pattern":
            for child in pattern.named_children:
                yield from names_in(child)
        case _:
            return


def own(pattern: Node) -> set[str]:
    """The values of the names that a pattern declares."""
    return {f"v:{name}" for name in names_in(pattern)}


def roots_in(node: Node) -> set[str]:
    """Names of objects that an expression may hand on, rather than copy."""
    if node.type in ("identifier", "shorthand_property_identifier"):
        return {text_of(node)}
    if node.type in FUNCTIONS or node.type in _NO_ALIASES or node.type in NO_VALUES:
        return set()
    return set().union(*map(roots_in, node.named_children))
