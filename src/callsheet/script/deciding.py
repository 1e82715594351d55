"""Where answers decide which agents a script calls: conditions, loops and early ends that depend on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from functools import cache

from tree_sitter import Node

from callsheet.script.dataflow import ANSWER, ANSWERS, CHANGE_NOTHING, OVER_ELEMENTS, Flows
from callsheet.script.nodes import condition_of, field, names_in, own_nodes, parameters_of, root_of
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
        self._members = self._member_functions()
        self._properties = frozenset(
            name for name, held in self._members.items() if any(self._mentions(each, self._calling) for each in held)
        )
        self._matters = cache(self._is_of_matter)
        self._has_catch = any(node.type == "catch_clause" for node in self._flows.nodes)
        self._shared = self._shared_names()

    def opaque(self) -> str | None:
        """What of the script defeats this look at it; None where nothing does."""
        for node in self._flows.nodes:
            line = node.start_point.row + 1
            if node.type == "this":
                return f"it uses `this` in line {line}"
            if node.type == "property_identifier" and text_of(node) in ("call", "apply", "bind"):
                return f"it uses .{text_of(node)} in line {line}"
            if node.type not in ("identifier", "shorthand_property_identifier") or not self._program.is_global(node):
                continue
            name, parent = text_of(node), node.parent
            if name in ("globalThis", "arguments"):
                return f"it uses {name} in line {node.start_point.row + 1}"
            is_called = parent is not None and parent.child_by_field_name("function") == node
            is_asked = parent is not None and text_of(parent).startswith("typeof")
            if name in ANSWERS and not is_called and not is_asked:
                return f"it hands on the function {name} in line {node.start_point.row + 1}"
        return None

    def decisions(self) -> list[Node]:
        """Where answers decide, in order of place."""
        places = [(self._ordered(sources, node), region, node) for sources, region, node in self._places()]
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
            elif node.type == "try_statement" and (handler := node.child_by_field_name("handler")) is not None:
                yield self._flows.values(field(node, "body")), [handler], handler

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
                if text_of(method) not in ("then", "finally"):
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
            case "setTimeout":
                return any(self._matters(each) for each in arguments)
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

    def _member_functions(self) -> dict[str, list[Node]]:
        """What stands under the names of members, of any object."""
        found: dict[str, list[Node]] = defaultdict(list)
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
            if key is not None and value is not None:
                found[text_of(key).strip("'\"")].append(value)
        return found

    # --- what depends on order ----------------------------------------------------------------------------------------

    def _shared_names(self) -> frozenset[str]:
        """Names that functions which wait for agents change outside of themselves: what they hold depends on order.

        What is assigned there, or when a timer fires, depends on it for good.
        """
        shared: set[str] = set()
        for node in self._flows.nodes:
            is_timed = node.parent is not None and _calls(node.parent.parent, "setTimeout")
            if node.type in FUNCTIONS and (is_timed or self._matters(node)):
                outer = self._assigned([node]) - _declared_in(node)
                shared |= outer
                plain = {name for name in outer if is_timed or _is_assigned(node, name)}
                self._flows.controls({ANSWER}, plain)
        return frozenset(shared)

    def _ordered(self, sources: set[str], node: Node) -> set[str]:
        """Sources of a condition; within a function that waits for agents what others change meanwhile is unknown."""
        if self._shared.isdisjoint(source[2:] for source in sources):
            return sources
        is_within = any(self._matters(each) for each in self._program.ancestors(node) if each.type in FUNCTIONS)
        return sources | {ANSWER} if is_within else sources

    def _mentions(self, node: Node, names: Collection[str]) -> bool:
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
                    names |= self._changed_by(node, seen)
                case "identifier" if text_of(node) in self._flows.functions and text_of(node) not in seen:
                    called.add(text_of(node))
                case _:
                    pass
            waiting.extend(node.named_children)
        for name in called:
            names |= self._assigned(self._flows.functions[name], seen | called)
        return names

    def _changed_by(self, call: Node, seen: frozenset[str]) -> set[str]:
        """What a call changes besides by its arguments: its object, and what a function does that nobody can name."""
        callee = call.child_by_field_name("function")
        if callee is None:
            return set()
        if callee.type == "member_expression":
            method = text_of(field(callee, "property"))
            root = root_of(callee)
            is_read = method in CHANGE_NOTHING and method != "sort" and method not in self._members
            names = set() if root is None or is_read else {root}
            if method in self._members and f".{method}" not in seen:
                names |= self._assigned(self._members[method], seen | {f".{method}"})
            return names
        is_unknown = callee.type == "subscript_expression" or (
            callee.type == "identifier"
            and text_of(callee) in self._program.declared
            and text_of(callee) not in self._flows.functions
        )
        if not is_unknown or "*" in seen:
            return set()
        functions = [node for node in self._flows.nodes if node.type in FUNCTIONS]
        return self._assigned(functions, seen | {"*"})


def _calls(node: Node | None, name: str) -> bool:
    return node is not None and node.type == "call_expression" and text_of(field(node, "function")) == name


def _declared_in(function: Node) -> set[str]:
    """Names that a function, or one within it, declares for itself."""
    names: set[str] = set()
    waiting = [function]
    while waiting:
        node = waiting.pop()
        if node.type in FUNCTIONS:
            names |= {name for parameter in parameters_of(node) for name in names_in(parameter)}
        elif node.type == "variable_declarator":
            names |= _targets(node.child_by_field_name("name"))
        waiting.extend(node.named_children)
    return names


def _is_assigned(function: Node, name: str) -> bool:
    """Whether a name is given a new value in a function, rather than counted up or added to."""
    waiting = [function]
    while waiting:
        node = waiting.pop()
        if node.type == "assignment_expression" and name in _targets(node.child_by_field_name("left")):
            return True
        waiting.extend(node.named_children)
    return False


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
