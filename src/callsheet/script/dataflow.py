"""What values in a script depend on: over-approximated, by name, without running anything.

Four things are told apart of each name: its value (`v`), its structure, that is how many elements it has (`l`), and
what is done to either through another name (`w`, `s`). All of them are nodes of one graph; what depends on an answer is
what can be reached from `ANSWER`. Names are not resolved: two variables of one name are one. So everything that may
depend on an answer is found, and now and then something that does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from tree_sitter import Node

from callsheet.script import grammar
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
_CHANGE_NOTHING = OVER_ELEMENTS | frozenset(_PURE_METHODS.split())
_PURE_FUNCTIONS = "log phase String Number Boolean structuredClone parseInt parseFloat isNaN setTimeout clearTimeout"
_HARMLESS = ANSWERS | frozenset(_PURE_FUNCTIONS.split())
_HARMLESS_OBJECTS = frozenset({"console", "JSON", "Math", "Object", "Array", "Promise", "String", "Number", "Date"})
_NO_VALUES = frozenset({"property_identifier", "statement_identifier", "comment", "string", "regex", "number"})
_NO_ALIASES = frozenset({"template_string", "binary_expression", "unary_expression", "update_expression"})


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
        self.nodes = list(_walk(program))
        self._reads_labels = any(
            node.type == "member_expression" and text_of(_field(node, "property")) == "label" for node in self.nodes
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
        targets = [f"s:{name}" for name in names]
        for source in sources:
            self._next[source].update(targets)
        for name in names:
            self._base(name)

    # --- what an expression depends on --------------------------------------------------------------------------------

    def values(self, node: Node) -> set[str]:
        """What the value of an expression depends on; of a function, what it gives when it is called."""
        if node.type in _NO_VALUES:
            return set()
        if node.type in ("identifier", "shorthand_property_identifier"):
            return self._name(node)
        if node.type in FUNCTIONS:
            return self.results(node)
        if node.type == "member_expression":
            held, property_ = _field(node, "object"), text_of(_field(node, "property"))
            if text_of(held) == "Math" and property_ == "random":
                return {ANSWER}
            return self.lengths(held) if property_ in ("length", "size") else self.values(held)
        if node.type == "call_expression":
            return self._call_values(node)
        if node.type == "pair":
            key = _field(node, "key")
            if text_of(key) == "label" and not self._reads_labels:
                return set()
            return self.values(_field(node, "value")) | (
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
        if self.answers(node) or _method(node) in (("Promise", "race"), ("Promise", "any")):
            return {ANSWER}
        found = self.values(_field(node, "function"))
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
                return set().union(*(self.lengths(_only(each)) for each in node.named_children if _is_spread(each)))
            case "call_expression":
                return self._call_lengths(node)
            case _:
                return self.values(node)

    def _call_lengths(self, node: Node) -> set[str]:
        arguments, callee = arguments_of(node), _field(node, "function")
        name = text_of(callee)
        if self.answers(node):
            is_kept = name in ("parallel", "pipeline") and arguments and not _is_spread(arguments[0])
            return self.lengths(arguments[0]) if is_kept else {ANSWER}
        if _method(node) in (("Promise", "all"), ("Promise", "allSettled"), ("Array", "from")) and arguments:
            return self.lengths(arguments[0])
        if callee.type == "identifier" and name in self.functions:
            return {f"l:{name}"}
        if callee.type == "member_expression":
            held, method = _field(callee, "object"), text_of(_field(callee, "property"))
            if method in _KEEP_LENGTH and method != "flat":
                simple = (self.values(each) for each in arguments if each.type not in FUNCTIONS)
                return self.lengths(held).union(*simple)
            if method == "concat":
                return self.lengths(held).union(*map(self.lengths, arguments))
            if method == "filter" and gives_a_value(self._program, node):
                return self.lengths(held)
        return self.values(node)

    def results(self, function: Node) -> set[str]:
        """What a function's result depends on."""
        body = _field(function, "body")
        if body.type != "statement_block":
            return self.values(body)
        found: set[str] = set()
        for node in own_nodes(body):
            if node.type in ("return_statement", "yield_expression"):
                found |= set().union(*map(self.values, node.named_children))
            elif (condition := condition_of(node)) is not None:
                found |= self.values(condition)
        return found

    def answers(self, call: Node) -> bool:
        """Whether a call is one of the runtime's functions that give answers."""
        callee = _field(call, "function")
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
                self._edges(self.results(value), f"v:{text_of(name)}", f"l:{text_of(name)}")

    def _take(self, node: Node) -> None:
        match node.type:
            case "variable_declarator":
                if (value := node.child_by_field_name("value")) is not None:
                    self._bind(_field(node, "name"), value)
            case "assignment_expression" | "augmented_assignment_expression":
                self._bind(_field(node, "left"), _field(node, "right"))
            case "for_in_statement":
                for name in _names_in(_field(node, "left")):
                    self._flow(self.values(_field(node, "right")), name, roots=_roots(_field(node, "right")))
            case "call_expression":
                self._call(node)
            case "new_expression":
                for argument in arguments_of(node):
                    if argument.type in FUNCTIONS:
                        self._parameters(argument, [set()])
            case "pair" | "array" | "return_statement" | "assignment_pattern":
                for child in node.named_children:
                    self._escapes(child)
            case "arrow_function" if (body := _field(node, "body")).type in FUNCTIONS:
                self._escapes(body)
            case "method_definition":
                self._parameters(node, [{ANSWER}])
            case _:
                pass

    def _bind(self, target: Node, value: Node) -> None:
        if target.type == "identifier":
            self._flow(self.values(value), text_of(target), lengths=self.lengths(value), roots=_roots(value))
        elif target.type in ("member_expression", "subscript_expression"):
            if (root := root_of(target)) is not None:
                is_length = text_of(target).endswith(".length")
                self._edges(self.values(value), f"s:{root}" if is_length else f"w:{root}")
                self._base(root)
                self._alias(root, _roots(value))
            self._escapes(value)
        else:
            for name in _names_in(target):
                self._flow(self.values(value) | self.values(target), name, roots=_roots(value))

    def _call(self, node: Node) -> None:
        callee, arguments = _field(node, "function"), arguments_of(node)
        if callee.type == "identifier" and (known := self.functions.get(text_of(callee))):
            self._called(known, arguments)
            return
        if callee.type == "parenthesized_expression" and (only := inner(callee)) is not None and only.type in FUNCTIONS:
            self._called([only], arguments)
            return
        held = callee.child_by_field_name("object") if callee.type == "member_expression" else None
        method = text_of(_field(callee, "property")) if held is not None else ""
        for number, argument in enumerate(arguments):
            for function in self._functions_of(argument):
                self._parameters(function, self._given(node, held, method, number))
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
            return [{ANSWER}.union(*others)] if text_of(_field(call, "function")) not in _HARMLESS else [set()]
        if _method(call) == ("Array", "from"):
            return [self.values(arguments[0]), set()]
        if method in OVER_ELEMENTS:
            return [self.values(held)]
        return [self.values(held).union(*map(self.values, arguments))]

    def _called(self, functions: Iterable[Node], arguments: tuple[Node, ...]) -> None:
        has_spread = any(map(_is_spread, arguments))
        given = [set().union(*map(self.values, arguments))] if has_spread else [self.values(each) for each in arguments]
        for function in functions:
            self._parameters(function, [*given, set()] if not has_spread else given)
            for place, parameter in enumerate(_parameters_of(function)):
                if parameter.type == "identifier" and place < len(arguments) and not has_spread:
                    self._edges(self.lengths(arguments[place]), f"l:{text_of(parameter)}")
                    self._alias(text_of(parameter), _roots(arguments[place]))
        for argument in arguments:
            for handed in self._functions_of(argument):
                self._parameters(handed, [{ANSWER}])

    def _parameters(self, function: Node, given: list[set[str]]) -> None:
        for place, parameter in enumerate(_parameters_of(function)):
            sources = given[min(place, len(given) - 1)] | self.values(parameter) - _own(parameter)
            for name in _names_in(parameter):
                self._edges(sources, f"v:{name}")
                if parameter.type != "identifier" or sources & {ANSWER} or len(_parameters_of(function)) > 0:
                    self._lengths_of(function, name, sources)
                self._base(name)

    def _lengths_of(self, function: Node, name: str, sources: set[str]) -> None:
        """A parameter's own structure is no better known than its value, but where its function is called by name."""
        is_named = any(function in known for known in self.functions.values())
        if not is_named or ANSWER in sources:
            self._edges(sources, f"l:{name}")

    def _functions_of(self, argument: Node) -> list[Node]:
        if argument.type in FUNCTIONS:
            return [argument]
        return self.functions.get(text_of(argument), []) if argument.type == "identifier" else []

    def _escapes(self, value: Node) -> None:
        """A function that is kept somewhere is called from who knows where."""
        if value.type == "pair":
            value = _field(value, "value")
        for function in self._functions_of(value):
            self._parameters(function, [{ANSWER}])

    def _changes(self, root: str, method: str, arguments: tuple[Node, ...]) -> None:
        if method in _CHANGE_NOTHING or root in _HARMLESS_OBJECTS:
            return
        for argument in arguments:
            if method in ("push", "unshift"):
                self._edges(self.values(argument), f"w:{root}")
                if _is_spread(argument):
                    self._edges(self.lengths(_only(argument)), f"s:{root}")
            else:
                self._edges(self.values(argument), f"s:{root}")
            self._alias(root, _roots(argument))
        self._base(root)

    def _mix(self, arguments: tuple[Node, ...]) -> None:
        """A function that nobody knows may put any of its arguments into any other."""
        roots = [root for argument in arguments for root in _roots(argument)]
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


