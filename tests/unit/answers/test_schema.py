from __future__ import annotations

import copy

import pytest

from callsheet.answers.schema import AnswerSchema
from callsheet.errors import SchemaUnusableError
from callsheet.model.values import JsonValue

FINDINGS: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "findings": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"severity": {"type": "string", "enum": ["low", "high"]}, "file": {"type": "string"}},
                "required": ["severity", "file"],
            },
        },
        "count": {"type": "integer", "minimum": 3},
        "slug": {"type": "string", "pattern": "^[a-z]+$"},
    },
    "required": ["findings"],
    "additionalProperties": False,
}


def refusal(schema: JsonValue) -> str:
    with pytest.raises(SchemaUnusableError) as caught:
        AnswerSchema.compile(schema)
    return caught.value.message


def closed(**properties: JsonValue) -> dict[str, JsonValue]:
    return {"type": "object", "properties": properties, "required": [*properties, "b"], "additionalProperties": False}


def with_property(rule: JsonValue) -> dict[str, JsonValue]:
    return {"type": "object", "properties": {"a": rule}}


@pytest.mark.contract("A03")
def test_a_fitting_answer_has_no_violations() -> None:
    assert AnswerSchema.compile(FINDINGS).violations({"findings": [{"severity": "low", "file": "a.py"}]}) == ()


@pytest.mark.contract("A03")
def test_violations_name_the_place_in_the_answer_and_come_in_order_of_place() -> None:
    answer: JsonValue = {
        "slug": "A1",
        "findings": [{"severity": "urgent", "file": 3}, {"severity": "low"}],
        "count": 1,
        "extra": 1,
    }
    assert AnswerSchema.compile(FINDINGS).violations(answer) == (
        'the answer: "extra" is not allowed here',
        "/count: 1 is less than the minimum of 3",
        '/findings/0/file: 3 is not of type "string"',
        '/findings/0/severity: "urgent" is not one of "low", "high"',
        '/findings/1: "file" is missing',
        '/slug: "A1" does not match the pattern `^[a-z]+$`',
    )


def test_an_answer_that_is_no_object_is_said_to_be_none() -> None:
    assert AnswerSchema.compile(FINDINGS).violations("text") == ('the answer: "text" is not of type "object"',)
    assert AnswerSchema.compile(FINDINGS).violations(None) == ('the answer: null is not of type "object"',)


def test_the_nearest_of_several_forms_explains_what_is_wrong() -> None:
    schema = AnswerSchema.compile(
        with_property(
            {
                "anyOf": [
                    {"type": "string"},
                    {
                        "type": "object",
                        "properties": {"kind": {"const": "x"}, "n": {"type": "number"}},
                        "required": ["kind", "n"],
                    },
                ]
            }
        )
    )
    (line,) = schema.violations({"a": {"kind": "x", "n": "no"}})
    assert line.endswith('fits none of 2 forms; for the nearest, /n "no" is not of type "number"')


@pytest.mark.parametrize(
    ("rule", "value", "said"),
    [
        ({"const": {"k": 1}}, 2, '2 is not {"k": 1}'),
        (False, 1, "1 is not allowed here"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, 1, "1 fits more than one of the forms"),
        ({"minItems": 1}, [], "[] has less than 1 item"),
        ({"type": "object", "unevaluatedProperties": False}, {"z": 1, "y": 1}, '"z", "y" are not allowed here'),
        ({"maxLength": 3}, "ab" * 5_000, "is longer than 3 characters"),
    ],
)
def test_each_sort_of_violation_is_said_in_words(rule: JsonValue, value: JsonValue, said: str) -> None:
    lines = AnswerSchema.compile(with_property(rule)).violations({"a": value})
    assert len(lines) == 1
    assert lines[0].startswith("/a: ")
    assert said in lines[0]
    assert len(lines[0]) <= 300


def test_many_violations_become_ten_lines_of_which_the_last_counts_the_rest() -> None:
    schema = AnswerSchema.compile(with_property({"items": {"type": "string"}}))
    lines = schema.violations({"a": list(range(500))})
    assert len(lines) == 10
    assert lines[0] == '/a/0: 0 is not of type "string"'
    assert lines[-1] == "and 491 more"


def test_long_paths_and_values_are_cut_to_300_characters() -> None:
    deep: JsonValue = {"type": "integer"}
    value: JsonValue = "x" * 10_000
    for number in range(12):
        deep = {"type": "object", "properties": {f"a-rather-long-name-{number}": deep}}
        value = {f"a-rather-long-name-{number}": value}
    (line,) = AnswerSchema.compile(deep).violations(value)
    assert len(line) <= 300
    assert line.endswith('is not of type "integer"')


def test_the_order_of_violations_is_the_same_every_time() -> None:
    answer: JsonValue = {"findings": [{"severity": n, "file": n} for n in range(8)]}
    schema = AnswerSchema.compile(FINDINGS)
    assert len({schema.violations(answer) for _ in range(5)}) == 1


