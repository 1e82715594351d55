"""Sessions as a person has them: talk, saved workflows, and what came of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from callsheet.app.session_model import RunEnded
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
