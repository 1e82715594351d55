"""Sessions that are left, or killed, and opened again: everything is there, and a result is given once."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from callsheet.app.compose import new_run_id
from callsheet.app.session_lines import RunStartingLine
from callsheet.app.session_transcript import Note, Problem, RunEnded, RunStarted, Said, Turn
from callsheet.app.stopping import stop_run
from callsheet.app.tool_order import LaunchOrder
from callsheet.errors import NotFoundError, UsageError
from callsheet.permissions.modes import Mode
from tests.support.deadline import within
from tests.support.sessions import SessionStage, answered, of, session_process, until

pytestmark = pytest.mark.anyio

TALK = {"label": "orchestrator", "prompt": "slowly", "result": "late", "delay_ms": 600_000}
QUICK = {"label": "orchestrator", "result": "It has three parts."}
FOUND = {"label": "found", "result": "a fault in line 3"}
SLOW = {"label": "slow", "result": "late", "delay_ms": 600_000}


@pytest.fixture
def stage(tmp_path: Path) -> SessionStage:
    made = SessionStage(tmp_path)
    made.answers(QUICK, FOUND, SLOW)
    made.workflow("return { found: await agent('look', { label: 'found' }), args }")
    made.workflow("return agent('look', { label: 'slow' })", name="endless")
    return made


async def test_a_session_that_is_continued_is_as_it_was_left(stage: SessionStage) -> None:
    async with stage.open() as session:
        await answered(session, "How is this built? hunter2-is-not-shown")
        await session.command("/effort low")
        await session.command("/model sonnet")
        await session.command("/budget $5")
        await session.command("/permissions plan")
        await session.command("/review")
        await until(session, lambda: of(session, RunEnded))
        before, settings, figures, name = session.entries, session.settings, session.figures, session.id

    async with stage.open(name) as again:
        assert again.id == name
        assert again.entries == before
        assert again.settings == settings
        assert again.figures == figures
        assert (settings.effort, settings.model, settings.budget, settings.mode) == ("low", "sonnet", "$5", Mode.PLAN)
        turn = await answered(again, "What was found?")
        assert turn.heard == (of(again, RunStarted)[0].run_id,)
        with pytest.raises(UsageError, match="open elsewhere"):
            async with stage.open("last"):
                pass
    async with stage.open("last") as third:
        assert (await answered(third, "And?")).heard == ()
    assert "hunter2" not in stage.files[0].read_text(encoding="utf-8")


async def test_a_session_in_which_nothing_was_said_leaves_nothing(stage: SessionStage) -> None:
    async with stage.open() as session:
        for typed in ("/help", "/runs", "/cost", "/budget", "/resume last", "/workflows"):
            await session.command(typed)
        assert session.entries == ()
    with pytest.raises(NotFoundError, match="no session here"):
        async with stage.open("last"):
            pass
    assert not (stage.folder / ".callsheet").exists()

    async with stage.open() as session:
        await session.command("/budget $5")
        assert stage.files == [Path(session.path)]


async def test_a_run_that_ended_while_nobody_watched_is_told_once_when_the_session_is_continued(
    stage: SessionStage,
) -> None:
    async with stage.open() as session:
        await session.command("/endless")
        await until(session, lambda: session.runs and session.runs[0].running)
        where, run_id = session.where, of(session, RunStarted)[0].run_id

    await stop_run(run_id, where)

    async with stage.open("last") as again:
        await until(again, lambda: of(again, RunEnded))
        (ended,) = of(again, RunEnded)
        assert (ended.run_id, ended.status, ended.next) == (run_id, "cancelled", f"/resume {run_id}")
        assert again.runs == ()
    async with stage.open("last") as third:
        assert len(of(third, RunEnded)) == 1


async def test_a_run_goes_on_when_the_session_is_killed_and_is_followed_again(stage: SessionStage) -> None:
    async with session_process(stage) as program:
        await program.do("/endless")
        started = await program.until(entry="RunStarted")
        await program.do("/budget 200k")
        await program.until(did="/budget 200k")
        await program.kill()

    async with stage.open("last") as session:
        assert session.settings.budget == "200k"
        await until(session, lambda: session.runs and session.runs[0].running)
        assert session.runs[0].run_id == started["run_id"]
        await session.command("/stop last")
        await until(session, lambda: of(session, RunEnded))
        assert session.figures.runs == 1


async def test_a_run_that_was_being_started_when_the_session_was_killed_is_found_again(stage: SessionStage) -> None:
    """The kill falls between the start of the run and the line that says so: what follows it is taken away here."""
    async with stage.open() as session:
        await session.command("/endless")
        await until(session, lambda: session.runs and session.runs[0].running)
        run_id = session.runs[0].run_id
    (path,) = stage.files
    lines = path.read_bytes().splitlines(keepends=True)
    starting = next(n for n, line in enumerate(lines) if b"run.starting" in line)
    path.write_bytes(b"".join(lines[: starting + 1]))

    async with stage.open("last") as again:
        await until(again, lambda: again.runs and again.runs[0].running)
        (started,) = of(again, RunStarted)
        assert (started.run_id, started.workflow, started.kind) == (run_id, "endless", "saved")
        await again.command("/stop last")
        await until(again, lambda: of(again, RunEnded))
        assert of(again, Problem) == []


async def test_a_run_that_never_began_is_said(stage: SessionStage, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    async with stage.open() as session:
        line = RunStartingLine(start=1, run_id=new_run_id(), of="saved", workflow="review")
        await session.book.write(line)
    async with stage.open("last") as again:
        await until(again, lambda: of(again, Problem))
        assert "review was being started" in of(again, Problem)[0].text
    async with stage.open("last") as third:
        assert len(of(third, Problem)) == 1


async def test_a_run_that_begins_long_after_its_session_was_left_is_followed(
    stage: SessionStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch, late_s=600)
    async with stage.open() as session:
        line = RunStartingLine(start=1, run_id=new_run_id(), of="saved", workflow="review")
        await session.book.write(line)
    async with stage.open("last") as again:
        await until(again, lambda: of(again, Note))
        assert "followed if it begins" in of(again, Note)[0].text
        order = LaunchOrder(
            workspace=str(stage.folder), run_id=line.run_id, script="review", backend="scripted:answers.json"
        )
        await stage.launcher.launch(order)
        await until(again, lambda: of(again, RunEnded))
        assert of(again, RunStarted)[0].run_id == line.run_id


def impatient(monkeypatch: pytest.MonkeyPatch, *, late_s: float = 0.0) -> None:
    """Has sessions take little time for long."""
    for name, value in (("START_S", 0.1), ("LATE_S", late_s), ("_LOOK_LATER_S", 0.1)):
        monkeypatch.setattr(f"callsheet.app.session_desk.{name}", value)


async def test_a_run_that_was_not_gone_on_with_after_all_is_not_told_a_second_time(
    stage: SessionStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    async with stage.open() as session:
        await session.command("/review")
        await until(session, lambda: of(session, RunEnded))
        run_id = of(session, RunEnded)[0].run_id
        await session.book.write(RunStartingLine(start=2, run_id=run_id, of="resumed", workflow="review"))
    async with stage.open("last") as again:
        await until(again, lambda: of(again, Problem))
        assert len(of(again, RunEnded)) == 1
        assert "has not begun" in of(again, Problem)[0].text


async def test_what_was_being_answered_when_the_session_was_killed_is_said_with_its_remedy(
    stage: SessionStage,
) -> None:
    stage.answers(FOUND, {**QUICK, "delay_ms": 600_000, "times": 1}, QUICK)
    async with session_process(stage) as program:
        await program.do("/review")
        await program.until(entry="RunEnded")
        await program.do("What was found?")
        await program.until(entry="Turn", state="working")
        await program.do("And what else?")
        await program.until(did="And what else?")
        await program.kill()

    async with stage.open("last") as session:
        first, second = of(session, Turn)
        assert (first.state, second.state) == ("interrupted", "interrupted")
        assert "Say it again" in (first.remedy or "")
        assert [each.text for each in of(session, Said)] == ["What was found?", "And what else?"]
        (ended,) = of(session, RunEnded)
        assert ended.heard_in is None

        stage.answers(QUICK)
        turn = await answered(session, "What was found?")
        assert (turn.state, turn.heard) == ("done", (ended.run_id,))
        assert (await answered(session, "And what else?")).heard == ()


async def test_an_answer_that_was_on_record_when_the_session_was_killed_is_told(stage: SessionStage) -> None:
    """The kill falls between the end of the turn's run and the line that says so: that line is taken away here."""
    async with stage.open() as session:
        await session.command("/review")
        await until(session, lambda: of(session, RunEnded))
        done = await answered(session, "What was found?")
    (path,) = stage.files
    lines = path.read_bytes().splitlines(keepends=True)
    assert b"turn.ended" in lines[-1]
    path.write_bytes(b"".join(lines[:-1]))

    async with stage.open("last") as again:
        (turn,) = of(again, Turn)
        assert (turn.state, turn.text, turn.run_id) == ("done", done.text, done.run_id)
        assert of(again, RunEnded)[0].heard_in == turn.number
        assert (await answered(again, "And?")).heard == ()


