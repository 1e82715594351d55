"""The API, used as it is not (CONTRACT C01, G02, G03, S07)."""

from __future__ import annotations

from collections.abc import Iterator

from tree_sitter import Node

from callsheet.model.script import Finding
from callsheet.script import names
from callsheet.script.program import FUNCTIONS, Program, text_of
from callsheet.script.rules.context import Context

_AMOUNTS = """
((member_expression object: (_) @object property: (property_identifier) @amount) @read
 (#match? @object "^budget([.]cost)?$") (#match? @amount "^(spent|remaining)$"))
"""
_RECKONS = frozenset({"binary_expression", "template_substitution", "unary_expression", "pair"})
_PATTERNS = frozenset({"object_pattern", "array_pattern", "pair_pattern", "assignment_pattern", "rest_pattern"})
_CALLED = tuple(sorted(names.CALLS | {"phase", "log"}))
_GIVES_ITEMS = frozenset({"map", "flatMap", "forEach", "filter", "some", "every", "find"})


def phase_functions(context: Context) -> Iterator[Finding]:
    """Functions that `phase()` is given: elsewhere they would be called, here nothing of them runs."""
    for call in context.program.calls_of("phase"):
        for given in call.arguments[1:2]:
            if given.type in FUNCTIONS:
                yield context.program.finding(
                    "phase-function",
                    "G02",
                    "phase() takes a title alone, and calls nothing: write `phase('…')` as a statement of its own, and "
                    "what belongs to the phase behind it",
                    given,
                )


def amounts_not_called(context: Context) -> Iterator[Finding]:
    """`budget.remaining` where `budget.remaining()` is meant: a function is more or less than nothing."""
    program = context.program
    for read in program.find(_AMOUNTS).get("read", ()):
        parent = read.parent
        if parent is None or parent.type not in _RECKONS or not _is_of_api(program, read):
            continue
        shown = text_of(read)
        yield program.finding("not-called", "G03", f"`{shown}` is a function, and no amount: write `{shown}()`", read)


def hidden_names(context: Context) -> Iterator[Finding]:
    """Variables that hide a function of the API where it is called, and are surely no functions themselves."""
    program = context.program
    told: set[int] = set()
    for name in program.find("(call_expression function: (identifier) @called)").get("called", ()):
        word = text_of(name)
        if word not in _CALLED or program.is_global(name):
            continue
        for declared in program.declared.get(word, ()):
            if (
                declared.start_byte not in told
                and program.reaches(declared, name)
                and _is_no_function(program, declared, name)
            ):
                told.add(declared.start_byte)
                yield program.finding(
                    "hidden-name",
                    "S07",
                    f"this variable hides `{word}()`, which is called in line {program.place(name).line}: give it "
                    "another name",
                    declared,
                )


def _is_of_api(program: Program, read: Node) -> bool:
    held: Node | None = read
    while held is not None and held.type == "member_expression":
        held = held.child_by_field_name("object")
    return held is not None and program.is_global(held)


def _is_no_function(program: Program, declared: Node, called: Node) -> bool:
    """Whether a variable is what a loop or a list gives, or what the very call gives that it hides."""
    node = declared
    while (parent := node.parent) is not None and parent.type in _PATTERNS:
        node = parent
    if parent is None:
        return False
    match parent.type:
        case "for_in_statement":
            return parent.child_by_field_name("left") == node
        case "variable_declarator":
            value = parent.child_by_field_name("value")
            return value is not None and _holds(value, called) and not _is_in_function(program, called, value)
        case "arrow_function":
            return _gets_items(parent)
        case "formal_parameters":
            return parent.parent is not None and _gets_items(parent.parent)
        case _:
            return False


def _gets_items(function: Node) -> bool:
    """Whether a function is called for each item of a list."""
    given = function.parent
    call = None if given is None else given.parent
    if given is None or given.type != "arguments" or call is None or call.type != "call_expression":
        return False
    member = call.child_by_field_name("function")
    name = None if member is None else member.child_by_field_name("property")
    return name is not None and text_of(name) in _GIVES_ITEMS


def _holds(outer: Node, node: Node) -> bool:
    return outer.start_byte <= node.start_byte < outer.end_byte


def _is_in_function(program: Program, node: Node, outer: Node) -> bool:
    """Whether a function stands between a node and what is around it: then it runs later."""
    function = program.enclosing(node, FUNCTIONS)
    return function is not None and _holds(outer, function)
