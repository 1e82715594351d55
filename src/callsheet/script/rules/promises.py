"""Promises where functions belong, and promises that nobody waits for (CONTRACT C01, P02, A13, D08)."""

from __future__ import annotations

from collections.abc import Iterator

from tree_sitter import Node

from callsheet.model.script import Finding
from callsheet.script import names
from callsheet.script.program import FUNCTIONS, Program, arguments_of, inner, text_of
from callsheet.script.rules.context import Context

_STATEMENTS = "(expression_statement (call_expression) @call)"
_FOR_EACH = """
((call_expression function: (member_expression property: (property_identifier) @method)) @call
 (#eq? @method "forEach"))
"""
_PUSHES = """
((call_expression function: (member_expression object: (identifier) @list property: (property_identifier) @method))
 (#eq? @method "push"))
"""
_MEMBERS = "(member_expression property: (property_identifier)) @read"
_TAKEN_APART = "(variable_declarator name: [(object_pattern) (array_pattern)] value: (call_expression) @call)"
_LOOKED_AT = """
(binary_expression left: (_) @operand operator: ["===" "!==" "==" "!=" "<" "<=" ">" ">=" "+" "-" "*" "/"])
(binary_expression left: (_) @operand operator: ["&&" "||" "??"])
(binary_expression operator: ["===" "!==" "==" "!=" "<" "<=" ">" ">=" "+" "-" "*" "/"] right: (_) @operand)
(unary_expression operator: "!" argument: (_) @operand)
(template_substitution (_) @operand)
(if_statement condition: (_) @operand)
(while_statement condition: (_) @operand)
(do_statement condition: (_) @operand)
(ternary_expression condition: (_) @operand)
(spread_element (_) @operand)
((call_expression function: [(identifier) (member_expression)] @reader arguments: (arguments . (_) @operand))
 (#match? @reader "^(String|Number|Boolean|parseInt|parseFloat|JSON[.](parse|stringify))$"))
"""
_RETURNED = """
(return_statement (object (pair value: (_) @part)))
(return_statement (object (shorthand_property_identifier) @part))
(return_statement (array (_) @part))
"""
_GONE_THROUGH = "(for_in_statement right: (_) @list) @loop"
_CHAINED = frozenset({"then", "catch", "finally"})
_KEEPS_ELEMENTS = frozenset({"filter", "slice", "concat", "reverse", "toReversed", "toSorted", "sort", "flat"})
_DEEPEST = 20
"""How far an expression is followed; real ones are done after three or four steps."""
_MAPS = frozenset({"map", "flatMap"})


def promises_in_parallel(context: Context) -> Iterator[Finding]:
    """`parallel()` given promises: the work has begun before `parallel` sees it, and other runtimes refuse them."""
    for call in context.program.calls_of("parallel"):
        given = call.argument(0)
        promise = _promise_in_list(context.program, given)
        if promise is not None:
            yield context.program.finding(
                "promise-in-parallel",
                "P02",
                "parallel() is given a promise, which has begun already and which is not portable: give it a function, "
                "`() => agent(…)`",
                promise,
                severity=context.portability,
            )


def not_awaited(context: Context) -> Iterator[Finding]:
    """Statements that start something and let go of it: agents are cancelled when the script returns."""
    program = context.program
    for call in program.find(_STATEMENTS).get("call", ()):
        function = call.child_by_field_name("function")
        if function is None or _is_chained(function) or not is_promise(program, call):
            continue
        name = " ".join(text_of(function).split())
        shown = f"`{name}(…)`" if len(name) <= 40 else "this async function"
        is_agent = function.type == "identifier" and name in names.CALLS
        yield program.finding(
            "not-awaited",
            "A13" if is_agent else "D08",
            f"nothing awaits {shown}: what it starts is cancelled when the script returns, and what it throws is lost. "
            "Write `await` before it",
            call,
        )
    for call in program.find(_FOR_EACH).get("call", ()):
        callback = next(iter(arguments_of(call)), None)
        if callback is not None and _gives_promise(program, callback) is not None:
            yield program.finding(
                "not-awaited",
                "D08",
                "forEach() awaits nothing: write `for (… of …)` with `await` in it, or "
                "`await parallel(list.map(x => () => …))`",
                call,
            )


def read_too_early(context: Context) -> Iterator[Finding]:
    """Promises that are looked at, or members of them: what they will give is not there yet."""
    program = context.program
    for read in program.find(_MEMBERS).get("read", ()):
        held, member = read.child_by_field_name("object"), read.child_by_field_name("property")
        if held is None or member is None:
            continue
        if text_of(member) not in _CHAINED and is_promise(program, _value_of(program, held)):
            yield _early(program, held, f"`.{text_of(member)}` of a promise, not of what it gives")
    for call in program.find(_TAKEN_APART).get("call", ()):
        if is_promise(program, call):
            yield _early(program, call, "a promise is taken apart, not what it gives")
    looked_at = list(program.find(_LOOKED_AT).get("operand", ()))
    parts = program.find(_RETURNED).get("part", ())  # of the result, which is JSON: promises in it are `{}`
    looked_at += [part for part in parts if program.enclosing(part, FUNCTIONS) is None]
    for loop in program.find(_GONE_THROUGH).get("loop", ()):
        listed = loop.child_by_field_name("right")
        if listed is not None and not any(child.type == "await" for child in loop.children):
            looked_at.append(listed)
    for operand in looked_at:
        node = inner(operand) if operand.type == "parenthesized_expression" else operand
        if node is not None and is_promise(program, _value_of(program, node)):
            yield _early(program, node, "this is a promise, not yet what it gives")


