"""A script's body as a tree, and what the names in it mean: what the checker's rules and the preflight look at.

Names are resolved as far as rules need it to be right when they speak. Where a name could mean two things, nothing is
said about it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Literal

from tree_sitter import Node

from callsheet.model.dataclass import dataclass
from callsheet.model.script import Finding, Script
from callsheet.model.values import Place
from callsheet.script import grammar, names
from callsheet.script.source import Source

_NAMES = """
[
  (variable_declarator name: (identifier) @declared)
  (function_declaration name: (identifier) @declared)
  (generator_function_declaration name: (identifier) @declared)
  (function_expression name: (identifier) @declared)
  (generator_function name: (identifier) @declared)
  (class_declaration name: (identifier) @declared)
  (class name: (identifier) @declared)
  (formal_parameters (identifier) @declared)
  (arrow_function parameter: (identifier) @declared)
  (catch_clause parameter: (identifier) @declared)
  (for_in_statement kind: _ left: (identifier) @declared)
  (shorthand_property_identifier_pattern) @declared
  (pair_pattern value: (identifier) @declared)
  (array_pattern (identifier) @declared)
  (assignment_pattern left: (identifier) @declared)
  (rest_pattern (identifier) @declared)
  (assignment_expression left: (identifier) @assigned)
  (augmented_assignment_expression left: (identifier) @assigned)
  (update_expression argument: (identifier) @assigned)
  (call_expression function: (identifier) @called)
]
"""

Severity = Literal["error", "warning"]

FUNCTIONS = frozenset(
    {
        "arrow_function", "function_declaration", "function_expression", "generator_function",
        "generator_function_declaration", "method_definition",
    }
)  # fmt: skip
_BLOCKS = frozenset(
    {
        "program",
        "statement_block",
        "for_statement",
        "for_in_statement",
        "switch_body",
        "class_static_block",
        "catch_clause",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a function by its name.

    Attributes:
        arguments: What it is given, comments left out; spreads are in it as they stand.
    """

    name: str
    node: Node
    arguments: tuple[Node, ...]

    def argument(self, index: int) -> Node | None:
        """An argument, None where there are fewer or where a spread stands before it."""
        before = self.arguments[: index + 1]
        return before[index] if len(before) > index and not any(a.type == "spread_element" for a in before) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """What an object literal holds.

    Attributes:
        members: The value of each plain name.
        is_all: Whether there can be no others: no spread, no computed key.
    """

    members: Mapping[str, Node]
    is_all: bool