def test_a_recursive_schema_explains_where_a_tree_is_wrong() -> None:
    schema = AnswerSchema.compile(
        {
            "type": "object",
            "properties": {"name": {"type": "string"}, "kids": {"type": "array", "items": {"$ref": "#"}}},
            "required": ["name"],
        }
    )
    answer: JsonValue = {"name": 1}
    for _ in range(10):
        answer = {"name": "x", "kids": [answer]}
    assert schema.violations(answer) == (f'{"/kids/0" * 10}/name: 1 is not of type "string"',)


# --- schemas that are refused -----------------------------------------------------------------------------------------


@pytest.mark.contract("A04")
@pytest.mark.parametrize(
    "schema",
    [
        None, True, "x", 3, [], {}, {"type": "string"}, {"type": "array", "items": {}}, {"type": ["object", "null"]},
        {"properties": {"a": {}}}, {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}},
    ],
)  # fmt: skip
def test_a_root_that_is_not_an_object_is_refused_with_the_remedy(schema: JsonValue) -> None:
    message = refusal(schema)
    assert message.startswith("schema: it")
    assert "type: 'object'" in message


@pytest.mark.contract("A04")
def test_a_type_list_that_holds_only_object_means_the_same_as_object() -> None:
    assert AnswerSchema.compile({"type": ["object"]}).violations({}) == ()


@pytest.mark.contract("A04")
def test_a_required_key_that_is_not_allowed_is_refused_at_its_place() -> None:
    assert refusal(closed(a={})) == (
        'schema at /required: the key "b" is required, but `additionalProperties: false` allows only "a"; '
        'add "b" to `properties`, or take it out of `required`'
    )


@pytest.mark.contract("A04")
@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({**with_property(closed(c={})), "required": ["a"]}, "/properties/a/required"),
        (
            {
                "type": "object",
                "required": ["a"],
                "properties": {"a": {"$ref": "#/$defs/one"}},
                "$defs": {"one": closed(c={})},
            },
            "/properties/a/required",
        ),
        ({"type": "object", "allOf": [{"required": ["z"]}], "additionalProperties": False}, "/required"),
        (
            {**with_property({"type": "array", "minItems": 1, "items": closed(c={})}), "required": ["a"]},
            "/properties/a/items/required",
        ),
        ({"type": "object", "patternProperties": {"^x-": {}}, **closed(), "required": ["y-1"]}, "/required"),
        ({**with_property(False), "required": ["a"]}, "/properties/a"),
    ],
)
def test_what_every_answer_must_have_is_followed_into_its_parts(schema: JsonValue, place: str) -> None:
    assert refusal(schema).startswith(f"schema at {place}: ")


@pytest.mark.contract("A04")
@pytest.mark.parametrize(
    "schema",
    [
        with_property(closed(c={})),  # it may be left out
        {**with_property({**closed(c={}), "type": ["object", "null"]}), "required": ["a"]},  # it may be null
        {**with_property({"type": "array", "items": closed(c={})}), "required": ["a"]},  # it may be empty
        {"type": "object", "patternProperties": {"^x-": {}}, "required": ["x-1"], "additionalProperties": False},
    ],
)
def test_a_part_that_an_answer_can_do_without_refuses_nothing(schema: JsonValue) -> None:
    AnswerSchema.compile(schema)


@pytest.mark.contract("A04")
@pytest.mark.parametrize(
    "reference", ["file:///etc/hostname", "http://127.0.0.1:9/x.json", "other.json", "", "https://json-schema.org/x#"]
)
def test_a_reference_that_is_not_local_is_refused_and_nothing_is_fetched(reference: str) -> None:
    message = refusal(with_property({"$ref": reference}))
    assert message.startswith("schema at /properties/a/$ref: ")
    assert "nothing is fetched" in message


@pytest.mark.contract("A04")
@pytest.mark.parametrize(
    "reference", ["#/nope", "#/properties/0", "#nope", "#/required/7", "#/a~1b", f"#/{'9' * 9000}"]
)
def test_a_local_reference_that_leads_nowhere_is_refused_at_its_place(reference: str) -> None:
    message = refusal({**with_property({"items": [{"$ref": reference}]}), "required": ["a"]})
    assert message.startswith("schema at /properties/a/items/0/$ref: there is nothing at ")


@pytest.mark.parametrize("reference", ["#/$defs/n", "#named", "#/$defs/a~1b", "#/%24defs/n", "#/$defs/l/prefixItems/0"])
def test_local_references_of_all_forms_are_followed(reference: str) -> None:
    number: JsonValue = {"$anchor": "named", "type": "number"}
    schema = AnswerSchema.compile(
        {
            **with_property({"$ref": reference}),
            "$defs": {"n": number, "a/b": {"type": "number"}, "l": {"prefixItems": [{"type": "number"}]}},
        }
    )
    assert schema.violations({"a": 1}) == ()
    assert schema.violations({"a": "x"}) == ('/a: "x" is not of type "number"',)


def test_a_property_or_value_that_looks_like_a_reference_is_none() -> None:
    AnswerSchema.compile(with_property({"enum": [{"$ref": "file:///x"}], "default": {"pattern": "("}}))
    AnswerSchema.compile({"type": "object", "properties": {"$ref": {"type": "string"}, "pattern": {"type": "string"}}})


