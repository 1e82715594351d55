"""The stream: numbers, order, followers, what is kept."""

from __future__ import annotations

import anyio
import pytest

from callsheet.engine.bus import EventBus
from callsheet.errors import StoreError
from callsheet.model.events import AgentProgress, Event, Log
from callsheet.model.records import EventRow
from tests.support.deadline import within
from tests.support.memory_store import MemoryStore
from tests.unit.engine.stage import SinkSpy

pytestmark = pytest.mark.anyio


class Stream:
    """A bus with its surroundings."""

    def __init__(self, store: MemoryStore | None = None, max_passing: int = 10_000) -> None:
        self.store = store or MemoryStore()
        self.sink = SinkSpy()
        self.errors: list[StoreError] = []
        self.bus = EventBus(
            run_id="r",
            store=self.store,
            sinks=(self.sink,),
            stamp=lambda: "2026-11-21T08:00:00.000Z",
            redact_text=str,
            on_store_error=self.errors.append,
            max_passing=max_passing,
        )


def line(text: str) -> Log:
    return Log(level="info", message=text)


def text_of(event: Event) -> str:
    assert isinstance(event.body, Log)
    return event.body.message


async def test_numbers_have_no_gaps_and_rows_go_out_with_the_next_flush() -> None:
    stream = Stream()
    for number in range(3):
        stream.bus.emit(line(str(number)))
    assert [event.seq for event in stream.sink.events] == [1, 2, 3]
    assert stream.store.rows == []
    await stream.bus.flush()
    await stream.bus.flush()
    assert [row.seq for row in stream.store.of(EventRow)] == [1, 2, 3]
    assert stream.store.durable == []


async def test_a_commit_takes_what_waited_with_it_and_is_seen_only_after_the_disk() -> None:
    stream = Stream()
    stream.store.disk = anyio.Event()
    stream.bus.emit(line("before"))
    with within():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream.bus.commit, (), (stream.bus.stage(line("staged")),))
            await anyio.wait_all_tasks_blocked()
            stream.bus.emit(line("after"))
            assert [text_of(event) for event in stream.sink.events] == ["before"]
            stream.store.disk.set()
    assert [text_of(event) for event in stream.sink.events] == ["before", "staged", "after"]
    assert [row.seq for row in stream.store.durable[0] if isinstance(row, EventRow)] == [1, 2]


async def test_a_commit_that_is_cancelled_does_not_hold_the_stream_up() -> None:
    stream = Stream()
    stream.store.disk = anyio.Event()
    with anyio.move_on_after(0.01):
        await stream.bus.commit((), (stream.bus.stage(line("staged")),))
    stream.bus.emit(line("after"))
    assert [text_of(event) for event in stream.sink.events] == ["staged", "after"]


async def test_a_broken_record_is_told_once_and_events_go_on() -> None:
    stream = Stream(MemoryStore(breaks_on=lambda row: True))
    stream.bus.emit(line("one"))
    await stream.bus.flush()
    with pytest.raises(StoreError):
        await stream.bus.commit((), (stream.bus.stage(line("two")),))
    stream.bus.emit(line("three"))
    await stream.bus.flush()
    assert len(stream.errors) == 1
    assert [text_of(event) for event in stream.sink.events] == ["one", "two", "three"]


async def test_every_follower_sees_all_from_the_first_one_at_its_own_pace() -> None:
    stream = Stream()
    early: list[str] = []

    async def follow() -> None:
        async for event in stream.bus.follow():
            early.append(text_of(event))

    with within():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            for number in range(5):
                stream.bus.emit(line(str(number)))
                await anyio.lowlevel.checkpoint()
            stream.bus.close()
        late = [text_of(event) async for event in stream.bus.follow()]
    assert early == late == ["0", "1", "2", "3", "4"]


async def test_a_follower_that_is_slow_or_stands_still_stops_nobody() -> None:
    stream = Stream()
    with within():
        slow = stream.bus.follow()
        stream.bus.emit(line("0"))
        assert text_of(await anext(slow)) == "0"
        for number in range(1, 5_000):
            stream.bus.emit(line(str(number)))
        stream.bus.close()
        assert len([event async for event in slow]) == 4_999


async def test_a_follower_may_leave() -> None:
    stream = Stream()
    stream.bus.emit(line("0"))
    with within():
        with anyio.move_on_after(0.01):
            async for _ in stream.bus.follow():
                pass
        stream.bus.emit(line("1"))
        stream.bus.close()
        assert len([event async for event in stream.bus.follow()]) == 2


async def test_a_long_run_forgets_old_signs_of_life_and_nothing_else() -> None:
    stream = Stream(max_passing=10)
    follower = stream.bus.follow()
    for number in range(100):
        stream.bus.emit(AgentProgress(agent_id="a0001", tool=None, tool_summary=None, tokens=number))
        if number % 10 == 0:
            stream.bus.emit(line(str(number)))
    stream.bus.close()
    with within():
        seen = [event async for event in follower]
    assert len([event for event in seen if event.name == "log"]) == 10
    passing = [event for event in seen if event.name == "agent.progress"]
    assert 10 <= len(passing) <= 20
    assert [event.seq for event in seen] == sorted(event.seq for event in seen)
    assert isinstance(passing[-1].body, AgentProgress)
    assert passing[-1].body.tokens == 99


async def test_text_that_no_file_can_hold_is_made_so_that_it_can() -> None:
    stream = Stream()
    stream.bus.emit(line("a\ud800b 🎭"))
    await stream.bus.flush()
    assert text_of(stream.sink.events[0]) == "a\ufffdb 🎭"
    assert "🎭" in stream.store.events()[0].payload