# --- looking at nodes -------------------------------------------------------------------------------------------------


def condition_of(node: Node) -> Node | None:
    """What decides whether, or how often, a part of a statement or expression is run."""
    match node.type:
        case "if_statement" | "ternary_expression" | "while_statement" | "do_statement" | "for_statement":
            return node.child_by_field_name("condition")
        case "for_in_statement":
            return node.child_by_field_name("right")
        case "switch_statement":
            return node.child_by_field_name("value")
        case "binary_expression" if text_of(_field(node, "operator")) in ("&&", "||", "??"):
            return node.child_by_field_name("left")
        case _:
            return None


def own_nodes(node: Node) -> Iterator[Node]:
    """A node and those below it, those of functions within left out."""
    yield node
    for child in node.named_children:
        if child.type not in FUNCTIONS:
            yield from own_nodes(child)


def root_of(node: Node) -> str | None:
    """The name at the beginning of `a.b[c].d`; None where there is none."""
    while node.type in ("member_expression", "subscript_expression", "parenthesized_expression"):
        held = node.child_by_field_name("object") or inner(node)
        if held is None:
            return None
        node = held
    return text_of(node) if node.type == "identifier" else None


def _walk(program: Program) -> Iterator[Node]:
    deadline = grammar.Deadline()
    waiting = [program.root] if program.root is not None else []
    while waiting:
        node = waiting.pop()
        deadline.check()
        yield node
        waiting.extend(reversed(node.named_children))


