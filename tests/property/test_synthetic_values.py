"""Whatever a schema asks for, with the keywords that are supported, the value made up for it fits it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from callsheet.answers.schema import AnswerSchema
from callsheet.answers.synthetic import synthetic_value
from callsheet.model.values import JsonValue

Schemas = st.SearchStrategy[dict[str, JsonValue]]

names = st.sampled_from(["a", "file", "is_real", "findings", "ünïcode", "with space", "~1/"])
patterns = st.sampled_from(
    ["^[a-z]+$", "^\\d{4}-\\d{2}$", "^(low|high)$", "[A-Z]{3,}", "^#?\\w+(\\.\\w+)*$", "^.{1,9}$"]
)


@st.composite
def texts(draw: st.DrawFn) -> dict[str, JsonValue]:
    if draw(st.booleans()):
        return {"type": "string", "pattern": draw(patterns)}
    least = draw(st.integers(0, 60))
    return {"type": "string", "minLength": least, "maxLength": least + draw(st.integers(0, 60))}


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, JsonValue]:
    kind = draw(st.sampled_from(["integer", "number"]))
    step = draw(st.sampled_from([None, 1, 2, 7] if kind == "integer" else [None, 0.5, 0.25, 3]))
    low = draw(st.integers(-1_000, 1_000))
    room = draw(st.integers(20, 500))  # enough for a multiple, whichever ends are excluded
    schema: dict[str, JsonValue] = {"type": kind}
    if step is not None:
        schema["multipleOf"] = step
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = low + room
    return schema


choices: Schemas = st.one_of(
    st.builds(
        lambda values: {"enum": values},
        st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)), min_size=1, max_size=4),
    ),
    st.builds(lambda value: {"const": value}, st.one_of(st.text(max_size=5), st.integers(), st.lists(st.integers()))),
    st.just({"type": "boolean"}),
    st.just({"type": ["string", "null"]}),
    st.just({}),
)


def objects(inner: Schemas) -> Schemas:
    @st.composite
    def build(draw: st.DrawFn) -> dict[str, JsonValue]:
        properties = draw(st.dictionaries(names, inner, max_size=4))
        schema: dict[str, JsonValue] = {"type": "object", "properties": dict(properties)}
        if draw(st.booleans()) and properties:
            schema["required"] = list(draw(st.sets(st.sampled_from(sorted(properties)))))
        if draw(st.booleans()):
            schema["additionalProperties"] = False
        if draw(st.booleans()):
            schema["minProperties"] = draw(st.integers(0, len(properties)))
        return schema

    return build()


def arrays(inner: Schemas) -> Schemas:
    @st.composite
    def build(draw: st.DrawFn) -> dict[str, JsonValue]:
        schema: dict[str, JsonValue] = {"type": "array", "items": draw(inner)}
        if draw(st.booleans()):
            schema["minItems"] = draw(st.integers(0, 4))
        if draw(st.booleans()):
            schema["maxItems"] = 4 + draw(st.integers(0, 3))
        if draw(st.booleans()):
            schema["prefixItems"] = [draw(inner) for _ in range(draw(st.integers(1, 3)))]
        return schema

    return build()


def combinations(inner: Schemas) -> Schemas:
    return st.one_of(
        st.builds(lambda forms: {"anyOf": list(forms)}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda one: {"allOf": [one, {}]}, inner),
        st.builds(lambda one: {"oneOf": [one, {"type": "null"}]}, st.one_of(texts(), numbers())),
    )


schemas = st.recursive(
    st.one_of(texts(), numbers(), choices),
    lambda inner: st.one_of(objects(inner), arrays(inner), combinations(inner)),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(root=objects(schemas), shared=schemas, asked=st.integers(0, 5))
def test_a_value_made_up_for_a_schema_fits_it(root: dict[str, JsonValue], shared: JsonValue, asked: int) -> None:
    properties = root["properties"]
    assert isinstance(properties, dict)
    referring: JsonValue = {"$ref": "#/$defs/shared"}
    schema: dict[str, JsonValue] = {
        **root,
        "properties": {**properties, "shared": referring},
        "$defs": {"shared": shared},
    }
    value = synthetic_value(schema, asked=asked)
    assert AnswerSchema.compile(schema).violations(value) == ()
