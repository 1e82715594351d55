"""YAML as plain data, with the line of each part: what people write beside their workflows.

Numbers, true and false, null and text are told apart as the core schema of YAML 1.2 does: `on` and `no` are text, and
so is a date. There are no aliases, which can make gigabytes of a few lines, no tags, which can make objects, and no key
twice, of which people would see only one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import field
from itertools import accumulate
from typing import TypeAlias

import yaml

from callsheet.library.front_matter import PlainLoader
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

MAX_BRACKETS = 50
"""Brackets open at once: with 5,000 the parser takes seconds."""

MAX_NESTED = 50

_BOM = "\ufeff"
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map"))
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: Mapping[str, JsonValue] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_LONGEST_NUMBER = 30
_OPEN, _CLOSED = "\ue000", "\ue001"
"""Stand for braces that are none of YAML's, one character for one, so that places stay what they are."""

Place: TypeAlias = tuple[str | int, ...]
"""The way to a part: keys, and the numbers of entries from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlFault:
    """One thing that is wrong, and the line, from 1, that it stands in; None where it is in none."""

    message: str
    line: int | None = None


class YamlFaultyError(Exception):
    """Text that cannot be read as plain data.

    Attributes:
        faults: What is wrong: a single fault of form, or all of those that a reader can go on behind.
    """

    def __init__(self, *faults: YamlFault) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainYaml:
    """What a text says.

    Attributes:
        lines: Where each part stands, by the way to it: of an entry with a key the line of the key. From 1.
    """

    value: JsonValue
    lines: Mapping[Place, int] = field(default_factory=dict)

    def line_of(self, place: Place) -> int | None:
        """The line of a part, or of the nearest that holds it."""
        return next((self.lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in self.lines), None)


def read_yaml(data: bytes, *, words: Collection[str] = ()) -> PlainYaml:
    """Reads one document.

    Args:
        data: UTF-8; the caller sees to it that it is small.
        words: Words that mean themselves in braces, `{timestamp}`, where people write them without quotes. YAML would
            take them for a mapping.

    Raises:
        YamlFaultyError: It is no YAML, or more than plain data.
    """
    try:
        text = data.decode("utf-8").removeprefix(_BOM)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise YamlFaultyError(YamlFault(message="it is not UTF-8: save it as that", line=line)) from None
    for word in words:
        text = text.replace(f"{{{word}}}", f"{_OPEN}{word}{_CLOSED}")
    if max(accumulate((char in "[{") - (char in "]}") for char in text), default=0) > MAX_BRACKETS:
        raise YamlFaultyError(YamlFault(message="it nests too deep"))
    try:
        node = yaml.compose(text, PlainLoader)
        reader = _Reader()
        value = None if node is None else reader.value(node, ())
    except yaml.MarkedYAMLError as error:
        why = error.problem or error.context or "it is not YAML"
        mark = error.problem_mark or error.context_mark
        raise YamlFaultyError(YamlFault(message=why, line=None if mark is None else mark.line + 1)) from None
    except yaml.YAMLError as error:
        raise YamlFaultyError(YamlFault(message=str(error).splitlines()[0])) from None
    except RecursionError:
        raise YamlFaultyError(YamlFault(message="it nests too deep")) from None
    if reader.faults:
        raise YamlFaultyError(*reader.faults)
    return PlainYaml(value=value, lines=reader.lines)


class _Reader:
    """Makes plain data of nodes, and notes where each part stands."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {}
        self.faults: list[YamlFault] = []

    def value(self, node: yaml.Node, place: Place) -> JsonValue:
        line = node.start_mark.line + 1
        self.lines.setdefault(place, line)
        if len(place) > MAX_NESTED:
            raise RecursionError
        if node.tag not in _PLAIN_TAGS:
            self.faults.append(YamlFault(message=f"the tag {node.tag} has no meaning here: leave it out", line=line))
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(each, (*place, at)) for at, each in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        text = _braced(str(node.value))
        return _scalar(text) if node.style is None else text

    def _mapping(self, node: yaml.MappingNode, place: Place) -> JsonValue:
        found: dict[str, JsonValue] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self.faults.append(YamlFault(message="a key must be text", line=line))
                continue
            name = _braced(str(key.value))
            here = (*place, name)
            if name in found:
                first = self.lines[here]
                self.faults.append(YamlFault(message=f"{name} stands here again; it stands in line {first}", line=line))
                continue
            self.lines[here] = line
            found[name] = self.value(value, here)
        return found


def _braced(text: str) -> str:
    return text.replace(_OPEN, "{").replace(_CLOSED, "}")


def _scalar(text: str) -> JsonValue:
    """What a word without quotes means."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) <= _LONGEST_NUMBER:
        if _INT.fullmatch(text):
            return int(text)
        if _OCTAL_OR_HEX.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text
