"""Budgets over real HTTP: what requests ask for and come to, from one agent to a hundred random workflows (G04)."""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anthropic
import anyio
import pytest

from callsheet.agents.anthropic import AnthropicBackend
from callsheet.agents.tools.bounds import Bounds
from callsheet.model.call import KeptConversation
from callsheet.model.records import SpendingRow
from callsheet.model.run import RunResult
from callsheet.model.spending import Budget, TokenPrices
from callsheet.pricing.prices import cost_usd
from tests.support.agents import FakeTime, RecordingReporter, agent_task
from tests.support.fake_session import Js, ScriptError
from tests.support.memory_store import MemoryStore
from tests.support.messages_replies import (
    Hang,
    Received,
    Refuse,
    Reply,
    Say,
    search_results,
    text,
    tool_use,
    web_search,
)
from tests.support.messages_service import open_messages_service
from tests.support.wire import wired
from tests.support.workbench import settings as rules_of
from tests.unit.engine.stage import on_stage, settings

pytestmark = [pytest.mark.anyio, pytest.mark.contract("G04")]

WORKFLOWS = int(os.environ.get("BUDGET_WORKFLOWS", "25"))
"""How many random workflows are played."""

ANSWER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


# --- one agent


async def test_each_request_reserves_the_dearest_that_it_can_be_and_settles_what_it_was(tmp_path: Path) -> None:
    turns = (
        Say([tool_use("glob", pattern="*")], input_tokens=900, output_tokens=100, cache_write_tokens=600),
        Say([text("done")], input_tokens=50, cache_read_tokens=1_500, output_tokens=20),
    )
    reporter = RecordingReporter(budget=Budget(usd=5.0))
    async with wired(*turns) as wire:
        outcome = await wire.run(agent_task(tmp_path, model="opus"), reporter)
    first, second = reporter.needs
    assert outcome.status == "ok"
    assert first.output_tokens == second.output_tokens == 32_000
    assert first.output_usd == second.output_usd == pytest.approx(20 / 1e6)
    assert first.fixed_usd is not None
    assert second.fixed_usd is not None
    body = wire.service.requests[0].body
    prompt_bytes = len(json.dumps([body["system"], body["tools"], body["messages"]], ensure_ascii=False).encode())
    assert first.fixed_usd == pytest.approx(5 / 1e6 * prompt_bytes, rel=0.2), (
        "as if all of it were written to the cache"
    )
    assert 1_600 * 5 / 1e6 <= second.fixed_usd < 2_000 * 5 / 1e6, (
        "what the service counted, and the bytes of what is new"
    )
    assert [usage.output_tokens for usage in reporter.paid] == [100, 20]
    assert sum(usage.cost_usd or 0 for usage in reporter.paid) == pytest.approx(outcome.usage.cost_usd)


async def test_the_reply_is_lowered_to_the_dollars_left_and_the_next_request_is_not_sent(tmp_path: Path) -> None:
    turn = Say([tool_use("glob", pattern="*")], input_tokens=5_000, output_tokens=5_000)
    reporter = RecordingReporter(budget=Budget(usd=0.5))
    async with wired(*[turn] * 9) as wire:
        outcome = await wire.run(agent_task(tmp_path, model="opus"), reporter)
    asked = [request.body["max_tokens"] for request in wire.service.requests]
    assert outcome.status == "over_budget"
    assert outcome.error is not None
    assert "(maxCost)" in outcome.error
    assert asked == sorted(asked, reverse=True)
    assert asked[0] < 32_000, "the prompt and 32,000 tokens would cost more than half a dollar"
    assert outcome.usage.cost_usd is not None
    assert outcome.usage.cost_usd <= 0.5
    assert len(reporter.messages) == 1 + 2 * len(asked), "the conversation is kept"