def _field(node: Node, name: str) -> Node:
    found = node.child_by_field_name(name)
    return node if found is None else found


def _method(call: Node) -> tuple[str, str] | None:
    callee = _field(call, "function")
    if callee.type != "member_expression":
        return None
    return text_of(_field(callee, "object")), text_of(_field(callee, "property"))


def _is_spread(node: Node) -> bool:
    return node.type == "spread_element"


def _only(node: Node) -> Node:
    return inner(node) or node


def _parameters_of(function: Node) -> list[Node]:
    single = function.child_by_field_name("parameter")
    if single is not None:
        return [single]
    listed = function.child_by_field_name("parameters")
    return [] if listed is None else [child for child in listed.named_children if child.type != "comment"]


def _names_in(pattern: Node) -> Iterator[str]:
    """The names that a pattern declares."""
    match pattern.type:
        case "identifier" | "shorthand_property_identifier_pattern":
            yield text_of(pattern)
        case "assignment_pattern" | "object_assignment_pattern":
            yield from _names_in(_field(pattern, "left"))
        case "pair_pattern":
            yield from _names_in(_field(pattern, "value"))
        case "object_pattern" | "array_pattern" | "rest_pattern":
            for child in pattern.named_children:
                yield from _names_in(child)
        case _:
            return


def _own(pattern: Node) -> set[str]:
    return {f"v:{name}" for name in _names_in(pattern)}


def _roots(node: Node) -> set[str]:
    """Names of objects that an expression may hand on, rather than copy."""
    if node.type in ("identifier", "shorthand_property_identifier"):
        return {text_of(node)}
    if node.type in FUNCTIONS or node.type in _NO_ALIASES or node.type in _NO_VALUES:
        return set()
    return set().union(*map(_roots, node.named_children))
