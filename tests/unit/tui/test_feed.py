"""What keeps a dashboard's board in step with its run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

import callsheet
from callsheet.app.control import find_run
from callsheet.app.records import Where
from callsheet.groups import meanwhile
from callsheet.store.reader import read_events
from callsheet.tui.feed import Feed
from tests.support.deadline import within
from tests.support.runtime import runtime_of

pytestmark = pytest.mark.anyio

SCRIPT = """
export const meta = { name: 'case', description: 'a case' }
return await agent('Hold on.', { label: 'held' })
"""
HELD = {"label": "held", "result": "x", "delay_ms": 600_000}


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The record of a folder with a script and its answers, which is the current one."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime_of(tmp_path)))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "work" / "case.js").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "work" / "answers.json").write_text(json.dumps({"answers": [HELD]}), encoding="utf-8")
    return tmp_path / "work" / ".callsheet" / "callsheet.db"


async def at_rest(record: Path, run_id: str) -> None:
    """Waits until the record says that the run's agent is at work: nothing more is written until it ends."""
    while not any(event.event == "agent.started" for event in read_events(record, run_id)):  # noqa: ASYNC110 - it tells nobody what it has written
        await anyio.sleep(0.02)


def move(path: Path, to: Path) -> None:
    path.rename(to)


async def until(feed: Feed, is_so: Callable[[Feed], bool]) -> str | None:
    """Waits until this is so of the feed; gives what it says then."""
    while not is_so(feed):  # noqa: ASYNC110 - a feed tells nobody: screens look at it
        await anyio.sleep(0.02)
    return feed.said


async def test_a_record_that_cannot_be_read_for_a_while_is_said_and_then_the_run_is_followed_again(
    record: Path,
) -> None:
    away = record.with_name("away.db")
    with within(60):
        async with callsheet.open_run("./case.js", backend="scripted:answers.json") as run:
            await at_rest(record, run.run_id)
            move(record, away)
            feed = Feed(find_run(run.run_id), Where())
            async with meanwhile(feed.follow):
                said = await until(feed, lambda feed: feed.said is not None)
                move(away, record)
                later = await until(feed, lambda feed: "a0001" in feed.board.agents)
            await run.stop()

    assert said is not None and str(record) in said
    assert later is None
