"""The end of a run on standard output: the result for people, one object, or the last line of a stream."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from callsheet.cli.follower import Follower
from callsheet.cli.jsonl import JsonLines, result_text
from callsheet.cli.result_words import result_words
from callsheet.cli.streams import quietly, say, silence
from callsheet.cli.summary import (
    INVENTED,
    Line,
    agents_worktree_lines,
    backend_line,
    error_text,
    explained_lines,
    summary_lines,
    worktree_lines,
)
from callsheet.model.run import RunResult
from callsheet.views.safe_text import defused, one_line, under_github, visible

Output = Literal["text", "json", "jsonl"]


class ResultPrinter:
    """Standard output of one run.

    Attributes:
        follower: Takes the events where they are printed as they happen (`jsonl`).
        record: Where the record lies, once there is one.
    """

    def __init__(self, output: Output, *, is_quiet: bool) -> None:
        self._output = output
        self._is_quiet = is_quiet
        self._lines = JsonLines(sys.stdout) if output == "jsonl" else None
        self.follower = Follower(self._lines) if self._lines is not None else None
        self.record: str | None = None

    def print(self, result: RunResult, *, is_explained: bool = False) -> bool:
        """Prints the result, then the summary on standard error; whether standard output took it.

        With `is_explained` the summary of a resumed run says what became of each call.

        A reader that went away is not our failure, and counts as having taken it.
        """
        fault = self._print_result(result)
        if fault is not None:
            say(f"error: the result could not be written: {fault.strerror}. It is in the record of {result.run_id}.")
        if is_explained and result.resumed is not None:
            show_lines(list(explained_lines(result.resumed)))
        show_lines(_brief(result) if self._is_quiet else list(summary_lines(result, self.record)))
        return fault is None

    def print_refusal(self, result: RunResult) -> None:
        """Prints the object of a run that never began, where objects are printed; its words were said before."""
        if self._output != "text":
            self._print_result(result)

    def _print_result(self, result: RunResult) -> OSError | None:
        match self._output:
            case "json":
                return quietly(sys.stdout, [result_text(result)])
            case "text":
                return quietly(sys.stdout, _readable(result))
            case "jsonl":
                return self._end_lines(result)

    def _end_lines(self, result: RunResult) -> OSError | None:
        if self.follower is None or self._lines is None:
            return None
        self.follower.close(wait_s=None)
        fault = self.follower.fault
        if fault is None:
            try:
                self._lines.finish(result, datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))
            except OSError as late:
                fault = late
        if fault is not None:
            silence(sys.stdout)
        return None if isinstance(fault, BrokenPipeError) else fault


def _readable(result: RunResult) -> list[str]:
    """What the script returned, for people; nothing where it returned nothing."""
    words = result_words(result)
    if words is None:
        return []
    text = visible(words)
    return [defused(text) if under_github() else text]


def _brief(result: RunResult) -> list[Line]:
    """What must be seen even where nothing else is wanted: no good end, and answers that no model gave."""
    lines = [Line(backend_line(result), "yellow")] if result.backend in INVENTED else []
    if result.error is not None:
        lines.append(Line(f"error: {error_text(result)}", "red"))
    lines += agents_worktree_lines(result.agents, run_id=result.run_id)
    if result.worktree is not None and result.worktree.changed:
        lines += worktree_lines(result.worktree, run_id=result.run_id)
    if result.status != "completed":
        lines.append(Line(f"{result.status}. run: {one_line(result.run_id)}", "bold"))
    return lines


def show_lines(lines: Sequence[Line], prompt: str = "") -> None:
    """Prints lines on standard error, with colours on a terminal; after them a prompt that the cursor stays behind."""
    if not sys.stderr.isatty():
        say(*(line.text for line in lines), *([prompt] if prompt else []))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=sys.stderr, highlight=False, markup=False, emoji=False)
    try:
        for line in lines:
            console.print(Text(line.text, line.style), soft_wrap=True)
        if prompt:
            console.print(Text(prompt, "bold"), end="")
    except OSError:
        silence(sys.stderr)
