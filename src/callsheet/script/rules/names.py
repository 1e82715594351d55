"""Names that do not exist (CONTRACT C01, D02)."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from tree_sitter import Node

from callsheet.model.script import Finding
from callsheet.script import names
from callsheet.script.program import text_of
from callsheet.script.rules.context import Context

_USED = "[(identifier) (shorthand_property_identifier)] @name"
_KEYWORDS = frozenset({"await", "yield"})
"""Which no name can be in strict mode, and which the grammar takes for functions in `await (…)(…)`."""
_ASKED_FOR = '(unary_expression operator: "typeof" argument: (identifier) @name)'
_PUT_ON_GLOBAL = """
((assignment_expression left: (member_expression object: (identifier) @global property: (property_identifier) @name))
 (#eq? @global "globalThis"))
"""


def unknown_names(context: Context) -> Iterator[Finding]:
    """Each name that is used and that nothing declares, once, where it stands first.

    A declaration anywhere in the script counts, also in another function. A name that the script asks for with
    `typeof` is never reported, nor one that it puts on `globalThis`.
    """
    program = context.program
    if not program.is_whole:
        return
    there = names.KNOWN | program.declared.keys() | _KEYWORDS
    unknown: dict[str, Node] = {}
    for node in program.find(_USED).get("name", ()):
        if (name := text_of(node)) not in there:
            unknown.setdefault(name, node)
    if unknown:
        asked = [*program.find(_ASKED_FOR).get("name", ()), *program.find(_PUT_ON_GLOBAL).get("name", ())]
        for node in asked:
            unknown.pop(text_of(node), None)
    for name, node in unknown.items():
        yield program.finding(
            "unknown-name", "D02", f"`{name}` does not exist{_advice(name, there)}", node, severity=context.portability
        )


def _advice(name: str, there: frozenset[str]) -> str:
    if name in names.NOT_HERE:
        return f" in a workflow script: {names.NOT_HERE[name]}"
    near = get_close_matches(name, there, n=1, cutoff=0.8)
    return (
        f": did you mean `{near[0]}`?" if near else ": nothing in the script declares it, and it is no part of the API"
    )
