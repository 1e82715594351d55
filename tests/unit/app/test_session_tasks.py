"""Tasks of a session: the word workflow starts a run that goes on by itself, asks here, and answers here."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from callsheet.app.session_transcript import Note, Problem, RunEnded, RunStarted, Said, Turn
from tests.support.sessions import SessionStage, answered, of, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def stage(tmp_path: Path) -> SessionStage:
    made = SessionStage(tmp_path)
    (made.folder / ".git").rmdir()
    (made.folder / "a.py").write_text("import os\nprint(os)\n", encoding="utf-8")
    made.workflow("return agent('look at a.py', { label: 'found' })")
    return made


async def test_a_prompt_with_the_word_workflow_is_done_by_a_run_whose_script_is_approved_here(
    stage: SessionStage,
) -> None:
    async with stage.open(backend="offline") as session:
        await answered(session, "What is in a.py?")
        await session.say("Write a workflow that reviews a.py")
        await until(session, lambda: session.questions or of(session, Problem))
        (question,) = session.questions
        (started,) = of(session, RunStarted)
        assert (question.run_id, started.kind, started.said) == (started.run_id, "task", of(session, Said)[1].number)
        assert question.asked.kind == "script"
        assert question.asked.script is not None
        assert "export const meta" in question.asked.script.text

        await session.answer(question.id, "once")
        await until(session, lambda: of(session, RunEnded))
        (ended,) = of(session, RunEnded)
        assert (ended.status, ended.is_markdown) == ("completed", True)
        assert "a.py" in ended.text
        assert not ended.text.startswith("{")

        turn = await answered(session, "What did it find?")
        assert turn.heard == (started.run_id,)
        assert session.figures.runs == 1


async def test_what_is_said_to_be_no_workflow_is_answered(stage: SessionStage) -> None:
    async with stage.open(backend="offline") as session:
        await session.say("What is a workflow?", is_workflow=False)
        await until(session, lambda: of(session, Turn) and of(session, Turn)[0].is_over)
        assert of(session, RunStarted) == []
        await session.command("/budget 0.001")
        await session.command("/budget 1")
        await session.say("just this", is_workflow=True)
        await until(session, lambda: of(session, RunEnded) or of(session, Problem))
        assert of(session, RunStarted)[0].task == "just this"


async def test_a_saved_workflow_is_shown_before_it_runs_until_the_person_says_always(stage: SessionStage) -> None:
    async with stage.open(backend="offline") as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.command, "/review")
        await until(session, lambda: session.questions)
        (question,) = session.questions
        assert (question.run_id, question.workflow, question.asked.kind) == (None, "review", "script")
        stage.workflow("return 'another script than the one that was shown'")
        await session.answer(question.id, "project")
        await until(session, lambda: of(session, RunEnded))
        assert "another script" not in of(session, RunEnded)[0].text

        stage.workflow("return agent('look at a.py', { label: 'found' })")
        await session.command("/review")
        assert len(of(session, RunStarted)) == 2

        stage.workflow("return 1")
        tasks.start_soon(session.command, "/review")
        await until(session, lambda: session.questions)
        assert "the script changed" in session.questions[0].asked.reason
        await session.answer(session.questions[0].id, "deny")
        await until(session, lambda: not session.questions and len(of(session, RunEnded)) == 2)
        assert len(of(session, RunStarted)) == 2
        assert of(session, Note) == []


async def test_talk_goes_on_while_a_run_has_the_workspace_for_itself(stage: SessionStage) -> None:
    stage.answers(
        {"label": "orchestrator", "result": "Yes."},
        {"label": "held", "result": "x", "delay_ms": 600_000},
        {"label": "writes", "result": "x", "writes": {"b.py": "x = 1"}},
    )
    stage.workflow("return agent('hold on', { label: 'held' })", name="hold")
    async with stage.open() as session:
        await session.command("/hold")
        await until(session, lambda: session.runs and session.runs[0].running)
        assert (await answered(session, "Are you there?")).state == "done"
        await session.command("/hold")
        async with stage.open() as other:
            await other.command("/hold")
            (theirs,) = of(other, Problem)
        (ours,) = of(session, Problem)
        run_id = of(session, RunStarted)[0].run_id
        for problem in (ours, theirs):
            assert run_id in problem.text
            assert f"/stop {run_id}" in (problem.remedy or "")
            assert "--" not in f"{problem.text} {problem.remedy}"
        await session.command("/stop last")
        await until(session, lambda: of(session, RunEnded))