class Program:
    """The body of a script, parsed.

    Attributes:
        root: None where the text took too long to parse; then nothing is found in it.
        is_whole: Whether the grammar took all of it. Where it did not, only what stands well by itself is told.
    """

    def __init__(self, script: Script) -> None:
        self._deadline = grammar.Deadline()
        self._body = Source(text=script.body)
        self._source = Source(text=script.text)
        tree = grammar.javascript_tree(script.body)
        self.root = tree.root_node if tree is not None else None
        self._found: dict[str, dict[str, list[Node]]] = {}
        self._scopes: dict[str, list[Node]] = {}
        self.is_whole = self.root is not None and not self.root.has_error

    def find(self, query: str) -> dict[str, list[Node]]:
        """What a query captures, by name, in order of place.

        Raises:
            OutOfTimeError: Looking at the script takes too long.
        """
        if self.root is None:
            return {}
        if query not in self._found:
            self._deadline.check()
            self._found[query] = grammar.captures(grammar.query(query), self.root)
        return self._found[query]

    def offset(self, node: Node) -> int:
        """The character at which a node begins."""
        return self._body.offset_of_byte(node.start_byte)

    def place(self, node: Node) -> Place:
        """The place of a node in the script as written."""
        return self._source.place(self.offset(node))

    def finding(self, code: str, contract: str, message: str, node: Node, *, severity: Severity = "warning") -> Finding:
        """A finding at a node."""
        return self._source.finding(code, contract, message, self.offset(node), severity=severity)

    @cached_property
    def declared(self) -> dict[str, list[Node]]:
        """Where each name is declared, anywhere in the script."""
        places: dict[str, list[Node]] = defaultdict(list)
        for node in self.find(_NAMES).get("declared", ()):
            places[text_of(node)].append(node)
        return dict(places)

    @cached_property
    def _assigned(self) -> frozenset[str]:
        return frozenset(text_of(node) for node in self.find(_NAMES).get("assigned", ()))

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """All calls of the runtime's own functions by their names, where no declaration of the script hides them."""
        return tuple(
            Call(name=name, node=call, arguments=arguments_of(call))
            for callee in self.find(_NAMES).get("called", ())
            if (name := text_of(callee)) in names.API and (call := callee.parent) is not None and self.is_global(callee)
        )

    def calls_of(self, *wanted: str) -> Iterator[Call]:
        """The calls of some of the runtime's functions, in order of place."""
        return (call for call in self.calls if call.name in wanted)

    def options(self, call: Call) -> Members:
        """What a call of `agent()` or `spawnAgent()` surely gives as options; not all of it where that is not sure."""
        given = call.argument(1)
        if call.name == "spawnAgent" and len(call.arguments) == 1 and call.arguments[0].type == "object":
            given = call.arguments[0]
        if given is None:
            is_object = call.name == "spawnAgent" and len(call.arguments) == 1
            return Members(members={}, is_all=len(call.arguments) < 2 and not is_object)
        literal = self.only_value(given) if given.type == "identifier" else given
        if literal is None or literal.type != "object":
            return Members(members={}, is_all=False)
        return members_of(literal)

    def is_global(self, name: Node) -> bool:
        """Whether a name means what stands on the global object: no declaration of it reaches here (CONTRACT S07)."""
        return not any(scope.start_byte <= name.start_byte < scope.end_byte for scope in self._scopes_of(text_of(name)))

    def reaches(self, declared: Node, name: Node) -> bool:
        """Whether a name stands where a declaration of it is in force."""
        scope = self._scope(declared)
        return scope.start_byte <= name.start_byte < scope.end_byte

    def _scopes_of(self, name: str) -> list[Node]:
        if name not in self._scopes:
            self._scopes[name] = [self._scope(node) for node in self.declared.get(name, ())]
        return self._scopes[name]

    def only_value(self, name: Node) -> Node | None:
        """What a name surely stands for: the value of its one declaration, when nothing else is ever assigned to it."""
        declarations = self.declared.get(text_of(name), [])
        if len(declarations) != 1 or text_of(name) in self._assigned or self.is_global(name):
            return None
        declarator = declarations[0].parent
        if declarator is None:
            return None
        if declarator.type == "function_declaration":
            return declarator
        is_value = (
            declarator.type == "variable_declarator" and declarator.child_by_field_name("name") == declarations[0]
        )
        return declarator.child_by_field_name("value") if is_value else None

    def ancestors(self, node: Node) -> Iterator[Node]:
        """The nodes around a node, the nearest first.

        Raises:
            OutOfTimeError: Looking at the script takes too long.
        """
        while (parent := node.parent) is not None:
            self._deadline.check()
            yield parent
            node = parent

    def enclosing(self, node: Node, types: frozenset[str]) -> Node | None:
        """The nearest node around this one that is of one of these types."""
        return next((parent for parent in self.ancestors(node) if parent.type in types), None)

    def _scope(self, name: Node) -> Node:
        """The part of the script in which a declared name is in force."""
        node, is_parameter, is_var = name, False, False
        for parent in self.ancestors(name):
            is_var = is_var or parent.type == "variable_declaration"
            is_parameter = is_parameter or (
                parent.type == "formal_parameters"
                or (parent.type == "arrow_function" and parent.child_by_field_name("parameter") == node)
            )
            if parent.type in FUNCTIONS | {"class"} and (is_parameter or is_var or _names_itself(parent, name)):
                return parent
            if parent.type in _BLOCKS and not is_parameter and not (is_var and parent.type != "program"):
                return parent
            node = parent
        return node

    def is_async_function(self, node: Node | None) -> bool:
        """Whether a node is an async function, or a name that surely stands for one."""
        if node is not None and node.type == "identifier":
            node = self.only_value(node)
        if node is not None and node.type == "parenthesized_expression":
            node = inner(node)
        return (
            node is not None
            and node.type in {"arrow_function", "function_expression", "function_declaration"}
            and any(child.type == "async" for child in node.children[:1])
        )


def text_of(node: Node) -> str:
    """The text of a node."""
    return (node.text or b"").decode(errors="replace")


def inner(node: Node) -> Node | None:
    """What stands in parentheses."""
    return next((child for child in node.named_children if child.type != "comment"), None)


def arguments_of(call: Node) -> tuple[Node, ...]:
    """What a call is given; nothing for a tagged template."""
    given = call.child_by_field_name("arguments")
    if given is None or given.type != "arguments":
        return ()
    return tuple(child for child in given.named_children if child.type != "comment")


def members_of(literal: Node) -> Members:
    """The members of an object literal whose names are plain. A shorthand `{ model }` gives the name itself."""
    members: dict[str, Node] = {}
    is_all = True
    for child in literal.named_children:
        key, value = child.child_by_field_name("key"), child.child_by_field_name("value")
        if child.type == "shorthand_property_identifier":
            members[text_of(child)] = child
        elif child.type == "pair" and key is not None and value is not None and key.type != "computed_property_name":
            members[text_of(key).strip("'\"")] = value
        elif child.type != "comment":
            is_all = False
    return Members(members=members, is_all=is_all)


def _names_itself(function: Node, name: Node) -> bool:
    is_expression = function.type in {"function_expression", "generator_function", "class"}
    return is_expression and function.child_by_field_name("name") == name