async def test_a_request_that_fails_costs_nothing_and_one_that_breaks_off_what_came(tmp_path: Path) -> None:
    turns = (
        Refuse(529, "overloaded_error"),
        Say([text("a" * 400)], input_tokens=100, cut_after=4, cut="reset"),
        Say([text("done")], input_tokens=100, output_tokens=9),
    )
    reporter = RecordingReporter(budget=Budget(usd=5.0))
    async with wired(*turns) as wire:
        outcome = await wire.run(agent_task(tmp_path, model="opus"), reporter)
    assert outcome.value == "done"
    refused, broken, whole = reporter.paid
    assert (refused.input_tokens, refused.cost_usd) == (0, 0.0)
    assert (broken.input_tokens, broken.output_tokens) == (100, 100)
    assert broken.estimated_usd == pytest.approx(100 * 20 / 1e6)
    assert (whole.input_tokens, whole.output_tokens) == (100, 9)
    assert not reporter.account.held


async def test_a_model_without_a_price_ends_before_its_first_request_where_dollars_count(tmp_path: Path) -> None:
    async with wired(Say([text("x")])) as wire:
        outcome = await wire.run(agent_task(tmp_path, model="mystery-9"), RecordingReporter(budget=Budget(usd=5.0)))
    assert (outcome.status, wire.service.count) == ("failed", 0)
    assert outcome.error == (
        "what mystery-9 costs is not known, and the agent has a limit in dollars (maxCost): give its price, dollars "
        "for a million tokens of input and output: --price mystery-9=3/15, or [prices] in config.toml"
    )


async def test_a_price_of_ones_own_holds_where_a_gateway_answers_under_another_name(tmp_path: Path) -> None:
    own = {"mine": TokenPrices(input=1, output=2)}
    reply = Say([text("x")], model="vendor/their-name", input_tokens=0, output_tokens=500)
    async with wired(reply, prices=own) as wire:
        outcome = await wire.run(agent_task(tmp_path, model="mine"), RecordingReporter(budget=Budget(usd=5.0)))
    assert outcome.usage.cost_usd == pytest.approx(0.001)
    assert outcome.usage.estimated_usd == 0.0


def kept(*, usage: dict[str, int] | None, size: int) -> KeptConversation:
    """A conversation that was cut off after a reply that called a tool."""
    call = {"type": "tool_use", "id": "t1", "name": "glob", "input": {"pattern": "*"}}
    reply: dict[str, Any] = {"role": "assistant", "content": [call], "stop_reason": "tool_use"}
    return KeptConversation(
        messages=(
            {"role": "user", "content": [{"type": "text", "text": "Do it. " + "x" * size}]},
            reply if usage is None else reply | {"usage": usage},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "y" * size}]},
        ),
        tool_calls=(("glob", '{"pattern":"*"}', "done"),),
    )


@pytest.mark.parametrize(
    ("usage", "least", "most"),
    [
        ({"input_tokens": 10, "cache_read_input_tokens": 150_000, "output_tokens": 90}, 190_000, 200_000),
        (None, 80_000, 110_000),
    ],
)
async def test_a_conversation_that_goes_on_after_a_crash_is_reserved_as_long_as_it_is(
    tmp_path: Path, usage: dict[str, int] | None, least: int, most: int
) -> None:
    reporter = RecordingReporter(budget=Budget(usd=50.0))
    task = replace(agent_task(tmp_path, model="opus"), kept=kept(usage=usage, size=40_000))
    async with wired(Say([text("done")])) as wire:
        assert (await wire.run(task, reporter)).status == "ok"
    price = 5 / 1e6
    assert least * price <= (reporter.needs[0].fixed_usd or 0) <= most * price, (
        "in tokens that are written to the cache"
    )


async def test_fast_mode_is_reserved_at_its_price(tmp_path: Path) -> None:
    standard, fast = (RecordingReporter(budget=Budget(usd=50.0)) for _ in range(2))
    async with wired(*[Say([text("x")])] * 2) as wire:
        await wire.run(agent_task(tmp_path, model="opus"), standard)
        await wire.run(agent_task(tmp_path, model="opus", speed="fast"), fast)
    assert standard.needs[0].output_usd == pytest.approx(20 / 1e6)
    assert fast.needs[0].output_usd == pytest.approx(40 / 1e6)


