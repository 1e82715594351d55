"""How signs of life are thinned."""

from __future__ import annotations

import anyio
import pytest

from callsheet.engine.book import RunBook
from callsheet.engine.budget import Ledger
from callsheet.engine.bus import EventBus
from callsheet.engine.clock import RunClock
from callsheet.engine.reporter import ProgressMeter
from callsheet.engine.state import RunRequest, RunState
from callsheet.model.events import AgentProgress
from tests.support.deadline import within
from tests.support.fake_library import fake_script
from tests.support.memory_store import MemoryStore
from tests.unit.engine.stage import SinkSpy, settings

pytestmark = pytest.mark.anyio


def state_with(sink: SinkSpy) -> RunState:
    clock = RunClock()
    bus = EventBus(
        run_id="r",
        store=MemoryStore(),
        sinks=(sink,),
        stamp=clock.stamp,
        redact_text=str,
        on_store_error=lambda error: None,
    )
    return RunState(
        run_id="r",
        request=RunRequest(script=fake_script(), settings=settings(), workspace="/"),
        seed=1,
        clock=clock,
        bus=bus,
        book=RunBook(bus, run_id="r"),
        ledger=Ledger(tokens=None, usd=None, cost_stop_usd=25),
    )


def step(tokens: int, tool: str | None = None, agent: str = "a0001") -> AgentProgress:
    return AgentProgress(agent_id=agent, tool=tool, tool_summary=tool, tokens=tokens)


async def test_the_first_is_sent_at_once_and_then_the_newest_when_its_time_has_come() -> None:
    sink = SinkSpy()
    state = state_with(sink)
    meter = ProgressMeter(state, interval_s=0.001, now_s=lambda: 10.0)
    meter.note(step(1))
    meter.note(step(2, tool="read"))
    meter.note(step(3))
    meter.note(step(1, agent="a0002"))
    assert sink.bodies(AgentProgress) == [step(1), step(1, agent="a0002")]
    with within():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(meter.run)
            async for event in state.bus.follow():
                if event.seq == 3:
                    break
            tasks.cancel_scope.cancel()
    assert sink.bodies(AgentProgress)[2] == step(3, tool="read"), "the tool that is running is not forgotten"


async def test_after_a_quiet_while_the_next_is_sent_at_once() -> None:
    sink = SinkSpy()
    now = [10.0]
    meter = ProgressMeter(state_with(sink), now_s=lambda: now[0])
    meter.note(step(1))
    now[0] += 0.5
    meter.note(step(2))
    assert len(sink.events) == 2


async def test_nothing_is_sent_of_an_agent_that_ended() -> None:
    sink = SinkSpy()
    meter = ProgressMeter(state_with(sink), interval_s=0.001, now_s=lambda: 1.0)
    meter.note(step(1))
    meter.note(step(2))
    meter.forget("a0001")
    with anyio.move_on_after(0.02):
        await meter.run()
    assert len(sink.events) == 1
