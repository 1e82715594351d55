"""A recorded conversation goes on: what the model is shown of it, and what is said to calls that were cut off."""

from __future__ import annotations

import json
from typing import Any

import pytest

from callsheet.agents.anthropic.keeping import Restored, restored
from callsheet.agents.prompt import MAY_HAVE_HAPPENED, NOT_DONE, RESULT_LOST
from callsheet.model.call import KeptConversation

pytestmark = pytest.mark.contract("R01")

TASK = {"role": "user", "content": [{"type": "text", "text": "the task"}]}


def said(*blocks: Any, stop: str = "end_turn") -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks), "stop_reason": stop, "usage": {"output_tokens": 1}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def use(id: str, tool: str = "write", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": tool, "input": given}


def result(id: str, words: str = "fine") -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": words}]}


def row(tool: str, state: str, **given: Any) -> tuple[str, str, str]:
    return (tool, json.dumps(given, separators=(",", ":")), state)


def go_on(*messages: Any, calls: tuple[tuple[str, str, str], ...] = ()) -> Restored:
    return restored(KeptConversation(messages=messages, tool_calls=calls))


def test_where_the_last_result_is_known_the_model_is_next() -> None:
    found = go_on(TASK, said(use("1", path="a"), stop="tool_use"), result("1"), calls=(row("write", "done", path="a"),))
    assert [message["role"] for message in found.messages] == ["user", "assistant", "user"]
    assert (found.cut_off, found.replies) == ([], 1)


def test_each_call_that_was_cut_off_is_told_whether_it_was_done_may_have_been_or_was_not() -> None:
    calls = [use("1", path="a"), use("2", path="b"), use("3", "read", path="c")]
    found = go_on(
        TASK,
        said(*calls, stop="tool_use"),
        calls=(row("write", "done", path="a"), row("write", "intent", path="b")),
    )
    assert [(one["tool_use_id"], one["content"]) for one in found.cut_off] == [
        ("1", RESULT_LOST),
        ("2", MAY_HAVE_HAPPENED),
        ("3", NOT_DONE),
    ]
    assert all(one["is_error"] for one in found.cut_off)


def test_an_equal_call_of_before_is_not_taken_for_the_one_that_was_cut_off() -> None:
    found = go_on(
        TASK,
        said(use("1", path="a"), stop="tool_use"),
        result("1"),
        said(use("2", path="a"), stop="tool_use"),
        calls=(row("write", "done", path="a"),),
    )
    assert [one["content"] for one in found.cut_off] == [NOT_DONE]


def test_a_call_whose_input_held_a_secret_counts_as_one_that_may_have_happened() -> None:
    found = go_on(
        TASK,
        said(use("1", "bash", command="x hunter2"), stop="tool_use"),
        calls=(row("bash", "intent", command="x ‹›"),),
    )
    assert [one["content"] for one in found.cut_off] == [MAY_HAVE_HAPPENED]


def test_a_last_reply_without_calls_is_asked_for_again() -> None:
    found = go_on(TASK, said(use("1"), stop="tool_use"), result("1"), said(text("the answer")))
    assert [message["role"] for message in found.messages] == ["user", "assistant", "user"]


def test_after_a_compaction_only_what_follows_it_goes_on() -> None:
    summary = {"type": "compaction", "content": "what was"}
    found = go_on(TASK, said(text("x")), TASK, said(summary, stop="compaction"), TASK)
    assert [message["content"] for message in found.messages] == [[summary], TASK["content"]]


def test_of_a_reply_that_was_cut_off_its_text_goes_on() -> None:
    found = go_on(TASK, said(text("whole"), use("1"), stop="max_tokens"), TASK)
    assert [message["content"] for message in found.messages][1] == [text("whole")]


@pytest.mark.parametrize("messages", [(), (TASK,), (None, 3)])
def test_without_a_reply_there_is_nothing_to_go_on_from(messages: tuple[Any, ...]) -> None:
    assert go_on(*messages).replies == 0