@pytest.mark.contract("A04")
def test_an_inner_id_beside_references_is_refused_because_it_changes_their_meaning() -> None:
    schema: JsonValue = {"type": "object", "$defs": {"a": {"$id": "x"}}, "properties": {"b": {"$ref": "#/$defs/a"}}}
    assert refusal(schema).startswith("schema at /$defs/a/$id: ")
    AnswerSchema.compile({"type": "object", "$id": "https://example.com/x", "$defs": {"a": {"$id": "x"}}})


@pytest.mark.contract("A04")
@pytest.mark.parametrize(
    ("schema", "place"),
    [
        (with_property({"pattern": "("}), "/properties/a/pattern"),
        ({"type": "object", "patternProperties": {"(": {}}}, "/patternProperties/("),
        (with_property({"pattern": 3}), "/properties/a/pattern"),
        (with_property({"pattern": "((a{100}){100}){100}"}), "/properties/a/pattern"),
    ],
)
def test_a_pattern_that_does_not_compile_is_refused_at_its_place(schema: JsonValue, place: str) -> None:
    assert refusal(schema).startswith(f"schema at {place}: ")


@pytest.mark.contract("A04")
def test_a_schema_over_64_kib_is_refused_and_one_just_below_is_not() -> None:
    empty = len('{"type":"object","description":""}')
    AnswerSchema.compile({"type": "object", "description": "é" * ((64 * 1024 - empty) // 2)})
    assert "64 KiB" in refusal({"type": "object", "description": "é" * ((64 * 1024 - empty) // 2 + 1)})


@pytest.mark.contract("A04")
def test_a_schema_over_64_levels_is_refused_and_one_of_64_is_not() -> None:
    def nested(levels: int) -> JsonValue:
        value: JsonValue = {}
        for _ in range(levels - 2):
            value = [value]
        return {"type": "object", "default": value}

    AnswerSchema.compile(nested(64))
    assert "64 levels" in refusal(nested(65))
    assert "64 levels" in refusal(nested(100_000))


@pytest.mark.contract("A04")
@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"type": "text"}, 'schema at /properties/a/type: "text" is no type; the types are object, array, string'),
        ({"required": True}, 'schema at /properties/a/required: true is not of type "array"; correct it there'),
        ("string", 'schema at /properties/a: "string" is not of types "boolean", "object"'),
    ],
)
def test_a_misspelt_keyword_is_refused_at_its_place(rule: JsonValue, said: str) -> None:
    assert refusal(with_property(rule)).startswith(said)


# --- what real scripts write ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {"$schema": "http://json-schema.org/draft-07/schema#"},
        {"$schema": "https://example.com/made-up"},
        {"$schema": "draft-07"},
        {"title": "T", "description": "…", "examples": [1], "x-order": 3, "nullable": True, "strict": True},
        {"definitions": {"a": {}}, "$comment": "c"},
        {"format": "made-up"},
        {"description": "half a character: \ud83d"},
    ],
)
def test_schemas_are_taken_as_scripts_write_them(more: dict[str, JsonValue]) -> None:
    schema = AnswerSchema.compile({**with_property({"type": "string", "format": "email"}), **more})
    assert schema.violations({"a": "not an address", "unknown": 1}) == ()
    assert schema.violations({"a": 1}) != ()


def test_tuples_as_older_drafts_write_them_are_understood() -> None:
    schema = AnswerSchema.compile(with_property({"type": "array", "items": [{"type": "string"}, {"type": "number"}]}))
    assert schema.violations({"a": ["x", 1]}) == ()
    assert schema.violations({"a": [1, "x"]}) == (
        '/a/0: 1 is not of type "string"',
        '/a/1: "x" is not of type "number"',
    )


def test_patterns_with_look_around_work() -> None:
    schema = AnswerSchema.compile(with_property({"type": "string", "pattern": "^(?!.*--)[a-z-]+$"}))
    assert schema.violations({"a": "a-b"}) == ()
    assert schema.violations({"a": "a--b"}) != ()


def test_half_a_character_in_an_answer_is_judged_like_another_character() -> None:
    schema = AnswerSchema.compile(with_property({"type": "string", "minLength": 2}))
    assert schema.violations({"a": "x\ud83d"}) == ()
    assert schema.violations({"a": "\ud83d", "\udc00": 1}) == ('/a: "?" is shorter than 2 characters',)


@pytest.mark.contract("A06")
def test_compiling_leaves_the_schema_as_it_was_and_keeps_its_own_copy() -> None:
    given = copy.deepcopy(FINDINGS)
    schema = AnswerSchema.compile(given)
    assert given == FINDINGS
    given["required"] = ["other"]
    assert schema.violations({"findings": []}) == ()


def test_equal_schemas_share_one_compiled_form() -> None:
    assert AnswerSchema.compile(FINDINGS) is AnswerSchema.compile(copy.deepcopy(FINDINGS))
