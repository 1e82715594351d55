"""Watching runs over the real engine, control socket and record."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

import callsheet
from callsheet.app import watching
from callsheet.app.agent_page import agent_page, agent_page_json
from callsheet.app.control import RunControl, find_run, open_control
from callsheet.app.records import Where, open_runs
from callsheet.app.watching import Watched, open_watched, recorded_board
from callsheet.errors import ControlLostError, NotFoundError
from callsheet.groups import meanwhile
from callsheet.model.events import Event
from callsheet.views.board import Board, RunLimits
from callsheet.views.board_json import board_json
from tests.support.deadline import within
from tests.support.runtime import runtime_of

pytestmark = pytest.mark.anyio

META = "export const meta = { name: 'case', description: 'a case' }\n"
ANSWERS = [
    {"label": "held", "result": "x", "delay_ms": 600_000, "times": 1},
    {"label": "held", "result": "at last"},
    {"label": "quick", "result": {"found": 1}},
]
BODY = """
log('begun')
return await Promise.all([agent('Hold on.', { label: 'held' }), agent('Be quick.', { label: 'quick', phase: 'Two' })])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime_of(tmp_path)))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "work" / "answers.json").write_text(json.dumps({"answers": ANSWERS}), encoding="utf-8")
    (tmp_path / "work" / "case.js").write_text(META + BODY, encoding="utf-8")
    return tmp_path / "work"


def shown(board: Board) -> object:
    return board_json(board)


async def test_who_joins_in_the_middle_and_who_reads_the_record_see_what_was_seen_from_the_start(folder: Path) -> None:
    with within(60):
        async with (
            callsheet.open_run("./case.js", backend="scripted:answers.json", budget="$3") as run,
            open_watched(run.run_id) as early,
        ):
            async for _ in early.updates(frame_s=0):
                if early.board.finished:
                    break
            assert early.control is not None
            async with open_watched(run.run_id) as late:
                await early.control.restart("a0001", by="ada")
                await run.result()
                for watched in (early, late):
                    async for _ in watched.updates(frame_s=0):
                        pass
                    assert watched.board.result is not None

    assert early.board.agents["a0001"].attempt == 2
    assert early.board.limits.budget.usd == 3.0
    assert [line.message for line in early.board.log] == ["begun"]
    with open_runs(Where()) as runs:
        recorded = recorded_board(runs.record, runs.find("last"))
        page = agent_page(runs.record, run.run_id, "a0002")
    assert shown(early.board) == shown(late.board) == shown(recorded)
    assert (page.prompt, page.result, page.status) == ("Be quick.", {"found": 1}, "ok")
    json.dumps(agent_page_json(page))


async def test_limits_are_shown_also_where_the_record_has_them_late(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = watching._read_limits
    seen: list[RunLimits | None] = []

    def late(where: Where, run_id: str) -> RunLimits | None:
        seen.append(read(where, run_id) if seen else None)
        return seen[-1]

    monkeypatch.setattr(watching, "_read_limits", late)
    monkeypatch.setattr(watching, "_LIMITS_WITHIN_S", 0)
    (folder / "answers.json").write_text(json.dumps({"answers": ANSWERS[1:]}), encoding="utf-8")
    with within(60):
        async with (
            callsheet.open_run("./case.js", backend="scripted:answers.json", budget="$3") as run,
            open_watched(run.run_id) as watched,
        ):
            async for _ in watched.updates(frame_s=0):
                pass

    assert watched.board.limits.budget.usd == 3.0
    assert sum(limits is not None for limits in seen) == 1, "then it is not looked for any more"


async def test_a_run_that_is_over_is_watched_from_its_record(folder: Path) -> None:
    (folder / "answers.json").write_text(json.dumps({"answers": ANSWERS[1:]}), encoding="utf-8")
    with within(60):
        result = await callsheet.run("./case.js", backend="scripted:answers.json")
        async with open_watched("last") as watched:
            seen = [seq async for seq in watched.updates()]

    assert seen[-1] == watched.board.seq > 0
    assert watched.board.result == result
    assert watched.control is None
    assert watched.why_no_control is not None and "is over" in watched.why_no_control


async def test_watching_that_ends_leaves_the_run_alone(folder: Path) -> None:
    with within(60):
        async with callsheet.open_run("./case.js", backend="scripted:answers.json") as run:
            async with open_watched(run.run_id) as watched:
                with anyio.move_on_after(5):
                    async for _ in watched.updates(frame_s=0):
                        if watched.board.finished:
                            break
            assert await run.restart("a0001")
            result = await run.result()

    assert result.status == "completed"


async def test_a_run_of_another_folder_that_ends_before_it_answers_is_watched_from_its_own_record(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "answers.json").write_text(json.dumps({"answers": ANSWERS[1:]}), encoding="utf-8")
    (tmp_path / "other").mkdir()
    with within(60):
        async with callsheet.open_run("./case.js", backend="scripted:answers.json") as run:
            reach = find_run(run.run_id)
            left = reach.file.read_bytes()
            result = await run.result()
        reach.file.touch(mode=0o600)
        reach.file.write_bytes(left)
        try:
            async with open_watched(run.run_id, Where(workspace=tmp_path / "other")) as watched:
                async for _ in watched.updates():
                    pass
        finally:
            reach.file.unlink(missing_ok=True)  # else all that this process starts would count as started by a run

    assert watched.board.result == result


async def test_a_run_that_goes_on_and_can_no_longer_be_reached_is_followed_by_its_record(folder: Path) -> None:
    with within(60):
        async with callsheet.open_run("./case.js", backend="scripted:answers.json") as run, open_control("last") as own:
            control = _CutOff(own)
            watched = Watched(Where(), run.run_id, control, None)
            async with meanwhile(watched.follow):
                async for _ in watched.updates(frame_s=0):
                    if watched.board.finished:
                        break
                assert (watched.control, watched.why_no_control) == (None, "the connection ended")
                assert watched.board.lost is None
                await run.restart("a0001")
                async for _ in watched.updates(frame_s=0):
                    pass
            result = await run.result()

    assert watched.board.result == result


class _CutOff(RunControl):
    """One whose connection breaks off soon."""

    def __init__(self, control: RunControl) -> None:
        super().__init__(control.reach, control._client, control._hiding)

    async def events(self, after: int = 0) -> AsyncGenerator[Event]:
        async with aclosing(super().events(after)) as events:
            for _ in range(3):
                yield await anext(events)
        raise ControlLostError("the connection ended", why="lost")


async def test_a_run_that_nobody_knows_is_said_so(folder: Path) -> None:
    with within(10), pytest.raises(NotFoundError):
        async with open_watched("run_nowhere"):
            pass
