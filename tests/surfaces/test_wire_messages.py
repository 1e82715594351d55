"""The Anthropic backend against a Messages service over a real socket: turns, answers, tools, usage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from callsheet.agents.anthropic import AnthropicBackend
from callsheet.agents.tools.fence import unfenced
from callsheet.model.call import AgentType
from callsheet.model.reports import MessageAdded, Progress, Touched
from callsheet.model.spending import Budget
from tests.support.agents import RecordingReporter, agent_task
from tests.support.deadline import within
from tests.support.messages_replies import Hang, Refuse, Say, text, thinking, tool_use
from tests.support.wire import wired

pytestmark = pytest.mark.anyio

SCHEMA = {
    "type": "object",
    "required": ["count"],
    "properties": {"count": {"type": "integer"}, "note": {"type": "string"}},
    "additionalProperties": False,
}


def answer(**value: Any) -> dict[str, Any]:
    return tool_use("answer", **value)


# --- text


@pytest.mark.contract("A02")
async def test_the_final_text_is_the_value_and_one_request_is_sent(tmp_path: Path) -> None:
    async with wired(Say([text("It is 42.")])) as wire:
        outcome = await wire.run(agent_task(tmp_path, "What is it?"))
    assert (outcome.status, outcome.value, outcome.error) == ("ok", "It is 42.", None)
    assert wire.service.count == 1
    assert wire.service.requests[0].messages[0]["content"][-1]["text"] == "What is it?"


async def test_text_before_a_tool_call_is_not_the_value(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpha", encoding="utf-8")
    async with wired(Say([text("I look."), tool_use("read", file_path="a.txt")]), Say([text("alpha")])) as wire:
        outcome = await wire.run(agent_task(tmp_path))
    assert outcome.value == "alpha"


async def test_an_agent_that_ends_with_nothing_to_add_returns_what_it_said_before_its_tools(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpha", encoding="utf-8")
    async with wired(Say([text("The answer: alpha."), tool_use("read", file_path="a.txt")]), Say([])) as wire:
        outcome = await wire.run(agent_task(tmp_path))
    assert (outcome.status, outcome.value) == ("ok", "The answer: alpha.")


async def test_thinking_and_pings_are_kept_out_of_the_value_and_thinking_goes_back_as_it_came(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpha", encoding="utf-8")
    first = Say([thinking("hm", "signed"), tool_use("read", file_path="a.txt")], pings=2)
    async with wired(first, Say([thinking("so"), text("done")], pings=1)) as wire:
        outcome = await wire.run(agent_task(tmp_path))
    assert outcome.value == "done"
    assert wire.service.requests[1].messages[1]["content"][0] == {
        "type": "thinking",
        "thinking": "hm",
        "signature": "signed",
    }


# --- what is sent


async def test_model_effort_and_system_prompt_are_sent(tmp_path: Path) -> None:
    kind = AgentType(name="critic", description="d", system_prompt="You are a critic.", model="haiku")
    async with wired(Say([text("x")]), Say([text("x")])) as wire:
        await wire.run(agent_task(tmp_path, kind=kind, effort="xhigh"))
        await wire.run(agent_task(tmp_path, kind=kind, model="opus"))
    first, second = (request.body for request in wire.service.requests)
    assert first["model"] == "claude-haiku-5-5"
    assert first["output_config"] == {"effort": "xhigh"}
    assert second["model"] == "claude-opus-5-5"
    assert "output_config" not in second
    shared, place = (block["text"] for block in first["system"])
    assert "You are a critic." in shared
    assert str(tmp_path) in place
    assert "2026-11-21" in place
    assert "08:00" not in place


async def test_shared_context_goes_first_and_the_cache_marks_stand_where_prefixes_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpha", encoding="utf-8")
    turns = [Say([tool_use("read", id=f"t{n}", file_path="a.txt")]) for n in range(3)]
    async with wired(*turns, Say([text("x")])) as wire:
        await wire.run(agent_task(tmp_path, "The task", context="Long shared text"))
    for request in wire.service.requests:
        first = request.messages[0]["content"]
        assert [block["text"] for block in first] == ["Long shared text", "The task"]
        assert "cache_control" in first[0]
        assert "cache_control" in request.messages[-1]["content"][-1]
        assert "cache_control" in request.body["tools"][-1]
        assert "cache_control" in request.body["system"][-1]
        assert str(request.body).count("'cache_control'") == 4, "a request takes no more"


async def test_the_conversation_is_sent_whole_and_never_kept_at_the_service(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpha", encoding="utf-8")
    async with wired(Say([tool_use("read", file_path="a.txt")]), Say([text("x")])) as wire:
        await wire.run(agent_task(tmp_path))
    assert [len(request.messages) for request in wire.service.requests] == [1, 3]
    assert all("thread" not in request.body for request in wire.service.requests)


async def test_agents_of_one_backend_share_connections(tmp_path: Path) -> None:
    async with wired(*[Say([text("x")])] * 5) as wire:
        for _ in range(5):
            await wire.run(agent_task(tmp_path))
    assert wire.service.connections == 1


# --- structured answers


@pytest.mark.contract("A03")
async def test_a_valid_answer_ends_the_agent_without_another_request(tmp_path: Path) -> None:
    async with wired(Say([text("Counting."), answer(count=3)])) as wire:
        outcome = await wire.run(agent_task(tmp_path, schema=SCHEMA))
    assert (outcome.status, outcome.value, outcome.attempts) == ("ok", {"count": 3}, 1)
    assert wire.service.count == 1
    request = wire.service.requests[0].body
    assert request["tools"][-1]["name"] == "answer"
    assert request["tools"][-1]["input_schema"] == SCHEMA
    assert "tool_choice" not in request


@pytest.mark.contract("A03")
async def test_a_wrong_answer_goes_back_with_what_is_wrong_and_is_corrected(tmp_path: Path) -> None:
    async with wired(Say([answer(count="three")]), Say([answer(count=3)])) as wire:
        outcome = await wire.run(agent_task(tmp_path, schema=SCHEMA))
    result = wire.service.requests[1].messages[-1]["content"][0]
    assert result["is_error"] is True
    assert "/count" in result["content"]
    assert (outcome.status, outcome.value, outcome.attempts) == ("ok", {"count": 3}, 2)
    assert wire.service.count == 2


@pytest.mark.contract("A03")
async def test_the_fifth_wrong_answer_is_the_last_and_names_the_violation(tmp_path: Path) -> None:
    async with wired(*[Say([answer(count=f"try {n}")]) for n in range(9)]) as wire:
        outcome = await wire.run(agent_task(tmp_path, schema=SCHEMA))
    assert (outcome.status, outcome.value, outcome.attempts) == ("invalid", None, 5)
    assert outcome.error is not None
    assert "try 4" in outcome.error
    assert wire.service.count == 5


async def test_an_agent_that_does_not_answer_is_nudged_once_with_its_conversation_kept(tmp_path: Path) -> None:
    async with wired(Say([text("There are three.")]), Say([answer(count=3)])) as wire:
        outcome = await wire.run(agent_task(tmp_path, schema=SCHEMA))
    nudge = wire.service.requests[1]
    assert nudge.body["tool_choice"] == {"type": "tool", "name": "answer"}
    assert [message["role"] for message in nudge.messages] == ["user", "assistant", "user"]
    assert nudge.messages[1]["content"][0]["text"] == "There are three."
    assert (outcome.status, outcome.value) == ("ok", {"count": 3})
    assert wire.service.count == 2


async def test_an_agent_that_does_not_answer_after_the_nudge_is_invalid(tmp_path: Path) -> None:
    async with wired(Say([text("three")]), Say([text("three, I said")])) as wire:
        outcome = await wire.run(agent_task(tmp_path, schema=SCHEMA))
    assert (outcome.status, wire.service.count) == ("invalid", 2)


async def test_a_service_that_takes_no_forced_tool_is_nudged_by_words_alone(tmp_path: Path) -> None:
    no = Refuse(400, "invalid_request_error", "Thinking may not be enabled when tool_choice forces tool use.")
    async with wired(Say([text("three")]), no, Say([answer(count=3)])) as wire:
        outcome = await wire.run(agent_task(tmp_path, schema=SCHEMA))
    assert (outcome.status, outcome.value) == ("ok", {"count": 3})
    assert "tool_choice" not in wire.service.requests[2].body
    assert wire.service.requests[2].messages == wire.service.requests[1].messages


async def test_the_nudge_still_leaves_attempts_to_correct_an_answer(tmp_path: Path) -> None:
    async with wired(Say([text("three")]), Say([answer(count="x")]), Say([answer(count=3)])) as wire:
        outcome = await wire.run(agent_task(tmp_path, schema=SCHEMA))
    assert (outcome.status, outcome.value, outcome.attempts) == ("ok", {"count": 3}, 2)


async def test_a_change_made_in_the_same_turn_as_the_answer_is_made(tmp_path: Path) -> None:
    turn = Say([answer(count=3), tool_use("write", file_path="a.txt", content="x")])
    async with wired(turn) as wire:
        outcome = await wire.run(agent_task(tmp_path, schema=SCHEMA))
    assert outcome.value == {"count": 3}
    assert outcome.files_changed == ("a.txt",)
    assert wire.service.count == 1


async def test_a_schema_whose_root_the_service_does_not_take_is_shown_and_held_to(tmp_path: Path) -> None:
    schema = {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    async with wired(Say([answer(c=1)]), Say([answer(b=1)])) as wire:
        outcome = await wire.run(agent_task(tmp_path, schema=schema))
    tool = wire.service.requests[0].body["tools"][-1]
    assert "anyOf" not in tool["input_schema"]
    assert "anyOf" in tool["description"]
    assert (outcome.value, outcome.attempts) == ({"b": 1}, 2)


# --- ends


async def test_turns_are_limited_and_the_outcome_says_what_was_reached(tmp_path: Path) -> None:
    turn = Say([text("Still looking."), tool_use("glob", pattern="*")])
    async with wired(*[turn] * 9) as wire:
        outcome = await wire.run(agent_task(tmp_path, max_turns=3))
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "3 turns" in outcome.error
    assert "Still looking." in outcome.error
    assert wire.service.count == 3


async def test_output_tokens_of_the_whole_agent_are_limited(tmp_path: Path) -> None:
    turn = Say([tool_use("glob", pattern="*")], output_tokens=40)
    async with wired(*[turn] * 9) as wire:
        outcome = await wire.run(agent_task(tmp_path), RecordingReporter(budget=Budget(tokens=100)))
    assert outcome.status == "over_budget"
    assert [request.body["max_tokens"] for request in wire.service.requests] == [100, 60, 20]
    assert outcome.usage.output_tokens == 120


async def test_a_reply_that_was_cut_off_is_continued_and_joined(tmp_path: Path) -> None:
    cut = Say([text("One, two, "), tool_use("write", file_path="a.txt", content="half")], stop_reason="max_tokens")
    async with wired(cut, Say([text("three.")])) as wire:
        outcome = await wire.run(agent_task(tmp_path))
    assert (outcome.status, outcome.value) == ("ok", "One, two, three.")
    assert not (tmp_path / "a.txt").exists(), "a tool call that was cut off is not run"
    kept = wire.service.requests[1].messages[1]["content"]
    assert kept == [{"type": "text", "text": "One, two, "}]


async def test_a_reply_that_is_cut_off_again_and_again_fails(tmp_path: Path) -> None:
    cut = Say([text("More and ")], stop_reason="max_tokens")
    async with wired(*[cut] * 9) as wire:
        outcome = await wire.run(agent_task(tmp_path))
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "cut off" in outcome.error
    assert wire.service.count == 4


@pytest.mark.contract("A05")
async def test_a_refusal_fails_with_its_reason(tmp_path: Path) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "Not that."}
    async with wired(Say([], stop_reason="refusal", stop_details=details)) as wire:
        outcome = await wire.run(agent_task(tmp_path))
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "cyber" in outcome.error
    assert "Not that." in outcome.error


async def test_a_paused_turn_is_resumed_as_it_is(tmp_path: Path) -> None:
    async with wired(Say([text("Wait")], stop_reason="pause_turn"), Say([text("Done")])) as wire:
        outcome = await wire.run(agent_task(tmp_path))
    assert outcome.value == "Done"
    assert [message["role"] for message in wire.service.requests[1].messages] == ["user", "assistant"]


async def test_a_full_context_window_fails_and_says_so(tmp_path: Path) -> None:
    async with wired(Say([text("x")], stop_reason="model_context_window_exceeded")) as wire:
        outcome = await wire.run(agent_task(tmp_path, model="gateway/llama"))
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "context window" in outcome.error


# --- usage and reports


async def test_usage_and_cost_are_summed_over_all_requests(tmp_path: Path) -> None:
    turns = (
        Say([tool_use("glob", pattern="*")], input_tokens=100, output_tokens=10, cache_write_tokens=7, model="m-1"),
        Say([text("x")], input_tokens=20, output_tokens=5, cache_read_tokens=70, model="m-1"),
    )
    async with wired(*turns, price=_one_dollar_a_token) as wire:
        outcome = await wire.run(agent_task(tmp_path))
    usage = outcome.usage
    assert (usage.input_tokens, usage.output_tokens) == (120, 15)
    assert (usage.cache_read_tokens, usage.cache_write_tokens) == (70, 7)
    assert usage.cost_usd == 120 + 15 + 70 + 7
    assert outcome.model == "m-1"


async def test_a_cost_that_is_not_known_is_none_and_not_zero(tmp_path: Path) -> None:
    async with wired(Say([text("x")]), price=lambda _model, **_tokens: None) as wire:
        outcome = await wire.run(agent_task(tmp_path))
    assert outcome.usage.cost_usd is None


async def test_the_whole_conversation_and_its_progress_are_reported(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpha", encoding="utf-8")
    reporter = RecordingReporter()
    async with wired(Say([tool_use("read", file_path="a.txt")]), Say([text("done")])) as wire:
        await wire.run(agent_task(tmp_path, "Read it"), reporter)
    assert [message["role"] for message in reporter.messages] == ["user", "assistant", "user", "assistant"]
    assert reporter.messages[0]["content"] == [{"type": "text", "text": "Read it"}]
    assert unfenced(reporter.messages[2]["content"][0]["content"]) == "alpha"
    assert "cache_control" not in str(reporter.messages)
    assert [(p.tool, p.tool_summary) for p in reporter.of(Progress) if p.tool] == [("read", "a.txt")]
    assert reporter.of(Progress)[-1].tokens == 10
    assert isinstance(reporter.reports[0], MessageAdded)


# --- cancelling


async def test_cancelling_closes_the_connection_and_keeps_the_conversation(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    turns = (Say([tool_use("glob", pattern="*")]), Say([text("never ends")], hold=anyio.Event(), hold_after=3))
    async with wired(*turns) as wire:
        wire.time.step_s = 2
        async with anyio.create_task_group() as group:
            group.start_soon(wire.run, agent_task(tmp_path), reporter)
            with within(5):
                await reporter.until(lambda report: isinstance(report, Progress) and report.tokens == 6)
            group.cancel_scope.cancel()
        with within(2):
            await wire.service.until(lambda service: service.abandoned == 1)
    assert [message["role"] for message in reporter.messages] == ["user", "assistant", "user"]
    spent = reporter.of(Progress)[-1].usage
    assert spent is not None
    assert spent.input_tokens == 20, "what the broken-off request cost is reported"


async def test_an_agent_that_is_cancelled_says_which_files_it_had_read_and_changed_by_then(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    reporter = RecordingReporter()
    calls = [tool_use("read", id="r", file_path="a.txt"), tool_use("write", id="w", file_path="b.txt", content="b")]
    async with wired(Say(calls), Hang()) as wire, anyio.create_task_group() as group:
        group.start_soon(wire.run, agent_task(tmp_path), reporter)
        with within(5):
            await wire.service.until(lambda service: service.count == 2)
        group.cancel_scope.cancel()
    assert reporter.of(Touched) == [
        Touched(files_read=("a.txt",), files_changed=("b.txt",), tools_called=("read", "write"))
    ]


def _one_dollar_a_token(_model: str, **tokens: int) -> float | None:
    return float(sum(tokens.values()))


async def test_a_backend_can_be_closed_twice_and_before_it_was_used() -> None:
    backend = AnthropicBackend()
    await backend.aclose()
    await backend.aclose()
