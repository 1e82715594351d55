"""What a workflow script must not contain (CONTRACT S05): modules, and TypeScript. Found by structure, never in text.

The engine's compile is the judge of syntax. What is refused here is what it would let pass, or would report in words
that help nobody; where the grammar is not sure, nothing is said and the engine decides.
"""

from __future__ import annotations

from collections.abc import Iterator

from tree_sitter import Node

from callsheet.model.script import Finding
from callsheet.script import grammar, scan
from callsheet.script.source import Source
from callsheet.script.typescript import typescript_finding

MAX_FINDINGS = 20

_USES = """
(import_statement) @import
(call_expression function: (import)) @import_call
(meta_property) @meta_property
(export_statement) @export
((call_expression function: (identifier) @require) (#eq? @require "require"))
"""
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
    "import": ("import", "`import` is not available in a workflow script: everything that it may use is there already. "
               "Let an agent do what needs a module"),
    "import_call": ("import", "`import()` is not available in a workflow script: there are no modules. "
                    "Let an agent do what needs one"),
    "meta_property": ("import", "`import.meta` is not available: a workflow script is not a module"),
    "export": ("second-export", "only meta is exported from a workflow script: take this `export` away; "
               "what the script gives back it returns with `return`"),
    "require": ("require", "`require()` is not available in a workflow script: there are no modules and no file "
                "access. Let an agent do what needs them"),
}  # fmt: skip


def refused_uses(body: Source, deadline: grammar.Deadline, *, has_meta: bool) -> list[Finding]:
    """The findings of CONTRACT S05 in a body, at most 20, in order of place.

    Args:
        body: The script with its meta statement blanked.
        deadline: Time for trees and queries; when it is up nothing is found and the engine decides.
        has_meta: Whether the meta statement was found; without it no `export` is a second one.
    """
    tree = grammar.parse(body.text.encode(), deadline)
    if tree is None:
        return []
    root = tree.root_node
    found = grammar.captures(grammar.query(_USES), root)
    first_fault = next(grammar.faults(root), None)
    findings: list[Finding] = []
    for name, node in sorted(_uses(found, root), key=lambda use: use[1].start_byte):
        if name == "export" and not has_meta:
            continue
        offset = body.offset_of_byte(node.start_byte)
        is_sure = first_fault is None or node.end_byte <= first_fault.start_byte or scan.is_code(body.text, offset)
        if is_sure and len(findings) < MAX_FINDINGS:
            code, message = _MESSAGES[name]
            findings.append(body.finding(code, "S05", message, offset))
    if not findings and first_fault is not None:
        typescript = typescript_finding(body, root, deadline)
        findings += [typescript] if typescript is not None else []
    return findings


def _uses(found: dict[str, list[Node]], root: Node) -> Iterator[tuple[str, Node]]:
    for name, nodes in found.items():
        if name == "require" and grammar.captures(grammar.query(_DECLARED_REQUIRE), root):
            continue
        for node in nodes:
            if name != "meta_property" or (node.text or b"").startswith(b"import"):
                yield name, node
