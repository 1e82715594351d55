from __future__ import annotations

import pytest

from callsheet.app.arguments import parse_arguments, parse_value
from callsheet.errors import UsageError
from callsheet.model.values import JsonValue

pytestmark = pytest.mark.contract("G01")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        ("[1, 2, 3]", [1, 2, 3]),
        ('"text"', "text"),
        ("42", 42),
        ("true", True),
        ("null", None),
        (" 7 ", 7),
    ],
)
def test_json_is_parsed(text: str, value: JsonValue) -> None:
    assert parse_value(text, flag="--args") == value


@pytest.mark.parametrize(
    "text",
    [
        "plain words",
        "",
        "NaN",
        "1e999",
        "-",
        "True",
        "[WIP] fix the login",
        "[1] see the footnote",
        "[see notes]: part two",
        "path/to/file.ts",
        "1, 2",
        "9" * 5_000,
        "'single'",
    ],
)
def test_what_is_not_json_is_the_text_itself(text: str) -> None:
    assert parse_value(text, flag="--args") == text


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"a": 1', "line 1, column 8"),
        ("{a: 1}", "line 1, column 2"),
        ("{'a': 1}", "line 1, column 2"),
        ('{"a": 1} more', "line 1, column 10"),
        ('{\n  "a": tru\n}', "line 2, column 8"),
        ("[1, 2", "line 1, column 6"),
        ("[a, b]", "line 1, column 2"),
        ('["a" "b"]', "line 1, column 6"),
        ('{"a": NaN}', "line 1, column 7"),
    ],
)
def test_broken_json_is_an_error_with_its_place_and_a_remedy(text: str, place: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_value(text, flag="--args")

    assert f"--args is not JSON at {place}" in caught.value.message
    assert "single quotes" in caught.value.message
    assert "JSON string" in caught.value.message


def test_json_nested_beyond_measure_is_an_error() -> None:
    with pytest.raises(UsageError, match="nested too deeply"):
        parse_value("[" * 100_000, flag="--args")


def test_without_words_there_is_no_value() -> None:
    assert parse_arguments(None, ()) == (False, None)
    assert parse_arguments("null", ()) == (True, None)


def test_pairs_make_an_object() -> None:
    pairs = ("n=3", "text=two words", "empty=", "url=https://a.b/?c=d", 'list=["x"]')

    assert parse_arguments(None, pairs) == (
        True,
        {"n": 3, "text": "two words", "empty": "", "url": "https://a.b/?c=d", "list": ["x"]},
    )


@pytest.mark.parametrize(
    ("args", "pairs", "message"),
    [
        ("1", ("a=1",), "exclude each other"),
        (None, ("a",), r"'a' is not key=value"),
        (None, ("=1",), r"'=1' is not key=value"),
        (None, ("a=1", "a=2"), r"a=… was given twice"),
        (None, ("a={b",), r"--arg a is not JSON at line 1, column 2"),
    ],
)
def test_wrong_pairs_are_errors(args: str | None, pairs: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_arguments(args, pairs)


@pytest.mark.parametrize(
    ("words", "args"),
    [
        (("fix", "the", "login"), "fix the login"),
        (('{"a": [1]}',), {"a": [1]}),
        (("[1,", "2]"), [1, 2]),
        (("7",), 7),
        (("where=src", "depth=2"), {"where": "src", "depth": 2}),
        (("where=src", "and", "more"), "where=src and more"),
        (("a==b",), "a==b"),
        (("[WIP]", "fix"), "[WIP] fix"),
    ],
)
def test_words_are_one_value(words: tuple[str, ...], args: JsonValue) -> None:
    assert parse_arguments(None, (), words) == (True, args)
