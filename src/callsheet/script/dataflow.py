"""What values in a script depend on: over-approximated, by name, without running anything.

Four things are told apart of each name: its value (`v`), its structure, that is how many elements it has (`l`), and
what is done to either through another name (`w`, `s`). All of them are nodes of one graph; what depends on an answer is
what can be reached from `ANSWER`. Names are not resolved: two variables of one name are one. So everything that may
depend on an answer is found, and now and then something that does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from tree_sitter import Node

from callsheet.script.nodes import (
    NO_VALUES,
    condition_of,
    field,
    is_spread,
    method_of,
    names_in,
    only,
    own,
    own_nodes,
    parameters_of,
    root_of,
    roots_in,
    walk,
)
from callsheet.script.program import FUNCTIONS, Program, arguments_of, inner, text_of
from callsheet.script.surely import gives_a_value

ANSWER = "@"
ANSWERS = frozenset({"agent", "spawnAgent", "workflow", "parallel", "pipeline"})
"""Functions of the runtime whose calls give what agents answered."""

_FROM_OUTSIDE = frozenset({"budget", "Date"})
"""What agents use, and when: no answer, and as little known beforehand."""

_KEEP_LENGTH = frozenset(
    {"map", "reverse", "toReversed", "sort", "toSorted", "with", "fill", "flat", "slice", "entries"}
)
_OVER_ELEMENTS = "map forEach filter some every find findIndex findLast findLastIndex flatMap sort toSorted"
OVER_ELEMENTS = frozenset(_OVER_ELEMENTS.split())
"""Methods of arrays whose callbacks are given elements, and nothing else."""
_PURE_METHODS = """
    slice concat join includes indexOf lastIndexOf at keys values entries flat get has toString toFixed trim split
    replace replaceAll startsWith endsWith toLowerCase toUpperCase match matchAll test exec padEnd padStart repeat
    substring charAt then catch finally reduce reduceRight localeCompare toReversed with
