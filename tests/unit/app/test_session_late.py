"""Starts of runs that take long: followed whenever the run begins, or said to have come to nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from callsheet.app.launching import Launcher
from callsheet.app.session_transcript import Note, Problem, RunEnded, RunStarted
from tests.support.deadline import within
from tests.support.sessions import SessionStage, of, until

pytestmark = pytest.mark.anyio

HELD = "import sys; word = open(sys.argv[1]).read(); "
LAUNCHES = "from callsheet.cli.launched import main; sys.exit(main() if word else 'nothing came of it')"


@pytest.fixture
def stage(tmp_path: Path) -> SessionStage:
    made = SessionStage(tmp_path)
    made.answers({"label": "found", "result": "a fault in line 3"})
    made.workflow("return agent('look', { label: 'found' })")
    return made


@pytest.fixture
def gate(tmp_path: Path) -> Generator[Path]:
    """Held until something is written to it, or nothing."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    yield path


async def test_a_run_that_starts_late_is_followed(stage: SessionStage, gate: Path) -> None:
    launcher = Launcher((sys.executable, "-c", HELD + LAUNCHES, str(gate)), stage.environ, start_s=0.1)
    async with stage.open(launcher=launcher) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.command, "/review")
        await until(session, lambda: of(session, Note))
        assert "takes long to start" in of(session, Note)[0].text
        assert [run.status for run in session.runs] == ["starting"]
        assert of(session, RunStarted) == []
        await opened(gate, "go")
        await until(session, lambda: of(session, RunEnded))
        assert of(session, RunStarted)[0].run_id in of(session, Note)[0].text
        assert of(session, Problem) == []


async def test_a_late_start_that_comes_to_nothing_is_said(stage: SessionStage, gate: Path) -> None:
    launcher = Launcher((sys.executable, "-c", HELD + LAUNCHES, str(gate)), stage.environ, start_s=0.1)
    async with stage.open(launcher=launcher) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.command, "/review")
        await until(session, lambda: of(session, Note))
        await opened(gate, "")
        await until(session, lambda: of(session, Problem))
        assert "nothing came of it" in of(session, Problem)[0].text


async def test_a_session_is_left_though_a_start_takes_long(stage: SessionStage, gate: Path) -> None:
    launcher = Launcher((sys.executable, "-c", HELD + LAUNCHES, str(gate)), stage.environ, start_s=0.1)
    with within(30):
        async with stage.open(launcher=launcher) as session:
            await session.say("do it", is_workflow=True)
            await until(session, lambda: of(session, Note))
    async with stage.open("last") as again:
        assert again.book.tale.starts != {}


async def opened(gate: Path, word: str) -> None:
    """Lets the program behind the gate go on."""
    with within(20):
        await to_thread.run_sync(lambda: gate.write_text(word, encoding="utf-8"))
