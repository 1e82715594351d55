"""Agents that reserve, wait for each other, are skipped and started over: nobody waits for ever, nothing leaks."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest

from callsheet.errors import ControlRefusedError, NotFoundError, OverBudgetError
from callsheet.model.call import AgentTask
from callsheet.model.outcome import AgentOutcome, Usage
from callsheet.model.records import SpendingRow
from callsheet.model.reports import Progress
from callsheet.model.spending import Budget, Need, Paid
from callsheet.ports import AgentReporter
from tests.support.deadline import within
from tests.support.fake_backend import FakeBackend
from tests.support.fake_session import Js, ScriptError
from tests.support.memory_store import MemoryStore
from tests.unit.engine.stage import on_stage, settings

pytestmark = [pytest.mark.anyio, pytest.mark.contract("G04")]

AGENTS = 9


def spends(chance: random.Random) -> Any:
    """An agent of a few requests, each of which comes to no more than was set aside for it."""

    async def act(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        total = Usage()
        for _ in range(chance.randrange(1, 5)):
            want = chance.randrange(10, 200)
            need = Need(
                model="m", output_tokens=want, enough_tokens=chance.randrange(1, want), fixed_usd=0.01, output_usd=0.001
            )
            try:
                grant = await reporter.reserve(need)
            except OverBudgetError as error:
                return AgentOutcome(status=error.status, error=error.message, usage=total, model="m")
            try:
                for _ in range(chance.randrange(6)):
                    await anyio.lowlevel.checkpoint()
            except anyio.get_cancelled_exc_class():
                if chance.random() < 0.5:  # a backend that has no time to say what it came to
                    with anyio.CancelScope(shield=True):
                        await reporter.report(Paid(n=grant.n, usage=Usage()))
                raise
            tokens = chance.randrange(grant.output_tokens + 1)
            usage = Usage(output_tokens=tokens, cost_usd=0.01 + tokens * 0.001)
            total += usage
            await reporter.report(Progress(tokens=total.output_tokens, usage=total))
            await reporter.report(Paid(n=grant.n, usage=usage))
        return AgentOutcome(status="ok", value="done", usage=total, model="m")

    return act


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_people_do_the_budget_holds_and_every_reservation_comes_to_its_end(seed: int) -> None:
    chance, store = random.Random(seed), MemoryStore()

    async def script(js: Js) -> Any:
        calls = []
        for n in range(AGENTS):
            js.phase(f"Phase {n % 2}")
            calls.append(js.agent("x", label=f"{n}", priority=chance.randrange(3)))
        for call in calls:
            try:
                await call
            except ScriptError as error:
                assert error.name == "BudgetExceededError"

    async def meddle(run: Any) -> None:
        for _ in range(12):
            for _ in range(chance.randrange(8)):
                await anyio.lowlevel.checkpoint()
            deed = chance.choice([run.skip, run.stop_agent, run.restart])
            try:
                await deed(f"a{chance.randrange(1, AGENTS + 1):04}")
            except (ControlRefusedError, NotFoundError):
                continue

    budget = Budget(usd=chance.uniform(0.1, 1.0), tokens=chance.choice([None, 300, 900]))
    backend = FakeBackend(acts={f"{n}": spends(chance) for n in range(AGENTS)})
    with within(30):
        async with (
            on_stage(
                script,
                backend=backend,
                store=store,
                run_settings=settings(
                    budget_usd=budget.usd,
                    budget_tokens=budget.tokens,
                    phase_budgets={"Phase 1": Budget(usd=0.3)},
                    max_parallel=chance.randrange(2, 6),
                ),
            ) as stage,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(meddle, stage.run)
            result = await stage.run.result()
            tasks.cancel_scope.cancel()
    rows = {row.n: row for row in store.of(SpendingRow)}
    assert all(row.state == "settled" for row in rows.values())
    spent_usd = sum(row.cost_usd or 0.0 for row in rows.values())
    assert budget.usd is not None
    assert spent_usd <= budget.usd + 1e-9
    assert budget.tokens is None or sum(row.output_tokens for row in rows.values()) <= budget.tokens
    assert result.usage.cost_usd == pytest.approx(spent_usd)
    assert len(result.agents) == AGENTS
