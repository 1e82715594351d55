"""Marks what in a tool's result is not ours: text of files, of commands, names that others chose.

The Messages API keeps a result in a block of its own, which no text can leave. Within that block stand our own words
too (an exit status, what was left out), and a file could imitate them. So foreign text stands between two lines with a
word that is drawn by lot for each run and told to agents in the system prompt: no file that was written before the run
can hold it, and where a text does hold it (an agent wrote it down), it is taken out. A conversation that goes on in
later runs keeps the word that it began with.
"""

from __future__ import annotations

import secrets


class Fence:
    """The mark of one run, or of one conversation.

    Attributes:
        word: What was drawn.
        name: What the two lines have in their brackets.
    """

    def __init__(self, word: str | None = None) -> None:
        """Draws a word, unless one is given."""
        self.word = word or secrets.token_hex(4)
        self.name = f"data-{self.word}"

    def around(self, text: str, note: str = "") -> str:
        """Foreign text between its two lines, exactly as it is, and after it our own words."""
        fenced = f"<{self.name}>\n{self._held(text)}\n</{self.name}>"
        return f"{fenced}\n{self._held(note)}" if note else fenced

    def _held(self, text: str) -> str:
        return text.replace(self.word, "…") if self.word in text else text


def unfenced(text: str) -> str:
    """The foreign text of a result; the whole where nothing is marked."""
    first, _, rest = text.partition("\n")
    if not (first.startswith("<data-") and first.endswith(">")):
        return text
    return rest.partition(f"\n</{first[1:]}")[0]
