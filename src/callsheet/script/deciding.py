"""Where answers decide which agents a script calls: conditions, loops and early ends that depend on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from tree_sitter import Node

from callsheet.script.dataflow import ANSWERS, OVER_ELEMENTS, Flows, condition_of, own_nodes, root_of
from callsheet.script.program import FUNCTIONS, Program, arguments_of, members_of, text_of
from callsheet.script.surely import always_gives

_LOOPS = frozenset({"for_statement", "for_in_statement", "while_statement", "do_statement"})
_ENDS = frozenset({"return_statement", "break_statement", "continue_statement", "throw_statement"})
_ABOUT = frozenset({"phase", "model", "agentType", "backend", "speed", "isolation", "worktree", "effort"})
"""Options that say what sort of agent it is."""


class Deciding:
    """Finds, in one script, where answers decide about calls of agents."""

    def __init__(self, program: Program) -> None:
        """Looks at the script.

        Raises:
            OutOfTimeError: It takes too long.
        """
        self._program = program
        self._flows = Flows(program)
        self._calling = self._calling_names()
        self._properties = self._calling_properties()
        self._matters = cache(self._is_of_matter)
        self._has_catch = any(node.type == "catch_clause" for node in self._flows.nodes)

    def opaque(self) -> str | None:
        """What of the script defeats this look at it; None where nothing does."""
        for node in self._flows.nodes:
            if node.type not in ("identifier", "shorthand_property_identifier") or not self._program.is_global(node):
                continue
            name, parent = text_of(node), node.parent
            if name == "globalThis":
                return f"it uses globalThis in line {node.start_point.row + 1}"
            is_called = parent is not None and parent.child_by_field_name("function") == node
            is_asked = parent is not None and text_of(parent).startswith("typeof")
            if name in ANSWERS and not is_called and not is_asked:
                return f"it hands on the function {name} in line {node.start_point.row + 1}"
        return None

    def decisions(self) -> list[Node]:
        """Where answers decide, in order of place."""
        places = list(self._places())
        for sources, region, _ in places:
            names = self._assigned(region)
            if any(node.type in _ENDS for each in region for node in own_nodes(each)):
                names |= self._assigned([self._around(region[0])])
            self._flows.controls(sources, names)
        found = [node for sources, region, node in places if self._flows.depends(sources) and self._decides(region)]
        found += [node for node in self._flows.nodes if self._is_told_by_answers(node)]
        return sorted({node.start_byte: node for node in found}.values(), key=lambda node: node.start_byte)

    # --- where something decides --------------------------------------------------------------------------------------

    def _places(self) -> Iterator[tuple[set[str], list[Node], Node]]:
        """What something depends on, what of the script it decides about, and where it stands."""
        for node in self._flows.nodes:
            condition = condition_of(node)
            if condition is not None:
                is_over = node.type == "for_in_statement"
                sources = self._flows.lengths(condition) if is_over else self._flows.values(condition)
                region = [child for child in node.named_children if child != condition]
                if node.type == "switch_statement":
                    sources = sources.union(*(self._flows.values(each) for each in _case_values(node)))
                yield sources, region, node
            elif node.type == "call_expression":
                yield from self._by_call(node)

    def _by_call(self, node: Node) -> Iterator[tuple[set[str], list[Node], Node]]:
        arguments, callee = arguments_of(node), node.child_by_field_name("function")
        if callee is None:
            return
        if callee.type == "member_expression":
            held, method = callee.child_by_field_name("object"), callee.child_by_field_name("property")
            handed = [each for each in arguments if each.type in FUNCTIONS or text_of(each) in self._flows.functions]
            if held is not None and handed and method is not None:
                is_over = text_of(method) in OVER_ELEMENTS
                sources = self._flows.lengths(held) if is_over else self._flows.values(held)
                if text_of(method) not in ("then", "catch", "finally"):
                    yield sources, handed, node
            if callee.child_by_field_name("optional_chain") is not None and held is not None:
                yield self._flows.values(held), [node], node
        elif callee.type == "subscript_expression":
            index = callee.child_by_field_name("index")
            if index is not None:
                yield self._flows.values(index), [node], node

    def _is_told_by_answers(self, node: Node) -> bool:
        """Whether a call of the runtime's own is given what answers say of how many agents, or of what sort."""
        if node.type != "call_expression":
            return False
        callee, arguments = node.child_by_field_name("function"), arguments_of(node)
        if callee is None or callee.type != "identifier" or not self._program.is_global(callee) or not arguments:
            return False
        flows, name = self._flows, text_of(callee)
        match name:
            case "parallel":
                return flows.depends(flows.lengths(arguments[0]))
            case "pipeline":
                return flows.depends(flows.lengths(arguments[0])) or any(
                    self._may_drop(stage) for stage in arguments[1:-1]
                )
            case "agent" | "spawnAgent":
                return any(flows.depends(sources) for sources in self._said_of_sort(name, arguments))
            case "phase":
                return flows.depends(flows.values(arguments[0]))
            case "workflow":
                return any(flows.depends(flows.values(each)) for each in arguments)
            case _:
                return False

    def _said_of_sort(self, name: str, arguments: tuple[Node, ...]) -> Iterator[set[str]]:
        given = arguments[1:2]
        if name == "spawnAgent" and len(arguments) == 1 and arguments[0].type != "string":
            given = arguments
        for options in given:
            if options.type != "object":
                yield self._flows.values(options)
                continue
            held = members_of(options)
            for key, value in held.members.items():
                if key in _ABOUT:
                    yield self._flows.values(value)
            if not held.is_all:
                for child in options.named_children:
                    if child.type not in ("pair", "shorthand_property_identifier", "comment"):
                        yield self._flows.values(child)

    def _may_drop(self, stage: Node) -> bool:
        """Whether answers decide if a stage of a pipeline drops its item."""
        if stage.type not in FUNCTIONS:
            named = self._flows.functions.get(text_of(stage), [])
            return not named or any(self._may_drop(each) for each in named)
        return not always_gives(self._program, stage) and self._flows.depends(self._flows.results(stage))

    # --- what is decided about ----------------------------------------------------------------------------------------

    def _decides(self, region: list[Node]) -> bool:
        """Whether it matters for the agents if, or how often, a part of the script is run."""
        if any(self._matters(node) for node in region):
            return True
        ends = [node for each in region for node in own_nodes(each) if node.type in _ENDS]
        return any(self._end_matters(node) for node in ends)

    def _end_matters(self, end: Node) -> bool:
        """Whether calls of agents are skipped by an early end."""
        function = self._around(end)
        if end.type == "throw_statement":
            return function.type != "program" or self._has_catch
        for parent in self._program.ancestors(end):
            if parent.type in _LOOPS and self._matters(parent):
                return True
            if parent == function or parent.type in FUNCTIONS:
                break
        if end.type != "return_statement":
            return False
        later = [node for node in own_nodes(function) if node.start_byte > end.end_byte]
        return any(self._matters(node) for node in later)

    def _is_of_matter(self, node: Node) -> bool:
        """Whether agents are called in a part of the script, by it, or by functions that it names."""
        if node.type in ("identifier", "shorthand_property_identifier"):
            return text_of(node) in self._calling
        if node.type == "call_expression":
            callee = node.child_by_field_name("function")
            if self._flows.answers(node) or (callee is not None and self._may_call(callee)):
                return True
        return any(self._matters(child) for child in node.named_children)

    def _may_call(self, callee: Node) -> bool:
        if callee.type == "identifier":
            name = text_of(callee)
            return name in self._calling or (name in self._program.declared and name not in self._flows.functions)
        if callee.type == "member_expression":
            method = callee.child_by_field_name("property")
            return method is not None and text_of(method) in self._properties
        return callee.type == "subscript_expression"

    def _calling_names(self) -> frozenset[str]:
        """Names of functions that call agents, by themselves or by others."""
        calling: set[str] = set()
        while True:
            more = {
                name
                for name, functions in self._flows.functions.items()
                if name not in calling and any(self._mentions(function, calling) for function in functions)
            }
            if not more:
                return frozenset(calling)
            calling |= more

    def _calling_properties(self) -> frozenset[str]:
        """Names of members that hold functions which call agents."""
        found: set[str] = set()
        for node in self._flows.nodes:
            match node.type:
                case "pair":
                    key, value = node.child_by_field_name("key"), node.child_by_field_name("value")
                case "method_definition":
                    key, value = node.child_by_field_name("name"), node
                case "assignment_expression":
                    left = node.child_by_field_name("left")
                    key = None if left is None else left.child_by_field_name("property")
                    value = node.child_by_field_name("right")
                case _:
                    continue
            if key is not None and value is not None and self._mentions(value, set(self._calling)):
                found.add(text_of(key).strip("'\""))
        return frozenset(found)

    def _mentions(self, node: Node, names: set[str]) -> bool:
        waiting = [node]
        while waiting:
            each = waiting.pop()
            if each.type == "call_expression" and self._flows.answers(each):
                return True
            if each.type in ("identifier", "shorthand_property_identifier") and text_of(each) in names:
                return True
            waiting.extend(each.named_children)
        return False

    # --- what is assigned ---------------------------------------------------------------------------------------------

    def _around(self, node: Node) -> Node:
        """The function that a node stands in, or the whole script."""
        last = node
        for parent in self._program.ancestors(node):
            last = parent
            if parent.type in FUNCTIONS:
                return parent
        return last

    def _assigned(self, region: Iterable[Node], seen: frozenset[str] = frozenset()) -> set[str]:
        """Names that are assigned to or changed in parts of a script, or in functions that these name."""
        names: set[str] = set()
        waiting = list(region)
        called: set[str] = set()
        while waiting:
            node = waiting.pop()
            match node.type:
                case "assignment_expression" | "augmented_assignment_expression":
                    names |= _targets(node.child_by_field_name("left"))
                case "update_expression":
                    names |= _targets(node.child_by_field_name("argument"))
                case "variable_declarator":
                    names |= _targets(node.child_by_field_name("name"))
                case "call_expression":
                    callee = node.child_by_field_name("function")
                    if callee is not None and callee.type == "member_expression" and (root := root_of(callee)):
                        names.add(root)
                case "identifier" if text_of(node) in self._flows.functions and text_of(node) not in seen:
                    called.add(text_of(node))
                case _:
                    pass
            waiting.extend(node.named_children)
        for name in called:
            names |= self._assigned(self._flows.functions[name], seen | called)
        return names


def _targets(target: Node | None) -> set[str]:
    if target is None:
        return set()
    if (root := root_of(target)) is not None:
        return {root}
    found: set[str] = set()
    for child in target.named_children:
        if child.type in ("identifier", "shorthand_property_identifier_pattern"):
            found.add(text_of(child))
        else:
            found |= _targets(child)
    return found


def _case_values(switch: Node) -> Iterator[Node]:
    body = switch.child_by_field_name("body")
    for case in [] if body is None else body.named_children:
        if (value := case.child_by_field_name("value")) is not None:
            yield value
