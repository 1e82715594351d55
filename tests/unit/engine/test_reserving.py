"""Runs whose agents reserve before each request: what is set aside, who waits, who ends over budget (CONTRACT G04)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest

from callsheet.model.call import KeptConversation
from callsheet.model.events import AgentWaiting, BudgetWarning
from callsheet.model.outcome import AgentOutcome, Usage
from callsheet.model.past import Resumption
from callsheet.model.records import MessageRow, Row, SpendingRow
from callsheet.model.spending import Budget
from tests.support.deadline import within
from tests.support.fake_backend import FakeBackend, ok
from tests.support.fake_session import Js, ScriptError
from tests.support.memory_store import MemoryStore
from tests.support.paying import Turn, pays
from tests.support.resuming import past_of, resumed
from tests.unit.engine.stage import on_stage, play, settings

pytestmark = [pytest.mark.anyio, pytest.mark.contract("G04")]


async def one(js: Js) -> Any:
    return await js.agent("x", label="a")


async def caught(promise: Any) -> Any:
    try:
        return await promise
    except ScriptError as error:
        return error.name


class Transactions(MemoryStore):
    """Remembers what was written together."""

    def __init__(self) -> None:
        super().__init__()
        self.together: list[tuple[Row, ...]] = []

    async def write(self, rows: Any, *, durable: bool) -> None:
        self.together.append(tuple(rows))
        await super().write(rows, durable=durable)

    def with_spending(self) -> list[tuple[Row, ...]]:
        return [rows for rows in self.together if any(isinstance(row, SpendingRow) for row in rows)]


async def test_a_reservation_is_on_disk_before_its_request_and_is_settled_in_one_transaction_with_the_reply() -> None:
    store, sent = Transactions(), anyio.Event()
    turn = Turn(tokens=40, usd=0.25, want=100, fixed_usd=0.5, output_usd=0.01, sent=sent, hold=anyio.Event())
    backend = FakeBackend(acts={"a": pays(turn)})
    with within():
        async with on_stage(one, backend=backend, store=store, run_settings=settings(budget_usd=5.0)) as stage:
            await sent.wait()
            (row,) = [row for rows in store.durable for row in rows if isinstance(row, SpendingRow)]
            assert (row.state, row.reserved_tokens, row.reserved_usd) == ("reserved", 100, 1.5)
            assert turn.hold is not None
            turn.hold.set()
            await stage.run.result()
    _, paid = store.with_spending()
    (settled,) = [row for row in paid if isinstance(row, SpendingRow)]
    assert (settled.n, settled.state, settled.output_tokens, settled.cost_usd) == (row.n, "settled", 40, 0.25)
    (message,) = [row for row in paid if isinstance(row, MessageRow)]
    assert '"assistant"' in message.payload


async def test_what_an_agent_reports_at_its_end_only_is_booked_with_its_outcome_and_once() -> None:
    store = Transactions()
    backend = FakeBackend(outcomes={"a": ok(tokens=30, cost_usd=0.5)})
    played = await play(one, backend=backend, store=store, run_settings=settings(budget_usd=5.0))
    (rows,) = store.with_spending()
    assert {type(row).__name__ for row in rows} >= {"SpendingRow", "AgentRow", "EventRow"}
    (row,) = store.of(SpendingRow)
    assert (row.output_tokens, row.cost_usd, row.reserved_tokens, row.model) == (30, 0.5, None, "fake-1")
    assert played.result.usage.cost_usd == 0.5


async def test_an_agent_whose_next_request_does_not_fit_ends_over_budget_with_its_conversation_kept() -> None:
    store, grants = MemoryStore(), list[int]()
    turns = [Turn(tokens=80, usd=0.8, fixed_usd=0.2, output_usd=0.01) for _ in range(3)]
    backend = FakeBackend(acts={"a": pays(*turns, grants=grants)})

    async def script(js: Js) -> Any:
        return [await caught(js.agent("x", label="a")), js.spent]

    played = await play(script, backend=backend, store=store, run_settings=settings(budget_usd=1.5))
    assert played.result.result == ["BudgetExceededError", 130]
    assert grants == [100, 50], "of 0.7 dollars 0.2 are the prompt's"
    (agent,) = played.result.agents
    assert agent.status == "over_budget"
    assert agent.usage.cost_usd == 1.6, "the fake spends more than it was granted; what it says is what is counted"
    assert len(store.of(MessageRow)) == 5
    assert played.result.over_budget


async def test_a_call_that_is_refused_for_want_of_money_ends_a_loop_that_would_go_on_for_ever() -> None:
    backend = FakeBackend(acts={"x": pays(Turn(usd=0.3, fixed_usd=0.4))})

    async def script(js: Js) -> Any:
        count = 0
        try:
            while True:
                await js.agent("x", label="x")
                count += 1
        except ScriptError as error:
            return [count, error.name]

    played = await play(script, backend=backend, run_settings=settings(budget_usd=1.0))
    assert played.result.result == [3, "BudgetExceededError"]


@pytest.mark.contract("A14", "A17")
async def test_the_agents_own_limit_gives_null_and_the_run_goes_on() -> None:
    backend = FakeBackend(acts={"a": pays(Turn(usd=0.6, fixed_usd=0.6), Turn(usd=0.6, fixed_usd=0.6))})

    async def script(js: Js) -> Any:
        return [await js.agent("x", label="a", maxCost=1.0), await js.agent("x", label="b")]

    played = await play(script, backend=backend)
    assert played.result.result == [None, "b"]
    assert played.statuses == {"a": "over_budget", "b": "ok"}
    (line,) = played.lines
    assert "$0.40 are left" in line
    assert "(maxCost)" in line


@pytest.mark.contract("A14")
async def test_settings_limit_each_agent_and_a_call_can_only_lower_that() -> None:
    grants: list[int] = []
    backend = FakeBackend(acts={"a": pays(Turn(), grants=grants), "b": pays(Turn(), grants=grants)})

    async def script(js: Js) -> Any:
        return [await js.agent("x", label="a", maxTokens=90), await js.agent("x", label="b", maxTokens=5)]

    await play(script, backend=backend, run_settings=settings(agent_budget=Budget(tokens=50)))
    assert grants == [50, 5]


async def test_without_a_price_a_budget_in_dollars_fails_the_agent_and_names_what_gives_one() -> None:
    backend = FakeBackend(acts={"a": pays(Turn(fixed_usd=None, output_usd=None))})
    played = await play(one, backend=backend, run_settings=settings(budget_usd=1.0))
    (agent,) = played.result.agents
    assert (agent.status, played.result.result) == ("failed", None)
    assert agent.error is not None
    assert agent.error.startswith("what fake-1 costs is not known, and the run has a budget in dollars")
    free = await play(one, backend=backend, run_settings=settings(budget_tokens=1_000))
    assert free.result.status == "completed"


@pytest.mark.contract("A12")
async def test_who_waits_for_others_goes_by_priority_and_then_by_arrival() -> None:
    holds = {label: anyio.Event() for label in "abcd"}
    sent = {label: anyio.Event() for label in "abcd"}
    acts = {label: pays(Turn(tokens=10, want=100, hold=holds[label], sent=sent[label])) for label in holds}
    order: list[str] = []

    async def script(js: Js) -> Any:
        first = js.agent("x", label="a")
        rest = [js.agent("x", label=label, priority=rank) for label, rank in (("b", 0), ("c", 5), ("d", 0))]
        return await js.all(first, *rest)

    with within():
        async with on_stage(script, backend=FakeBackend(acts=acts), run_settings=settings(budget_tokens=149)) as stage:
            async for event in stage.run.events():
                body = event.body
                if isinstance(body, AgentWaiting) and len(stage.sink.bodies(AgentWaiting)) == 3:
                    break
            assert {one.why for one in stage.sink.bodies(AgentWaiting) if isinstance(one, AgentWaiting)} == {"budget"}
            for label in "acbd":
                await sent[label].wait()
                order += [one for one in "abcd" if sent[one].is_set() and one not in order]
                holds[label].set()
            result = await stage.run.result()
    assert order == ["a", "c", "b", "d"]
    assert result.status == "completed"


async def test_one_that_is_cancelled_while_it_waits_lets_the_next_go() -> None:
    hold, sent = anyio.Event(), anyio.Event()
    acts = {
        "a": pays(Turn(tokens=10, want=100, hold=hold, sent=sent)),
        "b": pays(Turn(want=100)),
        "c": pays(Turn(tokens=10, want=100)),
    }

    async def script(js: Js) -> Any:
        return await js.all(js.agent("x", label="a"), js.agent("x", label="b"), js.agent("x", label="c"))

    with within():
        async with on_stage(script, backend=FakeBackend(acts=acts), run_settings=settings(budget_tokens=120)) as stage:
            async for _ in stage.run.events():
                if len(stage.sink.bodies(AgentWaiting)) == 2:
                    break
            await stage.run.skip("a0002")
            hold.set()
            result = await stage.run.result()
    assert {agent.label: agent.status for agent in result.agents} == {"a": "ok", "b": "skipped", "c": "ok"}


async def test_a_request_that_was_under_way_when_its_agent_vanished_is_booked_as_reserved_and_marked() -> None:
    sent = anyio.Event()
    turn = Turn(want=100, fixed_usd=0.5, output_usd=0.01, sent=sent, hold=anyio.Event())
    store = MemoryStore()
    with within():
        async with on_stage(
            one, backend=FakeBackend(acts={"a": pays(turn)}), store=store, run_settings=settings(budget_usd=5.0)
        ) as stage:
            await sent.wait()
            await stage.run.skip("a0001")
            result = await stage.run.result()
    (agent,) = result.agents
    assert (agent.usage.cost_usd, agent.usage.estimated_usd) == (1.5, 1.5)
    row = store.of(SpendingRow)[-1]
    assert (row.state, row.cost_usd, row.estimated_usd) == ("settled", 1.5, 1.5)


# --- phases


async def test_a_phase_has_a_budget_of_its_own_and_a_nested_workflow_charges_all_above_it() -> None:
    backend = FakeBackend(acts={label: pays(Turn(tokens=60)) for label in ("kid", "own", "other")})

    async def child(js: Js) -> Any:
        js.phase("Inner")
        return await js.agent("x", label="kid")

    async def script(js: Js) -> Any:
        js.phase("Review")
        first = await js.workflow("child")
        second = await caught(js.agent("x", label="own"))
        third = await caught(js.agent("x", label="own"))
        js.phase("Other")
        return [first, second, third, await js.agent("x", label="other")]

    played = await play(
        script,
        nested={"child": child},
        backend=backend,
        run_settings=settings(
            budget_tokens=1_000, phase_budgets={"Rev*": Budget(tokens=100), "Inner": Budget(usd=1.0)}
        ),
    )
    assert played.result.result == ["done", "done", "BudgetExceededError", "done"]
    (problem,) = played.result.problems
    assert problem.message == (
        "the budget of 100 output tokens of phase 'Review' is spent (100): raise it with --phase-budget Review=200"
    )
    assert problem.next == "callsheet resume run_test --phase-budget Review=200"
    warnings = [one for one in played.stage.sink.bodies(BudgetWarning) if isinstance(one, BudgetWarning)]
    assert [(one.phase, one.share, one.spent) for one in warnings] == [("Review", 0.5, 60), ("Review", 0.95, 100)]
    assert played.lines == [
        "50% of the budget of phase 'Review' is spent: 60 of 100 output tokens",
        "95% of the budget of phase 'Review' is spent: 100 of 100 output tokens",
    ]


# --- who is begun at all


@pytest.mark.contract("A14", "A17")
async def test_a_call_of_lower_priority_that_would_not_fit_by_what_its_like_took_is_skipped_and_reported() -> None:
    backend = FakeBackend(outcomes={label: ok(label, tokens=5 if label == "d" else 40) for label in "abcde"})

    async def script(js: Js) -> Any:
        await js.agent("x", label="a", priority=9)
        await js.agent("x", label="b")
        return [
            await js.agent("x", label="c"),
            await js.agent("x", label="d", phase="Another"),
            await js.agent("x", label="e", priority=9),
        ]

    played = await play(script, backend=backend, run_settings=settings(budget_tokens=119))
    assert played.result.result == [None, "d", "e"], "of d's kind none has ended; e has the highest priority"
    assert played.statuses == {"a": "ok", "b": "ok", "c": "over_budget", "d": "ok", "e": "ok"}
    (problem,) = played.result.problems
    assert problem.message == (
        "skipped: calls like it took 40 output tokens, 39 of the run's budget are left for it, "
        "and others have a higher priority than its 0"
    )
    assert problem.next == "callsheet resume run_test --rerun a0003 --budget 238"
    assert len(backend.tasks) == 4


async def test_equal_priorities_are_never_skipped_the_budget_alone_ends_them() -> None:
    backend = FakeBackend(outcomes={"x": ok("x", tokens=50)})

    async def script(js: Js) -> Any:
        return [await caught(js.agent("x", label="x")) for _ in range(5)]

    played = await play(script, backend=backend, run_settings=settings(budget_tokens=180))
    assert played.result.result == ["x"] * 4 + ["BudgetExceededError"]


@pytest.mark.contract("R01", "R07")
async def test_a_request_cut_off_by_a_crash_counts_as_reserved_when_the_run_goes_on() -> None:
    before, grants = MemoryStore(), list[int]()
    turn = Turn(tokens=10, usd=0.1, want=100, fixed_usd=0.5, output_usd=0.01)
    await play(one, backend=FakeBackend(acts={"a": pays(turn)}), store=before, run_settings=settings(budget_usd=2.0))
    at_crash = MemoryStore()
    begun = next(n for n, row in enumerate(before.rows) if isinstance(row, SpendingRow))
    at_crash.rows = before.rows[: begun + 1]

    turn = Turn(tokens=10, usd=0.1, want=100, fixed_usd=0.3, output_usd=0.01)
    backend = FakeBackend(acts={"a": pays(turn, grants=grants)})
    again = await resumed(one, at_crash, backend=backend, run_settings=settings(budget_usd=2.0))
    assert again.result.status == "completed"
    assert grants == [20], "of 2 dollars 1.5 count for the request that was cut off, and 0.3 are the prompt's"
    assert [row.n for row in at_crash.of(SpendingRow)] == [1, 2, 2], "payments are numbered on"


# --- what a resumed run knows of before


@pytest.mark.contract("R07", "A14")
async def test_recorded_calls_say_what_others_like_them_will_take() -> None:
    store = MemoryStore()

    async def script(js: Js) -> Any:
        await js.agent("x", label="a", priority=9)
        return await js.agent("y", label="late")

    backend = FakeBackend(outcomes={"a": ok("a", tokens=80), "late": AgentOutcome(status="failed", error="no")})
    await play(script, backend=backend, store=store)
    again = await resumed(script, store, run_settings=settings(budget_tokens=119))
    assert again.statuses == {"a": "ok", "late": "over_budget"}
    (line,) = [line for line in again.lines if "skipped" in line]
    assert "calls like it took 80 output tokens, 39 of the run's budget are left for it" in line


@pytest.mark.contract("R07")
async def test_what_a_nested_workflow_paid_before_counts_for_the_phase_that_called_it() -> None:
    store = MemoryStore()

    async def child(js: Js) -> Any:
        js.phase("Inner")
        return await js.agent("x", label="kid")

    async def script(js: Js) -> Any:
        js.phase("Review")
        first = await js.workflow("child")
        return [first, await caught(js.agent("x", label="own"))]

    own = AgentOutcome(status="failed", error="no")
    backend = FakeBackend(outcomes={"kid": ok("kid", tokens=100), "own": own})
    phases = {"Review": Budget(tokens=1_000)}
    await play(
        script, nested={"child": child}, backend=backend, store=store, run_settings=settings(phase_budgets=phases)
    )
    lower = settings(phase_budgets={"Review": Budget(tokens=100)})
    again = await resumed(script, store, nested={"child": child}, run_settings=lower)
    assert again.result.result == ["kid", "BudgetExceededError"]


@pytest.mark.contract("A14", "R07")
async def test_an_agent_that_goes_on_in_the_middle_has_what_is_left_of_its_own_limit() -> None:
    grants: list[int] = []
    backend = FakeBackend(acts={"a": pays(Turn(want=100), grants=grants)})
    store = MemoryStore()
    await play(one, store=store, backend=FakeBackend(outcomes={"a": AgentOutcome(status="failed")}))
    past = past_of(store)
    (agent,) = past.agents
    used = replace(agent.outcome, usage=Usage(output_tokens=60))
    kept = replace(agent, outcome=used, kept=KeptConversation(messages=("{}",), tool_calls=()))

    async def script(js: Js) -> Any:
        return await js.agent("x", label="a", maxTokens=90)

    resumption = Resumption(past=replace(past, agents=(kept,)))
    await play(script, store=store, backend=backend, resumption=resumption)
    assert grants == [30]


async def test_a_call_that_is_skipped_for_a_phases_budget_names_the_flag_of_that_phase() -> None:
    backend = FakeBackend(outcomes={label: ok(label, tokens=40) for label in "abc"})

    async def script(js: Js) -> Any:
        js.phase("Plan")
        return [await js.agent("x", label=label, priority=9 if label == "a" else 0) for label in "abc"]

    played = await play(script, backend=backend, run_settings=settings(phase_budgets={"Plan": Budget(tokens=119)}))
    assert played.result.result == ["a", "b", None]
    (problem,) = played.result.problems
    assert problem.next == "callsheet resume run_test --rerun a0003 --phase-budget Plan=238"
