"""Conversations that near the model's window, over a real socket."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from callsheet.agents.anthropic.transcript import REPEATED_CHARS
from callsheet.agents.prompt import PERSON_INTRO
from callsheet.model.reports import MessageAdded
from callsheet.model.spending import Budget
from tests.support.agents import RecordingReporter, agent_task
from tests.support.messages_replies import Received, Refuse, Say, compaction, text, tool_use
from tests.support.wire import wired

pytestmark = pytest.mark.anyio

LONG = 850_000


def reads(*, id: str = "t1", input_tokens: int = LONG) -> Say:
    return Say([tool_use("read", id=id, file_path="a.txt")], input_tokens=input_tokens, output_tokens=10)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("alpha", encoding="utf-8")
    return tmp_path


def is_compacting(request: Received) -> bool:
    return request.body.get("compaction") is not None


@pytest.mark.contract("G04", "R01")
async def test_a_conversation_near_the_window_goes_on_from_a_summary_that_is_recorded_and_counted(root: Path) -> None:
    reporter = RecordingReporter()
    summary = Say([compaction("It read alpha.")], stop_reason="compaction", input_tokens=100, output_tokens=20)
    async with wired(reads(input_tokens=5), reads(id="t2"), summary, Say([text("alpha")])) as wire:
        task = agent_task(root, "What is in a.txt?", model="opus", max_turns=3)
        outcome = await wire.run(task, reporter)
    assert (outcome.status, outcome.value) == ("ok", "alpha")
    requests = wire.service.requests
    assert [is_compacting(request) for request in requests] == [False, False, True, False]
    assert requests[2].body["compaction"] == {"type": "summarize"}
    assert "compact-2026-09-04" not in requests[1].headers.get("anthropic-beta", "")
    assert all("compact-2026-09-04" in request.headers["anthropic-beta"] for request in requests[2:])
    assert requests[2].messages[-1]["content"][0]["tool_use_id"] == "t2"
    first, second = requests[3].messages
    (block,) = first["content"]
    assert (block["type"], block["content"], block["encrypted_content"]) == ("compaction", "It read alpha.", "sealed")
    assert "What is in a.txt?" in second["content"][-1]["text"]
    assert "cache_control" in second["content"][-1]
    assert str(requests[3].body).count("'cache_control'") <= 4
    assert (outcome.usage.input_tokens, outcome.usage.output_tokens) == (5 + LONG + 100 + 10, 10 + 10 + 20 + 5)
    assert [block["type"] for message in reporter.messages for block in message["content"]][-3:] == [
        "compaction",
        "text",
        "text",
    ]


class Told(RecordingReporter):
    """People send messages while the first reply is under way."""

    def __init__(self, *messages: str) -> None:
        super().__init__()
        self._messages = messages
        self._looks = 0

    async def take_messages(self, *, at_end: bool = False) -> Sequence[str]:
        self._looks += 1
        return self._messages if self._looks == 2 else ()


async def test_messages_of_people_stand_word_for_word_after_a_compaction(root: Path) -> None:
    told = Told("Mind the tests.", "And the docs.")
    summary = Say([compaction("It read alpha.")], stop_reason="compaction")
    async with wired(reads(), summary, Say([text("alpha")])) as wire:
        outcome = await wire.run(agent_task(root, "What is in a.txt?", model="opus"), told)
    assert outcome.value == "alpha"
    before, after = wire.service.requests[1:]
    assert is_compacting(before)
    assert before.messages[-1]["content"][-1]["text"] == f"{PERSON_INTRO}And the docs."
    task, *people = [block["text"] for block in after.messages[-1]["content"]]
    assert task.endswith("What is in a.txt?")
    assert people == [f"{PERSON_INTRO}Mind the tests.", f"{PERSON_INTRO}And the docs."]
    assert [each.from_person for each in told.of(MessageAdded)].count(True) == 2, "each is recorded as theirs once"


async def test_of_very_long_messages_only_the_newest_is_repeated_and_no_more_of_it_than_of_a_task(root: Path) -> None:
    summary = Say([compaction("It read alpha.")], stop_reason="compaction")
    async with wired(reads(), summary, Say([text("alpha")])) as wire:
        await wire.run(agent_task(root, model="opus"), Told("old", "x" * (REPEATED_CHARS + 1)))
    _, newest = [block["text"] for block in wire.service.requests[2].messages[-1]["content"]]
    assert newest.startswith(f"{PERSON_INTRO}xxx")
    assert len(newest) <= REPEATED_CHARS + len(" […]")


@pytest.mark.parametrize(
    "answer",
    [
        Refuse(400, "invalid_request_error", "compaction: Extra inputs are not permitted"),
        Say([compaction(None)], stop_reason="compaction"),
    ],
)
async def test_a_service_that_does_not_compact_is_asked_once_and_the_conversation_goes_on(
    root: Path, answer: Refuse | Say
) -> None:
    async with wired(reads(), answer, reads(id="t2"), Say([text("alpha")])) as wire:
        outcome = await wire.run(agent_task(root, model="opus"))
    assert (outcome.status, outcome.value) == ("ok", "alpha")
    assert [is_compacting(request) for request in wire.service.requests] == [False, True, False, False]
    assert len(wire.service.requests[3].messages) == 5


async def test_a_service_that_fails_while_it_compacts_is_asked_again(root: Path) -> None:
    summary = Say([compaction("It read alpha.")], stop_reason="compaction")
    async with wired(reads(), Refuse(529, "overloaded_error"), summary, Say([text("alpha")])) as wire:
        outcome = await wire.run(agent_task(root, model="opus"))
    assert outcome.value == "alpha"
    assert [is_compacting(request) for request in wire.service.requests] == [False, True, True, False]


async def test_models_whose_conversations_the_service_does_not_compact_are_left_alone(root: Path) -> None:
    async with wired(reads(), Say([text("alpha")])) as wire:
        assert (await wire.run(agent_task(root, model="gateway/llama"))).value == "alpha"


async def test_a_reply_cut_off_by_the_window_is_asked_for_again_after_a_compaction(root: Path) -> None:
    cut = Say([text("It sa")], stop_reason="model_context_window_exceeded", input_tokens=10)
    summary = Say([compaction("It read alpha.")], stop_reason="compaction")
    async with wired(cut, summary, Say([text("alpha")])) as wire:
        assert (await wire.run(agent_task(root, model="opus"))).value == "alpha"
    assert [is_compacting(request) for request in wire.service.requests] == [False, True, False]
    async with wired(cut) as wire:
        outcome = await wire.run(agent_task(root, model="gateway/llama"))
    assert (outcome.status, outcome.error) == (
        "failed",
        "the conversation no longer fits into the model's context window",
    )


@pytest.mark.contract("A14")
async def test_with_a_limit_of_tokens_it_is_compacted_too(root: Path) -> None:
    summary = Say([compaction("It read alpha.")], stop_reason="compaction", output_tokens=20)
    async with wired(reads(), summary, Say([text("alpha")])) as wire:
        outcome = await wire.run(agent_task(root, model="opus"), RecordingReporter(budget=Budget(tokens=1_000)))
    assert outcome.value == "alpha"
    assert [request.body["max_tokens"] for request in wire.service.requests] == [1_000, 990, 970]


@pytest.mark.contract("G04")
async def test_what_a_compaction_cost_apart_from_its_reply_is_counted_too(root: Path) -> None:
    apart = {
        "type": "compaction",
        "input_tokens": 1_000,
        "output_tokens": 200,
        "cache_read_input_tokens": 30,
        "cache_creation_input_tokens": 4,
    }
    async with wired(Say([text("x")], input_tokens=1, output_tokens=2, iterations=[apart])) as wire:
        usage = (await wire.run(agent_task(root))).usage
    assert (usage.input_tokens, usage.output_tokens) == (1_001, 202)
    assert (usage.cache_read_tokens, usage.cache_write_tokens) == (30, 4)