def _early(program: Program, node: Node, what: str) -> Finding:
    return program.finding("read-too-early", "A01", f"{what}: write `await` before the call that makes it", node)


def _value_of(program: Program, node: Node) -> Node | None:
    return program.only_value(node) if node.type in {"identifier", "shorthand_property_identifier"} else node


def is_promise(program: Program, node: Node | None, depth: int = 0) -> bool:
    """Whether an expression surely is a promise."""
    if node is None or depth > _DEEPEST:
        return False
    match node.type:
        case "parenthesized_expression":
            return is_promise(program, inner(node), depth + 1)
        case "new_expression":
            constructor = node.child_by_field_name("constructor")
            return constructor is not None and text_of(constructor) == "Promise"
        case "call_expression":
            return _is_promise_of(program, node.child_by_field_name("function"), depth)
        case _:
            return False


def _is_promise_of(program: Program, function: Node | None, depth: int) -> bool:
    """Whether calling this gives a promise."""
    if function is None:
        return False
    if function.type == "member_expression":
        held, member = function.child_by_field_name("object"), function.child_by_field_name("property")
        if held is None or member is None:
            return False
        if text_of(held) == "Promise":
            return text_of(member) != "withResolvers"
        return text_of(member) in _CHAINED and is_promise(program, held, depth + 1)
    if function.type == "identifier" and text_of(function) in names.CALLS and program.is_global(function):
        return True
    return program.is_async_function(function)


def _is_chained(function: Node) -> bool:
    member = function.child_by_field_name("property")
    return function.type == "member_expression" and member is not None and text_of(member) in _CHAINED


def _promise_in_list(program: Program, given: Node | None, depth: int = 0) -> Node | None:
    """A promise in the list that an expression surely is."""
    if given is None or depth > _DEEPEST:
        return None
    match given.type:
        case "array":
            for element in given.named_children:
                if element.type == "spread_element":
                    found = _promise_in_list(program, inner(element), depth + 1)
                else:
                    found = element if is_promise(program, element) else None
                if found is not None:
                    return found
            return None
        case "parenthesized_expression":
            return _promise_in_list(program, inner(given), depth + 1)
        case "identifier":
            found = _promise_in_list(program, program.only_value(given), depth + 1)
            return found or _promise_pushed(program, given)
        case "call_expression":
            return _promise_of_list_call(program, given, depth)
        case _:
            return None


def _promise_of_list_call(program: Program, call: Node, depth: int) -> Node | None:
    function = call.child_by_field_name("function")
    if function is None or function.type != "member_expression":
        return None
    held, member = function.child_by_field_name("object"), function.child_by_field_name("property")
    if held is None or member is None:
        return None
    given = arguments_of(call)
    if text_of(member) in _MAPS and given:
        return _gives_promise(program, given[0], is_flat=text_of(member) == "flatMap")
    if text_of(held) == "Array" and text_of(member) == "from" and len(given) > 1:
        return _gives_promise(program, given[1])
    return _promise_in_list(program, held, depth + 1) if text_of(member) in _KEEPS_ELEMENTS else None


def _promise_pushed(program: Program, name: Node) -> Node | None:
    """A promise that is pushed on the list of this name, where only one list has the name."""
    if len(program.declared.get(text_of(name), ())) != 1:
        return None
    for held in program.find(_PUSHES).get("list", ()):
        call = program.enclosing(held, frozenset({"call_expression"}))
        if call is not None and text_of(held) == text_of(name):
            promise = next((given for given in arguments_of(call) if is_promise(program, given)), None)
            if promise is not None:
                return promise
    return None


def _gives_promise(program: Program, callback: Node, *, is_flat: bool = False) -> Node | None:
    """What in a callback makes it give promises: itself where it is async, or what it returns, also in a flat list."""
    if callback.type == "parenthesized_expression" and (within := inner(callback)) is not None:
        callback = within
    if program.is_async_function(callback):
        return callback
    if callback.type == "identifier":
        is_call = text_of(callback) in names.CALLS and program.is_global(callback)
        return callback if is_call else None
    if callback.type not in {"arrow_function", "function_expression"}:
        return None
    body = callback.child_by_field_name("body")
    if body is None:
        return None
    if body.type == "statement_block":
        returned = [inner(node) for node in body.named_children if node.type == "return_statement"]
    else:
        returned = [inner(body) if body.type == "parenthesized_expression" else body]
    for given in returned:
        if is_promise(program, given):
            return given
        if is_flat and given is not None and given.type == "array":
            return _promise_in_list(program, given)
    return None
