"""A board as the page shows it: the board's JSON, and an answer, or a script that was written, as text."""

from __future__ import annotations

from typing import Any

from callsheet.app.answer_text import told_text
from callsheet.views.board import Board
from callsheet.views.board_json import board_json


def shown_json(board: Board, *, since: int = 0) -> dict[str, Any]:
    """The board, or what changed in it since an event.

    Of a task that has ended `result.text` is its answer as text, of a run that wrote a script that script.

    What agents wrote stands in that, safe to be shown as text and as nothing else.
    """
    said = board_json(board, since=since)
    if board.result is not None and (text := told_text(board.result)) is not None:
        said["result"]["text"] = text
    return said
