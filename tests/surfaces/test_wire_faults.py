"""The Anthropic backend against a Messages service that fails: what is tried again, what ends an agent, what all."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import anthropic
import anyio
import pytest

from callsheet.agents.anthropic import AnthropicBackend
from callsheet.errors import BackendUnavailableError
from callsheet.model.reports import AgentReport, ToolCalled, Waiting
from tests.support.agents import FakeTime, RecordingReporter, agent_task
from tests.support.deadline import within
from tests.support.messages_replies import Hang, Received, Refuse, Reply, Say, events_of, in_order, text, tool_use
from tests.support.messages_service import open_messages_service
from tests.support.wire import wired

pytestmark = pytest.mark.anyio

DONE = Say([text("done")])
WHOLE = events_of(DONE, "m", 1)
OVERLOADED = Refuse(529, "overloaded_error", "Overloaded")


# --- failures that every agent would meet


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        (Refuse(401, "authentication_error", "invalid x-api-key"), "authentication"),
        (Refuse(403, "permission_error", "not for this key"), "authentication"),
        (Refuse(404, "not_found_error", "model: claude-none"), "model"),
        (Refuse(402, "billing_error", "no credit"), "credit"),
        (Refuse(400, "invalid_request_error", "Your credit balance is too low to use the API"), "credit"),
    ],
)
async def test_a_failure_of_the_service_for_all_is_raised_and_not_tried_again(
    tmp_path: Path, reply: Reply, cause: str
) -> None:
    async with wired(reply) as wire:
        with pytest.raises(BackendUnavailableError) as raised:
            await wire.run(agent_task(tmp_path))
    assert raised.value.cause == cause
    assert wire.service.count == 1
    assert not wire.time.slept_s


async def test_an_error_names_what_the_service_said_and_the_remedy(tmp_path: Path) -> None:
    async with wired(Refuse(401, "authentication_error", "invalid x-api-key")) as wire:
        with pytest.raises(BackendUnavailableError, match=r"invalid x-api-key.*ANTHROPIC_API_KEY"):
            await wire.run(agent_task(tmp_path))


# --- failures of one agent's own request


@pytest.mark.contract("A05")
@pytest.mark.parametrize(
    "reply",
    [
        Refuse(400, "invalid_request_error", "prompt is too long"),
        Refuse(413, "request_too_large", "Request exceeds the maximum size"),
        Refuse(422, "invalid_request_error", "no"),
    ],
)
async def test_a_refused_request_fails_the_agent_with_the_reason(tmp_path: Path, reply: Refuse) -> None:
    async with wired(reply) as wire:
        outcome = await wire.run(agent_task(tmp_path))
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert reply.message in outcome.error
    assert str(reply.status) in outcome.error
    assert wire.service.count == 1


# --- failures that pass


@pytest.mark.contract("K01")
async def test_a_rate_limit_is_waited_out_for_as_long_as_the_service_says_and_shown(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    async with wired(Refuse(429, "rate_limit_error", "slow down", {"retry-after": "7"}), DONE) as wire:
        outcome = await wire.run(agent_task(tmp_path), reporter)
    assert outcome.status == "ok"
    assert wire.time.slept_s == [7]
    reason = "the model service limits the rate: slow down (429 rate_limit_error)"
    assert reporter.of(Waiting) == [Waiting(why="rate limit", until="2026-11-21T08:00:07.000Z", reason=reason)]
    assert wire.service.requests[1].body == wire.service.requests[0].body


@pytest.mark.contract("K01")
@pytest.mark.parametrize(
    "fault",
    [
        OVERLOADED,
        Refuse(500, "api_error", "Internal"),
        Refuse(408, "timeout_error", "late"),
        Hang(reset=True),
        Say([text("hal"), text("f")], cut_after=0, cut="close"),
        Say([text("hal"), text("f")], cut_after=3, cut="close"),
        Say([text("hal"), text("f")], cut_after=3, cut="reset"),
        Say([text("hal"), text("f")], cut_after=3, cut="end"),
        Say([text("hal"), text("f")], cut_after=3, cut="error", error="overloaded_error"),
        Say([text("hal"), text("f")], cut_after=3, cut="error", error="rate_limit_error"),
    ],
    ids=lambda fault: str(fault.status) if isinstance(fault, Refuse) else getattr(fault, "cut", "hang"),
)
async def test_an_agent_goes_on_from_its_conversation_after_a_failure(tmp_path: Path, fault: Reply) -> None:
    call = tool_use("write", file_path="a.txt", content="x")
    reporter = RecordingReporter()
    async with wired(Say([call]), fault, fault, DONE) as wire:
        outcome = await wire.run(agent_task(tmp_path), reporter)
    assert (outcome.status, outcome.value) == ("ok", "done")
    assert wire.service.count == 4
    _, second, third, fourth = (request.messages for request in wire.service.requests)
    assert second == third == fourth, "the conversation is kept"
    assert [call.state for call in reporter.of(ToolCalled)] == ["intent", "done"], "no tool runs twice"
    assert [message["role"] for message in reporter.messages] == ["user", "assistant", "user", "assistant"]


@pytest.mark.contract("K01")
async def test_ten_retries_in_a_row_are_the_limit_and_their_pauses_grow_to_a_cap(tmp_path: Path) -> None:
    async with wired(*[OVERLOADED] * 20) as wire:
        with pytest.raises(BackendUnavailableError) as raised:
            await wire.run(agent_task(tmp_path))
    assert raised.value.cause == "outage"
    assert wire.service.count == 11
    assert wire.time.slept_s == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]


@pytest.mark.contract("K01")
async def test_a_success_in_between_sets_the_count_back(tmp_path: Path) -> None:
    turns: list[Reply] = []
    for n in range(4):
        turns += [*[OVERLOADED] * 6, Say([tool_use("glob", id=f"t{n}", pattern="*")])]
    async with wired(*turns, DONE) as wire:
        outcome = await wire.run(agent_task(tmp_path))
    assert outcome.status == "ok"
    assert wire.service.count == 29


@pytest.mark.contract("K01")
async def test_a_wait_that_is_too_long_for_one_agent_is_the_runs_and_says_until_when(tmp_path: Path) -> None:
    limited = Refuse(429, "rate_limit_error", "come back later", {"retry-after": "7200"})
    async with wired(limited) as wire:
        with pytest.raises(BackendUnavailableError) as raised:
            await wire.run(agent_task(tmp_path))
    assert raised.value.cause == "rate_limit"
    assert raised.value.retry_at == "2026-11-21T10:00:00.000Z"
    assert not wire.time.slept_s


async def test_what_a_broken_reply_cost_is_booked_as_an_estimate(tmp_path: Path) -> None:
    broken = Say([text("x" * 400)], input_tokens=100, cut_after=4, cut="close")
    prices = {"input_tokens": 1, "output_tokens": 10}

    def price(_model: str, **tokens: int) -> float | None:
        return float(sum(prices.get(name, 0) * count for name, count in tokens.items()))

    async with wired(broken, Say([text("done")], input_tokens=100, output_tokens=7), price=price) as wire:
        outcome = await wire.run(agent_task(tmp_path))
    assert outcome.usage.input_tokens == 200
    assert outcome.usage.output_tokens == 100 + 7
    assert outcome.usage.cost_usd == 200 + 1070
    assert outcome.usage.estimated_usd == 1000


@pytest.mark.parametrize("cut", ["close", "reset", "silence"])
async def test_a_reply_that_came_whole_is_taken_however_its_connection_ends(
    tmp_path: Path, cut: Literal["close", "reset", "silence"]
) -> None:
    async with wired(Say([text("done")], cut_after=len(WHOLE), cut=cut), price=lambda _model, **_tokens: 0.5) as wire:
        outcome = await wire.run(agent_task(tmp_path))
    assert (outcome.status, outcome.value, wire.service.count) == ("ok", "done", 1)
    assert (outcome.usage.output_tokens, outcome.usage.cost_usd, outcome.usage.estimated_usd) == (5, 0.5, 0.0)


@pytest.mark.contract("K04")
async def test_silence_is_retried_once_and_then_ends_the_agent(tmp_path: Path) -> None:
    silent = Say([text("x")], cut_after=1, cut="silence")
    async with wired(Hang(), silent) as wire:
        outcome = await wire.run(agent_task(tmp_path, stall_ms=60.0))
    assert outcome.status == "timed_out"
    assert outcome.error is not None
    assert "0.06 s" in outcome.error
    assert wire.service.count == 2


@pytest.mark.contract("K04")
async def test_a_reply_after_one_silence_is_taken(tmp_path: Path) -> None:
    async with wired(Hang(), DONE) as wire:
        outcome = await wire.run(agent_task(tmp_path, stall_ms=60.0))
    assert outcome.status == "ok"


@pytest.mark.contract("K04")
async def test_a_tool_that_takes_longer_than_the_stall_time_is_a_sign_of_life(tmp_path: Path) -> None:
    class SlowTools(RecordingReporter):
        """Lets no tool begin before the service of another agent has counted as stalled, twice."""

        async def report(self, report: AgentReport) -> None:
            if isinstance(report, ToolCalled) and report.state == "intent":
                other = await stalled.run(agent_task(tmp_path, stall_ms=100.0))
                assert other.status == "timed_out"
            await super().report(report)

    async with (
        wired(Hang(), Hang()) as stalled,
        wired(Say([tool_use("write", file_path="a.txt", content="x")]), DONE) as wire,
    ):
        outcome = await wire.run(agent_task(tmp_path, stall_ms=100.0), SlowTools())
    assert (outcome.status, wire.service.count) == ("ok", 2)


@pytest.mark.contract("K04")
async def test_an_agent_that_stalled_in_the_middle_goes_on_from_its_conversation(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    stalled = Say([text("hal"), text("f")], cut_after=3, cut="silence")
    async with wired(Say([tool_use("write", file_path="a.txt", content="x")]), stalled, DONE) as wire:
        outcome = await wire.run(agent_task(tmp_path, stall_ms=100.0), reporter)
    assert outcome.status == "ok"
    _, second, third = (request.messages for request in wire.service.requests)
    assert second == third
    assert [call.state for call in reporter.of(ToolCalled)] == ["intent", "done"], "no tool runs twice"


@pytest.mark.contract("K05")
async def test_a_run_that_waits_for_the_service_has_the_agent_go_on_from_its_conversation(tmp_path: Path) -> None:
    class Waits(RecordingReporter):
        async def hold(self, error: BackendUnavailableError) -> None:
            self.held.append(error)
            await wire.time.sleep(60)

    reporter = Waits()
    final = Refuse(429, "rate_limit_error", "used up", {"x-should-retry": "false", "retry-after": "0"})
    async with wired(Say([tool_use("write", file_path="a.txt", content="x")]), final, DONE) as wire:
        outcome = await wire.run(agent_task(tmp_path), reporter)
    assert outcome.status == "ok"
    assert [(error.cause, error.is_passing) for error in reporter.held] == [("rate_limit", True)]
    assert reporter.held[0].since == "2026-11-21T08:00:00.000Z"
    _, second, third = (request.messages for request in wire.service.requests)
    assert second == third


@pytest.mark.contract("K01", "A05")
async def test_an_agent_whose_own_requests_fail_while_others_are_answered_fails_alone(tmp_path: Path) -> None:
    def respond(request: Received) -> Reply:
        return OVERLOADED if "poison" in str(request.messages[0]) else DONE

    time = FakeTime()
    async with open_messages_service(respond) as service:
        backend = AnthropicBackend(
            clients=lambda: [anthropic.AsyncAnthropic(base_url=service.base_url, api_key="k", max_retries=0)],
            price=lambda _model, **_tokens: 0.0,
            timing=time.timing,
        )

        class Helped(RecordingReporter):
            """Has another agent do something whenever this one waits."""

            async def report(self, report: AgentReport) -> None:
                if isinstance(report, Waiting):
                    others.start_soon(backend.run, agent_task(tmp_path, "fine"), RecordingReporter())
                await super().report(report)

        with within():
            async with anyio.create_task_group() as others:
                outcome = await backend.run(agent_task(tmp_path, "poison"), Helped())
        await backend.aclose()
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "tried 11 times, while others were answered" in outcome.error


async def test_a_service_that_cannot_be_reached_is_an_outage(tmp_path: Path) -> None:
    async with wired() as wire:
        await wire.stop_service()
        with pytest.raises(BackendUnavailableError) as raised:
            await wire.run(agent_task(tmp_path))
    assert raised.value.cause == "outage"


# --- the environment


async def test_base_url_and_key_of_the_environment_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_messages_service(in_order(DONE)) as service:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", service.base_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-from-the-environment")
        backend = AnthropicBackend()
        with within():
            await backend.warm()
            outcome = await backend.run(agent_task(tmp_path), RecordingReporter())
            await backend.aclose()
    assert outcome.status == "ok"
    assert service.requests[0].headers["authorization"] == "Bearer sk-from-the-environment"


async def test_without_a_credential_the_backend_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ANTHROPIC_CONFIG_DIR", raising=False)
    backend = AnthropicBackend()
    with within(), pytest.raises(BackendUnavailableError, match="ANTHROPIC_API_KEY") as raised:
        await backend.run(agent_task(tmp_path), RecordingReporter())
    assert raised.value.cause == "authentication"
