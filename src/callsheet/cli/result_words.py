"""What a run returned, in words: the same wherever a command shows it."""

from __future__ import annotations

import json

from callsheet.model.run import RunResult

_TOLD = ("do", "author")
"""Workflows whose results have words of their own."""


def result_words(result: RunResult) -> str | None:
    """A text as it is, an answer or a script that was written as Markdown, all else as JSON; None for nothing.

    What agents wrote stands in it as they wrote it.
    """
    value = result.result
    if value is None:
        return None
    if result.workflow in _TOLD:
        from callsheet.app.answer_text import told_text

        if (text := told_text(result)) is not None:
            return text
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
