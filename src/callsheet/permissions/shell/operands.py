"""Words as they stand in a command's tree, with the commands that are substituted in them.

The grammar library and the lexer read each word, and must agree where it ends and where its substitutions are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from callsheet.permissions.shell.simple import Assignment
from callsheet.permissions.shell.tree import BLANKS, Tree
from callsheet.permissions.shell.words import Lexer, NotUnderstoodError, Word

if TYPE_CHECKING:
    from tree_sitter import Node

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_BEFORE_REDIRECT = re.compile(r"\{.*|\d+", re.DOTALL)


class WordReader:
    """Reads the words of one command."""

    def __init__(self, tree: Tree, *, home: str, commands: Callable[[Node], None]) -> None:
        """Nothing is read yet.

        Args:
            tree: The command.
            home: What `~` stands for.
            commands: Reads the commands of a substitution, which run before what they are part of.
        """
        self._tree = tree
        self._source = tree.source
        self._home = home
        self._commands = commands
        self._substitutions = 0
        self._in_backticks = False

    @property
    def is_in_substitution(self) -> bool:
        """Whether what is read now is part of a word."""
        return self._substitutions > 0

    def word(self, node: Node) -> Word:
        """The word that a node is.

        Raises:
            NotUnderstoodError: It, or a command in it, has no certain meaning.
        """
        return self._word_at(node, node.start_byte)

    def assignment(self, node: Node) -> Assignment:
        """The variable that a node sets.

        Raises:
            NotUnderstoodError: It is no plain variable, or its value has no certain meaning.
        """
        found = _ASSIGNMENT.match(self._tree.text(node))
        if found is None:
            raise NotUnderstoodError("it sets something other than a plain variable")
        at = node.start_byte + found.end()
        if self._source[at : at + 1] == b"~":
            raise NotUnderstoodError("a ~ stands after = or :")
        return Assignment(name=found[1], value=self._word_at(node, at))

    def test(self, node: Node) -> tuple[Word, ...]:
        """The words of `[ … ]`, read without the library, which makes expressions of them.

        Raises:
            NotUnderstoodError: One has no certain meaning, or it is `[[`.
        """
        if self._source[node.start_byte : node.start_byte + 2] not in (b"[ ", b"[\t"):
            raise NotUnderstoodError("it holds [[ or (( , whose words may run commands")
        words = []
        at = node.start_byte
        substitutions = self._substituted(node)
        lexer = Lexer(self._source, substitutions, home=self._home, in_backticks=self._in_backticks)
        while at < node.end_byte:
            found, after = lexer.word(at)
            if after == at:
                raise NotUnderstoodError("a test holds an operator of the shell")
            words.append(found)
            blanks = BLANKS.match(self._source, after)
            at = blanks.end() if blanks is not None else after
        if at != node.end_byte and words[-1:] != [replace(words[-1], text="]")]:
            raise NotUnderstoodError("a test does not end where it seems to")
        if lexer.visited != set(substitutions) or words[-1].text != "]":
            raise NotUnderstoodError("a test does not end where it seems to")
        first = replace(words[0], text="[", unknowns=(), is_split=False)
        return (first, *words[1:])

    def _word_at(self, node: Node, at: int) -> Word:
        """The word at a byte; where its substitutions and its end are must be the same for library and lexer."""
        substitutions = self._substituted(node)
        lexer = Lexer(self._source, substitutions, home=self._home, in_backticks=self._in_backticks)
        found, end = lexer.word(at)
        if end != node.end_byte or lexer.visited != set(substitutions):
            raise NotUnderstoodError(f"{self._tree.text(node)!r} does not end where it seems to")
        if self._source[end : end + 1] in (b"<", b">") and _BEFORE_REDIRECT.fullmatch(found.source):
            raise NotUnderstoodError(f"a redirection uses {found.source} for its number")
        if self._tree.plain_sh and "$'" in found.source:
            raise NotUnderstoodError("sh does not know $'…' as bash does")
        return found

    def _substituted(self, node: Node) -> dict[int, int]:
        """Where the command substitutions of a word begin and end; the commands in them are read."""
        found: dict[int, int] = {}
        pending = [node]
        while pending:
            here = pending.pop()
            if here.type == "command_substitution":
                found[here.start_byte] = here.end_byte
                self._substitution(here)
            elif here.type == "process_substitution":
                raise NotUnderstoodError("it holds a process substitution")
            else:
                pending.extend(here.children)
        return found

    def _substitution(self, node: Node) -> None:
        inside = self._source[node.start_byte : node.end_byte]
        if inside.startswith(b"`") and b"\\" in inside:
            raise NotUnderstoodError("backticks with a backslash in them; write $(…)")
        if inside.startswith(b"$(("):
            raise NotUnderstoodError("it holds arithmetic, which may run commands")
        if not (inside.startswith(b"$(") and inside.endswith(b")")) and not inside.startswith(b"`"):
            raise NotUnderstoodError("a substitution does not end where it seems to")
        outer, self._in_backticks = self._in_backticks, inside.startswith(b"`")
        self._substitutions += 1
        self._commands(node)
        self._substitutions -= 1
        self._in_backticks = outer
