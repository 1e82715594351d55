"""Calls that share the beginning of their prompts: one goes first, over real HTTP (CONTRACT K03)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anthropic
import anyio
import pytest
from anyio.abc import TaskGroup

from callsheet.agents.anthropic import AnthropicBackend
from callsheet.agents.timing import Timing
from callsheet.model.outcome import AgentOutcome
from callsheet.model.reports import Waiting
from tests.support.agents import FakeTime, RecordingReporter, agent_task
from tests.support.deadline import within
from tests.support.messages_replies import Received, Refuse, Reply, Say, text
from tests.support.messages_service import MessagesService, open_messages_service

pytestmark = [pytest.mark.anyio, pytest.mark.contract("K03")]

LONG = "What all agents should know. " * 1000
DONE = Say([text("done")])


@dataclass
class Calls:
    """Agents that share a prefix, and the service that they talk to; its first reply is held until `begin` is set."""

    service: MessagesService
    backend: AnthropicBackend
    tasks: TaskGroup
    root: Path
    begin: anyio.Event
    outcomes: list[AgentOutcome]
    reporter: RecordingReporter

    def start(self, count: int, *, context: str = LONG, **options: Any) -> None:
        for n in range(count):
            self.tasks.start_soon(self._one, f"task {n}", {"context": context, **options})

    async def _one(self, prompt: str, options: dict[str, Any]) -> None:
        task = agent_task(self.root, prompt, model="opus", **options)
        self.outcomes.append(await self.backend.run(task, self.reporter))

    async def waiting(self, count: int) -> None:
        """Until so many have said that they wait for the cache."""
        await self.reporter.until(lambda _: len(self.said()) >= count)

    def said(self) -> list[Waiting]:
        return [one for one in self.reporter.of(Waiting) if one.why == "cache warm-up"]


@asynccontextmanager
async def calls(
    root: Path,
    *,
    first: Reply = DONE,
    hold_after: int = 0,
    timing: Timing | None = None,
    warms_cache: bool = True,
) -> AsyncIterator[Calls]:
    begin = anyio.Event()

    def respond(request: Received) -> Reply:
        if request.n > 1:
            return DONE
        return replace(first, hold=begin, hold_after=hold_after) if isinstance(first, Say) else first

    async with open_messages_service(respond) as service:
        backend = AnthropicBackend(
            clients=lambda: [anthropic.AsyncAnthropic(base_url=service.base_url, api_key="test", max_retries=0)],
            price=lambda _model, **_tokens: 0.0,
            timing=timing or Timing(),
            warms_cache=warms_cache,
        )
        await backend.warm()
        with within():
            async with anyio.create_task_group() as tasks:
                yield Calls(service, backend, tasks, root, begin, [], RecordingReporter())
        await backend.aclose()


async def test_the_first_goes_and_the_rest_once_the_service_begins_to_answer_it(tmp_path: Path) -> None:
    async with calls(tmp_path) as some:
        some.start(6)
        await some.waiting(5)
        await some.service.until(lambda service: service.count > 0)
        assert some.service.count == 1
        some.begin.set()
    assert some.service.count == 6
    assert [outcome.status for outcome in some.outcomes] == ["ok"] * 6
    assert all(one.until is not None for one in some.said())


async def test_the_beginning_of_the_first_answer_is_enough(tmp_path: Path) -> None:
    async with calls(tmp_path, hold_after=1) as some:
        some.start(6)
        await some.service.until(lambda service: service.count == 6)
        some.begin.set()


async def test_a_warm_prefix_is_waited_for_by_nobody(tmp_path: Path) -> None:
    async with calls(tmp_path) as some:
        some.begin.set()
        some.start(1)
        await some.service.until(lambda service: service.count == 1 and service.in_flight == 0)
        some.start(5)
    assert some.said() == []


@pytest.mark.parametrize(
    ("count", "context", "warms_cache"), [(2, LONG, True), (6, "too short", True), (6, LONG, False)]
)
async def test_two_calls_a_short_prefix_and_a_warm_up_switched_off_wait_for_nothing(
    tmp_path: Path, count: int, context: str, warms_cache: bool
) -> None:
    async with calls(tmp_path, warms_cache=warms_cache) as some:
        some.start(count, context=context)
        await some.service.until(lambda service: service.count == count)
        some.begin.set()
    assert some.said() == []


@pytest.mark.parametrize("other", [{"context": LONG + "And more."}, {"speed": "fast"}])
async def test_other_prefixes_and_fast_mode_wait_for_nothing(tmp_path: Path, other: dict[str, Any]) -> None:
    async with calls(tmp_path) as some:
        some.start(3)
        await some.waiting(2)
        some.start(1, **other)
        await some.service.until(lambda service: service.count == 2)
        some.begin.set()


async def test_five_seconds_are_the_longest_wait(tmp_path: Path) -> None:
    time = FakeTime()
    async with calls(tmp_path, timing=time.timing) as some:
        some.start(6)
        await some.service.until(lambda service: service.count == 6)
        some.begin.set()
    assert 4.5 < max(time.slept_s) <= 5


async def test_another_one_goes_first_where_the_first_is_refused(tmp_path: Path) -> None:
    async with calls(tmp_path, first=Refuse(400, "invalid_request_error", "prompt is too long")) as some:
        some.start(6)
    assert sorted(outcome.status for outcome in some.outcomes) == ["failed", *["ok"] * 5]
    assert some.service.count == 6