async def test_searches_of_the_service_are_reserved_at_their_fee_and_at_what_they_may_bring(tmp_path: Path) -> None:
    plain, searching = (RecordingReporter(budget=Budget(usd=50.0)) for _ in range(2))
    found = [web_search("news"), search_results("https://a.example/"), text("It is so.")]
    bounds = Bounds(settings=rules_of(tmp_path, allow=("WebSearch",)), home=tmp_path / "home")
    async with wired(Say([text("x")]), Say(found, searches=1), bounds=bounds) as wire:
        await wire.run(agent_task(tmp_path, model="opus", tools=("Read",)), plain)
        await wire.run(agent_task(tmp_path, model="opus", tools=("Read", "WebSearch")), searching)
    more_usd = (searching.needs[0].fixed_usd or 0) - (plain.needs[0].fixed_usd or 0)
    assert more_usd == pytest.approx(8 * (0.01 + 10_000 * 5 / 1e6), rel=0.01), "eight searches, written to the cache"
    assert searching.paid[0].cost_usd == pytest.approx(0.01 + (10 * 4 + 5 * 20) / 1e6)


async def test_a_reply_that_a_budget_cut_off_again_and_again_is_over_budget(tmp_path: Path) -> None:
    cut = Say([text("More and ")], stop_reason="max_tokens", output_tokens=1)
    async with wired(*[cut] * 9) as wire:
        outcome = await wire.run(agent_task(tmp_path), RecordingReporter(budget=Budget(tokens=50)))
    assert outcome.status == "over_budget"
    assert wire.service.count == 4


# --- whole runs


@dataclass
class Till:
    """A service that counts a prompt's tokens by its bytes and bills every reply, also those that broke off.

    Attributes:
        chars_per_token: Of prompts; none has more tokens than bytes.
    """

    chance: random.Random
    chars_per_token: float
    billed_usd: float = 0.0
    billed_tokens: int = 0
    replies: int = 0
    asked: list[int] = field(default_factory=list)

    def __call__(self, request: Received) -> Reply:
        chance = self.chance
        if chance.random() < 0.06:
            return Refuse(529, "overloaded_error") if chance.random() < 0.5 else Hang(reset=True)
        body = request.body
        prompt = json.dumps([body["system"], body["tools"], body["messages"]], ensure_ascii=False).encode()
        tokens = int(len(prompt) / self.chars_per_token)
        read = int(tokens * chance.random()) if len(request.messages) > 1 else 0
        written = int((tokens - read) * chance.random())
        most = body["max_tokens"]
        self.asked.append(most)
        blocks = self._blocks(request)
        wanted = int(chance.expovariate(1 / 400)) + 5
        say = Say(
            blocks,
            input_tokens=tokens - read - written,
            cache_read_tokens=read,
            cache_write_tokens=written,
            output_tokens=min(wanted, most),
            stop_reason="max_tokens" if wanted >= most and blocks[0]["type"] == "text" else None,
        )
        if chance.random() < 0.06 and most >= 5:
            self._bill(request, say, output=5)  # half of the text is sent, and four characters make a token
            return Say(
                [text("x" * 40)],
                input_tokens=say.input_tokens,
                cache_read_tokens=read,
                cache_write_tokens=written,
                cut_after=3,
                cut="close",
            )
        self._bill(request, say, output=say.output_tokens)
        return say

    def _blocks(self, request: Received) -> list[dict[str, Any]]:
        turn = sum(message["role"] == "assistant" for message in request.messages)
        if turn < self.chance.randrange(4):
            return [tool_use("glob", id=f"t{request.n}", pattern="*")]
        has_answer = any(tool["name"] == "answer" for tool in request.body["tools"])
        if has_answer and self.chance.random() < 0.6:
            return [tool_use("answer", id=f"t{request.n}", n=self.chance.choice([1, 2, "not a number"]))]
        return [text("It is done. " * self.chance.randrange(1, 9))]

    def _bill(self, request: Received, say: Say, *, output: int) -> None:
        cost = cost_usd(
            request.body["model"],
            input_tokens=say.input_tokens,
            output_tokens=output,
            cache_read_tokens=say.cache_read_tokens,
            cache_write_tokens=say.cache_write_tokens,
        )
        assert cost is not None
        self.billed_usd += cost
        self.billed_tokens += output
        self.replies += 1


