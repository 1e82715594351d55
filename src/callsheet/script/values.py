"""Reads literals out of a tree, exactly as JavaScript would, without running anything (CONTRACT S02)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal

from tree_sitter import Node

from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue
from callsheet.script.grammar import faults

FORBIDDEN_KEYS = frozenset({"__proto__", "constructor", "prototype"})
MAX_DEPTH = 64
MAX_FOLLOWED = 20_000
"""How many values are read where names are followed: constants that hold each other double with every level."""

_NUMBER = re.compile(
    r"(?:0[xX](?P<hex>[\da-fA-F]+(?:_[\da-fA-F]+)*)|0[oO](?P<octal>[0-7]+(?:_[0-7]+)*)|0[bB](?P<binary>[01]+(?:_[01]+)*)"
    r"|(?P<decimal>(?:(?:0|[1-9](?:_?\d)*)(?:\.(?:\d+(?:_\d+)*)?)?|\.\d+(?:_\d+)*)(?:[eE][+-]?\d+(?:_\d+)*)?))"
)
_ESCAPE = re.compile(
    r"\\(?:u\{(?P<point>[\da-fA-F]+)\}|u(?P<unit>[\da-fA-F]{4})|x(?P<byte>[\da-fA-F]{2})"
    r"|(?P<nul>0(?!\d))|(?P<continued>\r\n|[\n\r\u2028\u2029])|(?P<other>[\s\S]))"
)
_NAMED_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_MAX_POINT = 0x10FFFF
_EXACT = 2**53
_SHOWN = 40

_WHAT = {
    "array": "a list",
    "arrow_function": "a function",
    "assignment_expression": "an assignment",
    "await_expression": "an `await`",
    "call_expression": "a call",
    "class": "a class",
    "function_expression": "a function",
    "generator_function": "a function",
    "identifier": "a name, whose value is known only when the script runs",
    "member_expression": "a property of something else",
    "meta_property": "known only when the script runs",
    "new_expression": "a new object",
    "object": "an object",
    "parenthesized_expression": "in parentheses",
    "regex": "a regular expression",
    "subscript_expression": "an element of something else",
    "ternary_expression": "a choice",
    "undefined": "`undefined`, which JSON does not have (write `null`, or leave the key away)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a node is no pure literal.

    Attributes:
        code: `literal`, `key` or `syntax`.
        path: Where it stands in the value: `meta.phases[0].title`.
        message: What is wrong with it, without the path.
    """

    node: Node
    code: str
    path: str
    message: str


class NotReadError(ValueError):
    """A literal that strict-mode JavaScript refuses, or that JSON cannot hold; the text says which."""


def string_value(text: str, *, is_template: bool = False) -> str:
    """What a string means: the text between its quotes, with its escapes decoded.

    Raises:
        NotReadError: An escape that strict mode refuses, or half of a surrogate pair.
    """
    if is_template:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\\" not in text:
        return text
    decoded = _ESCAPE.sub(_unescape, text)
    try:
        return decoded.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise NotReadError("it has half of a surrogate pair (\\uD800 to \\uDFFF), which is no character") from None


def _unescape(match: re.Match[str]) -> str:
    if digits := match["point"] or match["unit"] or match["byte"]:
        if (point := int(digits, 16)) > _MAX_POINT:
            raise NotReadError(f"`{match[0]}` is beyond the last character, \\u{{10FFFF}}")
        return chr(point)
    if match["nul"]:
        return "\0"
    if match["continued"]:
        return ""
    other = match["other"]
    if other in "ux":
        raise NotReadError(f"`\\{other}` must be followed by hexadecimal digits")
    if other.isdecimal() and other.isascii():
        raise NotReadError(f"`\\{other}` is an octal escape, which strict mode does not have: write `\\x…`")
    return _NAMED_ESCAPES.get(other, other)


def number_value(text: str) -> int | float:
    """What a number means.

    Raises:
        NotReadError: A BigInt, an old octal number, or one beyond the largest.
    """
    if text.endswith("n") and text[:-1].replace("_", "").isalnum():
        raise NotReadError(f"`{text}` is a BigInt, which JSON does not have: take the `n` away")
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise NotReadError(f"`{text}` is no number of strict mode")
    try:
        value = _parsed(match)
    except OverflowError:
        value = math.inf
    if math.isinf(value):
        raise NotReadError(f"`{text}` is larger than the largest number")
    return int(value) if value.is_integer() and abs(value) <= _EXACT else value


def _parsed(match: re.Match[str]) -> float:
    for group, base in (("hex", 16), ("octal", 8), ("binary", 2)):
        if digits := match[group]:
            return float(int(digits, base))
    return float(match["decimal"].replace("_", ""))


def property_name(value: float) -> str:
    """The property that a number names: what `String(value)` gives in JavaScript (ECMA-262, Number::toString)."""
    _, ones, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    assert isinstance(exponent, int)
    digits = "".join(map(str, ones))
    point = len(digits) + exponent
    if len(digits) <= point <= 21:
        return digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"0.{'0' * -point}{digits}"
    mantissa = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
    return f"{mantissa}e{point - 1:+d}"


