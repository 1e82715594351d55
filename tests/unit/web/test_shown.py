"""What the page is shown of a run that ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from callsheet.model.events import RunFinished
from callsheet.views.board import Board
from callsheet.web.shown import shown_json
from tests.surfaces.events import HOSTILE, ended, events
from tests.surfaces.results import result

ANSWER = {"answer": "**Three.**", "evidence": [], "conflicts": [], "left_out": ["c.txt"], "ended": "answered"}


def shown(value: Any, *, workflow: str = "do") -> dict[str, Any]:
    board = Board()
    run = replace(result(), workflow=workflow, result=value, agents=(ended(2).agent,))
    board.apply_all(events(RunFinished(result=run)))
    found: dict[str, Any] = shown_json(board)["result"]
    return found


def test_the_answer_to_a_task_is_text_beside_the_result_as_it_is() -> None:
    found = shown(ANSWER)
    assert found["text"] == "**Three.**\n\n## Left out\n\n- c.txt"
    assert found["result"] == ANSWER


@pytest.mark.parametrize(("value", "workflow"), [(ANSWER, "other"), ({"n": 3}, "do"), ("done", "do"), (None, "do")])
def test_what_is_no_answer_to_a_task_is_shown_as_it_is(value: Any, workflow: str) -> None:
    assert "text" not in shown(value, workflow=workflow)


def test_text_of_agents_is_made_visible() -> None:
    assert not set("\x1b\x07\u202e") & set(shown(ANSWER | {"answer": HOSTILE})["text"])
