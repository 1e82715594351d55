"""What a workflow script must not contain (CONTRACT S05): modules, and TypeScript. Found by structure, never in text.

The engine's compile is the judge of syntax. What is refused here is what it would let pass, or would report in words
that help nobody; where the grammar is not sure, nothing is said and the engine decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from tree_sitter import Node

from callsheet.model.script import Finding
from callsheet.script import grammar, scan
from callsheet.script.source import Source
from callsheet.script.typescript import typescript_finding

MAX_FINDINGS = 20

_KEYWORD = re.compile(rb"\b(?:import|export|require)\b")
_DECLARED_REQUIRE = """
([
  (variable_declarator name: (identifier) @name)
  (function_declaration name: (identifier) @name)
  (formal_parameters (identifier) @name)
  (assignment_pattern left: (identifier) @name)
  (arrow_function parameter: (identifier) @name)
  (object_pattern (shorthand_property_identifier_pattern) @name)
  (pair_pattern value: (identifier) @name)
] (#eq? @name "require"))
"""

_MESSAGES = {
    "import_statement": ("import", "`import` is not available in a workflow script: everything that it may use is "
                         "there already. Let an agent do what needs a module"),
    "import_call": ("import", "`import()` is not available in a workflow script: there are no modules. "
                    "Let an agent do what needs one"),
    "meta_property": ("import", "`import.meta` is not available: a workflow script is not a module"),
    "export_statement": ("second-export", "only meta is exported from a workflow script: take this `export` away; "
               "what the script gives back it returns with `return`"),
    "require": ("require", "`require()` is not available in a workflow script: there are no modules and no file "
                "access. Let an agent do what needs them"),
}  # fmt: skip


def refused_uses(body: Source, deadline: grammar.Deadline, *, has_meta: bool) -> list[Finding]:
    """The findings of CONTRACT S05 in a body, at most 20, in order of place.

    Args:
        body: The script with its meta statement blanked.
        deadline: Time for looking at the tree; when it is up nothing more is found and the engine decides.
        has_meta: Whether the meta statement was found; without it no `export` is a second one.
    """
    tree = grammar.javascript_tree(body.text)
    if tree is None:
        return []
    root = tree.root_node
    first_fault = next(grammar.faults(root), None)
    findings: list[Finding] = []
    for name, node in _uses(body.text.encode(), root, deadline):
        offset = body.offset_of_byte(node.start_byte)
        is_sure = first_fault is None or node.end_byte <= first_fault.start_byte or scan.is_code(body.text, offset)
        if is_sure and (has_meta or name != "export_statement"):
            code, message = _MESSAGES[name]
            findings.append(body.finding(code, "S05", message, offset))
            if len(findings) == MAX_FINDINGS:
                break
    if not findings and first_fault is not None:
        typescript = typescript_finding(body, root, deadline)
        findings += [typescript] if typescript is not None else []
    return findings


def _uses(data: bytes, root: Node, deadline: grammar.Deadline) -> Iterator[tuple[str, Node]]:
    """What a keyword of modules stands for wherever it stands, in order of place."""
    is_no_name_of_its_own = cache(lambda: not grammar.captures(grammar.query(_DECLARED_REQUIRE), root))
    for match in _KEYWORD.finditer(data):
        if deadline.has_passed():
            return
        node = root.descendant_for_byte_range(*match.span())
        if node is None or (node.start_byte, node.end_byte) != match.span():
            continue
        while (parent := node.parent) is not None and parent.byte_range == node.byte_range:
            node = parent
        if parent is None:
            continue
        is_called = parent.type == "call_expression" and parent.child_by_field_name("function") == node
        match match[0], parent.type:
            case b"import", "import_statement" | "meta_property":
                yield parent.type, parent
            case b"import", _ if is_called and node.type == "import":
                yield "import_call", parent
            case b"export", "export_statement":
                yield parent.type, parent
            case b"require", _ if is_called and is_no_name_of_its_own():
                yield "require", parent
            case _:
                pass
