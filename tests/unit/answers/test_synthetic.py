from __future__ import annotations

import pytest

from callsheet.answers.samples import sample
from callsheet.answers.schema import AnswerSchema
from callsheet.answers.synthetic import synthetic_value
from callsheet.model.values import JsonValue


def objects(**properties: JsonValue) -> dict[str, JsonValue]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def made(schema: dict[str, JsonValue], asked: int = 0) -> JsonValue:
    value = synthetic_value(schema, asked=asked)
    assert AnswerSchema.compile(schema).violations(value) == ()
    return value


FINDINGS = objects(
    findings={
        "type": "array",
        "items": objects(
            file={"type": "string"}, line={"type": "integer", "minimum": 10}, severity={"enum": ["P1", "P2"]}
        ),
    },
    done={"type": "boolean"},
)


def test_the_value_has_required_keys_two_elements_first_enum_values_and_text_that_names_its_property() -> None:
    assert made(FINDINGS) == {
        "findings": [
            {"file": "synthetic file", "line": 10, "severity": "P1"},
            {"file": "synthetic file 2", "line": 11, "severity": "P1"},
        ],
        "done": True,
    }


def test_from_the_fourth_value_on_arrays_are_empty_and_booleans_false() -> None:
    assert [made(FINDINGS, asked) == made(FINDINGS) for asked in (0, 1, 2)] == [True] * 3
    assert [made(FINDINGS, asked) for asked in (3, 4, 900)] == [{"findings": [], "done": False}] * 3


def test_text_is_different_for_each_element_also_in_arrays_within_arrays() -> None:
    files: JsonValue = {"type": "array", "items": {"type": "string"}}
    parts: JsonValue = {"type": "array", "items": objects(title={"type": "string"}, files=files)}
    assert made(objects(title={"type": "string"}, parts=parts)) == {
        "title": "synthetic title",
        "parts": [
            {"title": "synthetic title", "files": ["synthetic files", "synthetic files 2"]},
            {"title": "synthetic title 2", "files": ["synthetic files 3", "synthetic files 4"]},
        ],
    }


@pytest.mark.parametrize("name", ["count", "total", "rowCount", "row_count", "rows_count"])
def test_a_count_beside_an_array_says_how_many_elements_it_has(name: str) -> None:
    rows: JsonValue = {"type": "array", "items": {"type": "string"}, "minItems": 3}
    properties: dict[str, JsonValue] = {name: {"type": "integer"}, "rows": rows}
    assert made(objects(**properties)) == {
        name: 3,
        "rows": ["synthetic rows", "synthetic rows 2", "synthetic rows 3"],
    }


def test_a_count_in_each_element_of_an_array_is_that_of_its_own_array() -> None:
    group = objects(count={"type": "number"}, ids={"type": "array", "items": {"type": "integer"}})
    assert made(objects(groups={"type": "array", "items": group})) == {
        "groups": [{"count": 2, "ids": [1, 2]}, {"count": 2, "ids": [1, 2]}]
    }


@pytest.mark.parametrize("name", ["count", "columnCount", "score"])
def test_a_number_that_counts_none_of_the_arrays_beside_it_is_like_any_other(name: str) -> None:
    numbers: JsonValue = {"type": "array", "items": {"type": "integer"}}
    properties: dict[str, JsonValue] = {name: {"type": "integer"}, "rows": numbers, "cells": numbers}
    assert made(objects(**properties)) == {name: 1, "rows": [1, 2], "cells": [1, 2]}


def test_a_count_stays_in_its_range() -> None:
    rows: JsonValue = {"type": "array", "items": {"type": "integer"}}
    assert made(objects(count={"type": "integer", "minimum": 5}, rows=rows)) == {"count": 5, "rows": [1, 2]}


def test_from_the_fourth_value_on_numbers_are_nought_where_they_may_be() -> None:
    schema = objects(left={"type": "integer"}, page={"type": "integer", "minimum": 1}, share={"type": "number"})
    assert made(schema, 2) == {"left": 1, "page": 1, "share": 1}
    assert made(schema, 3) == {"left": 0, "page": 1, "share": 0}


def test_arrays_that_must_not_be_empty_keep_what_they_must_have() -> None:
    schema = objects(a={"type": "array", "minItems": 1, "items": {"type": "string"}}, b={"const": True})
    assert made(schema, 5) == {"a": ["synthetic a"], "b": True}


