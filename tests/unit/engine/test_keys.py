"""The key of a call: what is part of it, and what is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from callsheet.engine.keys import KEY_VERSION, Occurrences, asked_by, call_key, definition_hash, next_chain
from callsheet.model.call import AgentType, CallOptions, Scope

pytestmark = pytest.mark.contract("R02")

TYPE = AgentType(name="general-purpose", description="anything")


def key(options: CallOptions | None = None, **changes: Any) -> str:
    asked: dict[str, Any] = {
        "prompt": "p",
        "options": options or CallOptions(),
        "agent_type": TYPE,
        "model": None,
        "effort": None,
        "backend": "fake",
        "cwd": ".",
    }
    return call_key(**(asked | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "q"},
        {"model": "opus"},
        {"effort": "high"},
        {"backend": "offline"},
        {"cwd": "src"},
        {"agent_type": replace(TYPE, name="other")},
        {"agent_type": replace(TYPE, system_prompt="be kind")},
        {"agent_type": replace(TYPE, tools=("read",))},
        {"agent_type": replace(TYPE, read_only=True)},
        {"options": CallOptions(schema={"type": "object"})},
        {"options": CallOptions(isolation="worktree")},
        {"options": CallOptions(worktree="one")},
        {"options": CallOptions(tools=("read",))},
        {"options": CallOptions(disallowed_tools=("read",))},
        {"options": CallOptions(scope=Scope(read=("src/**",)))},
        {"options": CallOptions(scope=Scope(write=("src/**",)))},
        {"options": CallOptions(context="shared")},
        {"options": CallOptions(conversation="talk")},
    ],
)
def test_what_changes_the_question_changes_the_key(changes: dict[str, Any]) -> None:
    assert key(**changes) != key()


@pytest.mark.parametrize(
    "options",
    [
        CallOptions(label="l"),
        CallOptions(phase="p"),
        CallOptions(priority=5),
        CallOptions(timeout_s=3, stall_ms=3, max_turns=3, max_tokens=3, max_cost_usd=3, retries=3),
        CallOptions(speed="fast"),
        CallOptions(settle=True),
        CallOptions(merge=True),
    ],
)
def test_what_does_not_change_the_question_leaves_the_key(options: CallOptions) -> None:
    assert key(options) == key()


def test_where_a_type_was_found_and_how_it_is_described_leave_the_key() -> None:
    moved = replace(TYPE, source="/elsewhere/x.md", description="reworded")
    assert definition_hash(moved) == definition_hash(TYPE)
    assert key(agent_type=moved) == key()


def test_the_order_of_tools_globs_and_schema_keys_leaves_the_key() -> None:
    one = CallOptions(tools=("a", "b"), scope=Scope(read=("x", "y")), schema={"type": "object", "properties": {}})
    two = CallOptions(tools=("b", "a"), scope=Scope(read=("y", "x")), schema={"properties": {}, "type": "object"})
    assert key(one) == key(two)


def test_a_key_names_its_version_and_stays_as_it_was_recorded() -> None:
    assert KEY_VERSION == "1"
    assert key() == "1:1e355aaa81814bfa9d6ae1e3fdaa38748208f51903701c3e8207d324605336d1"


def test_a_turn_is_known_by_its_conversation_and_all_that_was_said_in_it_before() -> None:
    def turn(name: str, chain: str) -> str:
        options = CallOptions(conversation=name)
        return asked_by(
            prompt="p", options=options, agent_type=TYPE, model=None, effort=None, backend="fake", cwd=".", chain=chain
        ).key

    once = next_chain(turn("talk", ""), 1, '"yes"')
    keys = [turn("talk", ""), turn("other", ""), turn("talk", once)]
    keys += [turn("talk", next_chain(turn("talk", ""), *told)) for told in ((2, '"yes"'), (1, '"no"'))]
    assert len(set(keys)) == len(keys)


def test_any_text_has_a_key() -> None:
    assert key(prompt="\ud800 🎭\x00") != key(prompt="🎭")


def test_equal_calls_are_told_apart_by_their_number() -> None:
    occurrences = Occurrences()
    assert [occurrences.next(name) for name in ("a", "b", "a", "a", "b")] == [1, 1, 2, 3, 2]