def workflow(chance: random.Random) -> Any:
    """A script: agents alone and in groups, in phases, nested, with limits and priorities of their own."""

    def options() -> dict[str, Any]:
        found: dict[str, Any] = {"model": chance.choice(["opus", "haiku", "sonnet"]), "backend": "anthropic"}
        if chance.random() < 0.3:
            found["schema"] = ANSWER
        if chance.random() < 0.2:
            found["maxTokens"] = chance.randrange(50, 3_000)
        if chance.random() < 0.2:
            found["maxCost"] = chance.uniform(0.01, 0.5)
        if chance.random() < 0.3:
            found["priority"] = chance.randrange(3)
        return found

    groups = [
        [("ünïcode " * chance.randrange(1, 60) + f"agent {n}", options()) for n in range(chance.randrange(1, 7))]
        for _ in range(chance.randrange(1, 5))
    ]

    async def script(js: Js) -> Any:
        ended = 0
        for number, group in enumerate(groups):
            js.phase(f"Phase {number % 2}")
            calls = [js.agent(prompt, label=f"{number}", **given) for prompt, given in group]
            for call in calls:
                try:
                    await call
                    ended += 1
                except ScriptError as error:
                    assert error.name in {"BudgetExceededError", "SchemaError"}, error
            if number == 0:
                await js.workflow("child")
        return ended

    async def child(js: Js) -> Any:
        try:
            return await js.agent("the child's", **options())
        except ScriptError:
            return None

    return script, child


async def play(seed: int, workspace: Path) -> tuple[RunResult, Till, MemoryStore, Budget]:
    chance = random.Random(seed)
    script, child = workflow(chance)
    kinds = chance.choice(["tokens", "usd", "both"])
    budget = Budget(
        tokens=chance.randrange(200, 40_000) if kinds != "usd" else None,
        usd=round(chance.uniform(0.02, 2.0), 3) if kinds != "tokens" else None,
    )
    phases = {"Phase 1": Budget(usd=chance.uniform(0.01, 0.5))} if chance.random() < 0.4 else {}
    till, store = Till(chance=random.Random(seed + 1), chars_per_token=chance.uniform(1.0, 5.0)), MemoryStore()
    async with open_messages_service(till) as service:
        backend = AnthropicBackend(
            clients=lambda: [anthropic.AsyncAnthropic(base_url=service.base_url, api_key="test", max_retries=0)],
            timing=FakeTime().timing,
        )
        async with on_stage(
            script,
            nested={"child": child},
            more_backends={"anthropic": backend},
            store=store,
            workspace=str(workspace),
            run_settings=settings(
                budget_tokens=budget.tokens,
                budget_usd=budget.usd,
                phase_budgets=phases,
                max_parallel=chance.randrange(1, 9),
            ),
        ) as stage:
            return await stage.run.result(), till, store, budget


@pytest.mark.contract("G03")
async def test_no_random_workflow_spends_more_than_its_budget_and_the_record_says_what_it_spent(tmp_path: Path) -> None:
    ends: set[str] = set()
    replies = lowered = 0
    for seed in range(WORKFLOWS):
        with anyio.fail_after(60):
            result, till, store, budget = await play(seed, tmp_path)
        told = f"seed {seed}: {budget}"
        assert result.status in {"completed", "degraded"}, (told, result.error)
        assert budget.usd is None or till.billed_usd <= budget.usd, told
        assert budget.tokens is None or till.billed_tokens <= budget.tokens, told
        assert result.usage.cost_usd == pytest.approx(till.billed_usd, abs=1e-9), told
        rows = {row.n: row for row in store.of(SpendingRow)}
        assert all(row.state == "settled" for row in rows.values()), told
        assert sum(row.cost_usd or 0 for row in rows.values()) == pytest.approx(till.billed_usd, abs=1e-9), told
        assert sum(row.output_tokens for row in rows.values()) == result.usage.output_tokens, told
        ends |= {agent.status for agent in result.agents}
        replies += till.replies
        lowered += sum(asked < 32_000 for asked in till.asked)
    assert {"ok", "over_budget"} <= ends, "the budgets of the test are neither all too small nor all too large"
    assert replies > 4 * WORKFLOWS
    assert lowered
