"""Many agents against a model service that fails, over real HTTP, through engine and executor."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from callsheet.agents.anthropic import AnthropicBackend
from callsheet.model.events import AgentStarted, AgentWaiting, Event, RunStatusChanged
from callsheet.model.run import RunResult
from callsheet.ports import EventSink
from tests.support.deadline import within
from tests.support.failing_service import SENT_S, HalfOfTheTime, Sending
from tests.support.fake_session import Js
from tests.support.messages_replies import Received, Refuse, Reply, Respond, Say, text, tool_use
from tests.support.messages_service import MessagesService, open_messages_service
from tests.unit.engine.stage import SinkSpy, on_stage, settings

pytestmark = pytest.mark.anyio

AGENTS = 200


def turns(count: int) -> Respond:
    """So many turns: with a tool, and at last a text that names the agent."""

    def respond(request: Received) -> Reply:
        turn = sum(message["role"] == "assistant" for message in request.messages)
        if turn < count - 1:
            return Say([tool_use("read", id=f"t{turn}", file_path="notes.md")])
        return Say([text(agent_of(request))])

    return respond


def agent_of(request: Received) -> str:
    return str(request.messages[0]["content"][-1]["text"])


class Watch(EventSink):
    """Remembers the waiting that was shown, each from when it was said to when it ends."""

    def __init__(self) -> None:
        self.pauses: list[tuple[float, float]] = []
        self.why: set[str] = set()

    def on_event(self, event: Event) -> None:
        body = event.body
        if isinstance(body, AgentWaiting):
            self.why.add(body.why)
            if body.until is not None:
                left_s = datetime.fromisoformat(body.until).timestamp() - time.time()
                now_s = time.monotonic()
                self.pauses.append((now_s, now_s + left_s))


@dataclass
class Played:
    """A run over a service, when it is over."""

    result: RunResult
    service: MessagesService
    sending: Sending
    watch: Watch
    sink: SinkSpy
    resolved: list[str]

    @property
    def statuses(self) -> list[RunStatusChanged]:
        return [one for one in self.sink.bodies(RunStatusChanged) if isinstance(one, RunStatusChanged)]

    def none_was_started_over(self) -> bool:
        """Each agent was begun once, and no conversation ever became shorter."""
        lengths: dict[str, list[int]] = defaultdict(list)
        for request in self.service.requests:
            lengths[agent_of(request)].append(len(request.messages))
        begun = len(self.sink.bodies(AgentStarted))
        return begun == len(self.result.agents) and all(one == sorted(one) for one in lengths.values())


async def many(js: Js) -> Any:
    assert isinstance(js.args, dict)
    count, options = js.args["agents"], js.args["options"]
    assert isinstance(count, int)
    assert isinstance(options, dict)
    return await js.all(*[js.agent(f"agent {n}", backend="anthropic", **options) for n in range(count)])


async def run_many(
    workspace: Path,
    respond: Callable[[MessagesService], Respond],
    *,
    agents: int = AGENTS,
    latency_s: float = 0.0,
    options: str = "{}",
    ends_at: str | None = None,
    **run_settings: Any,
) -> Played:
    """Runs as many agents as asked for, all at once as far as the settings let them.

    With `ends_at` the run is stopped at the first event of that name.
    """
    (workspace / "notes.md").write_text("Nothing of note.\n", encoding="utf-8")
    watch, sending = Watch(), Sending()
    chosen: list[Respond] = []
    async with open_messages_service(lambda request: chosen[0](request), latency_s=latency_s) as service:
        chosen.append(respond(service))
        backend = AnthropicBackend(
            clients=lambda: [sending.client(service.base_url)], price=lambda _model, **_tokens: 0.0
        )
        with within(60):
            async with on_stage(
                many,
                more_backends={"anthropic": backend},
                run_settings=settings(**run_settings),
                workspace=str(workspace),
                args_json=f'{{"agents": {agents}, "options": {options}}}',
                sinks=(watch,),
            ) as stage:
                async for event in stage.run.events():
                    if event.name == ends_at:
                        await stage.run.stop("stopped")
                result = await stage.run.result()
    return Played(
        result=result, service=service, sending=sending, watch=watch, sink=stage.sink, resolved=stage.resolved()
    )


# --- failures that pass


@pytest.mark.contract("K01", "K02", "K04")
async def test_all_agents_finish_at_a_service_that_fails_half_of_the_time(tmp_path: Path) -> None:
    half = HalfOfTheTime(turns(2), window=130, drop_every=90, stall_every=120)
    played = await run_many(tmp_path, lambda _: half, latency_s=0.01, options='{"stallMs": 2000}', max_parallel=32)

    assert played.result.status == "completed"
    assert played.result.result == [f"agent {n}" for n in range(AGENTS)]
    assert played.none_was_started_over()
    assert set(half.failed) == {"rate limit", "overloaded", "reset", "dropped", "stalled"}
    needed = 2 * AGENTS
    more = played.service.count - needed - sum(half.failed.values())
    assert 0 <= more <= 5, "each failure costs one request more, and so does a reply that a busy machine holds up"
    assert played.service.count <= 1.3 * needed

    assert played.watch.why == {"rate limit", "service"}
    assert len(played.watch.pauses) >= 32
    for begin_s, end_s in played.watch.pauses:
        sent = [sent_s for sent_s in played.sending.sent_s if begin_s < sent_s < end_s - 0.002]
        assert not sent, "no request goes in a pause"


@pytest.mark.contract("K02")
async def test_the_number_at_work_is_halved_by_a_rate_limit_and_recovers(tmp_path: Path) -> None:
    seen: list[tuple[float, int]] = []
    limited = 0

    def respond(service: MessagesService) -> Respond:
        def once_limited(request: Received) -> Reply:
            nonlocal limited
            seen.append((float(request.headers[SENT_S]), service.in_flight))
            if len(seen) >= 48 and limited < 3:
                limited += 1
                return Refuse(429, "rate_limit_error", "slow down", {"retry-after-ms": "250"})
            return turns(4)(request)

        return once_limited

    played = await run_many(tmp_path, respond, agents=50, latency_s=0.5, max_parallel=16)
    assert played.result.status == "completed"
    assert played.service.count == 4 * 50 + limited
    paused_s = played.watch.pauses[0][0]
    before = [in_flight for sent_s, in_flight in seen if sent_s < paused_s]
    after = [in_flight for sent_s, in_flight in seen if sent_s >= paused_s]
    assert max(before) >= 15
    assert 1 <= max(after[:10]) <= 8, "halved"
    assert max(after) >= 13, "recovered"
    assert played.none_was_started_over()


# --- failures that do not


TWO_HOURS = "7200"
IN_TWO_HOURS = (datetime.now(UTC) + timedelta(hours=2)).isoformat(timespec="seconds")
RESET = {"anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": IN_TWO_HOURS}


@pytest.mark.contract("K05")
@pytest.mark.parametrize(
    ("refusal", "cause"),
    [
        (Refuse(401, "authentication_error", "invalid x-api-key"), "authentication"),
        (Refuse(402, "billing_error", "no credit"), "credit"),
        (Refuse(404, "not_found_error", "model: claude-none"), "model"),
        (Refuse(429, "rate_limit_error", "weekly limit", {"retry-after": TWO_HOURS}), "rate_limit"),
        (Refuse(429, "rate_limit_error", "weekly limit", RESET), "rate_limit"),
    ],
    ids=["key", "credit", "model", "retry-after", "reset"],
)
async def test_a_service_that_refuses_every_agent_interrupts_the_run_after_few_requests(
    tmp_path: Path, refusal: Refuse, cause: str
) -> None:
    played = await run_many(tmp_path, lambda _: lambda _: refusal, max_parallel=64, max_wait_s=3600)
    assert played.service.count <= 16
    assert played.result.status == "interrupted"
    assert played.resolved == [], "no null is delivered"
    assert {agent.status for agent in played.result.agents} == {"cancelled"}
    error = played.result.error
    assert error is not None
    assert error.kind == "backend"
    assert f"({cause})" in error.message
    assert refusal.message in error.message
    assert "callsheet resume run_test" in error.message


@pytest.mark.contract("K05")
async def test_a_reset_two_hours_away_is_waited_for_and_shown(tmp_path: Path) -> None:
    refusal = Refuse(429, "rate_limit_error", "weekly limit", {"retry-after": TWO_HOURS})
    played = await run_many(tmp_path, lambda _: lambda _: refusal, ends_at="run.status", max_parallel=64)
    assert played.service.count <= 16
    assert played.resolved == []
    waiting = played.statuses[0]
    assert waiting.status == "waiting"
    assert waiting.reason is not None
    assert "weekly limit" in waiting.reason
    assert waiting.until is not None
    left = datetime.fromisoformat(waiting.until) - datetime.now(UTC)
    assert timedelta(minutes=118) < left < timedelta(minutes=121)


@pytest.mark.contract("K05")
async def test_a_run_that_waited_goes_on_with_every_conversation_as_it_was(tmp_path: Path) -> None:
    """The limit is met in the middle of the agents' work, and is final until the time that the service names."""
    used_up: list[float] = []

    def respond(request: Received) -> Reply:
        if request.n > 40 and (not used_up or time.monotonic() < used_up[0]):
            used_up[:] = used_up or [time.monotonic() + 0.6]
            headers = {"x-should-retry": "false", "retry-after-ms": "700"}
            return Refuse(429, "rate_limit_error", "the limit of the plan is used up", headers)
        return turns(2)(request)

    played = await run_many(tmp_path, lambda _: respond, agents=40, latency_s=0.05, max_parallel=16)
    assert (played.result.status, played.result.result) == ("completed", [f"agent {n}" for n in range(40)])
    assert [one.status for one in played.statuses] == ["waiting", "running"]
    assert played.service.count <= 80 + 16
    assert played.none_was_started_over()