def test_optional_keys_are_left_out_but_filled_where_an_object_requires_none() -> None:
    properties: dict[str, JsonValue] = {"a": {"type": "string"}, "b": {"type": "integer"}}
    assert made({"type": "object", "properties": properties, "required": ["a"]}) == {"a": "synthetic a"}
    assert made({"type": "object", "properties": properties}) == {"a": "synthetic a", "b": 1}
    assert made({"type": "object", "properties": properties, "required": []}) == {"a": "synthetic a", "b": 1}
    assert made({"type": "object"}) == {}


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ({}, "synthetic x"),
        (True, "synthetic x"),
        ({"type": "null"}, None),
        ({"type": ["null", "string"]}, "synthetic x"),
        ({"const": {"a": [1]}}, {"a": [1]}),
        ({"enum": [3, "x"]}, 3),
        ({"type": "integer"}, 1),
        ({"type": "integer", "maximum": -5}, -5),
        ({"type": "integer", "multipleOf": 7, "exclusiveMinimum": 7}, 14),
        ({"type": "number", "minimum": 0, "maximum": 1}, 1),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "number", "multipleOf": 0.1, "minimum": 1.25}, 1.3),
        ({"type": "string", "maxLength": 4}, "x"),
        ({"type": "string", "minLength": 20}, "synthetic x synthetic x"),
        ({"type": "string", "format": "date-time"}, "2026-01-01T00:00:00Z"),
        ({"type": "string", "pattern": "^[A-Z]{3}-\\d+$"}, "AAA-1"),
        ({"type": "string", "pattern": "^[a-z]{2,}$", "minLength": 5}, "aaaaaa"),
        ({"type": "string", "pattern": "x$"}, "synthetic x"),
        ({"properties": {"k": {"const": 1}}}, {"k": 1}),
        ({"items": {"type": "integer"}}, [1, 2]),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 1}, [1]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 3}, [1, 2, 3]),
        ({"type": "array", "items": {"enum": ["a", "b", "c"]}}, ["a", "a"]),
        ({"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True}, ["a", "b"]),
        ({"type": "array", "items": {"type": "boolean"}, "uniqueItems": True}, [True]),
        ({"type": "array", "prefixItems": [{"type": "string"}, {"const": 1}], "items": False}, ["synthetic x", 1]),
        ({"type": "array", "items": [{"const": 1}, {"const": 2}, {"const": 3}]}, [1, 2, 3]),
        ({"type": "array", "contains": {"const": 5}}, [5, 5]),
        ({"type": "object", "additionalProperties": {"const": 1}, "minProperties": 1}, {"x 1": 1}),
        ({"type": "object", "patternProperties": {"^x-": {"const": 1}}, "required": ["x-a"]}, {"x-a": 1}),
        ({"anyOf": [{"type": "null"}, {"const": 2}]}, 2),
        ({"oneOf": [objects(k={"const": "a"}), objects(k={"const": "b"})]}, {"k": "a"}),
        ({"allOf": [objects(a={"const": 1}), objects(b={"const": 2})]}, {"a": 1, "b": 2}),
        ({"allOf": [{"anyOf": [{"type": "integer"}]}, {"anyOf": [{"minimum": 4}, {"minimum": 9}]}]}, 4),
        ({**objects(kind={"const": "a"}, y={}), "not": {"required": ["z"]}}, {"kind": "a", "y": "synthetic y"}),
        (
            {**objects(k={"enum": ["a", "b"]}), "if": {"properties": {"k": {"const": "a"}}}, "then": objects(w={})},
            {"k": "a", "w": "synthetic w"},
        ),
        (
            {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"], "dependentRequired": {"a": ["b"]}},
            {"a": "synthetic a", "b": "synthetic b"},
        ),
    ],
)
def test_each_keyword_is_heeded(rule: JsonValue, value: JsonValue) -> None:
    assert made(objects(x=rule)) == {"x": value}


def test_references_are_followed_and_a_schema_that_contains_itself_ends() -> None:
    tree = objects(name={"type": "string"}, kids={"type": "array", "items": {"$ref": "#/$defs/tree"}})
    value = made({**objects(root={"$ref": "#/$defs/tree"}), "$defs": {"tree": tree}})
    assert isinstance(value, dict)
    assert value["root"]["name"] == "synthetic name"  # type: ignore[index, call-overload]


def test_the_same_schema_gives_the_same_value() -> None:
    assert synthetic_value(FINDINGS, asked=1) == synthetic_value(FINDINGS, asked=1)


def test_where_nothing_is_found_that_fits_the_nearest_value_is_given() -> None:
    schema = objects(x={"type": "integer", "not": {"type": "integer"}}, y={"type": "string"})
    assert synthetic_value(schema, asked=0) == {"x": 1, "y": "synthetic y"}


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"^(low|high)$", "low"),
        (r"^\d{4}-\d{2}-\d{2}$", "1111-11-11"),
        (r"^https?://", "https://"),
        (r"^[0-9a-f]{7,40}$", "0000000"),
        (r"^v?\d+\.\d+\.\d+(?:-[\w.]+)?$", "v1.1.1-a"),
        (r"^[^\s/]+\.tsx?$", "a.tsx"),
        (r"^(?<year>\d{4})$", "1111"),
        (r"^(?!.*--)[a-z]+$", "a"),
        (r"^[\]\-a]$", "]"),
        (r"^\x41\u0042\u{43}\t\/$", "ABC\t/"),
        (r"^[^a-zA-Z\d]$", " "),
        (r"^[\D]$", "a"),
        (r"^\p{L}+?$", "a"),
        (r"(a)\1", None),
        (r"a**", None),
        (r"[", None),
        ("(" * 60 + ")" * 60, None),
        (r"a{9999}b{9999}", None),
    ],
)
def test_text_is_written_for_common_patterns(pattern: str, text: str | None) -> None:
    assert sample(pattern) == text
