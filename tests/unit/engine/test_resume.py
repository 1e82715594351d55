"""A recorded run goes on from its record: what answers again, when, and what the script then sees."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from callsheet.engine.run import RULES_VERSION
from callsheet.model.call import AgentTask
from callsheet.model.events import AgentFinished, AgentStarted, RunStarted
from callsheet.model.outcome import AgentOutcome, AgentWorktree, Ran
from callsheet.model.records import AgentRow, DeliveredRow, RunRow
from callsheet.model.reports import MessageAdded
from callsheet.model.sandbox import StartScript
from callsheet.ports import AgentReporter
from tests.support.deadline import within
from tests.support.fake_backend import FakeBackend, ok
from tests.support.fake_session import Js, ScriptError
from tests.support.memory_store import MemoryStore
from tests.support.resuming import asked, past_of, resumed, value
from tests.unit.engine.stage import Played, on_stage, play, settings

pytestmark = pytest.mark.anyio

FAILED = AgentOutcome(status="failed", error="it broke")


async def three(js: Js) -> Any:
    return await js.all(*[js.agent(f"do {name}", label=name) for name in ("one", "two", "three")])


def ending(label: str, *before: str) -> Callable[[AgentTask, AgentReporter], Awaitable[AgentOutcome]]:
    """An agent that takes a few turns of the loop more than others."""

    async def act(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        for _ in range(len(before)):
            await anyio.lowlevel.checkpoint()
        return ok(label)

    return act


def world(played: Played) -> list[tuple[Any, int, int, float]]:
    """All that a script was told, and the clock and the spent that it saw with it."""
    return [
        (one, clock.now_ms, clock.spent_tokens, clock.spent_usd)
        for one, clock in played.stage.session.deliveries
        if not isinstance(one, StartScript)
    ]


@pytest.mark.contract("R01", "R02", "R07")
async def test_a_finished_run_answers_wholly_from_its_record() -> None:
    store = MemoryStore()
    first = await play(three, store=store, seed=77, started_ms=1_000)
    again = await resumed(three, store)
    assert asked(again) == []
    assert (again.result.status, value(again)) == ("completed", value(first))
    assert [(agent.agent_id, agent.reused, agent.usage) for agent in again.result.agents] == [
        (agent.agent_id, True, agent.usage) for agent in first.result.agents
    ]
    assert again.result.usage == first.result.usage
    assert again.stage.sink.bodies(AgentStarted) == []
    start = again.stage.session.deliveries[0]
    assert isinstance(start[0], StartScript) and (start[0].seed, start[1].now_ms) == (77, 1_000)
    runs = store.of(RunRow)
    assert [(run.run_id, run.attempts, run.version) for run in runs] == [
        ("run_test", 1, RULES_VERSION),
        ("run_test", 2, RULES_VERSION),
    ]


@pytest.mark.contract("R08")
async def test_what_a_script_only_listens_to_is_handed_in_together_and_all_the_same_seen_as_before() -> None:
    async def many(js: Js) -> Any:
        async def pair(name: str) -> Any:
            first = await js.agent(f"do {name}", label=name)
            return [first, await js.agent(f"doubt {name} {js.now_ms}", label=f"doubt {name}")]

        wide = await js.all(*[js.agent(f"look at {n}", label=str(n)) for n in range(50)])
        return [wide, await js.all(*[js.spawn(pair(f"p{n}")) for n in range(8)])]

    store = MemoryStore()
    acts = {str(n): ending(str(n), *"abc"[: n % 3]) for n in range(50)}
    first = await play(many, store=store, backend=FakeBackend(acts=acts))
    again = await resumed(many, store)
    assert (asked(again), value(again)) == ([], value(first))
    assert world(again) == world(first)
    assert 30 < again.stage.session.handed_ahead < 66
    assert first.stage.session.handed_ahead == 0


@pytest.mark.contract("R04")
async def test_one_that_failed_early_runs_again_and_all_others_are_reused() -> None:
    store = MemoryStore()
    acts = {"one": ending("one", "a", "b", "c"), "three": ending("three", "a")}
    await play(three, store=store, backend=FakeBackend(outcomes={"two": FAILED}, acts=acts))
    again = await resumed(three, store)
    assert asked(again) == ["two"]
    assert value(again) == ["one", "two", "three"]
    assert again.result.status == "completed"
    report = again.result.resumed
    assert report is not None and (report.reused, report.live) == (2, 1)
    (anew,) = [call for call in report.calls if not call.reused]
    assert (anew.label, anew.why) == ("two", "it ended failed, which is no result")


@pytest.mark.contract("R04")
@pytest.mark.parametrize(
    "outcome",
    [
        FAILED,
        AgentOutcome(status="skipped"),
        AgentOutcome(status="cancelled"),
        AgentOutcome(status="timed_out"),
        AgentOutcome(status="over_budget"),
        AgentOutcome(status="conflict"),
    ],
    ids=lambda outcome: outcome.status,
)
async def test_what_is_no_result_is_asked_again(outcome: AgentOutcome) -> None:
    store = MemoryStore()
    first = await play(three, store=store, backend=FakeBackend(outcomes={"two": outcome}))
    assert value(first) == ["one", None, "three"]
    assert asked(await resumed(three, store)) == ["two"]
    assert asked(await resumed(three, store)) == []


@pytest.mark.contract("R04")
async def test_what_a_person_names_runs_again_by_label_or_id() -> None:
    store = MemoryStore()
    await play(three, store=store)
    assert asked(await resumed(three, store, rerun=("one", "a0003"))) == ["one", "three"]
    report = (await resumed(three, store, rerun=("two",))).result.resumed
    assert report is not None and "--rerun" in str([call.why for call in report.calls if not call.reused])


@pytest.mark.contract("R07")
async def test_one_that_runs_again_is_the_same_agent_and_all_its_attempts_are_paid() -> None:
    store = MemoryStore()
    lost = AgentOutcome(status="failed", error="no", usage=ok(tokens=30).usage, tools_called=("read",))
    await play(three, store=store, backend=FakeBackend(outcomes={"two": lost}))
    again = await resumed(three, store)
    (task,) = again.stage.backend.tasks
    assert (task.agent_id, task.attempt) == ("a0002", 2)
    agent = again.result.agents[1]
    assert (agent.agent_id, agent.usage.output_tokens, agent.attempts) == ("a0002", 40, 2)
    assert again.result.usage.output_tokens == 60
    assert store.agents()["a0002"].output_tokens == 40
    assert past_of(store).agents[1].outcome.usage.output_tokens == 40


@pytest.mark.contract("R01", "R07")
async def test_what_was_paid_stays_on_record_while_an_agent_runs_again() -> None:
    store = MemoryStore()
    await play(
        three, store=store, backend=FakeBackend(outcomes={"two": AgentOutcome(status="failed", usage=ok().usage)})
    )
    again = await resumed(three, store)
    waiting = [row for row in store.of(AgentRow) if row.agent_id == "a0002" and row.status in ("queued", "running")]
    assert [row.output_tokens for row in waiting] == [0, 0, 10, 10]
    assert again.result.status == "completed"


async def telling(js: Js) -> Any:
    """What later agents are asked depends on arrival, timers, the clock and what was spent."""
    arrived: list[str] = []

    async def one(name: str) -> None:
        arrived.append(await js.agent(f"first {name}", label=name))
        await js.agent(f"then {name} after {arrived} at {js.now_ms} spent {js.spent}", label=f"{name}-then")

    async def tick() -> None:
        for delay in (1, 2, 1):
            await js.sleep(delay)
            arrived.append(f"tick {js.now_ms}")

    ticking = js.spawn(tick())
    await js.all(*[js.spawn(one(name)) for name in "abcdefgh"])
    await ticking
    return arrived


def shuffled(chance: random.Random, *, held: set[str] | None = None) -> FakeBackend:
    """Agents that take different times, and some of them for ever."""

    def act(label: str, turns: int) -> Callable[[AgentTask, AgentReporter], Awaitable[AgentOutcome]]:
        async def work(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
            for _ in range(turns):
                await anyio.sleep(0.0005)
            return ok(label, tokens=turns + 1, cost_usd=0.001 * turns)

        return work

    labels = [label + then for label in "abcdefgh" for then in ("", "-then")]
    acts = {label: act(label, chance.randint(0, 6)) for label in labels}
    return FakeBackend(acts=acts, held=tuple(held or ()))


@pytest.mark.contract("R08", "R02", "D04")
@pytest.mark.parametrize("seed", range(8))
async def test_prompts_built_of_arrival_timers_and_spent_are_the_same_again(seed: int) -> None:
    store = MemoryStore()
    first = await play(telling, store=store, backend=shuffled(random.Random(seed)))
    again = await resumed(telling, store, backend=shuffled(random.Random(seed + 1_000)))
    assert asked(again) == []
    assert value(again) == value(first)
    assert world(again) == world(first)


@pytest.mark.contract("R01", "R08", "R02")
@pytest.mark.parametrize("seed", range(8))
async def test_a_run_that_is_interrupted_twice_asks_only_what_had_not_ended(seed: int) -> None:
    store, chance = MemoryStore(), random.Random(seed)
    paid: list[str] = []
    for attempt in range(2):
        held = set(chance.sample([label + then for label in "abcdefgh" for then in ("", "-then")], 5 - 2 * attempt))
        backend = shuffled(chance, held=held)
        resumption = None if attempt == 0 else resumption_of(store)
        with within():
            async with on_stage(telling, store=store, backend=backend, resumption=resumption) as stage:
                await at_rest(backend, held)
                await stage.run.stop("stopped")
        paid += [task.label for task in backend.tasks if task.label not in backend.cancelled]
    last = await resumed(telling, store, backend=shuffled(chance))
    paid += asked(last)
    assert last.result.status == "completed"
    assert sorted(paid) == sorted({label + then for label in "abcdefgh" for then in ("", "-then")})
    after = await resumed(telling, store)
    assert asked(after) == [] and value(after) == value(last)


def resumption_of(store: MemoryStore) -> Any:
    from callsheet.model.past import Resumption

    return Resumption(past=past_of(store))


async def at_rest(backend: FakeBackend, held: set[str]) -> None:
    """Waits until only agents are at work that were told to wait, and nothing has happened for a while."""
    quiet = 0
    while quiet < 20:
        await anyio.sleep(0.001)
        begun = {task.label for task in backend.tasks}
        quiet = quiet + 1 if backend.at_work == len(begun & held) else 0


@pytest.mark.contract("R08")
async def test_nothing_live_is_delivered_and_nobody_starts_while_the_script_waits_for_what_is_recorded() -> None:
    async def race(js: Js) -> Any:
        slow, quick = js.agent("slow", label="slow"), js.agent("quick", label="quick")
        value = await quick
        return [value, slow.is_settled]

    store = MemoryStore()
    await play(race, store=store, backend=FakeBackend(held=("slow",)))
    again = await resumed(race, store)
    assert asked(again) == []
    assert value(again) == ["quick", False]


@pytest.mark.contract("R08", "R02")
async def test_an_answer_that_never_reached_the_script_is_delivered_after_those_that_did() -> None:
    store = MemoryStore()
    await play(three, store=store)
    row = next(row for row in store.rows if isinstance(row, DeliveredRow) and row.agent_id == "a0002")
    store.rows.remove(row)
    again = await resumed(three, store)
    assert asked(again) == []
    assert again.stage.resolved() == ['"one"', '"three"', '"two"']
    news = [row for row in store.of(DeliveredRow) if row.agent_id == "a0002"]
    assert [row.delivered_seq for row in news] == [4]


@pytest.mark.contract("R02")
async def test_an_edited_prompt_is_asked_anew_and_the_report_names_what_changed() -> None:
    async def edited(js: Js) -> Any:
        prompts = {"one": "do one", "two": "do two, carefully", "three": "do three"}
        return await js.all(*[js.agent(prompt, label=label) for label, prompt in prompts.items()])

    store = MemoryStore()
    await play(three, store=store)
    again = await resumed(edited, store)
    assert [task.prompt for task in again.stage.backend.tasks] == ["do two, carefully"]
    report = again.result.resumed
    assert report is not None
    (anew,) = [call for call in report.calls if not call.reused]
    assert (anew.agent_id, anew.before, anew.changed) == ("a0004", "a0002", ("prompt",))
    assert report.gone == ("a0002",)


@pytest.mark.contract("R02", "R05")
@pytest.mark.parametrize(
    ("options", "changed", "words"),
    [
        ({"model": "opus"}, "model", "model not given → opus"),
        ({"effort": "high"}, "effort", "effort not given → high"),
        ({"schema": {"type": "object"}}, "schema", "schema changed"),
        ({"cwd": "src"}, "cwd", "cwd not given → src"),
        ({"context": "all the same"}, "context", "context not given → all the same"),
    ],
)
async def test_the_report_names_each_part_of_a_call(options: dict[str, Any], changed: str, words: str) -> None:
    def asking(more: dict[str, Any]) -> Any:
        async def script(js: Js) -> Any:
            return await js.agent("do it", label="one", **more)

        return script

    store = MemoryStore()
    await play(asking({}), store=store)
    report = (await resumed(asking(options), store)).result.resumed
    assert report is not None
    (call,) = report.calls
    assert (call.changed, call.why) == ((changed,), f"{words} since a0001")


@pytest.mark.contract("R02")
async def test_labels_phases_limits_and_order_are_not_part_of_what_is_asked() -> None:
    async def moved(js: Js) -> Any:
        js.phase("Elsewhere")
        names = ("three", "one", "two")
        return await js.all(
            *[js.agent(f"do {name}", label=f"{name}!", timeout=9, priority=2, settle=False) for name in names]
        )

    store = MemoryStore()
    await play(three, store=store)
    again = await resumed(moved, store)
    assert asked(again) == []
    assert sorted(value(again)) == ["one", "three", "two"]
    assert {agent.phase for agent in again.result.agents} == {"Elsewhere"}
    assert {(agent.label, agent.phase) for agent in past_of(store).agents} == {
        (f"{name}!", "Elsewhere") for name in ("one", "two", "three")
    }


@pytest.mark.contract("R02")
async def test_equal_calls_are_known_by_their_number() -> None:
    async def equal(js: Js) -> Any:
        return await js.all(*[js.agent("the same", label="same") for _ in range(3)])

    def acts() -> FakeBackend:
        values = iter("xyz")

        async def act(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
            return ok(next(values))

        return FakeBackend(acts={"same": act})

    store = MemoryStore()
    first = await play(equal, store=store, backend=acts())
    again = await resumed(equal, store, backend=acts())
    assert (asked(again), value(again)) == ([], value(first))


@pytest.mark.contract("R03")
async def test_a_prefix_ends_at_the_first_call_that_is_not_as_recorded() -> None:
    store = MemoryStore()
    await play(three, store=store, backend=FakeBackend(outcomes={"two": FAILED}))
    assert asked(await resumed(three, store, reuse="prefix")) == ["three", "two"]
    assert asked(await resumed(three, store, reuse="prefix")) == []


@pytest.mark.contract("R07", "G03")
async def test_the_budget_counts_all_attempts_and_recorded_answers_need_none() -> None:
    async def script(js: Js) -> Any:
        values = await three(js)
        try:
            values.append(await js.agent("more", label="more"))
        except ScriptError as error:
            values.append(error.name)
        return values

    store = MemoryStore()
    tight = settings(budget_tokens=30)
    first = await play(script, store=store, run_settings=tight)
    assert value(first)[-1] == "BudgetExceededError"
    same = await resumed(script, store, run_settings=tight)
    assert (asked(same), value(same)) == ([], value(first))
    more = await resumed(script, store, run_settings=settings(budget_tokens=100))
    assert (asked(more), value(more)[-1], more.result.usage.output_tokens) == (["more"], "more", 40)


@pytest.mark.contract("R07", "L01")
async def test_the_cap_counts_live_agents_only() -> None:
    store = MemoryStore()
    await play(three, store=store, backend=FakeBackend(outcomes={"two": FAILED}), run_settings=settings(max_agents=3))
    again = await resumed(three, store, run_settings=settings(max_agents=1))
    assert (asked(again), again.result.status) == (["two"], "completed")


@pytest.mark.contract("R02", "W01")
async def test_agents_of_nested_workflows_are_reused_too() -> None:
    async def main(js: Js) -> Any:
        nested = [js.workflow("inner", args=number) for number in range(3)]
        return [await js.agent("own", label="own"), *await js.all(*nested)]

    async def inner(js: Js) -> Any:
        await js.sleep(1)
        return await js.agent(f"inside {js.args} at {js.now_ms}", label=f"inside {js.args}", phase="P")

    store = MemoryStore()
    first = await play(main, store=store, nested={"inner": inner})
    again = await resumed(main, store, nested={"inner": inner})
    assert (asked(again), value(again)) == ([], value(first))
    assert world(again) == world(first)
    assert [agent.workflow for agent in again.result.agents] == [agent.workflow for agent in first.result.agents]


@pytest.mark.contract("R01")
async def test_a_script_that_threw_goes_on_once_it_is_mended() -> None:
    async def broken(js: Js) -> Any:
        await three(js)
        raise ScriptError("TypeError", "oops")

    store = MemoryStore()
    assert (await play(broken, store=store)).result.status == "failed"
    again = await resumed(three, store)
    assert (asked(again), again.result.status) == ([], "completed")


@pytest.mark.contract("R02", "A15")
async def test_a_settled_call_gets_again_all_that_it_got() -> None:
    async def script(js: Js) -> Any:
        return await js.agent("run it", label="one", settle=True)

    outcome = AgentOutcome(
        status="ok",
        value={"a": [1]},
        ran=Ran(exit_status=3, stdout="out", stderr="err"),
        worktree=AgentWorktree(name="w", branch="callsheet/run_test/w"),
        usage=ok().usage,
    )
    store = MemoryStore()
    first = await play(script, store=store, backend=FakeBackend(outcomes={"one": outcome}))
    again = await resumed(script, store)
    assert value(again) == value(first)
    assert value(again)["exitStatus"] == 3
    assert again.result.agents[0].worktree == outcome.worktree


@pytest.mark.contract("R07")
async def test_events_and_messages_go_on_where_they_ended() -> None:
    async def act(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        await reporter.report(MessageAdded(payload={"attempt": task.attempt}))
        return FAILED if task.attempt == 1 else ok()

    store = MemoryStore()
    first = await play(three, store=store, backend=FakeBackend(acts={"two": act}))
    again = await resumed(three, store, backend=FakeBackend(acts={"two": act}))
    last = first.stage.sink.events[-1].seq
    assert [event.seq for event in again.stage.sink.events] == list(
        range(last + 1, last + 1 + len(again.stage.sink.events))
    )
    (started,) = again.stage.sink.bodies(RunStarted)
    assert isinstance(started, RunStarted)
    reused = [body for body in again.stage.sink.bodies(AgentFinished) if isinstance(body, AgentFinished)]
    assert [(body.agent.label, body.agent.reused) for body in reused] == [
        ("one", True),
        ("three", True),
        ("two", False),
    ]
    (two,) = [agent for agent in past_of(store).agents if agent.label == "two"]
    assert (two.messages, two.attempt) == (2, 2)


@pytest.mark.contract("D04", "R08")
async def test_the_clock_goes_on_from_where_it_stood_however_long_the_run_lay() -> None:
    async def script(js: Js) -> Any:
        times = [js.now_ms]
        await js.agent("a", label="a")
        times.append(js.now_ms)
        await js.agent("b", label="b")
        return [*times, js.now_ms]

    store = MemoryStore()
    first = await play(script, store=store, backend=FakeBackend(outcomes={"b": FAILED}), started_ms=5_000)
    again = await resumed(script, store)
    assert value(again)[:2] == value(first)[:2]
    assert value(first)[1] <= value(again)[2] < 15_000


@pytest.mark.contract("R02", "R05")
async def test_the_report_names_what_answers_depend_on_and_is_other_now() -> None:
    store = MemoryStore()
    await play(three, store=store, run_settings=settings(memory="a" * 64))
    again = await resumed(three, store, run_settings=settings(memory="b" * 64))
    assert asked(again) == []
    report = again.result.resumed
    assert report is not None and report.differs == ("memory files aaaaaaaaaaaa → bbbbbbbbbbbb",)
