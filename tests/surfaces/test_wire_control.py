"""Messages of people to agents at work, over a real socket, and what each kind of agent does with them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from callsheet.agents.offline import OfflineBackend
from callsheet.agents.prompt import PERSON_INTRO
from callsheet.agents.scripted import ScriptedBackend
from callsheet.executors.local import LocalExecutor
from callsheet.model.reports import MessageAdded
from callsheet.ports import AgentBackend
from tests.support.agents import RecordingReporter, agent_task
from tests.support.deadline import within
from tests.support.messages_replies import Received, Refuse, Say, text, tool_use
from tests.support.wire import wired

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "required": ["count"], "properties": {"count": {"type": "integer"}}}


class Told(RecordingReporter):
    """People send messages so that they are there the nth time that the agent looks."""

    def __init__(self, messages: Mapping[int, Sequence[str]]) -> None:
        super().__init__()
        self._told = messages
        self.looks: list[bool] = []

    async def take_messages(self, *, at_end: bool = False) -> Sequence[str]:
        self.looks.append(at_end)
        return self._told.get(len(self.looks), ())

    @property
    def from_people(self) -> list[str]:
        """What of the conversation is marked as a person's."""
        marked: list[Any] = [report.payload for report in self.of(MessageAdded) if report.from_person]
        return [payload["content"][0]["text"] for payload in marked]


def last_texts(request: Received) -> list[str]:
    """The texts of the messages of the user's at the end of a request."""
    texts: list[str] = []
    for message in reversed(request.messages):
        if message["role"] != "user":
            break
        texts = [block["text"] for block in message["content"] if block["type"] == "text"] + texts
    return texts


