"""YAML as plain data: what it means, what it may not hold, and the line of each part."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.library.plain_yaml import MAX_BRACKETS, YamlFaultyError, read_yaml
from callsheet.model.values import JsonValue


def _value(text: str) -> JsonValue:
    return read_yaml(text.encode()).value


def _faults(text: str) -> list[tuple[int | None, str]]:
    with pytest.raises(YamlFaultyError) as refused:
        read_yaml(text.encode())
    return [(fault.line, fault.message) for fault in refused.value.faults]


def test_words_mean_what_the_core_schema_says_and_nothing_that_surprises() -> None:
    assert _value("[1, -2, 0x1F, 1.5, .5, 1e3, true, False, null, ~, on, no, 12:30, 2026-11-21, '1', \"true\"]") == [
        *(1, -2, 31, 1.5, 0.5, 1000.0, True, False, None, None),
        *("on", "no", "12:30", "2026-11-21", "1", "true"),
    ]


def test_an_empty_text_says_nothing() -> None:
    assert _value("") is None
    assert _value("\ufeff# nothing\n") is None


def test_every_part_has_its_line() -> None:
    found = read_yaml(b"a:\n  b: 1\n  c:\n    - x\n    - y: 2\n")

    assert [found.line_of(place) for place in (("a", "b"), ("a", "c", 1, "y"), ("a", "c", 1, "z"))] == [2, 5, 5]


def test_words_in_braces_that_mean_themselves_need_no_quotes() -> None:
    text = b"log: {to: ./run-{timestamp}.json, '{timestamp}': 1}"

    assert read_yaml(text, words=("timestamp",)).value == {"log": {"to": "./run-{timestamp}.json", "{timestamp}": 1}}


def test_aliases_tags_and_keys_that_come_twice_are_refused_with_their_lines() -> None:
    assert _faults("a: &x 1\nb: *x\n") == [(2, "aliases are not supported")]
    assert _faults("a: 1\nb: !!python/object:os.system x\nc: !mine 2\na: 3\n? [1]\n: 2\n") == [
        (2, "the tag tag:yaml.org,2002:python/object:os.system has no meaning here: leave it out"),
        (3, "the tag !mine has no meaning here: leave it out"),
        (4, "a stands here again; it stands in line 1"),
        (5, "a key must be text"),
    ]


@pytest.mark.parametrize(
    "text",
    ["[" * 5_000, "a: " + "{x: " * (MAX_BRACKETS + 1), "".join(f"{' ' * n}a:\n" for n in range(400)), "- " * 5_000],
)
def test_what_nests_too_deep_is_refused_at_once(text: str) -> None:
    assert [message for _, message in _faults(text)] == ["it nests too deep"]


def test_what_is_no_yaml_is_refused_with_its_line() -> None:
    assert [line for line, _ in _faults("a: 1\nb: [1, 2\nc: 3\n")] == [3]
    assert [line for line, _ in _faults("a: 1\n---\nb: 2\n")] == [2]
    with pytest.raises(YamlFaultyError, match="UTF-8"):
        read_yaml(b"a: 1\nb: \xff\n")


@given(st.binary(max_size=200) | st.text("abc:-{}[]&*!'\"#\n ,?|>%@`\t", max_size=200).map(str.encode))
def test_whatever_the_bytes_are_it_is_read_or_refused(data: bytes) -> None:
    try:
        read_yaml(data, words=("timestamp",))
    except YamlFaultyError as error:
        assert error.faults
