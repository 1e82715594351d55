"""Marks what in a tool's result is not ours: text of files, of commands, names that others chose.

The Messages API keeps a result in a block of its own, which no text can leave. Within that block stand our own words
too (an exit status, what was left out), and a file could imitate them. So foreign text stands between two lines with a
word that is drawn by lot for each run and told to agents in the system prompt: no file that was written before the run
can hold it, and where a text does hold it (an agent wrote it down), it is taken out.
"""

from __future__ import annotations

import secrets


class Fence:
    """The mark of one run.

    Attributes:
        name: What the two lines have in their brackets.
    """

    def __init__(self, word: str | None = None) -> None:
        """Draws a word, unless one is given."""
        self._word = word or secrets.token_hex(4)
        self.name = f"data-{self._word}"

    def around(self, text: str, note: str = "") -> str:
        """Foreign text between its two lines, exactly as it is, and after it our own words."""
        held = text.replace(self._word, "…") if self._word in text else text
        fenced = f"<{self.name}>\n{held}\n</{self.name}>"
        return f"{fenced}\n{note}" if note else fenced


def unfenced(text: str) -> str:
    """The foreign text of a result; the whole where nothing is marked."""
    first, _, rest = text.partition("\n")
    if not (first.startswith("<data-") and first.endswith(">")):
        return text
    return rest.partition(f"\n</{first[1:]}")[0]
