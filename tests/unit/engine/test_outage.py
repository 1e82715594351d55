"""Runs whose service stays away: held, tried again, and ended where waiting does not help (CONTRACT K05)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from callsheet.engine import outage
from callsheet.engine.outage import Backoff
from callsheet.errors import BackendUnavailableError
from callsheet.model.call import AgentTask
from callsheet.model.events import AgentWaiting, Event, RunStatusChanged
from callsheet.model.outcome import AgentOutcome, Usage
from callsheet.model.reports import Progress
from callsheet.ports import AgentReporter
from tests.support.deadline import within
from tests.support.fake_backend import Act, FakeBackend, ok
from tests.support.fake_session import Js
from tests.unit.engine.stage import on_stage, play, settings

pytestmark = [pytest.mark.anyio, pytest.mark.contract("K05")]

T0 = datetime(2026, 11, 21, 8, tzinfo=UTC)


def stamp(seconds: float, start: datetime = T0) -> str:
    moment = start + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def away(
    cause: str = "outage", *, retry_in_s: float | None = None, since_s: float | None = None, start: datetime = T0
) -> BackendUnavailableError:
    return BackendUnavailableError(
        "the service is away.",
        cause=cause,
        retry_at=None if retry_in_s is None else stamp(retry_in_s, start),
        since=None if since_s is None else stamp(since_s, start),
    )


# --- how long, decided without a clock


def backoff(max_wait_s: float = 6 * 3600) -> Backoff:
    return Backoff(max_wait_s, chance=lambda: 0.0)


NOW_S = T0.timestamp()


@pytest.mark.parametrize("cause", ["authentication", "credit", "model"])
async def test_a_wrong_key_credit_or_model_is_not_waited_for(cause: str) -> None:
    assert backoff().wait_s(away(cause, retry_in_s=5), NOW_S) is None


async def test_a_time_that_the_service_names_is_waited_for_and_none_beyond_the_longest_wait() -> None:
    assert backoff().wait_s(away("rate_limit", retry_in_s=7200), NOW_S) == 7200 + outage.MARGIN_S
    assert backoff(3600).wait_s(away("rate_limit", retry_in_s=7200), NOW_S) is None
    assert backoff(0).wait_s(away("rate_limit", retry_in_s=1), NOW_S) is None


async def test_waits_without_a_named_time_grow_to_a_cap_and_end_with_the_longest_wait() -> None:
    waits, now_s = backoff(1000), NOW_S
    taken: list[float] = []
    while (wait_s := waits.wait_s(away(since_s=0), now_s)) is not None:
        taken.append(wait_s)
        now_s += wait_s
    assert taken == [60, 120, 240, 300, 280]


async def test_a_time_that_is_named_again_and_again_and_never_kept_makes_the_waits_grow_too() -> None:
    waits, now_s = backoff(), NOW_S
    taken: list[float] = []
    for _ in range(4):
        wait_s = waits.wait_s(away(retry_in_s=now_s - NOW_S + 1, since_s=0), now_s)
        assert wait_s is not None
        taken.append(wait_s)
        now_s += wait_s
    assert taken == [1 + outage.MARGIN_S, 120, 240, 300]


async def test_times_that_cannot_be_read_are_no_times() -> None:
    error = BackendUnavailableError("away", cause="outage", retry_at="soon", since="long ago")
    assert backoff().wait_s(error, NOW_S) == 60


async def test_an_agent_that_joins_a_wait_only_adds_the_time_that_its_service_names() -> None:
    waits = backoff()
    assert waits.wait_s(away(since_s=0), NOW_S) == 60
    assert waits.wait_s(away(since_s=0), NOW_S, is_held=True) == outage.MARGIN_S
    assert waits.wait_s(away(since_s=0, retry_in_s=90), NOW_S, is_held=True) == 90 + outage.MARGIN_S
    assert waits.wait_s(away(since_s=0), NOW_S + 90) == 120


async def test_an_outage_of_its_own_is_waited_for_anew() -> None:
    waits = backoff(100)
    assert waits.wait_s(away(since_s=0), NOW_S) == 60
    assert waits.wait_s(away(since_s=0), NOW_S + 60) == 40
    assert waits.wait_s(away(since_s=0), NOW_S + 100) is None
    assert waits.wait_s(away(since_s=150), NOW_S + 150) == 60


async def test_a_backend_that_does_not_say_since_when_is_believed_to_be_back_once_an_agent_ended_well() -> None:
    waits = backoff(100)
    assert waits.wait_s(away(), NOW_S) == 60
    assert waits.wait_s(away(), NOW_S + 60) == 40
    waits.passed()
    assert waits.wait_s(away(), NOW_S + 100) == 60


# --- whole runs


class Service:
    """Away until the time that it names, then there."""

    def __init__(self, cause: str = "rate_limit", *, for_s: float = 0.25) -> None:
        now = datetime.now(UTC)
        self.error = away(cause, retry_in_s=for_s, since_s=0, start=now)
        self.held: list[str] = []
        self.begun: list[str] = []
        self.is_away = True

    async def holding(self, task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        """An agent that can be held."""
        self.begun.append(task.label)
        if self.is_away:
            self.held.append(task.label)
            await reporter.hold(self.error)
            self.is_away = False
        return ok(task.label)

    async def beginning_anew(self, task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        """One that cannot."""
        self.begun.append(task.label)
        if self.is_away:
            await reporter.report(Progress(tokens=7, usage=Usage(input_tokens=3, output_tokens=7)))
            self.is_away = False
            raise self.error
        return ok(task.label)


async def three(js: Js) -> Any:
    return await js.all(*[js.agent("x", label=label) for label in ("one", "two", "three")])


def acts(act: Act) -> FakeBackend:
    return FakeBackend(acts=dict.fromkeys(("one", "two", "three"), act))


async def test_a_run_is_held_until_the_service_is_back_and_no_agent_is_begun_anew() -> None:
    service = Service()
    played = await play(three, backend=acts(service.holding), run_settings=settings(max_parallel=2))
    assert (played.result.status, played.result.result) == ("completed", ["one", "two", "three"])
    assert service.begun == ["one", "two", "three"], "the third starts after the wait"
    names = played.stage.sink.names()
    waiting, running = played.stage.sink.bodies(RunStatusChanged)
    assert isinstance(waiting, RunStatusChanged)
    assert isinstance(running, RunStatusChanged)
    assert (waiting.status, running.status) == ("waiting", "running")
    assert waiting.reason is not None
    assert "the service is away (rate_limit)" in waiting.reason
    assert waiting.until is not None
    assert {event.until for event in played.stage.sink.bodies(AgentWaiting) if isinstance(event, AgentWaiting)} == {
        waiting.until
    }
    assert names.count("agent.waiting") == 2
    first, last = names.index("run.status"), len(names) - names[::-1].index("run.status")
    assert "agent.started" not in names[first : last - 1]


async def test_an_agent_that_cannot_be_held_is_begun_anew_and_what_it_used_counts() -> None:
    service = Service()

    async def one(js: Js) -> Any:
        return await js.agent("x", label="one")

    played = await play(one, backend=acts(service.beginning_anew))
    assert (played.result.status, played.result.result) == ("completed", "one")
    assert service.begun == ["one", "one"]
    assert (played.result.usage.input_tokens, played.result.usage.output_tokens) == (3 + 1, 7 + 10)


async def test_nothing_is_delivered_while_a_run_is_held_also_no_timer() -> None:
    service = Service(for_s=0.6)

    async def script(js: Js) -> Any:
        js.agent("x", label="two")
        await js.sleep(200)
        js.log("the timer")
        return await js.agent("x", label="free")

    backend = FakeBackend(acts={"two": service.holding})
    with within(5):
        async with on_stage(script, backend=backend) as stage:
            result = await stage.run.result()
            names = stage.sink.names()
    assert result.status == "completed"
    assert names.index("log") > len(names) - 1 - names[::-1].index("run.status")


async def test_the_timeout_of_an_agent_stands_still_while_the_run_is_held() -> None:
    service = Service(for_s=1.2)

    async def one(js: Js) -> Any:
        return await js.agent("x", label="one", timeout=1)

    played = await play(one, backend=acts(service.holding))
    assert (played.result.status, played.result.result) == ("completed", "one")


async def test_a_service_that_stays_away_is_tried_until_the_longest_wait_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outage, "FIRST_WAIT_S", 0.01)
    tries: list[int] = []

    async def never(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        while True:
            tries.append(1)
            await reporter.hold(away())

    played = await play(three, backend=acts(never), run_settings=settings(max_wait_s=1.2))
    assert played.result.status == "interrupted"
    assert played.result.error is not None
    assert played.result.error.kind == "backend"
    assert "The run waits at most 0.02 min for it (--max-wait)." in played.result.error.message
    assert "callsheet resume run_test" in played.result.error.message
    assert set(played.statuses.values()) == {"cancelled"}
    assert played.stage.resolved() == []
    assert len(tries) >= 6


@pytest.mark.parametrize("cause", ["authentication", "credit", "model"])
async def test_a_run_with_a_wrong_key_ends_at_once_also_where_it_is_being_held(cause: str) -> None:
    service = Service("rate_limit", for_s=60)

    async def second(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        raise away(cause)

    backend = FakeBackend(acts={"one": service.holding, "two": second}, held=("two",))
    with within(5):
        async with on_stage(three, backend=backend) as stage:
            await backend.begun("two")
            async for event in stage.run.events():
                if event.name == "run.status":
                    break
            backend.finish("two")
            result = await stage.run.result()
    assert result.status == "interrupted"
    assert result.error is not None
    assert f"({cause})" in result.error.message


async def test_a_run_that_is_held_can_be_stopped_at_once() -> None:
    service = Service(for_s=60)

    def is_waiting(event: Event) -> bool:
        return event.name == "agent.waiting"

    with within(5):
        async with on_stage(three, backend=acts(service.holding)) as stage:
            async for event in stage.run.events():
                if is_waiting(event):
                    break
            await stage.run.stop()
            result = await stage.run.result()
    assert result.status == "cancelled"
    assert {agent.status for agent in result.agents} == {"cancelled"}
    assert stage.resolved() == []


async def test_what_a_held_agent_had_used_is_booked_when_it_is_cancelled() -> None:
    service = Service(for_s=60)

    async def used(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        await reporter.report(Progress(tokens=7, usage=Usage(input_tokens=3, output_tokens=7)))
        await reporter.hold(service.error)
        raise AssertionError("the run ended")

    async def raised(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        await reporter.report(Progress(tokens=7, usage=Usage(input_tokens=3, output_tokens=7)))
        raise service.error

    async def two(js: Js) -> Any:
        return await js.all(js.agent("x", label="one"), js.agent("x", label="two"))

    waiting = 0
    with within(5):
        async with on_stage(two, backend=FakeBackend(acts={"one": used, "two": raised})) as stage:
            async for event in stage.run.events():
                waiting += event.name == "agent.waiting"
                if waiting == 2:
                    break
            await anyio.lowlevel.checkpoint()
            await stage.run.stop()
            result = await stage.run.result()
    assert [agent.usage.output_tokens for agent in result.agents] == [7, 7]
