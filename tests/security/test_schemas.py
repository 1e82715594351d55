"""A script writes the schema, and what it has an agent answer: neither may hang the host, crash it or make it fetch."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from callsheet.answers.schema import AnswerSchema
from callsheet.answers.synthetic import synthetic_value
from callsheet.errors import SchemaUnusableError
from callsheet.model.values import JsonValue

pytestmark = pytest.mark.contract("A04")


@contextmanager
def cpu_below(seconds: float) -> Iterator[None]:
    """Fails when the block takes more processor time, which does not depend on what else the machine does."""
    begun = time.thread_time()
    yield
    assert time.thread_time() - begun < seconds


def with_items(rule: JsonValue) -> dict[str, JsonValue]:
    return {"type": "object", "properties": {"a": {"type": "array", "items": rule}}}


@pytest.mark.parametrize(
    ("pattern", "letters"),
    [
        ("(a+)+$", "a"),
        ("(a|a)*b$", "a"),
        ("^(([a-z])+.)+[A-Z]([a-z])+$", "a"),
        ("(?=(a+)+$)b", "a"),
        ("(a+)+\\1$", "a"),
        ("(.*)*(?=x)y", "a"),
        ("[ab]*a[ab]{5000}c", "ab"),
        ("(?<!a)c", "a"),
    ],
)
def test_a_catastrophic_pattern_takes_bounded_time(pattern: str, letters: str) -> None:
    letter = random.Random(1)
    schema = AnswerSchema.compile(with_items({"pattern": pattern}))
    for length in (30, 9_999, 10_001, 300_000):
        text = "".join(letter.choice(letters) for _ in range(length)) + "!"
        with cpu_below(5):
            assert schema.violations({"a": [text] * 20}) != ()


def test_a_pattern_over_many_strings_takes_bounded_time() -> None:
    schema = AnswerSchema.compile(with_items({"pattern": "(?=(a+)+$)b"}))
    with cpu_below(5):
        lines = schema.violations({"a": ["a" * 3_000 + "!"] * 2_000})
    assert lines[0].startswith("/a/0: ")


def doubling(levels: int, keyword: str) -> dict[str, JsonValue]:
    definitions: dict[str, JsonValue] = {
        f"n{n}": {keyword: [{"$ref": f"#/$defs/n{n + 1}"}, {"$ref": f"#/$defs/n{n + 1}"}]} for n in range(levels)
    }
    definitions[f"n{levels}"] = {"required": ["never"]}
    return {"type": "object", "$defs": definitions, "$ref": "#/$defs/n0"}


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_references_that_double_at_each_step_are_refused(keyword: str) -> None:
    with cpu_below(3), pytest.raises(SchemaUnusableError, match="more than 500 rules"):
        AnswerSchema.compile(doubling(25, keyword))


def test_references_that_double_below_each_other_are_refused() -> None:
    definitions: dict[str, JsonValue] = {
        f"n{n}": {"properties": {"a": {"$ref": f"#/$defs/n{n + 1}"}, "b": {"$ref": f"#/$defs/n{n + 1}"}}}
        for n in range(25)
    }
    definitions["n25"] = {}
    with cpu_below(3), pytest.raises(SchemaUnusableError, match="more than 20,000 rules"):
        AnswerSchema.compile({"type": "object", "$defs": definitions, "$ref": "#/$defs/n0"})


@pytest.mark.parametrize("keyword", ["allOf", "anyOf"])
def test_a_recursion_that_doubles_with_the_depth_of_the_answer_takes_bounded_time(keyword: str) -> None:
    node: JsonValue = {"properties": {"a": {"$ref": "#/$defs/n"}}}
    schema = AnswerSchema.compile(
        {"type": "object", "$defs": {"n": {"type": "object", keyword: [node, node]}}, "$ref": "#/$defs/n"}
    )
    for depth in (2, 10, 20, 200):
        answer: JsonValue = 3
        for _ in range(depth):
            answer = {"a": answer}
        with cpu_below(3):
            assert schema.violations(answer) != ()


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "$ref": "#"},
        {"type": "object", "allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}},
    ],
)
def test_a_reference_that_leads_back_to_itself_is_refused(schema: JsonValue) -> None:
    with pytest.raises(SchemaUnusableError, match="leads back to itself"):
        AnswerSchema.compile(schema)


def test_a_long_chain_of_references_is_refused_not_followed() -> None:
    definitions: dict[str, JsonValue] = {f"n{n}": {"$ref": f"#/$defs/n{n + 1}"} for n in range(1_000)}
    with cpu_below(3), pytest.raises(SchemaUnusableError, match="steps deep"):
        AnswerSchema.compile({"type": "object", "$defs": {**definitions, "n1000": {}}, "$ref": "#/$defs/n0"})


def test_many_branches_over_many_values_take_bounded_time() -> None:
    schema = AnswerSchema.compile(with_items({"anyOf": [{"type": "null"}] * 400}))
    with cpu_below(5):
        assert schema.violations({"a": ["x"] * 10_000}) != ()


def test_many_patterns_are_refused() -> None:
    rules: JsonValue = {f"k{n}": {"pattern": f"\\w{{90}}{n}"} for n in range(300)}
    with cpu_below(5), pytest.raises(SchemaUnusableError, match="more than 200 patterns"):
        AnswerSchema.compile({"type": "object", "properties": rules})


def test_an_answer_that_nests_very_deep_is_judged_without_a_crash() -> None:
    deep: JsonValue = 1
    for _ in range(100_000):
        deep = [deep]
    tree: JsonValue = {"type": "array", "items": {"$ref": "#/$defs/tree"}}
    schema = AnswerSchema.compile(
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/tree"}}, "$defs": {"tree": tree}}
    )
    assert schema.violations({"a": deep}) == ("the answer: nests more than 100 levels deep",)


@pytest.mark.parametrize("scheme", ["http", "ws", "//"])
def test_no_reference_of_any_kind_opens_a_connection(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        port = server.getsockname()[1]
        address = f"//127.0.0.1:{port}/s.json" if scheme == "//" else f"{scheme}://127.0.0.1:{port}/s.json"
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            with pytest.raises(SchemaUnusableError, match="nothing is fetched"):
                AnswerSchema.compile(with_items({keyword: address}))
        AnswerSchema.compile({"type": "object", "$schema": address, "$id": address})
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    "rule",
    [
        {"type": "array", "minItems": 10**9, "items": {"type": "string"}},
        {"type": "string", "minLength": 10**9},
        {"type": "object", "minProperties": 10**9},
        {"type": "number", "minimum": 1e308, "multipleOf": 1e-300},
        {"$ref": "#/$defs/endless"},
        {"type": "array", "minItems": 900, "items": {"type": "array", "minItems": 900, "items": {"minLength": 9_000}}},
        {"pattern": "(" * 60 + "a" + "){9}" * 60},
    ],
)
def test_a_value_made_up_for_a_hostile_schema_is_bounded(rule: JsonValue) -> None:
    both: JsonValue = {
        "type": "object",
        "properties": {"l": {"$ref": "#/$defs/endless"}, "r": {"$ref": "#/$defs/endless"}},
        "required": ["l", "r"],
    }
    schema: dict[str, JsonValue] = {
        "type": "object",
        "properties": {"a": rule},
        "required": ["a"],
        "$defs": {"endless": both},
    }
    with cpu_below(5), suppress(SchemaUnusableError):
        synthetic_value(schema, asked=0)


def test_a_deep_answer_to_a_schema_of_long_recursive_chains_does_not_end_the_process() -> None:
    chain: dict[str, JsonValue] = {
        f"c{n}": {"allOf": [{"$ref": f"#/$defs/c{n + 1}"}, {"type": "object"}]} for n in range(35)
    }
    chain["c35"] = {"type": "object", "properties": {"a": {"$ref": "#/$defs/c0"}}}
    schema = AnswerSchema.compile({"type": "object", "$defs": chain, "$ref": "#/$defs/c0"})
    for depth in (90, 900, 20_000):
        answer: JsonValue = {}
        for _ in range(depth):
            answer = {"a": answer}
        assert schema.accepts(answer) is (depth < 100)
