"""Which functions of a script surely give something, where every agent answers: what `filter(Boolean)` then keeps."""

from __future__ import annotations

from collections.abc import Iterator

from tree_sitter import Node

from callsheet.script.program import FUNCTIONS, Program, arguments_of, inner, text_of

_SOMETHING = frozenset({"object", "array", "template_string", "string", "new_expression"})
_GIVE = frozenset({"agent", "spawnAgent", "workflow", "parallel", "pipeline"})


def gives_a_value(program: Program, call: Node) -> bool:
    """Whether a call of `filter` surely keeps all: it drops what is null, of what agents gave.

    So `parallel` and `pipeline` whose functions end in a call of an agent, or in an object or text made of one.
    """
    arguments = arguments_of(call)
    if len(arguments) != 1 or not _drops_null(arguments[0]):
        return False
    callee = call.child_by_field_name("function")
    held = None if callee is None else callee.child_by_field_name("object")
    return held is not None and _is_full(program, held)


def always_gives(program: Program, function: Node) -> bool:
    """Whether a function gives something other than null whichever way it ends."""
    body = function.child_by_field_name("body")
    if body is None:
        return False
    if body.type != "statement_block":
        return _is_something(program, body)
    statements = [child for child in body.named_children if child.type != "comment"]
    if not statements or statements[-1].type != "return_statement":
        return False
    return all(
        bool(node.named_children) and _is_something(program, node.named_children[0]) for node in _own_returns(body)
    )


def _own_returns(node: Node) -> Iterator[Node]:
    for child in node.named_children:
        if child.type in FUNCTIONS:
            continue
        if child.type == "return_statement":
            yield child
        else:
            yield from _own_returns(child)


def _is_something(program: Program, node: Node) -> bool:
    if node.type in ("parenthesized_expression", "await_expression"):
        held = inner(node)
        return held is not None and _is_something(program, held)
    if node.type in _SOMETHING:
        return True
    if node.type == "ternary_expression":
        parts = [node.child_by_field_name(name) for name in ("consequence", "alternative")]
        return all(part is not None and _is_something(program, part) for part in parts)
    if node.type == "identifier":
        value = program.only_value(node)
        return value is not None and value.type not in FUNCTIONS and _is_something(program, value)
    if node.type != "call_expression":
        return False
    callee = node.child_by_field_name("function")
    if callee is None:
        return False
    if callee.type == "identifier":
        return text_of(callee) in _GIVE and program.is_global(callee)
    if callee.type == "member_expression" and text_of(callee).endswith(".then"):
        arguments = arguments_of(node)
        return len(arguments) == 1 and arguments[0].type in FUNCTIONS and always_gives(program, arguments[0])
    return False


def _drops_null(function: Node) -> bool:
    if function.type == "identifier":
        return text_of(function) == "Boolean"
    parameter, body = function.child_by_field_name("parameter"), function.child_by_field_name("body")
    if parameter is None:
        parameters = function.child_by_field_name("parameters")
        only = [] if parameters is None else parameters.named_children
        parameter = only[0] if len(only) == 1 else None
    if function.type != "arrow_function" or parameter is None or body is None:
        return False
    name = text_of(parameter)
    return text_of(body) in (name, f"{name} !== null", f"{name} != null", f"!!{name}")


def _is_full(program: Program, node: Node) -> bool:
    """Whether all elements of an expression are something: what agents gave, each of them."""
    if node.type in ("parenthesized_expression", "await_expression"):
        held = inner(node)
        return held is not None and _is_full(program, held)
    if node.type == "identifier":
        value = program.only_value(node)
        return value is not None and _is_full(program, value)
    if node.type != "call_expression":
        return False
    callee, arguments = node.child_by_field_name("function"), arguments_of(node)
    if callee is None or callee.type != "identifier" or not program.is_global(callee) or not arguments:
        return False
    if text_of(callee) == "pipeline":
        return len(arguments) > 1 and all(
            each.type in FUNCTIONS and always_gives(program, each) for each in arguments[1:]
        )
    return text_of(callee) == "parallel" and _are_full_thunks(program, arguments[0])


def _are_full_thunks(program: Program, node: Node) -> bool:
    if node.type == "identifier":
        value = program.only_value(node)
        return value is not None and _are_full_thunks(program, value)
    if node.type == "array":
        return all(child.type in FUNCTIONS and always_gives(program, child) for child in node.named_children)
    callee = node.child_by_field_name("function")
    arguments = arguments_of(node) if node.type == "call_expression" else ()
    if (
        callee is None
        or not text_of(callee).endswith(".map")
        or len(arguments) != 1
        or arguments[0].type not in FUNCTIONS
    ):
        return False
    thunk = arguments[0].child_by_field_name("body")
    return thunk is not None and thunk.type in FUNCTIONS and always_gives(program, thunk)
