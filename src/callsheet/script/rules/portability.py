"""What the reference runtime refuses or does not have (CONTRACT C01, D04, and the lines marked `ours`)."""

from __future__ import annotations

from collections.abc import Iterator

from tree_sitter import Node

from callsheet.model.script import Finding
from callsheet.script.program import arguments_of, members_of, text_of
from callsheet.script.rules.context import Context

_CLOCK = """
(call_expression function: (member_expression object: (identifier) @held property: (property_identifier) @member) @made)
(new_expression constructor: (identifier) @constructor)
((call_expression function: (identifier) @constructor) (#eq? @constructor "Date"))
"""
_BUDGET_COST = """
((member_expression object: (identifier) @budget property: (property_identifier) @cost)
 (#eq? @budget "budget") (#eq? @cost "cost"))
"""
_META = '((identifier) @meta (#eq? @meta "meta"))'

_OURS = {
    **dict.fromkeys(
        (
            "tools", "disallowedTools", "scope", "timeout", "stallMs", "maxTurns", "maxTokens", "maxCost", "retries",
            "priority", "speed", "context", "cwd", "backend", "conversation",
        ),
        "A14",
    ),
    "settle": "A15",
    "worktree": "A16",
    "merge": "A16",
}  # fmt: skip
"""Options of `agent()` that only this runtime has, and the line of the contract that gives them."""


def clock_and_chance(context: Context) -> Iterator[Finding]:
    """`Date.now()`, `new Date()` and `Math.random()`: the run's own here, refused by the reference."""
    for node, shown in _clock_uses(context):
        yield context.program.finding(
            "not-portable",
            "D04",
            f"{shown} is not portable: here it is the run's own and the same on a resume, elsewhere it throws. "
            "Pass the value in through args",
            node,
            severity=context.portability,
        )


def _clock_uses(context: Context) -> Iterator[tuple[Node, str]]:
    program = context.program
    found = program.find(_CLOCK)
    for held in found.get("held", ()):
        made = held.parent
        member = made.child_by_field_name("property") if made is not None else None
        name = f"{text_of(held)}.{text_of(member)}" if member is not None else ""
        if name in {"Date.now", "Math.random"} and program.is_global(held):
            yield held, f"{name}()"
    for constructor in found.get("constructor", ()):
        made = constructor.parent
        if made is None or text_of(constructor) != "Date" or not program.is_global(constructor):
            continue
        if made.type == "call_expression":
            yield made, "Date()"
        elif not arguments_of(made):
            yield made, "new Date()"


def only_here(context: Context) -> Iterator[Finding]:
    """What no other runtime has: an error where a script must be portable, and else not worth a word."""
    if not context.portable:
        return
    program = context.program
    for call in program.calls_of("agent", "spawnAgent"):
        if call.name == "spawnAgent":
            yield _only_here(context, "A01", "spawnAgent()", "call agent()", call.node)
        for name, value in program.options(call).members.items():
            if name in _OURS:
                yield _only_here(context, _OURS[name], f"the option `{name}`", "leave it away", value)
    for call in program.calls_of("workflow"):
        target = call.argument(0)
        literal = program.only_value(target) if target is not None and target.type == "identifier" else target
        if literal is not None and literal.type == "object" and "script" in members_of(literal).members:
            yield _only_here(context, "W03", "workflow({script})", "save the script, and name it", literal)
    for budget in program.find(_BUDGET_COST).get("budget", ()):
        if program.is_global(budget):
            yield _only_here(context, "G04", "budget.cost", "use budget.spent()", budget)
    for meta in program.find(_META).get("meta", ()):
        if program.is_global(meta):
            yield _only_here(context, "S04", "`meta` in the body", "write its values where they are used", meta)


def _only_here(context: Context, contract: str, what: str, remedy: str, node: Node) -> Finding:
    message = f"{what} is not portable: only this runtime has it; {remedy}"
    return context.program.finding("only-here", contract, message, node, severity="error")
