"""Whether a schema can be used at all (CONTRACT A04), found by reading it; and how much work judging by it may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from callsheet.answers.structure import (
    REFERENCES,
    LocalReferences,
    Schema,
    is_schema,
    parts,
    pointer,
    walk,
)
from callsheet.errors import SchemaUnusableError
from callsheet.model.counts import MAX_SCHEMA_BYTES, MAX_SCHEMA_DEPTH
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

MAX_RULES_HERE = 500
"""Rules that a schema, references written out, may apply to one and the same value."""

MAX_RULES = 20_000
"""Rules that a schema may come to with its references written out: what doubles at each step is refused."""

MAX_REFERENCE_DEPTH = 80
"""Schemas inside schemas, references followed. With the levels of an answer it decides how deep the library recurses:
at 140 times 1,000 it overflows its stack and takes the process with it."""

_OF_ARRAYS = frozenset({"items", "prefixItems", "additionalItems", "contains", "unevaluatedItems"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """How much work a schema can be.

    Attributes:
        rules_here: The most rules that apply to one value.
        recursive: A value may hold values of its own kind.
        overlap: The most rules that look into one and the same part of a value; with a recursive schema the work may
            grow by this factor with every level of an answer.
        alternatives: It has `anyOf`, `oneOf`, `not`, `if` or `contains`: a value may fail in several ways at once.
    """

    rules_here: int
    recursive: bool
    overlap: int
    alternatives: bool


def unusable(place: str, problem: str, remedy: str) -> SchemaUnusableError:
    """The one form of these errors: the place in the schema, what is wrong there, what to do."""
    where = f"schema at {place}" if place else "schema"
    return SchemaUnusableError(f"{where}: {problem}; {remedy}")


def require_object_schema(schema: JsonValue) -> Schema:
    """The schema itself, when its root can only be met by an object, and it is within the size limits.

    Raises:
        SchemaUnusableError: It is something else.
    """
    if not is_schema(schema):
        raise unusable("", f"it is {_kind(schema)}, not an object", "give a JSON Schema such as {type: 'object', …}")
    if is_deeper_than(schema, MAX_SCHEMA_DEPTH):
        raise unusable(
            "", f"it nests more than {MAX_SCHEMA_DEPTH} levels deep", "flatten it, or use `$defs` and `$ref`"
        )
    kind = schema.get("type")
    if kind not in ("object", ["object"]):
        problem = "its root has no `type`" if kind is None else f"its root has `type` {kind!r}"
        raise unusable("", problem, "the root must be {type: 'object'}: put other values under a key of it")
    return schema


def require_small(text: str) -> None:
    """Refuses a schema whose JSON text is too long.

    Raises:
        SchemaUnusableError: It is.
    """
    if len(text) > MAX_SCHEMA_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_SCHEMA_BYTES:
        raise unusable("", f"it is longer than {MAX_SCHEMA_BYTES // 1024} KiB as JSON", "shorten it")


def require_sound(schema: Schema, matches: Callable[[str, str], bool]) -> Weight:
    """Reads references and required keys.

    Args:
        schema: A schema whose root is right.
        matches: Whether a pattern is found in a text.

    Raises:
        SchemaUnusableError: A reference is not local, leads nowhere or leads back to itself; references written out
            would make the schema too large; a required key is not allowed.
    """
    references = LocalReferences(schema)
    _require_local_references(schema, references)
    weight = _weigh(schema, references)
    _require_reachable(schema, references, matches)
    return weight


def _kind(value: JsonValue) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "an array"
        case dict():
            return "an object"


def is_deeper_than(value: JsonValue, limit: int) -> bool:
    """Whether arrays and objects nest in more than so many levels."""
    level: list[JsonValue] = [value]
    for _ in range(limit):
        inner: list[JsonValue] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(v for v in item.values() if isinstance(v, dict | list))
            elif isinstance(item, list):
                inner.extend(v for v in item if isinstance(v, dict | list))
        if not inner:
            return False
        level = inner
    return True


def _require_local_references(root: Schema, references: LocalReferences) -> None:
    refers = False
    renamed: str | None = None
    for steps, schema in walk(root):
        for keyword in REFERENCES:
            reference = schema.get(keyword)
            if reference is None:
                continue
            refers = True
            place = pointer((*steps, keyword))
            if not isinstance(reference, str) or not reference.startswith("#"):
                shown = str(reference)[:100]
                raise unusable(
                    place,
                    f"{shown!r} is not inside the schema, and nothing is fetched for one",
                    "copy it into `$defs` and refer to `#/$defs/…`",
                )
            try:
                references.target(reference)
            except LookupError:
                raise unusable(
                    place, f"there is nothing at {reference[:100]!r}", "correct the reference, or add it to `$defs`"
                ) from None
        own = schema.get("$id")
        if steps and isinstance(own, str) and not own.startswith("#"):
            renamed = pointer((*steps, "$id"))
    if refers and renamed is not None:
        raise unusable(renamed, "an `$id` inside the schema changes what its references mean", "remove the `$id`")


def _weigh(root: Schema, references: LocalReferences) -> Weight:
    """Counts rules with references written out: without it a schema of 2 KB could ask for 2**30 checks."""
    places = {id(schema): pointer(steps) for steps, schema in walk(root)}

    def here(schema: Schema) -> Iterator[Schema]:
        yield from (part.schema for part in parts(schema) if part.where == "here")
        yield from references.of(schema)

    def everything(schema: Schema) -> Iterator[Schema]:
        yield from (part.schema for part in parts(schema) if part.where != "defined")
        yield from references.of(schema)

    def refuse_circle(schema: Schema) -> None:
        raise unusable(places.get(id(schema), ""), "a `$ref` leads back to itself", "let it refer to something else")

    counted = _Count(here, limit=MAX_RULES_HERE, on_circle=refuse_circle)
    for _, schema in walk(root):
        counted.rules(schema)
    circles: list[Schema] = []
    _Count(everything, limit=MAX_RULES, on_circle=circles.append).rules(root)
    branching = {"anyOf", "oneOf", "not", "if", "contains"}
    return Weight(
        rules_here=max(counted.seen.values()),
        recursive=bool(circles),
        overlap=_overlap(root, here) if circles else 1,
        alternatives=any(not branching.isdisjoint(schema) for _, schema in walk(root)),
    )


def _overlap(root: Schema, here: Callable[[Schema], Iterator[Schema]]) -> int:
    known: dict[int, Counter[str]] = {}

    def looks(schema: Schema) -> Counter[str]:
        """How often a schema, with all that judge the same value, looks into each part of it."""
        if id(schema) not in known:
            found = Counter(
                f".{part.steps[1]}" if part.steps[0] == "properties" else "[]" if part.steps[0] in _OF_ARRAYS else "*"
                for part in parts(schema)
                if part.where == "below"
            )
            for inner in here(schema):
                found.update(looks(inner))
            known[id(schema)] = found
        return known[id(schema)]

    most = 1
    for _, schema in walk(root):
        counts = dict(looks(schema))
        of_any_key, of_arrays = counts.pop("*", 0), counts.pop("[]", 0)
        most = max(most, of_arrays, of_any_key + max(counts.values(), default=0))
    return most


class _Count:
    """How many schemas one schema comes to, each counted as often as it is met on different ways."""

    def __init__(
        self, inner: Callable[[Schema], Iterator[Schema]], *, limit: int, on_circle: Callable[[Schema], None]
    ) -> None:
        self._inner = inner
        self._limit = limit
        self._on_circle = on_circle
        self._open: set[int] = set()
        self.seen: dict[int, int] = {}

    def rules(self, schema: Schema) -> int:
        key = id(schema)
        if key in self.seen:
            return self.seen[key]
        if key in self._open:
            self._on_circle(schema)
            return 1
        if len(self._open) >= MAX_REFERENCE_DEPTH:
            raise unusable("", f"its references lead more than {MAX_REFERENCE_DEPTH} steps deep", "shorten the chain")
        self._open.add(key)
        total = 1
        for inner in self._inner(schema):
            total += self.rules(inner)
            if total > self._limit:
                raise unusable(
                    "", f"with its references written out it has more than {self._limit:,} rules", "simplify it"
                )
        self._open.remove(key)
        self.seen[key] = total
        return total


def _require_reachable(root: Schema, references: LocalReferences, matches: Callable[[str, str], bool]) -> None:
    """Follows what every answer must have: there a required key that is not allowed can never be met."""
    seen: set[int] = set()
    todo: list[tuple[str, list[Schema]]] = [("", [root])]
    while todo:
        place, rules = todo.pop()
        together = _all_of(rules, references)
        if seen.issuperset(map(id, together)):
            continue
        seen.update(map(id, together))
        kinds = [schema["type"] for schema in together if "type" in schema]
        if any(kind in ("object", ["object"]) for kind in kinds):
            for key in _required_keys(together):
                inner = _rules_for_key(together, key, place, matches)
                todo.append((f"{place}/properties/{key}", inner))
        elif any(kind in ("array", ["array"]) for kind in kinds):
            for schema in together:
                least, items = schema.get("minItems"), schema.get("items")
                if isinstance(least, int) and least > 0 and is_schema(items) and "prefixItems" not in schema:
                    todo.append((f"{place}/items", [items]))


def _all_of(rules: list[Schema], references: LocalReferences) -> list[Schema]:
    """These schemas and all that must hold together with them."""
    found: dict[int, Schema] = {}
    todo = list(reversed(rules))
    while todo:
        schema = todo.pop()
        if id(schema) in found:
            continue
        found[id(schema)] = schema
        todo.extend(references.of(schema))
        todo.extend(part.schema for part in parts(schema) if part.steps[0] == "allOf")
    return list(found.values())


def _required_keys(together: list[Schema]) -> dict[str, None]:
    keys: dict[str, None] = {}
    for schema in together:
        required = schema.get("required")
        if isinstance(required, list):
            keys.update((key, None) for key in required if isinstance(key, str))
    return keys


def _rules_for_key(together: list[Schema], key: str, place: str, matches: Callable[[str, str], bool]) -> list[Schema]:
    inner: list[Schema] = []
    for schema in together:
        named, patterns = schema.get("properties"), schema.get("patternProperties")
        named = named if isinstance(named, dict) else {}
        rules = [named[key]] if key in named else []
        if isinstance(patterns, dict):
            rules += [rule for pattern, rule in patterns.items() if matches(pattern, key)]
        if not rules and schema.get("additionalProperties") is False:
            raise unusable(
                f"{place}/required",
                f'the key "{key}" is required, but `additionalProperties: false` allows only '
                + (", ".join(f'"{name}"' for name in list(named)[:20]) or "none"),
                f'add "{key}" to `properties`, or take it out of `required`',
            )
        if False in rules:
            raise unusable(
                f"{place}/properties/{key}", "the key is required and never allowed", "remove one of the two"
            )
        inner.extend(filter(is_schema, rules))
    return inner
