"""A value made up to fit a schema, for rehearsals and tests without a model (FORMATS 2)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Literal

from callsheet.answers.merging import Flattener
from callsheet.answers.samples import sample
from callsheet.answers.schema import AnswerSchema
from callsheet.answers.structure import Schema, is_schema
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

DRY_FROM = 3
"""From the fourth synthetic answer on arrays are empty, booleans false and numbers 0, so that loops until dry end."""

_MAX_VALUES = 1_000
_MAX_LEVELS = 40
_ROOMY_LEVELS = 10
"""Deeper down only what is required is made: a schema that contains itself would go on for ever."""

_MAX_ITEMS = 1_000
_MAX_CHARS = 20_000

_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT1M",
    "email": "someone@example.com",
    "idn-email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uri-reference": "/",
    "iri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000001",
    "json-pointer": "/a",
    "regex": "a",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """One way to make the value; the first whose value fits is taken."""

    dry: bool
    everything: bool = False
    branch: int = 0
    conditional: Literal["then", "else"] | None = None


def synthetic_value(schema: dict[str, JsonValue], *, asked: int) -> JsonValue:
    """A value that fits the schema, the same for the same schema and number.

    It has the required keys (all keys of an object that requires none, since scripts read them), an enum's first value,
    two elements in an array unless the schema says otherwise, numbers in range, and text that names its property and
    differs among the elements of arrays. A `count` or `rowCount` says how many elements the array (`rows`) beside it
    has: real scripts compare them. Where no value is found that fits, the nearest is given.

    Args:
        schema: A usable schema.
        asked: How many synthetic answers were given before for the same sort of call.

    Raises:
        SchemaUnusableError: The schema is not usable.
    """
    compiled = AnswerSchema.compile(schema)
    first: JsonValue = None
    for number, plan in enumerate(_plans(dry=asked >= DRY_FROM)):
        value = _Maker(schema, plan).value(schema, "answer", 0)
        if compiled.accepts(value):
            return value
        first = value if number == 0 else first
    return first


def label_stem(label: str) -> str:
    """What the labels of one sort of call have in common: `verify:12` and `verify:13`, `r1:bugs` and `r2:bugs`.

    Numbers do not count, nor does what stands at the end and is no word.
    """
    return re.sub(r"[\W\d]+$", "", re.sub(r"\d+", "#", label))


def _plans(*, dry: bool) -> Iterator[_Plan]:
    for is_dry in dict.fromkeys((dry, False)):
        plain = _Plan(dry=is_dry)
        yield plain
        yield from (replace(plain, conditional=side) for side in ("then", "else"))
        yield from (replace(plain, branch=branch) for branch in range(1, 5))
        yield replace(plain, everything=True)


class _Maker:
    """Makes one value by one plan, within bounds on size and depth."""

    def __init__(self, root: Schema, plan: _Plan) -> None:
        self._plan = plan
        self._left = _MAX_VALUES
        self._level = 0
        self._path: list[str] = []
        self._written: Counter[tuple[str, ...]] = Counter()
        self._flattener = Flattener(root, branch=plan.branch, conditional=plan.conditional)

    def value(self, schema: JsonValue, name: str, index: int, *, near: int | None = None) -> JsonValue:
        """A value for the property or element `name`.

        Args:
            schema: What it must fit.
            name: The property, or that of the array.
            index: Its place in the nearest array.
            near: The number to give where it may be one.
        """
        self._left -= 1
        self._level += 1
        self._path.append(name)
        try:
            if not is_schema(schema) or self._left < -_MAX_VALUES:
                return self._text({}, name)
            return self._of(self._flattener.flat(schema), name, index, near)
        finally:
            self._path.pop()
            self._level -= 1

    def _of(self, schema: Schema, name: str, index: int, near: int | None) -> JsonValue:
        if "const" in schema:
            return schema["const"]
        options = schema.get("enum")
        if isinstance(options, list) and options:
            return options[0]
        match _kind(schema):
            case "object":
                return self._object(schema, name, index)
            case "array":
                return self._array(schema, name)
            case "boolean":
                return not self._plan.dry
            case "integer" | "number" as kind:
                if near is None:
                    near = 0 if self._plan.dry else 1
                return _number(schema, index, near, whole=kind == "integer")
            case "null":
                return None
            case _:
                text = self._text(schema, name)
                self._left -= len(text) // 100
                return text

    def _text(self, schema: Schema, name: str) -> str:
        """Text with the number of times that this place of the schema had one before."""
        place = tuple(self._path)
        self._written[place] += 1
        return _text(schema, name, self._written[place] - 1)

    @property
    def _is_spent(self) -> bool:
        return self._left <= 0 or self._level > _ROOMY_LEVELS

    def _object(self, schema: Schema, name: str, index: int) -> JsonValue:
        listed = schema.get("properties")
        properties = listed if isinstance(listed, dict) else {}
        keys = dict.fromkeys(_texts(schema.get("required")))
        optional = [key for key, rule in properties.items() if key not in keys and rule is not False]
        if (not keys or self._plan.everything) and not self._is_spent:
            keys.update(dict.fromkeys(optional))
        optional += [f"{name} {number}" for number in range(1, 20)]
        for key in optional[: max(0, _count(schema, "minProperties") - len(keys))]:
            keys.setdefault(key)
        needs = schema.get("dependentRequired")
        if isinstance(needs, dict):
            for key in list(keys):
                keys.update(dict.fromkeys(_texts(needs.get(key))))
        if self._level > _MAX_LEVELS:
            return {}
        rules = {key: _rule_for(schema, properties, key) for key in keys}
        made = {key: self.value(rule, key, index) for key, rule in rules.items()}
        sizes = {key: len(value) for key, value in made.items() if isinstance(value, list)}
        for key, value in made.items():
            size = _size_counted(key, sizes)
            if size is not None and isinstance(value, int | float) and not isinstance(value, bool):
                made[key] = self.value(rules[key], key, 0, near=size)
        return made

    def _array(self, schema: Schema, name: str) -> JsonValue:
        rest = schema.get("items", True)
        first = schema.get("prefixItems", [])
        if isinstance(rest, list):  # as drafts before 2020-12 wrote it
            first, rest = rest, schema.get("additionalItems", True)
        prefix = first if isinstance(first, list) else []
        least = _count(schema, "minItems")
        contains = schema.get("contains")
        if is_schema(contains):
            least = max(least, _count(schema, "minContains", 1))
            rest = {"allOf": [rest, contains]} if is_schema(rest) else contains
        most = _count(schema, "maxItems", _MAX_ITEMS)
        wanted = 0 if self._plan.dry or self._is_spent else len(prefix) or 2
        if rest is False:
            most = min(most, len(prefix))
        wanted = min(max(wanted, min(least, _MAX_ITEMS)), most)
        if self._level > _MAX_LEVELS:
            return []
        rules = [*prefix, *[rest] * max(0, wanted - len(prefix))][:wanted]
        made = [self.value(rule, name, index) for index, rule in enumerate(rules)]
        return self._different(made, rest, name, least) if schema.get("uniqueItems") is True else made

    def _different(self, made: list[JsonValue], rule: JsonValue, name: str, least: int) -> JsonValue:
        """The elements without repetitions, with others in their place where the schema has them."""
        kept: list[JsonValue] = []
        options = self._flattener.flat(rule).get("enum") if is_schema(rule) else None
        spare: list[JsonValue] = options if isinstance(options, list) else []
        if spare:
            made = spare[: len(made)]
        for value in made:
            if not any(_is_same(value, other) for other in kept):
                kept.append(value)
        number = len(made)
        while len(kept) < least and number < 3 * _MAX_ITEMS and not self._is_spent:
            value = self.value(rule, name, number)
            if any(_is_same(value, other) for other in kept):
                break
            kept.append(value)
            number += 1
        return kept


def _is_same(one: JsonValue, other: JsonValue) -> bool:
    """Equality of JSON: `true` is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _kind(schema: Schema) -> str:
    """The type to make: the first that is not null, or what the keywords speak of."""
    kind = schema.get("type")
    kinds = [name for name in (kind if isinstance(kind, list) else [kind]) if isinstance(name, str)]
    if kinds:
        return next((name for name in kinds if name != "null"), "null")
    for guess, keywords in _SPEAKS_OF.items():
        if not keywords.isdisjoint(schema):
            return guess
    return "string"