async def test_a_disk_that_is_full_ends_the_keeping_and_not_the_session(
    stage: SessionStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage.open() as session:
        await answered(session, "How is this built?")
        monkeypatch.setattr("callsheet.app.session_file.MAX_FILE_BYTES", stage.files[0].stat().st_size + 10)
        turn = await answered(session, "And what else?")
        assert turn.state == "done"
        (problem,) = of(session, Problem)
        assert "nothing of this session is kept" in problem.text
        assert session.id in (problem.remedy or "")
    monkeypatch.undo()
    async with stage.open("last") as again:
        assert len(of(again, Turn)) == 1


async def test_mode_bypass_is_not_taken_over(stage: SessionStage) -> None:
    async with stage.open() as session:
        await session.command("/permissions bypass")
        assert session.settings.mode is Mode.BYPASS
    async with stage.open("last") as again:
        assert again.settings.mode is None
        assert "/permissions bypass" in of(again, Note)[-1].text


async def test_a_session_that_came_with_the_repository_is_not_continued(stage: SessionStage) -> None:
    async with stage.open() as session:
        await session.command("/budget $5")
    git = ["git", "-C", str(stage.folder)]
    (stage.folder / ".git").rmdir()
    with within(20):
        await anyio.run_process([*git, "init", "-q"], env=stage.environ)
        await anyio.run_process([*git, "add", "-f", str(stage.files[0])], env=stage.environ)
    with pytest.raises(UsageError, match="came with the repository"):
        async with stage.open("last"):
            pass


async def test_a_conversation_that_is_not_on_record_any_more_begins_anew(stage: SessionStage) -> None:
    async with stage.open() as session:
        await answered(session, "How is this built?")
        record = session.where.record
    for path in record.parent.glob(f"{record.name}*"):
        path.unlink()
    async with stage.open("last") as again:
        turn = await answered(again, "And what else?")
        assert turn.state == "done"
        assert any("begins anew" in each.text for each in of(again, Note))
        assert (await answered(again, "And?")).state == "done"
        assert sum("begins anew" in each.text for each in of(again, Note)) == 1
