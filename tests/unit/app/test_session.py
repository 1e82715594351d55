"""Sessions as a person has them: talk, saved workflows, and what came of them."""

from __future__ import annotations

import json
import sys
from contextlib import aclosing
from pathlib import Path
from typing import NoReturn

import pytest

from callsheet.app.launching import Launcher
from callsheet.app.records import Where
from callsheet.app.session_model import Change, Refused, Told
from callsheet.app.session_transcript import Problem, RunEnded, Turn
from callsheet.control.places import Reach
from callsheet.errors import ControlLostError
from tests.support.sessions import SessionStage, answered, of, until

pytestmark = pytest.mark.anyio

TALK = {"label": "orchestrator", "result": "It has three parts."}
FOUND = {"label": "found", "result": "a fault in line 3"}


@pytest.fixture
def stage(tmp_path: Path) -> SessionStage:
    made = SessionStage(tmp_path)
    made.answers(TALK, FOUND)
    made.workflow("return { found: await agent('look', { label: 'found' }), args }")
    return made


async def test_what_is_said_is_answered_by_a_run_of_its_own(stage: SessionStage) -> None:
    async with stage.open() as session:
        turn = await answered(session, "How is this built?")
    assert (turn.state, turn.text) == ("done", "It has three parts."), turn


async def test_a_saved_workflow_runs_by_itself_and_its_result_is_given_once(stage: SessionStage) -> None:
    async with stage.open() as session:
        await session.command("/review path=src")
        await until(session, lambda: of(session, RunEnded))
        turn = await answered(session, "What was found?")
        again = await answered(session, "And?")
        (ended,) = of(session, RunEnded)
    assert (ended.status, ended.heard_in) == ("completed", turn.number)
    assert (turn.heard, again.heard) == ((ended.run_id,), ())


async def test_turns_are_answered_one_at_a_time_and_one_can_be_stopped(stage: SessionStage) -> None:
    stage.answers({**TALK, "prompt": "First.", "delay_ms": 600_000}, TALK)
    async with stage.open() as session:
        assert not session.stop_turn()
        await session.say("First.")
        await session.say("Second.")
        await until(session, lambda: of(session, Turn)[0].state == "working")
        assert of(session, Turn)[1].state == "queued"
        assert session.stop_turn()
        await until(session, lambda: of(session, Turn)[1].is_over)
        first, second = of(session, Turn)
    assert (first.state, first.text) == ("stopped", "")
    assert first.remedy is not None
    assert (second.state, second.text) == ("done", "It has three parts.")


async def test_a_turn_that_fails_says_why_and_the_next_one_is_had(stage: SessionStage) -> None:
    stage.answers({"label": "orchestrator", "prompt": "Badly", "error": "the model said no"}, TALK)
    async with stage.open() as session:
        failed = await answered(session, "Badly?")
        done = await answered(session, "How is this built?")
    assert failed.state == "failed"
    assert "the model said no" in (failed.error or "")
    assert failed.remedy is not None
    assert done.state == "done"


async def test_a_watcher_is_told_everything_first_then_what_changed(stage: SessionStage) -> None:
    async with stage.open() as session:
        await session.command("/budget $5")
        async with aclosing(session.watch()) as changes:
            first = await anext(changes)
            assert first == Change(entries=(1,), questions=True, runs=True, settings=True, figures=True)
            await session.say("Hello.")
            second = await anext(changes)
            assert second.entries == (2, 3)
            assert not second.questions
        watcher = session.watch()
        await anext(watcher)
    last = [change async for change in watcher][-1]
    assert last.is_closed


async def test_what_is_too_long_or_empty_is_not_said(stage: SessionStage) -> None:
    async with stage.open() as session:
        assert isinstance(await session.say("x" * 100_001), Refused)
        assert await session.say(" \n") == Told()
        assert session.entries == ()
        assert isinstance(await session.answer("run_x:q0001", "once"), Refused)


async def test_a_run_that_cannot_start_is_said_and_the_session_goes_on(stage: SessionStage) -> None:
    stage.workflow("return 1", name="fine")
    async with stage.open() as session:
        (stage.folder / "answers.json").write_text("{", encoding="utf-8")
        await session.command("/fine")
        (problem,) = of(session, Problem)
        assert "Nothing was started" in problem.text
        stage.answers(TALK)
        assert (await answered(session, "Hello.")).state == "done"
    async with stage.open("last") as again:
        assert len(of(again, Problem)) == 1


@pytest.mark.parametrize("is_reached", [True, False])
async def test_what_runs_ask_is_asked_here_and_answered_here(
    stage: SessionStage, monkeypatch: pytest.MonkeyPatch, is_reached: bool
) -> None:
    """Also of a run that did not answer when it was to be followed, as on a machine under load: its record is read."""
    if not is_reached:
        monkeypatch.setattr("callsheet.app.watching.open_control", silent)
    wish = {"input": "npm test", "rules": ["Bash(npm test)"]}
    stage.workflow(f"return agent(JSON.stringify({json.dumps(wish)}), {{ label: 'one' }})", name="asks")
    root = Path(__file__).parents[3]
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from callsheet.app import workers; "
        "from tests.support.asking import _asking; workers.load_backend = _asking; "
        "from callsheet.cli.launched import main; sys.exit(main())"
    )
    launcher = Launcher((sys.executable, "-c", program, str(root)), stage.environ)
    async with stage.open(launcher=launcher) as session:
        await session.command("/asks")
        await until(session, lambda: session.questions)
        (question,) = session.questions
        assert (question.workflow, question.asked.input, question.asked.rules) == (
            "asks",
            "npm test",
            ("Bash(npm test)",),
        )
        assert question.id.startswith(question.run_id or "?")
        assert await session.answer(question.id, "deny", words="use make") == Told()
        await until(session, lambda: of(session, RunEnded))
        assert session.questions == ()
        assert of(session, RunEnded)[0].text == "deny: use make"
        await until(session, lambda: of(session, RunEnded))


def silent(_: Reach, __: Where | None = None) -> NoReturn:
    raise ControlLostError("It does not answer.", why="silent")