_SPEAKS_OF = {
    "object": {"properties", "required", "additionalProperties", "patternProperties", "minProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
}


def _rule_for(schema: Schema, properties: Schema, key: str) -> JsonValue:
    if key in properties:
        return properties[key]
    patterns = schema.get("patternProperties")
    if isinstance(patterns, dict):
        for pattern, rule in patterns.items():
            if key in _found_by(pattern, [key]):
                return rule
    return schema.get("additionalProperties", True)


def _size_counted(name: str, sizes: dict[str, int]) -> int | None:
    """How many elements the array has that a property of this name counts; None where it counts none of them."""
    if name.lower() in ("count", "total"):
        return next(iter(sizes.values())) if len(sizes) == 1 else None
    counted = re.fullmatch(r"(\w+?)s?(?:_c|C)ount", name)
    return None if counted is None else sizes.get(f"{counted[1]}s", sizes.get(counted[1]))


def _texts(value: JsonValue) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _count(schema: Schema, keyword: str, default: int = 0) -> int:
    value = schema.get(keyword, default)
    return int(value) if isinstance(value, int | float) else default


def _text(schema: Schema, name: str, index: int) -> str:
    least = min(_count(schema, "minLength"), _MAX_CHARS)
    most = _count(schema, "maxLength", _MAX_CHARS)
    form = schema.get("format")
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        return _matching(pattern, name, least, most)
    if isinstance(form, str) and form in _FORMATS and least <= len(_FORMATS[form]) <= most:
        return _FORMATS[form]
    long = f"synthetic {name} {index + 1}" if index else f"synthetic {name}"
    text = next((text for text in (long, name) if least <= len(text) <= most), long)
    return " ".join([text] * (1 + least // (len(text) + 1)))[: max(least, most)].ljust(least, "…")


def _matching(pattern: str, name: str, least: int, most: int) -> str:
    named = [f"synthetic {name}", name]
    written = [sample(pattern, repeat=repeat) for repeat in (1, 2, 3, 4, 6, 8, 12, 16, 32, 64, least)]
    found = _found_by(pattern, named + [text for text in written if text is not None])
    return next((text for text in found if least <= len(text) <= most), (found or named)[0])


def _found_by(pattern: str, texts: list[str]) -> list[str]:
    """Those of the texts that match."""
    from callsheet.answers.patterns import pattern as compiled  # the engine takes long to load

    rule = compiled(pattern)
    return [text for text in texts if rule.is_in(text)]


def _number(schema: Schema, index: int, wanted: int, *, whole: bool) -> int | float:
    """A number in range, near the one wanted and different for the elements of an array where there is room."""
    low, above = _bound(schema, "minimum"), _bound(schema, "exclusiveMinimum")
    high, below = _bound(schema, "maximum"), _bound(schema, "exclusiveMaximum")
    step = _bound(schema, "multipleOf")
    if whole:
        step = Fraction(step.numerator) if step else Fraction(1)

    def fits(number: Fraction) -> bool:
        return (
            (low is None or number >= low)
            and (above is None or number > above)
            and (high is None or number <= high)
            and (below is None or number < below)
        )

    floor = max((edge for edge in (low, above) if edge is not None), default=None)
    ceiling = min((edge for edge in (high, below) if edge is not None), default=None)
    one = step or Fraction(1)
    near = [Fraction(wanted), Fraction(1), Fraction(0)]
    near += [floor, floor + one] if floor is not None else []
    near += [ceiling, ceiling - one] if ceiling is not None else []
    near += [(floor + ceiling) / 2] if floor is not None and ceiling is not None and not step else []
    if step:
        near = [-(-number // step) * step for number in near] + [number // step * step for number in near]
    first = next(filter(fits, near), near[0])
    later = first + index * one
    return _plain(later if fits(later) else first)


def _bound(schema: Schema, keyword: str) -> Fraction | None:
    value = schema.get(keyword)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return Fraction(str(value))


def _plain(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)
