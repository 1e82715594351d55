"""The tree that the grammar library makes of a command, and what must be true of every part of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from callsheet.permissions.shell.words import NotUnderstoodError, check_characters

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

MAX_COMMAND_BYTES = 64 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 60

BLANKS = re.compile(rb"(?:[ \t]|(?<=[ \t])\\\n)*")
"""What may stand between the parts of one command."""

LINES = re.compile(rb"(?:[ \t\n]|(?<=[ \t])\\\n)*")
"""What may stand between commands."""

WORDS = frozenset(
    {
        *("word", "number", "string", "raw_string", "ansi_c_string", "concatenation", "simple_expansion", "expansion"),
        *("command_substitution", "brace_expression"),
    }
)
"""The types of nodes that are words."""

_BASH_ONLY = frozenset({"|&", "&>", "&>>", "<<<", "<&-", ">&-"})


@cache
def _parser() -> Parser:
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


class Tree:
    """One command as text and tree. Counts what was visited, so that no text can keep its reader busy.

    Attributes:
        source: The text as bytes, to which the nodes' places refer.
        root: The node of all.
        plain_sh: It is read by `sh`.
    """

    def __init__(self, text: str, *, plain_sh: bool) -> None:
        """Parses a text.

        Raises:
            NotUnderstoodError: It is too long, cannot be parsed, or holds characters that people do not see.
        """
        check_characters(text)
        self.source = text.encode()
        if len(self.source) > MAX_COMMAND_BYTES:
            raise NotUnderstoodError(f"it is longer than {MAX_COMMAND_BYTES} bytes")
        self.root = _parser().parse(self.source).root_node
        if self.root.has_error:
            raise NotUnderstoodError("it cannot be parsed")
        self.plain_sh = plain_sh
        self._depth = 0
        self._nodes = 0

    @contextmanager
    def level(self) -> Iterator[None]:
        """What is read within it lies one level deeper.

        Raises:
            NotUnderstoodError: It is nested too deeply.
        """
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotUnderstoodError("it is nested too deeply")
        yield
        self._depth -= 1

    def parts(self, node: Node) -> Iterator[Node]:
        """The children of a node that is part of one line."""
        return self.children(node, BLANKS, start=node.start_byte, end=node.end_byte)

    def children(self, node: Node, between: re.Pattern[bytes], *, start: int, end: int) -> Iterator[Node]:
        """The children of a node.

        Args:
            node: Whose.
            between: All that may stand between them.
            start: Where the first begins, but for that.
            end: Where the last ends, but for that.

        Raises:
            NotUnderstoodError: Something else stands between them.
        """
        at = start
        for child in node.children:
            self._nodes += 1
            if self._nodes > MAX_NODES:
                raise NotUnderstoodError("it has too many parts")
            self._check_gap(at, child.start_byte, between)
            at = child.end_byte
            yield child
        self._check_gap(at, end, between)

    def _check_gap(self, start: int, end: int, between: re.Pattern[bytes]) -> None:
        if start > end:
            raise NotUnderstoodError("its parts overlap")
        found = between.match(self.source, start, end)
        if found is None or found.end() != end:
            shown = self.source[start:end].decode(errors="replace")
            raise NotUnderstoodError(f"it holds {shown!r} in an unusual place")

    def text(self, node: Node) -> str:
        """A node as written."""
        return self.source[node.start_byte : node.end_byte].decode()

    def check_operator(self, kind: str) -> None:
        """Refuses what means something else to `sh`.

        Raises:
            NotUnderstoodError: It does, and `sh` reads the command.
        """
        if self.plain_sh and kind in _BASH_ONLY:
            raise NotUnderstoodError(f"sh does not know {kind} as bash does")
