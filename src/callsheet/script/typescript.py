"""Names TypeScript where a script is not JavaScript (CONTRACT S05). The grammar is loaded only for such scripts."""

from __future__ import annotations

from tree_sitter import Node

from callsheet.model.script import Finding
from callsheet.script import grammar, scan
from callsheet.script.source import Source

_ONLY_TYPESCRIPT = """
[
  (abstract_class_declaration)
  (accessibility_modifier)
  (ambient_declaration)
  (as_expression)
  (asserts_annotation)
  (enum_declaration)
  (implements_clause)
  (import_alias)
  (index_signature)
  (interface_declaration)
  (internal_module)
  (module)
  (non_null_expression)
  (optional_parameter)
  (override_modifier)
  (satisfies_expression)
  (type_alias_declaration)
  (type_annotation)
  (type_arguments)
  (type_assertion)
  (type_parameters)
  (type_predicate_annotation)
] @only
"""

_NAMES = {
    "abstract_class_declaration": "an `abstract class`",
    "accessibility_modifier": "`private`, `public` or `protected`",
    "ambient_declaration": "`declare`",
    "as_expression": "`as` with a type",
    "asserts_annotation": "`asserts`",
    "enum_declaration": "an `enum`",
    "implements_clause": "`implements`",
    "import_alias": "`import … =`",
    "index_signature": "an index signature",
    "interface_declaration": "an `interface`",
    "internal_module": "a `namespace`",
    "module": "a `module`",
    "non_null_expression": "the `!` after a value",
    "optional_parameter": "an optional parameter",
    "override_modifier": "`override`",
    "satisfies_expression": "`satisfies`",
    "type_alias_declaration": "a `type`",
    "type_annotation": "a type annotation",
    "type_arguments": "a type argument",
    "type_assertion": "a type in angle brackets",
    "type_parameters": "a type parameter",
    "type_predicate_annotation": "a type predicate",
}
_AT_ITS_END = frozenset({"as_expression", "satisfies_expression", "non_null_expression"})
_STATEMENT_LISTS = frozenset({"program", "statement_block", "ERROR"})

WINDOW_BYTES = 8 * 1024
"""How much of a text the TypeScript grammar is given."""


def typescript_finding(
    source: Source, javascript: Node, deadline: grammar.Deadline, *, near: int | None = None
) -> Finding | None:
    """Names the construct that makes a text TypeScript, where it is surely that which makes it no JavaScript.

    It is, where it stands in a statement that the JavaScript grammar trips over and the TypeScript grammar does not.
    Only the surroundings of the first such place are parsed again: this grammar takes gigabytes for some texts that
    nobody writes.

    Args:
        source: The text.
        javascript: The root of its JavaScript tree.
        deadline: Time for the second tree.
        near: The character at which the engine stopped, if it was asked; else the tree's first fault is looked at.
    """
    faults = [(node.start_byte, node.end_byte) for node in grammar.faults(javascript)]
    if not faults:
        return None
    at = faults[0][0] if near is None else source.byte_of_offset(near)
    data = source.text.encode()
    start = _start_of_statement(data, javascript, at)
    tree = grammar.parse(data[start : start + WINDOW_BYTES], deadline, language=grammar.typescript())
    if tree is None:
        return None
    wanted = grammar.query(_ONLY_TYPESCRIPT, of_typescript=True)
    for node in grammar.captures(wanted, tree.root_node).get("only", ()):
        statement = _statement(node)
        first, last = start + statement.start_byte, start + statement.end_byte
        is_fault = any(fault <= last and first <= fault_end for fault, fault_end in faults)
        if is_fault and not statement.has_error and (near is None or first <= at <= last):
            return _finding(source, node, start)
    return None


def _start_of_statement(data: bytes, root: Node, at: int) -> int:
    """Where the statement around a byte begins: after the last whole one before it, else with its line."""
    node: Node | None = root.descendant_for_byte_range(at, at)
    while node is not None:
        if node.type in _STATEMENT_LISTS:
            whole = [
                child.end_byte
                for child in node.named_children
                if child.end_byte <= at and not child.has_error and child.type.endswith(("_statement", "_declaration"))
            ]
            if whole or not node.is_error:
                start = whole[-1] if whole else node.start_byte + (node.type == "statement_block")
                if at - start < WINDOW_BYTES // 2:
                    return start
        node = node.parent
    return data.rfind(b"\n", 0, at) + 1


def _statement(node: Node) -> Node:
    """The innermost statement that a node stands in, or is."""
    while (parent := node.parent) is not None and parent.type not in {"program", "statement_block", "class_body"}:
        node = parent
    return node


def _finding(source: Source, node: Node, start: int) -> Finding:
    at = source.offset_of_byte(start + node.start_byte)
    if node.type in _AT_ITS_END and node.named_child_count:
        value_end = source.offset_of_byte(start + node.named_children[0].end_byte)
        at = scan.after_trivia(source.text, value_end)
    return source.finding(
        "typescript",
        "S05",
        f"{_NAMES[node.type]} is TypeScript, and a workflow script is plain JavaScript: take the types away",
        at,
    )