class LiteralReader:
    """Reads values out of a tree.

    Args:
        resolve: Gives the node that a name stands for, where names may be followed; without it a name is a fault.

    Attributes:
        faults: What was no literal.
        starts: The byte at which the value of each path begins, to the second level.
    """

    def __init__(self, *, resolve: Callable[[Node], Node | None] | None = None) -> None:
        self.faults: list[Fault] = []
        self.starts: dict[str, int] = {}
        self._count = 0
        self._resolve = resolve

    def read(self, node: Node, path: str, depth: int = 0) -> JsonValue:
        """The value of a node; None, with a fault kept, where it has none."""
        self._count += 1
        if depth <= 2:
            self.starts[path] = node.start_byte
        if depth > MAX_DEPTH:
            return self._fault(node, "literal", path, f"it is nested deeper than {MAX_DEPTH} levels")
        if self._resolve is not None and self._count > MAX_FOLLOWED:
            return self._fault(node, "literal", path, f"it has more than {MAX_FOLLOWED:,} values")
        try:
            match node.type:
                case "string":
                    return string_value(_text(node)[1:-1])
                case "template_string" if not any(c.type == "template_substitution" for c in node.named_children):
                    return string_value(_text(node)[1:-1], is_template=True)
                case "number":
                    return number_value(_text(node))
                case "unary_expression" if (number := _negated(node)) is not None:
                    return -number_value(_text(number))
                case "true" | "false":
                    return node.type == "true"
                case "null":
                    return None
                case "array":
                    return self._array(node, path, depth)
                case "object":
                    return self._object(node, path, depth)
                case "identifier" if self._resolve is not None and (target := self._resolve(node)) is not None:
                    return self.read(target, path, depth + 1)
                case _:
                    return self._fault(node, "literal", path, f"`{_snippet(node)}` is {_what(node)}")
        except NotReadError as error:
            return self._fault(node, "literal", path, str(error))

    def _array(self, node: Node, path: str, depth: int) -> JsonValue:
        values: list[JsonValue] = []
        before = "["
        for child in node.children:
            match child.type:
                case "comment" | "html_comment" | "[" | "]":
                    continue
                case "," if before in {"[", ","}:
                    self._fault(child, "literal", f"{path}[{len(values)}]", "it has an empty slot")
                case ",":
                    pass
                case _ if child.is_error or child.is_missing:
                    self._syntax(child, path)
                case "spread_element":
                    self._fault(child, "literal", path, f"`{_snippet(child)}` is a spread")
                case _:
                    values.append(self.read(child, f"{path}[{len(values)}]", depth + 1))
            before = child.type
        return values

    def _object(self, node: Node, path: str, depth: int) -> JsonValue:
        value: dict[str, JsonValue] = {}
        before = "{"
        for child in node.children:
            match child.type:
                case "comment" | "html_comment" | "{" | "}":
                    continue
                case "," if before in {"{", ","}:
                    self._syntax(child, path)
                case ",":
                    pass
                case "pair" if not (child.is_error or child.is_missing):
                    self._pair(child, value, path, depth)
                case "spread_element":
                    self._fault(child, "literal", path, f"`{_snippet(child)}` is a spread")
                case "shorthand_property_identifier":
                    name = _text(child)
                    self._fault(child, "literal", f"{path}.{name}", f"`{name}` alone stands for a variable")
                case "method_definition":
                    self._fault(child, "literal", path, f"`{_snippet(child)}` is a method")
                case _:
                    self._syntax(child, path)
            before = child.type
        return value

    def _pair(self, pair: Node, into: dict[str, JsonValue], path: str, depth: int) -> None:
        key, value = pair.child_by_field_name("key"), pair.child_by_field_name("value")
        if key is None or value is None or any(child.is_error or child.is_missing for child in pair.children):
            self._syntax(pair, path)
            return
        if key.type == "computed_property_name":
            self._fault(key, "literal", path, f"the key `{_snippet(key)}` is computed")
            return
        try:
            name = _key(key)
        except NotReadError as error:
            self._fault(key, "literal", path, str(error))
            return
        if name in FORBIDDEN_KEYS:
            self._fault(key, "key", path, f"a key must not be named `{name}`")
            return
        into[name] = self.read(value, _joined(path, name), depth + 1)

    def _syntax(self, node: Node, path: str) -> None:
        node = next(faults(node), node)
        says = f"`{_snippet(node)}` does not belong here" if node.text else f"a `{node.type}` is missing here"
        self._fault(node, "syntax", path, says)

    def _fault(self, node: Node, code: str, path: str, message: str) -> JsonValue:
        self.faults.append(Fault(node=node, code=code, path=path, message=message))
        return None


def _key(node: Node) -> str:
    text = _text(node)
    if node.type == "string":
        return string_value(text[1:-1])
    if node.type == "number":
        return property_name(number_value(text))
    return string_value(text)


def _joined(path: str, name: str) -> str:
    name = name if len(name) <= _SHOWN else f"{name[: _SHOWN - 1]}…"
    return f"{path}.{name}" if name.isidentifier() else f"{path}[{name!r}]"


def _negated(node: Node) -> Node | None:
    operator, argument = node.child_by_field_name("operator"), node.child_by_field_name("argument")
    is_negative = operator is not None and operator.type == "-" and argument is not None and argument.type == "number"
    return argument if is_negative else None


def _what(node: Node) -> str:
    if node.type == "binary_expression":
        operator = node.child_by_field_name("operator")
        return "a concatenation" if operator is not None and operator.type == "+" else "a calculation"
    if node.type == "template_string":
        return "a template with an interpolation"
    return _WHAT.get(node.type, "an expression")


def _text(node: Node) -> str:
    return (node.text or b"").decode(errors="replace")


def _snippet(node: Node) -> str:
    line = " ".join(_text(node).split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
