"""Options and prompts of `agent()`: what is taken, what is refused and with which words."""

from __future__ import annotations

import pytest

from callsheet.engine.options import MisuseError, check_options, check_prompt, default_label, unknown_option
from callsheet.model.call import OPTION_NAMES, CallOptions, Scope
from callsheet.model.values import JsonValue


@pytest.mark.contract("A07", "A14", "A15")
def test_every_option_of_the_contract_is_read() -> None:
    given: dict[str, JsonValue] = {
        "label": "l", "phase": "p", "schema": {"type": "object"}, "model": "opus", "effort": "HIGH",
        "isolation": "worktree", "agentType": "Explore", "tools": ["read"], "disallowedTools": ["bash"],
        "scope": {"read": ["**"], "write": ["src/**"]}, "timeout": 1.5, "stallMs": 1000, "maxTurns": 3, "maxTokens": 9,
        "maxCost": 0.5, "retries": 0, "priority": -2, "speed": "fast", "context": "shared", "cwd": "src",
        "backend": "offline", "settle": True, "worktree": "fix-1", "merge": True,
        "conversation": "talk",
    }  # fmt: skip
    assert set(given) == set(OPTION_NAMES)
    assert check_options(given) == CallOptions(
        label="l", phase="p", schema={"type": "object"}, model="opus", effort="high", isolation="worktree",
        agent_type="Explore", tools=("read",), disallowed_tools=("bash",),
        scope=Scope(read=("**",), write=("src/**",)), timeout_s=1.5, stall_ms=1000.0, max_turns=3, max_tokens=9,
        max_cost_usd=0.5, retries=0, priority=-2.0, speed="fast", context="shared", cwd="src", backend="offline",
        settle=True, worktree="fix-1", merge=True, conversation="talk",
    )  # fmt: skip


@pytest.mark.contract("A08")
def test_null_counts_as_absent_for_every_option() -> None:
    assert check_options(dict.fromkeys(OPTION_NAMES)) == CallOptions()


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("effort", "bogus", "one of low, medium, high, xhigh, max, and is 'bogus'"),
        ("effort", 3, "one of low, medium, high, xhigh, max, and is 3"),
        ("isolation", "remote", "'worktree', and is 'remote'"),
        ("model", 7, "a string, and is 7"),
        ("agentType", "", "a string that is not empty"),
        ("label", {"a": 1}, "a string, and is an object"),
        ("phase", True, "a string, and is true"),
        ("schema", "x", "JSON Schema object with type 'object', and is a string"),
        ("schema", False, "JSON Schema object with type 'object', and is a boolean"),
        ("tools", "read", "an array of strings, and is 'read'"),
        ("tools", ["read", 1], "an array of non-empty strings, and holds 1"),
        ("scope", {"reads": ["**"]}, "an array of globs or {read: [globs], write: [globs]}"),
        ("scope", {"read": "**"}, "`scope.read` must be an array of strings"),
        ("timeout", 0, "a number of seconds above 0, and is 0"),
        ("timeout", "5", "a number of seconds above 0, and is '5'"),
        ("timeout", 10**400, "a number of seconds above 0"),
        ("stallMs", -1, "a number of milliseconds above 0"),
        ("maxTurns", 1.5, "a whole number from 1, and is 1.5"),
        ("maxTokens", 0, "a whole number from 1, and is 0"),
        ("maxCost", True, "a number of US dollars above 0, and is true"),
        ("retries", -1, "a whole number from 0"),
        ("priority", "high", "a number, higher first, and is 'high'"),
        ("speed", "slow", "'fast' or 'standard', and is 'slow'"),
        ("settle", 1, "true or false, and is 1"),
        ("worktree", "-x", "a name of letters, digits"),
        ("conversation", 3, "a string, and is 3"),
        ("conversation", "", "a string that is not empty"),
        ("conversation", "x" * 201, "a name of at most 200 characters"),
        ("merge", True, "goes with `worktree: 'name'`"),
    ],
)
@pytest.mark.contract("A09", "A14")
def test_a_wrong_option_is_a_type_error_that_names_it_and_what_is_allowed(
    option: str, value: JsonValue, says: str
) -> None:
    with pytest.raises(MisuseError) as refused:
        check_options({option: value})
    assert refused.value.name == "TypeError"
    assert f"`{option}" in refused.value.message
    assert says in refused.value.message


@pytest.mark.parametrize(
    ("prompt", "kind", "name", "says"),
    [
        (None, "a number", "TypeError", "a non-empty string, and is a number"),
        ("", "a string", "TypeError", "and is empty"),
        ("x" * (4 * 1024 * 1024 + 1), "a string", "RangeError", "larger than 4 MiB"),
        ("ü" * (2 * 1024 * 1024 + 1), "a string", "RangeError", "larger than 4 MiB"),
    ],
)
@pytest.mark.contract("A09", "L03")
def test_a_prompt_that_cannot_be_sent_is_refused(prompt: str | None, kind: str, name: str, says: str) -> None:
    with pytest.raises(MisuseError) as refused:
        check_prompt(prompt, kind)
    assert refused.value.name == name
    assert says in refused.value.message


def test_a_prompt_of_exactly_four_mebibytes_is_taken() -> None:
    assert check_prompt("x" * (4 * 1024 * 1024), "a string")


def test_lone_surrogates_never_get_further_than_the_door() -> None:
    assert check_prompt("a\ud800b", "a string") == "a\ufffdb"
    assert check_options({"label": "\udc00🎭"}).label == "\ufffd🎭"


@pytest.mark.parametrize(
    ("prompt", "label"),
    [
        ("first line of a prompt\nsecond", "first line of a prompt"),
        ("\n\n  indented\nrest", "indented"),
        ("x" * 100, "x" * 60),
        (" \n ", "agent"),
    ],
)
@pytest.mark.contract("A10")
def test_the_default_label_is_the_first_line_that_says_something(prompt: str, label: str) -> None:
    assert default_label(prompt) == label


@pytest.mark.contract("L03")
def test_labels_and_phases_are_cut_to_200_characters_and_numbers_are_taken_as_text() -> None:
    options = check_options({"label": "l" * 300, "phase": 7})
    assert options.label == "l" * 200
    assert options.phase == "7"


def test_an_unknown_option_is_named_with_those_there_are() -> None:
    assert "`retry`" in unknown_option("retry")
    assert "maxTurns" in unknown_option("retry")
