"""The door to a model service: who waits, who is told, and that nobody is forgotten."""

from __future__ import annotations

import anthropic
import anyio
import httpx2
import pytest

from callsheet.agents.anthropic.door import Door, Doors, shared_doors
from callsheet.agents.timing import Timing
from callsheet.errors import BackendUnavailableError
from callsheet.model.reports import Waiting
from tests.support.agents import RecordingReporter
from tests.support.deadline import within

pytestmark = pytest.mark.anyio

REQUEST = httpx2.Request("POST", "https://service.test/v1/messages")


def refusal(status: int, **headers: str) -> anthropic.APIStatusError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    kind = "authentication_error" if status == 401 else "overloaded_error"
    response = httpx2.Response(status, headers=named, request=REQUEST)
    return anthropic.APIStatusError("no", response=response, body={"error": {"type": kind, "message": "no"}})


class Agents:
    """Agents before one door; each sends one request, which goes as the test says."""

    def __init__(self) -> None:
        self.door = Door(Timing(chance=lambda: 0.0))
        self.reporters: dict[str, RecordingReporter] = {}
        self.sent: list[str] = []
        self.errors: dict[str, BackendUnavailableError] = {}

    async def ask(self, name: str, error: Exception | None = None) -> None:
        """One request; it fails with `error`."""
        reporter = self.reporters[name] = RecordingReporter()
        try:
            async with self.door.request(reporter, agent=name, goes_first=False) as request:
                self.sent.append(name)
                if error is not None:
                    raise error
                request.opened()
        except anthropic.APIStatusError:
            pass
        except BackendUnavailableError as unavailable:
            self.errors[name] = unavailable

    def said(self, name: str) -> list[Waiting]:
        return self.reporters[name].of(Waiting)

    async def waiting(self, *names: str) -> None:
        for name in names:
            await self.reporters[name].until(lambda report: isinstance(report, Waiting))


@pytest.mark.contract("K02")
async def test_all_agents_of_the_process_share_the_door_to_a_service_and_model() -> None:
    assert shared_doors() is shared_doors()
    doors = shared_doors()
    assert doors.door("http://a", "m") is doors.door("http://a", "m")
    assert len({doors.door("http://a", "m"), doors.door("http://a", "n"), doors.door("http://b", "m")}) == 3
    assert Doors(Timing()).door("http://a", "m") is not doors.door("http://a", "m")


@pytest.mark.contract("K02")
async def test_a_pause_is_shown_to_each_agent_that_waits_with_the_time_it_ends_and_then_all_go_in_order() -> None:
    agents = Agents()
    with within():
        await agents.ask("first", refusal(529, retry_after_ms="200"))
        async with anyio.create_task_group() as tasks:
            for name in ("a", "b", "c"):
                tasks.start_soon(agents.ask, name)
    assert agents.sent == ["first", "a", "b", "c"]
    said = {name: agents.said(name) for name in ("a", "b", "c")}
    assert [len(waits) for waits in said.values()] == [1, 1, 1]
    assert len({waits[0].until for waits in said.values()}) == 1
    assert {waits[0].why for waits in said.values()} == {"service"}


@pytest.mark.contract("K02")
async def test_a_pause_that_is_cancelled_by_the_one_that_minds_the_clock_ends_for_the_others_all_the_same() -> None:
    agents = Agents()
    with within():
        await agents.ask("first", refusal(529, retry_after_ms="200"))
        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()

            async def cancelled() -> None:
                with scope:
                    await agents.ask("a")

            tasks.start_soon(cancelled)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(agents.ask, "b")
            tasks.start_soon(agents.ask, "c")
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    assert agents.sent == ["first", "b", "c"]
    assert (agents.door.circuit.waiting, agents.door.circuit.at_work) == (0, 0)


@pytest.mark.contract("K02")
async def test_a_pause_that_grows_is_shown_anew() -> None:
    agents = Agents()
    late = anyio.Event()

    async def on_its_way() -> None:
        with pytest.raises(anthropic.APIStatusError):
            async with agents.door.request(RecordingReporter(), agent="late", goes_first=False):
                await late.wait()
                raise refusal(529, retry_after_ms="400")

    with within():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(on_its_way)
            await anyio.wait_all_tasks_blocked()
            await agents.ask("first", refusal(529, retry_after_ms="300"))
            tasks.start_soon(agents.ask, "a")
            await anyio.wait_all_tasks_blocked()
            late.set()
    first, second = (wait.until for wait in agents.said("a"))
    assert first is not None
    assert second is not None
    assert first < second


@pytest.mark.contract("K05")
async def test_all_who_wait_are_sent_away_with_the_cause_when_one_finds_the_key_refused() -> None:
    agents = Agents()
    found = anyio.Event()

    async def on_its_way() -> None:
        with pytest.raises(BackendUnavailableError):
            async with agents.door.request(RecordingReporter(), agent="late", goes_first=False):
                await found.wait()
                raise refusal(401)

    with within():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(on_its_way)
            await anyio.wait_all_tasks_blocked()
            await agents.ask("first", refusal(529, retry_after="30"))
            for name in ("a", "b"):
                tasks.start_soon(agents.ask, name)
            await anyio.wait_all_tasks_blocked()
            found.set()
    assert agents.sent == ["first"]
    assert {error.cause for error in agents.errors.values()} == {"authentication"}
    assert set(agents.errors) == {"a", "b"}


@pytest.mark.contract("K05")
async def test_who_comes_while_the_service_stays_away_is_told_so_without_a_request() -> None:
    agents = Agents()
    with within():
        await agents.ask("first", refusal(529, retry_after="7200"))
        await agents.ask("second")
    assert agents.sent == ["first"]
    assert agents.errors["second"].retry_at == agents.errors["first"].retry_at
    assert agents.errors["second"].is_passing
