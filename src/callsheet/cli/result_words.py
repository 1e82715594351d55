"""What a run returned, in words: the same wherever a command shows it."""

from __future__ import annotations

import json

from callsheet.cli.status import task_ended
from callsheet.model.run import RunResult


def result_words(result: RunResult) -> str | None:
    """A text as it is, the answer to a task in Markdown, all else as JSON; None where the run returned nothing.

    What agents wrote stands in it as they wrote it.
    """
    value = result.result
    if value is None:
        return None
    if task_ended(result) is not None:
        from callsheet.app.answer_text import answer_in, answer_lines

        if (answer := answer_in(result)) is not None:
            return "\n".join(answer_lines(answer, result))
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
