"""Phases that are used and not declared, declared and not used, or declared with another model (CONTRACT C01, S03)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from tree_sitter import Node

from callsheet.model.script import Finding
from callsheet.model.values import JsonValue
from callsheet.script.program import FUNCTIONS, Call, Members
from callsheet.script.rules.context import Context

_PHASE_VALUES = """
((pair key: [(property_identifier) (string)] @key value: (_) @value) (#match? @key "^['\\"]?phase['\\"]?$"))
((shorthand_property_identifier) @value (#eq? @value "phase"))
((assignment_expression left: (member_expression property: (property_identifier) @key) right: (_) @value)
 (#eq? @key "phase"))
"""
_STRINGS = "[(string) (template_string)] @string"
_PASS_ON = frozenset({"array", "arrow_function", "parenthesized_expression", "return_statement", "statement_block"})
_LOOPS = frozenset({"for_statement", "for_in_statement", "while_statement", "do_statement"})


def phases(context: Context) -> Iterator[Finding]:
    """What is wrong with the phases of a script."""
    yield from _shape(context)
    yield from _undeclared(context)
    yield from _unused(context)
    yield from _other_models(context)


def _shape(context: Context) -> Iterator[Finding]:
    """Optional parts of meta that are not of the form, and are left out where they are shown."""
    value = context.script.meta.value
    if not isinstance(value.get("whenToUse", ""), str):
        yield context.meta_finding("meta-shape", "meta.whenToUse is not a string, and is not shown", "meta.whenToUse")
    entries = value.get("phases", [])
    if not isinstance(entries, list):
        yield context.meta_finding(
            "meta-shape", "meta.phases is not a list of `{ title }`, and is not shown", "meta.phases"
        )
        return
    wrong = [(f"meta.phases[{number}]", fault) for number, entry in enumerate(entries) if (fault := _fault(entry))]
    if wrong:
        path, fault = wrong[0]
        others = f", and {len(wrong) - 1} others are not right either" if len(wrong) > 1 else ""
        message = f"{path} {fault}{others}: write `{{ title: '…', detail: '…' }}`"
        yield context.meta_finding("meta-shape", message, path)


def _fault(entry: JsonValue) -> str | None:
    match entry:
        case str():
            return "is a string"
        case {"title": str() as title, **rest} if title:
            wrong = [key for key in ("detail", "model") if not isinstance(rest.get(key, ""), str)]
            return f"has a {wrong[0]} that is not a string" if wrong else None
        case _:
            return "has no title"


def _uses(context: Context) -> Iterator[tuple[Node, str | None]]:
    """Where a phase is named: in `phase(…)` and in the options of a call; with its title where that is sure."""
    for call in context.program.calls_of("phase"):
        if (title := call.argument(0)) is not None:
            yield title, context.literal_text(title)
    for call in context.program.calls_of("agent", "spawnAgent"):
        value = context.program.options(call).members.get("phase")
        if value is not None:
            yield value, context.literal_text(value)


def _undeclared(context: Context) -> Iterator[Finding]:
    declared = {phase.title for phase in context.script.meta.phases}
    missing: dict[str, Node] = {}
    for node, title in _uses(context):
        if title and title not in declared:
            missing.setdefault(title, node)
    if missing and not declared:
        node = next(iter(missing.values()))
        listed = ", ".join(f"{{ title: {title!r} }}" for title in missing)
        yield context.program.finding(
            "phase-undeclared", "S03", f"meta declares no phases: add `phases: [{listed}]` to it", node
        )
        return
    for title, node in missing.items():
        yield context.program.finding(
            "phase-undeclared",
            "S03",
            f"the phase {title!r} is not declared: add `{{ title: {title!r} }}` to meta.phases",
            node,
        )


def _unused(context: Context) -> Iterator[Finding]:
    """Declared titles that no string of the body spells; silent where a phase is computed."""
    declared = context.script.meta.phases
    program = context.program
    uses = {title for _, title in _uses(context)}
    if not program.is_whole or None in uses or all(phase.title in uses for phase in declared):
        return
    if any(context.literal_text(node) is None for node in program.find(_PHASE_VALUES).get("value", ())):
        return
    spelled = {context.literal_text(node) for node in program.find(_STRINGS).get("string", ())}
    for number, phase in enumerate(declared):
        if phase.title not in uses | spelled:
            message = f"the phase {phase.title!r} is declared and never used"
            yield context.meta_finding("phase-unused", message, f"meta.phases[{number}]")


def _other_models(context: Context) -> Iterator[Finding]:
    """Phases that say one model where a call of theirs says another, or none; the first call of each."""
    models = {phase.title: phase.model for phase in context.script.meta.phases if phase.model not in {None, "inherit"}}
    marks = tuple(context.program.calls_of("phase"))
    starts = [mark.node.start_byte for mark in marks]
    for call in context.program.calls_of("agent", "spawnAgent") if models else ():
        options = context.program.options(call)
        title: str | None = None
        if "phase" in options.members:
            title = context.literal_text(options.members["phase"])
        elif options.is_all:
            title = _phase_in_force(context, call, marks, starts)
        model = models.get(title) if title is not None else None
        if title is None or model is None:
            continue
        says = _other_model(context, model, options)
        if says is not None:
            del models[title]
            message = f"the phase {title!r} says model {model!r}{says}"
            yield context.program.finding("phase-model", "S03", message, call.node)


def _other_model(context: Context, model: str, options: Members) -> str | None:
    """What a call says of its model that is not what its phase says; an alias and a full name of one agree."""
    if "model" not in options.members:
        return ", which routes nothing: give it to this call too" if options.is_all else None
    other = context.literal_text(options.members["model"])
    if other is None or other.lower() in model.lower() or model.lower() in other.lower():
        return None
    return f", and this call {other!r}"


def _phase_in_force(context: Context, call: Call, marks: Sequence[Call], starts: Sequence[int]) -> str | None:
    """The title of the `phase(…)` before a call, where there is no doubt that it is in force.

    None in a function that may be called from elsewhere, and where a branch or loop lies between the two.
    """
    index = bisect_left(starts, call.node.start_byte) - 1
    if index < 0:
        return None
    mark = marks[index]
    if not (_runs_where_it_stands(context, call.node) and _runs_where_it_stands(context, mark.node)):
        return None
    statement = mark.node.parent
    block = statement.parent if statement is not None and statement.type == "expression_statement" else None
    if block is None or not block.start_byte <= call.node.start_byte < block.end_byte:
        return None
    for around in context.program.ancestors(call.node):
        if around == block:
            break
        if around.type in _LOOPS and bisect_left(starts, around.start_byte) < bisect_left(starts, around.end_byte):
            return None
    return context.literal_text(mark.argument(0))


def _runs_where_it_stands(context: Context, node: Node) -> bool:
    """Whether all functions around a node are arguments of calls, and not kept to be called elsewhere."""
    around = context.program.ancestors(node)
    for ancestor in around:
        if ancestor.type in FUNCTIONS:
            holder = next((holder for holder in around if holder.type not in _PASS_ON), None)
            if holder is None or holder.type not in {"arguments", "call_expression"}:
                return False
    return True
