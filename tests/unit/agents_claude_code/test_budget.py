"""What Claude Code's real program may spend: reserved before each of its requests, settled after it (CONTRACT G04)."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from callsheet.model.outcome import AgentOutcome
from callsheet.model.records import SpendingRow
from callsheet.model.reports import MessageAdded
from callsheet.model.spending import Budget, Need, TokenPrices
from callsheet.pricing.prices import cost_usd
from tests.support.agents import RecordingReporter, agent_task
from tests.support.claude_code import call, claude_backend, claude_environ
from tests.support.deadline import within
from tests.support.examples import times
from tests.support.fake_session import Js, ScriptError
from tests.support.memory_store import MemoryStore
from tests.support.messages_replies import Received, Refuse, Reply, Respond, Say, in_order, text
from tests.support.messages_service import MessagesService, open_messages_service
from tests.unit.engine.stage import on_stage, settings

pytestmark = [pytest.mark.anyio, pytest.mark.contract("G04"), pytest.mark.usefixtures("claude_program")]

PLAN = {"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-test", "ANTHROPIC_API_KEY": ""}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    folder.mkdir()
    (folder / "a.txt").write_text("first\n", encoding="utf-8")
    return folder


@dataclass
class Seen:
    outcome: AgentOutcome
    service: MessagesService
    reporter: RecordingReporter


async def run(
    root: Path,
    respond: Respond,
    reporter: RecordingReporter,
    *,
    variables: dict[str, str] | None = None,
    prices: dict[str, TokenPrices] | None = None,
    **task: Any,
) -> Seen:
    home = root.parent / "home"
    with within(60):
        async with open_messages_service(respond) as service:
            environ = claude_environ(home, service.base_url, **(variables or {}))
            backend = claude_backend(home, environ={k: v for k, v in environ.items() if v}, prices=prices)
            try:
                outcome = await backend.run(agent_task(root, model="opus", **task), reporter)
            finally:
                await backend.aclose()
    return Seen(outcome, service, reporter)


def reading(**counts: Any) -> Respond:
    """A model that reads the same file for ever."""
    return lambda request: Say([call("read", id=f"t{request.n}", file_path="a.txt")], **counts)


async def test_each_request_is_reserved_at_its_worst_and_settled_with_the_reply_that_it_paid_for(root: Path) -> None:
    reporter = RecordingReporter(run_budget=Budget(usd=50.0))
    turns = (
        Say([call("read", file_path="a.txt")], input_tokens=900, output_tokens=100, cache_write_tokens=6_000),
        Say([text("done")], input_tokens=50, cache_read_tokens=7_000, output_tokens=20),
    )
    seen = await run(root, in_order(*turns), reporter)
    assert seen.outcome.status == "ok"
    assert len(reporter.needs) == seen.service.count == 2
    first, second = reporter.needs
    assert [request.body["max_tokens"] for request in seen.service.requests] == [32_000, 32_000]
    assert first.output_tokens == second.output_tokens == 32_000
    for need, request in zip(reporter.needs, seen.service.requests, strict=True):
        body = request.body
        prompt = len(json.dumps([body["system"], body["tools"], body["messages"]], ensure_ascii=False).encode())
        assert need.fixed_usd is not None
        assert need.fixed_usd >= prompt / 4 * 6.25 / 1e6, "what the program adds of its own is allowed for"
    assert second.fixed_usd is not None
    assert 7_000 * 5 / 1e6 <= second.fixed_usd <= 10_000 * 6.25 / 1e6, "what the service counted, and what is new"
    assert [usage.output_tokens for usage in reporter.paid] == [100, 20]
    assert sum(usage.cost_usd or 0 for usage in reporter.paid) == pytest.approx(seen.outcome.usage.cost_usd)
    replies = [
        one
        for one in reporter.of(MessageAdded)
        if isinstance(one.payload, dict) and one.payload.get("role") == "assistant"
    ]
    assert all(one.paid is not None for one in replies), "in one transaction with what it paid for"
    assert not reporter.account.held


async def test_the_request_that_would_not_fit_is_not_sent(root: Path) -> None:
    reporter = RecordingReporter(run_budget=Budget(usd=1.0))
    seen = await run(root, reading(input_tokens=3_000, output_tokens=4_000), reporter)
    assert seen.outcome.status == "over_budget"
    assert seen.outcome.usage.cost_usd is not None
    assert 0.3 < seen.outcome.usage.cost_usd <= 1.0
    assert "cannot be told to shorten" in (seen.outcome.error or "") or "are left" in (seen.outcome.error or "")
    assert seen.service.count == len([usage for usage in reporter.paid if usage.output_tokens])
    assert len({request.body["max_tokens"] for request in seen.service.requests}) == 1
    assert not reporter.account.held


async def test_where_little_is_left_replies_are_shorter_from_the_start_and_several_fit(root: Path) -> None:
    reporter = RecordingReporter(run_budget=Budget(usd=0.4))
    seen = await run(root, reading(input_tokens=500, output_tokens=1_500), reporter)
    assert seen.outcome.status == "over_budget"
    assert 2_048 <= seen.service.requests[0].body["max_tokens"] < 6_000
    assert seen.service.count >= 5
    assert (seen.outcome.usage.cost_usd or 0) <= 0.4


async def test_without_any_budget_left_no_program_is_started(root: Path) -> None:
    seen = await run(root, reading(), RecordingReporter(run_budget=Budget(usd=0.001)))
    assert (seen.outcome.status, seen.service.count) == ("over_budget", 0)


async def test_a_reply_that_is_cut_off_is_gone_on_with_only_where_there_is_budget_for_it(root: Path) -> None:
    cut = Say([text("half")], stop_reason="max_tokens", input_tokens=500, output_tokens=9_000)
    reporter = RecordingReporter(run_budget=Budget(usd=50.0))
    seen = await run(root, in_order(cut, Say([text("whole")])), reporter)
    assert (seen.outcome.status, seen.outcome.value) == ("ok", "whole")
    assert len(reporter.needs) == 2
    poor = RecordingReporter(run_budget=Budget(usd=0.9))
    ended = await run(root, lambda _: cut, poor)
    assert ended.outcome.status == "over_budget"
    assert poor.ledger.refusal() is None, "it was stopped before its budget was passed"


async def test_a_reply_that_broke_is_settled_as_an_estimate_before_it_is_asked_for_again(root: Path) -> None:
    reporter = RecordingReporter(run_budget=Budget(usd=50.0))
    turns = (
        Refuse(529, "overloaded_error"),
        Say([text("a" * 400)], input_tokens=100, cut_after=4, cut="end"),
        Say([text("done")], input_tokens=100, output_tokens=9),
    )
    seen = await run(root, in_order(*turns), reporter)
    assert seen.outcome.value == "done"
    estimated = [usage for usage in reporter.paid if usage.estimated_usd]
    assert len(estimated) == 1
    assert estimated[0].output_tokens >= 50
    assert len(reporter.needs) == 2, "the refused request was not taken by the service: its reservation stands"
    assert sum(usage.output_tokens for usage in reporter.paid) <= seen.outcome.usage.output_tokens, (
        "as the program says"
    )
    assert not reporter.account.held


async def test_dollars_are_refused_where_a_plan_pays_and_the_remedy_is_said(root: Path) -> None:
    reporter = RecordingReporter(run_budget=Budget(usd=5.0))
    seen = await run(root, reading(), reporter, variables=PLAN)
    assert seen.outcome.status == "failed"
    assert seen.outcome.error == (
        "what claude-opus-5-5 costs is not known, and the run has a budget in dollars: a plan or a cloud pays for "
        "Claude Code here: give a budget of output tokens (--budget 2M), or say what it costs you: "
        "--price claude-opus-5-5=3/15, or [prices] in config.toml"
    )
    assert seen.service.count <= 1


async def test_with_a_price_of_ones_own_a_plan_is_counted(root: Path) -> None:
    reporter = RecordingReporter(run_budget=Budget(usd=5.0))
    prices = {"claude-*": TokenPrices(input=1, output=2)}
    seen = await run(
        root, in_order(Say([text("ok")], input_tokens=0, output_tokens=1_000)), reporter, variables=PLAN, prices=prices
    )
    assert seen.outcome.status == "ok"
    assert seen.outcome.usage.cost_usd == pytest.approx(0.002)


async def test_an_agents_own_limit_in_dollars_is_kept_by_the_program_where_a_plan_pays(root: Path) -> None:
    reporter = RecordingReporter(budget=Budget(usd=5.0))
    seen = await run(root, in_order(Say([text("ok")])), reporter, variables=PLAN, max_cost_usd=5.0)
    assert (seen.outcome.status, seen.outcome.usage.cost_usd) == ("ok", None)


async def test_a_budget_of_tokens_counts_for_plans_too_and_is_passed_by_no_further_request(root: Path) -> None:
    reporter = RecordingReporter(run_budget=Budget(tokens=1_000))
    seen = await run(root, reading(output_tokens=300), reporter, variables=PLAN)
    assert seen.outcome.status == "over_budget"
    assert seen.outcome.usage.output_tokens <= 1_000 + 250
    assert seen.service.requests[0].body["max_tokens"] <= 1_000


async def test_cancelling_settles_what_was_reserved(root: Path) -> None:
    hold = anyio.Event()
    reporter = RecordingReporter(run_budget=Budget(usd=50.0))
    with within(60):
        async with open_messages_service(lambda _: Say([text("a" * 400)], hold=hold, hold_after=3)) as service:
            backend = claude_backend(root.parent / "home", service.base_url)
            async with anyio.create_task_group() as group:
                group.start_soon(backend.run, agent_task(root, model="opus"), reporter)
                await service.until(lambda seen: seen.count == 1)
                group.cancel_scope.cancel()
            hold.set()
            await backend.aclose()
    assert not reporter.account.held
    assert len(reporter.paid) == 1


# --- whole runs


@dataclass
class Till:
    """A service that bills every request that it takes, also those whose reply nobody waits for."""

    chance: random.Random
    billed_usd: float = 0.0
    needs: list[Need] = field(default_factory=list)

    def __call__(self, request: Received) -> Reply:
        chance, body = self.chance, request.body
        if chance.random() < 0.05:
            return Refuse(529, "overloaded_error")
        prompt = json.dumps([body["system"], body["tools"], body["messages"]], ensure_ascii=False).encode()
        tokens = int(len(prompt) / chance.uniform(1.5, 5))
        read = int(tokens * chance.random()) if len(request.messages) > 2 else 0
        written = int((tokens - read) * chance.random())
        output = min(int(chance.expovariate(1 / 3_000)) + 5, body["max_tokens"])
        ends = chance.random() < 0.25
        counts: dict[str, Any] = {"input_tokens": tokens - read - written, "output_tokens": output}
        counts |= {"cache_read_tokens": read, "cache_write_tokens": written}
        cost = cost_usd(body["model"], **counts)
        assert cost is not None
        self.billed_usd += cost
        blocks = [text("done")] if ends else [call("read", id=f"t{request.n}", file_path="a.txt")]
        return Say(blocks, **counts)


@pytest.mark.parametrize("seed", range(times(1)))
async def test_no_run_of_its_agents_costs_more_than_its_budget(root: Path, seed: int) -> None:
    chance = random.Random(seed)
    budget = round(chance.uniform(0.3, 1.5), 3)

    async def script(js: Js) -> Any:
        calls = [js.agent("Do it", label=f"{n}", model="haiku", backend="claude_code") for n in range(5)]
        ends = []
        for one in calls:
            try:
                ends.append(await one)
            except ScriptError as error:
                ends.append(error.name)
        return ends

    till, store = Till(random.Random(seed + 1)), MemoryStore()
    with within(120):
        async with open_messages_service(till) as service:
            backend = claude_backend(root.parent / "home", service.base_url)
            async with on_stage(
                script,
                more_backends={"claude_code": backend},
                store=store,
                workspace=str(root),
                run_settings=settings(budget_usd=budget, max_parallel=3),
            ) as stage:
                result = await stage.run.result()
    assert till.billed_usd <= budget, (seed, budget)
    rows = {row.n: row for row in store.of(SpendingRow)}
    assert all(row.state == "settled" for row in rows.values())
    assert sum(row.cost_usd or 0 for row in rows.values()) == pytest.approx(result.usage.cost_usd)
    assert result.usage.cost_usd == pytest.approx(till.billed_usd, rel=1e-6)
