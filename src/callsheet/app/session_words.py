"""What a line that is typed into a session means: a word that starts a workflow, a command, or neither. Pure."""

from __future__ import annotations

import re
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]
"""Where something begins and ends in a text, in characters: `text[begin:end]`."""

_QUOTED = re.compile(r"(`+)(?!`)[\s\S]*?(?<!`)\1(?!`)|`+[\s\S]*\Z")
"""Code between backticks, or from backticks that nothing closes (yet) to the end."""
_PIECE = re.compile(r"\S+")
_NO_SENTENCE = re.compile(r"[\\/]\w|\w[\\/]|\A--?\w|\0")
"""Of a piece without spaces: a path, an address, an option, or code is in it."""
_WORD = re.compile(r"(?<![^(\[{\"'“‘«*_>,;:!?–—])(?:workflow|ultracode)(?![\w/\\@=(-]|[.:]+\w)", re.IGNORECASE)
_COMMAND = re.compile(r"/([A-Za-z][\w:.-]*)(?:\s|\Z)")


def workflow_words(text: str) -> tuple[Span, ...]:
    """Where a text asks for a workflow: the words *workflow* and *ultracode*, whole, in any capitals.

    Not in a command, in code between backticks, or as part of a path, an option or a longer name.
    """
    if is_command(text):
        return ()
    spoken = _QUOTED.sub(lambda code: "\0" * len(code[0]), text)
    return tuple(
        (piece.start() + word.start(), piece.start() + word.end())
        for piece in _PIECE.finditer(spoken)
        if not _NO_SENTENCE.search(piece[0])
        for word in _WORD.finditer(piece[0])
    )


def is_command(text: str) -> bool:
    """Whether a line is for `Session.command`: it begins with `/` and a name; a path such as `/usr/bin` is none."""
    return _COMMAND.match(text.lstrip()) is not None or text.strip() == "/"


def split_command(text: str) -> tuple[str, str]:
    """The name of a command, without `/`, and what stands behind it."""
    words = text.strip().removeprefix("/").split(None, 1)
    return (words[0] if words else "", words[1].strip() if len(words) > 1 else "")
