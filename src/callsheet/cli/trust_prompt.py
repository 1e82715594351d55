"""Asking a person, before a run, what only a person can grant: yes or no, on the terminal."""

from __future__ import annotations

import os
import sys

from callsheet.app.trusting import Person, TrustQuestion
from callsheet.cli.streams import say
from callsheet.views.safe_text import one_line


class TerminalPerson(Person):
    """Asks on standard error and reads a line from standard input."""

    def trusts(self, question: TrustQuestion) -> bool:
        say(*question_lines(question))
        return ask("Trust this folder, from now on?")

    def goes_without_hooks(self, files: tuple[str, ...]) -> bool:
        say(
            "PreToolUse hooks are declared here, which Callsheet does not run: what they would refuse is not refused.",
            *(f"  {one_line(file)}" for file in files),
        )
        return ask("Run without them?")


def person_at(*, is_reading: bool) -> Person | None:
    """Who can be asked: somebody at a terminal whose input is not the script.

    Args:
        is_reading: Standard input was read as the script.
    """
    is_there = sys.stdin.isatty() and sys.stderr.isatty() and os.environ.get("CI", "") in ("", "false", "0")
    return TerminalPerson() if is_there and not is_reading else None


def question_lines(question: TrustQuestion) -> list[str]:
    """What the files of a workspace would do, each in one line, made safe."""
    folder = one_line(question.folder)
    if question.changed is None:
        lines = [f"The files of {folder} ask for more than agents may do by themselves. Trusted, they would:"]
    else:
        lines = [f"You trusted {folder}, and it is no longer what it was:"]
        lines += [f"  {one_line(line)}" for line in question.changed]
        lines.append("Trusted, its files would:")
    # All of it, whole: what were left out is where one would hide something.
    lines += [f"  {one_line(each.words)}  ({one_line(each.source)})" for each in question.asked]
    return [*lines, "No leaves all of that out, and runs."]


def ask(question: str) -> bool:
    """Yes or no; what is neither, or no line at all, is no."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
