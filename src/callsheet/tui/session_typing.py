"""Names to complete while a person types into the session, and what they said before. Knows no screen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from callsheet.app.session_model import Command
from callsheet.model.dataclass import dataclass
from callsheet.views.safe_text import one_line

_RUN = "RUN"
"""Stands in the usage of a command that takes a run."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What the Tab key can make of the word before the cursor.

    Attributes:
        start: Where that word begins.
        choices: What it may become, whole words.
    """

    start: int
    choices: tuple[str, ...]

    def completed(self, word: str) -> str:
        """As much of the word as is certain: with one choice all of it and a space."""
        if len(self.choices) == 1:
            return f"{self.choices[0]} "
        least, most = min(self.choices), max(self.choices)
        same = takewhile(lambda pair: pair[0] == pair[1], zip(least, most, strict=False))
        return max(word, "".join(letter for letter, _ in same), key=len)


def completion(line: str, commands: Sequence[Command], runs: Sequence[str] = ()) -> Completion | None:
    """What a line up to its cursor can become; None where nothing is to be completed.

    Args:
        line: The first line of what is typed, up to the cursor.
        commands: What can be typed.
        runs: Names of runs, for commands that take one.
    """
    if not line.startswith("/"):
        return None
    name, space, word = line.partition(" ")
    if space:
        known = [value for command in commands if command.name == name[1:] for value in _values(command, runs)]
        start = len(name) + 1
    else:
        known, word, start = [f"/{command.name}" for command in commands], name, 0
    choices = tuple(one_line(each) for each in dict.fromkeys(known) if each.startswith(word))
    return Completion(start, choices) if choices and choices != (word,) else None


def _values(command: Command, runs: Sequence[str]) -> Sequence[str]:
    return runs if _RUN in command.usage else command.values


class History:
    """What was said before, for the arrows: one goes back from what is being typed, and comes back to it."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._at = 0
        self._draft = ""

    def add(self, text: str) -> None:
        """Puts a text at the end; one that is there already is not put twice."""
        if not self._texts or self._texts[-1] != text:
            self._texts.append(text)
        self._at = len(self._texts)

    def moved(self, by: int, typed: str) -> str | None:
        """The text further back (`by` below 0) or forth; None where there is none.

        Args:
            by: So many texts.
            typed: What stands in the box.
        """
        to = self._at + by
        if not 0 <= to <= len(self._texts) or by == 0:
            return None
        if self._at == len(self._texts):
            self._draft = typed
        self._at = to
        return self._draft if to == len(self._texts) else self._texts[to]