"""
CHANGE_NOTHING = OVER_ELEMENTS | frozenset(_PURE_METHODS.split())
"""Methods that leave what they are called of as it was, but for the order of `sort`."""
_PURE_FUNCTIONS = "log phase String Number Boolean structuredClone parseInt parseFloat isNaN setTimeout clearTimeout"
_HARMLESS = ANSWERS | frozenset(_PURE_FUNCTIONS.split())
_HARMLESS_OBJECTS = frozenset({"console", "JSON", "Math", "Object", "Array", "Promise", "String", "Number", "Date"})


class Flows:
    """The graph of what depends on what in one script.

    Attributes:
        functions: The functions that a name is declared as.
    """

    def __init__(self, program: Program) -> None:
        """Builds it.

        Raises:
            OutOfTimeError: The script takes too long to look at.
        """
        self._program = program
        self._next: dict[str, set[str]] = defaultdict(set)
        self._known: frozenset[str] | None = None
        self.functions: dict[str, list[Node]] = defaultdict(list)
        self.nodes = list(walk(program))
        self._reads_labels = any(
            node.type == "member_expression" and text_of(field(node, "property")) == "label" for node in self.nodes
        )
        self._find_functions()
        for node in self.nodes:
            self._take(node)

    def depends(self, sources: Iterable[str]) -> bool:
        """Whether anything of this may come of an answer."""
        if self._known is None:
            reached, waiting = {ANSWER}, [ANSWER]
            while waiting:
                for name in self._next.get(waiting.pop(), ()):
                    if name not in reached:
                        reached.add(name)
                        waiting.append(name)
            self._known = frozenset(reached)
        return not self._known.isdisjoint(sources)

    def controls(self, sources: Iterable[str], names: Iterable[str]) -> None:
        """What is assigned to these names, and whether it is, depends on these sources."""
        self._known = None
        self._edges(sources, *(f"s:{name}" for name in names))
        for name in names:
            self._base(name)

    # --- what an expression depends on --------------------------------------------------------------------------------

    def values(self, node: Node) -> set[str]:
        """What the value of an expression depends on; of a function, what it gives when it is called."""
        if node.type in NO_VALUES:
            return set()
        if node.type in ("identifier", "shorthand_property_identifier"):
            return self._name(node)
        if node.type in FUNCTIONS:
            return self.results(node)
        if node.type == "member_expression":
            held, property_ = field(node, "object"), text_of(field(node, "property"))
            if text_of(held) == "Math" and property_ == "random":
                return {ANSWER}
            return self.lengths(held) if property_ in ("length", "size") else self.values(held)
        if node.type == "call_expression":
            return self._call_values(node)
        if node.type == "pair":
            key = field(node, "key")
            if text_of(key) == "label" and not self._reads_labels:
                return set()
            return self.values(field(node, "value")) | (
                self.values(key) if key.type != "property_identifier" else set()
            )
        found: set[str] = set()
        for child in node.named_children:
            found |= self.values(child)
        return found

    def _name(self, node: Node) -> set[str]:
        name = text_of(node)
        return {ANSWER} if name in _FROM_OUTSIDE and self._program.is_global(node) else {f"v:{name}"}

    def _call_values(self, node: Node) -> set[str]:
        if self.answers(node) or method_of(node) in (("Promise", "race"), ("Promise", "any")):
            return {ANSWER}
        found = self.values(field(node, "function"))
        for argument in arguments_of(node):
            found |= self.values(argument)
        return found

    def lengths(self, node: Node) -> set[str]:
        """What the number of elements of an expression depends on."""
        match node.type:
            case "parenthesized_expression" | "await_expression":
                return set().union(*map(self.lengths, node.named_children))
            case "identifier":
                return {f"l:{text_of(node)}"} if self._name(node) != {ANSWER} else {ANSWER}
            case "array":
                return set().union(*(self.lengths(only(each)) for each in node.named_children if is_spread(each)))
            case "call_expression":
                return self._call_lengths(node)
            case _:
                return self.values(node)

    def _call_lengths(self, node: Node) -> set[str]:
        arguments, callee = arguments_of(node), field(node, "function")
        name = text_of(callee)
        if self.answers(node):
            is_kept = name in ("parallel", "pipeline") and arguments and not is_spread(arguments[0])
            return self.lengths(arguments[0]) if is_kept else {ANSWER}
        if method_of(node) in (("Promise", "all"), ("Promise", "allSettled"), ("Array", "from")) and arguments:
            return self.lengths(arguments[0])
        if callee.type == "identifier" and name in self.functions:
            return {f"l:{name}"}
        if callee.type == "member_expression":
            held, method = field(callee, "object"), text_of(field(callee, "property"))
            if method in _KEEP_LENGTH and method != "flat":
                simple = (self.values(each) for each in arguments if each.type not in FUNCTIONS)
                return self.lengths(held).union(*simple)
            if method == "concat":
                return self.lengths(held).union(*map(self.lengths, arguments))
            if method == "filter" and gives_a_value(self._program, node):
                return self.lengths(held)
        return self.values(node)

    def results(self, function: Node, *, of_length: bool = False) -> set[str]:
        """What a function's result depends on, or its number of elements."""
        body = field(function, "body")
        told = self.lengths if of_length else self.values
        if body.type != "statement_block":
            return told(body)
        found: set[str] = set()
        for node in own_nodes(body):
            if node.type == "return_statement":
                found |= set().union(*map(told, node.named_children))
            elif node.type == "yield_expression":
                found |= set().union(*map(self.values, node.named_children))
            elif (condition := condition_of(node)) is not None:
                found |= self.values(condition)
        return found

    def answers(self, call: Node) -> bool:
        """Whether a call is one of the runtime's functions that give answers."""
        callee = field(call, "function")
        return callee.type == "identifier" and text_of(callee) in ANSWERS and self._program.is_global(callee)

    # --- what is bound to what ----------------------------------------------------------------------------------------

    def _find_functions(self) -> None:
        for node in self.nodes:
            name, value = None, None
            if node.type in ("function_declaration", "generator_function_declaration"):
                name, value = node.child_by_field_name("name"), node
            elif node.type == "variable_declarator":
                name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
            elif node.type == "assignment_expression":
                name, value = node.child_by_field_name("left"), node.child_by_field_name("right")
            if name is not None and name.type == "identifier" and value is not None and value.type in FUNCTIONS:
                self.functions[text_of(name)].append(value)
                self._edges(self.results(value), f"v:{text_of(name)}")
                self._edges(self.results(value, of_length=True), f"l:{text_of(name)}")

    def _take(self, node: Node) -> None:
        match node.type:
            case "variable_declarator":
                if (value := node.child_by_field_name("value")) is not None:
                    self._bind(field(node, "name"), value)
            case "assignment_expression" | "augmented_assignment_expression":
                self._bind(field(node, "left"), field(node, "right"))
            case "for_in_statement":
                for name in names_in(field(node, "left")):
                    self._flow(self.values(field(node, "right")), name, roots=roots_in(field(node, "right")))
            case "update_expression" | "unary_expression":
                target = field(node, "argument")
                is_change = node.type == "update_expression" or text_of(field(node, "operator")) == "delete"
                if is_change and (root := root_of(target)) is not None:
                    self._indexed(target, root)
            case "call_expression":
                self._call(node)
            case "new_expression":
                for argument in arguments_of(node):
                    if argument.type in FUNCTIONS:
                        self._parameters(argument, [set()])
            case "pair" | "array" | "return_statement" | "assignment_pattern":
                for child in node.named_children:
                    self._escapes(child)
            case "arrow_function" if (body := field(node, "body")).type in FUNCTIONS:
                self._escapes(body)
            case "method_definition":
                self._parameters(node, [{ANSWER}])
            case _:
                pass

    def _bind(self, target: Node, value: Node) -> None:
        if target.type == "identifier":
            self._flow(self.values(value), text_of(target), lengths=self.lengths(value), roots=roots_in(value))
        elif target.type in ("member_expression", "subscript_expression"):
            if (root := root_of(target)) is not None:
                is_length = text_of(target).endswith(".length")
                self._edges(self.values(value), f"s:{root}" if is_length else f"w:{root}")
                self._alias(root, roots_in(value))
                self._indexed(target, root)
            self._escapes(value)
        else:
            for name in names_in(target):
                self._flow(self.values(value) | self.values(target), name, roots=roots_in(value))

    def _indexed(self, target: Node, root: str) -> None:
        """Which members there are depends on the names that they are given."""
        while target.type in ("member_expression", "subscript_expression"):
            if target.type == "subscript_expression":
                self._edges(self.values(field(target, "index")), f"s:{root}")
            target = field(target, "object")
        self._base(root)

    def _call(self, node: Node) -> None:
        callee, arguments = field(node, "function"), arguments_of(node)
        if callee.type == "identifier" and (known := self.functions.get(text_of(callee))):
            self._called(known, arguments)
            return
        if callee.type == "parenthesized_expression" and (only := inner(callee)) is not None and only.type in FUNCTIONS:
            self._called([only], arguments)
            return
        held = callee.child_by_field_name("object") if callee.type == "member_expression" else None
        method = text_of(field(callee, "property")) if held is not None else ""
        for number, argument in enumerate(arguments):
            for function in self._functions_of(argument):
                roots = set().union(*map(roots_in, (*arguments, *((held,) if held is not None else ()))))
                self._parameters(function, self._given(node, held, method, number), roots=roots)
        if method_of(node) == ("Object", "assign"):
            self._mix(arguments)
        if held is not None and (root := root_of(held)) is not None:
            self._changes(root, method, arguments)
        if held is None and text_of(callee) not in _HARMLESS:
            self._mix(arguments)

    def _given(self, call: Node, held: Node | None, method: str, number: int) -> list[set[str]]:
        """What a function that is handed to a call is given, by parameter; the last stands for all further."""
        arguments = arguments_of(call)
        if self.answers(call):
            items = self.values(arguments[0]) if arguments else set()
            return [items if number == 1 else {ANSWER}, items, set()]
        if held is None:
            others = (self.values(each) for place, each in enumerate(arguments) if place != number)
            return [{ANSWER}.union(*others)] if text_of(field(call, "function")) not in _HARMLESS else [set()]
        if method_of(call) == ("Array", "from"):
            return [self.values(arguments[0]), set()]
        if method in OVER_ELEMENTS:
            return [self.values(held)]
        return [self.values(held).union(*map(self.values, arguments))]

    def _called(self, functions: Iterable[Node], arguments: tuple[Node, ...]) -> None:
        has_spread = any(map(is_spread, arguments))
        given = [set().union(*map(self.values, arguments))] if has_spread else [self.values(each) for each in arguments]
        lengths = None if has_spread else [*map(self.lengths, arguments), set[str]()]
        roots = set().union(*map(roots_in, arguments))
        for function in functions:
            self._parameters(function, [*given, set()] if not has_spread else given, lengths=lengths, roots=roots)
        for argument in arguments:
            for handed in self._functions_of(argument):
                self._parameters(handed, [{ANSWER}])

    def _parameters(
        self,
        function: Node,
        given: list[set[str]],
        *,
        lengths: list[set[str]] | None = None,
        roots: Iterable[str] = (),
    ) -> None:
        """What a function is given, by parameter; the last stands for all further.

        Args:
            function: That is called.
            given: What the values depend on.
            lengths: What their structure depends on; None for as little known as the values.
            roots: Objects that may be among what it is given.
        """
        for place, parameter in enumerate(parameters_of(function)):
            at = min(place, len(given) - 1)
            sources = set().union(*given[at:]) if parameter.type == "rest_pattern" else given[at]
            default = self.values(parameter) - own(parameter)
            plain = field(parameter, "left") if parameter.type == "assignment_pattern" else parameter
            structure = sources
            if lengths is not None and plain.type == "identifier":
                structure = lengths[min(place, len(lengths) - 1)]
            for name in names_in(parameter):
                self._flow(sources | default, name, lengths=structure | default, roots=roots)

    def _functions_of(self, argument: Node) -> list[Node]:
        if argument.type in FUNCTIONS:
            return [argument]
        return self.functions.get(text_of(argument), []) if argument.type == "identifier" else []

    def _escapes(self, value: Node) -> None:
        """A function that is kept somewhere is called from who knows where."""
        if value.type == "pair":
            value = field(value, "value")
        for function in self._functions_of(value):
            self._parameters(function, [{ANSWER}])

    def _changes(self, root: str, method: str, arguments: tuple[Node, ...]) -> None:
        if method in CHANGE_NOTHING or root in _HARMLESS_OBJECTS:
            return
        for argument in arguments:
            if method in ("push", "unshift"):
                self._edges(self.values(argument), f"w:{root}")
                if is_spread(argument):
                    self._edges(self.lengths(only(argument)), f"s:{root}")
            else:
                self._edges(self.values(argument), f"s:{root}")
            self._alias(root, roots_in(argument))
        self._base(root)

    def _mix(self, arguments: tuple[Node, ...]) -> None:
        """A function that nobody knows may put any of its arguments into any other."""
        roots = [root for argument in arguments for root in roots_in(argument)]
        for argument in arguments:
            for root in roots:
                self._edges(self.values(argument), f"s:{root}")
                self._base(root)

    # --- edges --------------------------------------------------------------------------------------------------------

    def _flow(self, values: set[str], name: str, *, roots: Iterable[str], lengths: set[str] | None = None) -> None:
        self._edges(values, f"v:{name}")
        self._edges(values if lengths is None else lengths, f"l:{name}")
        self._base(name)
        self._alias(name, roots)

    def _edges(self, sources: Iterable[str], *targets: str) -> None:
        for source in sources:
            self._next[source].update(targets)

    def _base(self, name: str) -> None:
        self._next[f"w:{name}"].add(f"v:{name}")
        self._next[f"s:{name}"].update((f"v:{name}", f"l:{name}"))

    def _alias(self, name: str, roots: Iterable[str]) -> None:
        """What is done to one of them shows in the other."""
        for root in roots:
            if root != name:
                for kind in "ws":
                    self._next[f"{kind}:{name}"].add(f"{kind}:{root}")
                    self._next[f"{kind}:{root}"].add(f"{kind}:{name}")
                self._base(root)