async def test_a_message_goes_with_the_next_request_after_the_results_of_tools(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpha", encoding="utf-8")
    told = Told({2: ["Mind the tests.", "And the docs."]})
    async with wired(Say([tool_use("read", file_path="a.txt")]), Say([text("minded")])) as wire:
        outcome = await wire.run(agent_task(tmp_path), told)
    assert outcome.value == "minded"
    first, second = wire.service.requests
    assert len(first.messages) == 1
    assert last_texts(second) == [f"{PERSON_INTRO}Mind the tests.", f"{PERSON_INTRO}And the docs."]
    assert [message["role"] for message in second.messages] == ["user", "assistant", "user", "user", "user"]
    assert second.messages[2]["content"][0]["type"] == "tool_result", "results stand before anything else"
    assert told.from_people == [f"{PERSON_INTRO}Mind the tests.", f"{PERSON_INTRO}And the docs."]
    assert [message["role"] for message in told.messages] == ["user", "assistant", "user", "user", "user", "assistant"]


async def test_only_the_newest_message_carries_a_mark_of_the_cache_however_many_come(tmp_path: Path) -> None:
    told = Told({1: ["a", "b", "c", "d", "e"]})
    async with wired(Say([text("done")])) as wire:
        await wire.run(agent_task(tmp_path, context="shared"), told)
    (request,) = wire.service.requests
    marked = [index for index, one in enumerate(request.messages) if "cache_control" in one["content"][-1]]
    assert marked == [5]


async def test_an_agent_that_has_ended_its_turn_goes_on_with_a_message_and_returns_what_it_says_then(
    tmp_path: Path,
) -> None:
    told = Told({2: ["Shorter, please."]})
    async with wired(Say([text("A long answer.")]), Say([text("Short.")])) as wire:
        outcome = await wire.run(agent_task(tmp_path), told)
    assert (outcome.status, outcome.value) == ("ok", "Short.")
    assert last_texts(wire.service.requests[1]) == [f"{PERSON_INTRO}Shorter, please."]
    assert told.looks == [False, True, False, True], "before each request, and at each end"


async def test_an_agent_that_has_returned_its_object_takes_a_message_and_returns_another(tmp_path: Path) -> None:
    told = Told({2: ["Count again."]})
    replies = [Say([tool_use("answer", count=1)]), Say([text("Once more.")]), Say([tool_use("answer", count=2)])]
    async with wired(*replies) as wire:
        outcome = await wire.run(agent_task(tmp_path, schema=SCHEMA), told)
    assert (outcome.status, outcome.value, outcome.attempts) == ("ok", {"count": 2}, 2)
    assert "tool_choice" not in wire.service.requests[1].body, "it may use its tools first"
    assert "tool_choice" in wire.service.requests[2].body, "then it is asked for its object"


async def test_an_agent_that_must_still_return_its_object_takes_messages_meanwhile(tmp_path: Path) -> None:
    told = Told({3: ["Hurry."]})
    async with wired(Say([text("Done.")]), Say([tool_use("answer", count=1)])) as wire:
        outcome = await wire.run(agent_task(tmp_path, schema=SCHEMA), told)
    assert outcome.value == {"count": 1}
    assert last_texts(wire.service.requests[1])[-1] == f"{PERSON_INTRO}Hurry."
    assert told.looks == [False, False, False, True], "its last word comes with the object"


async def test_an_agent_at_its_limit_of_turns_ends_with_what_it_has_and_leaves_the_message(tmp_path: Path) -> None:
    told = Told({2: ["More!"]})
    async with wired(Say([text("All I have.")])) as wire:
        outcome = await wire.run(agent_task(tmp_path, max_turns=1), told)
    assert (outcome.status, outcome.value) == ("ok", "All I have.")
    assert told.from_people == []


async def test_a_message_that_comes_while_the_service_fails_goes_with_the_request_that_is_tried_again(
    tmp_path: Path,
) -> None:
    told = Told({2: ["Still there?"]})
    async with wired(Refuse(529), Say([text("yes")])) as wire:
        outcome = await wire.run(agent_task(tmp_path), told)
    assert outcome.value == "yes"
    assert last_texts(wire.service.requests[1])[-1] == f"{PERSON_INTRO}Still there?"


# --- every backend, behind the executor


@asynccontextmanager
async def backend_named(name: str, folder: Path) -> AsyncIterator[AgentBackend]:
    match name:
        case "anthropic":
            async with wired(Say([text("done")])) as wire:
                yield wire.backend
        case "offline":
            yield OfflineBackend()
        case _:
            answers = folder / "answers.json"
            answers.write_text('{"answers": [], "otherwise": {"result": "done"}}', encoding="utf-8")
            yield ScriptedBackend.from_file(answers)


@pytest.mark.parametrize("name", ["anthropic", "offline", "scripted"])
async def test_a_backend_has_a_message_in_its_conversation_or_refuses_it(name: str, tmp_path: Path) -> None:
    reporter = RecordingReporter()
    task = agent_task(tmp_path, "Look at the checkout.")
    with within(20):
        async with backend_named(name, tmp_path) as backend, LocalExecutor({task.backend: backend}) as executor:
            handle = await executor.submit(task, reporter)
            is_accepted = await handle.message("Say it in French.")
            outcome = await handle.outcome()
            assert await handle.message("Too late.") is False
            assert executor.takes_messages(task.backend) is backend.takes_messages is is_accepted
    assert outcome.status == "ok"
    marked: list[Any] = [report.payload for report in reporter.of(MessageAdded) if report.from_person]
    assert is_accepted == (name != "scripted")
    assert len(marked) == (1 if is_accepted else 0)
    assert all("Say it in French." in payload["content"][0]["text"] for payload in marked)
    if name == "offline":
        assert "Told meanwhile: Say it in French." in str(outcome.value)


async def test_another_attempt_at_a_task_is_another_task_and_the_same_attempt_is_not(tmp_path: Path) -> None:
    task = agent_task(tmp_path)
    with within(20):
        async with (
            wired(Say([text("first")]), Say([text("second")])) as wire,
            LocalExecutor({task.backend: wire.backend}) as executor,
        ):
            first = await executor.submit(task, RecordingReporter())
            assert (await first.outcome()).value == "first"
            again = await executor.submit(task, RecordingReporter())
            assert (await again.outcome()).value == "first"
            second = await executor.submit(replace(task, attempt=2), RecordingReporter())
            assert (await second.outcome()).value == "second"
