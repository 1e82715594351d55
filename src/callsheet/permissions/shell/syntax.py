"""A command's text → the simple commands in it, or that it is not understood.

What is accepted stands here and beside it in full: node types, characters between them, words, redirections.
Everything else is not understood, and what is not understood is not allowed.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from callsheet.permissions.shell.operands import WordReader
from callsheet.permissions.shell.redirects import RedirectReader
from callsheet.permissions.shell.simple import Assignment, Command, Redirect
from callsheet.permissions.shell.tree import LINES, WORDS, Tree
from callsheet.permissions.shell.words import NotUnderstoodError, Word

if TYPE_CHECKING:
    from tree_sitter import Node

_SEQUENCES = frozenset(
    {
        *("program", "list", "pipeline", "subshell", "compound_statement", "negated_command", "do_group"),
        *("if_statement", "elif_clause", "else_clause", "while_statement", "command_substitution"),
    }
)
_OPERATORS = frozenset(
    {
        *("&&", "||", ";", "&", "|", "|&", "\n", "(", ")", "{", "}", "!", "$(", "`", "do", "done"),
        *("if", "then", "elif", "else", "fi", "while", "until", "for", "in"),
    }
)
_RESERVED = frozenset(
    {
        *("if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "select"),
        *("function", "in", "coproc", "{", "}", "!", "[[", "]]"),
    }
)
_ASSIGNMENT_LIKE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\[.*\])?\+?=", re.DOTALL)
_LOOPS = frozenset({"while_statement", "for_statement"})


def check_name(word: Word) -> None:
    """Refuses a word that bash would not take for a program's name where `time` and the like stand in front of it.

    Raises:
        NotUnderstoodError: It is a reserved word, or sets a variable.
    """
    if (word.is_bare and word.source in _RESERVED) or _ASSIGNMENT_LIKE.match(word.source):
        raise NotUnderstoodError(f"{word.source} is not a program's name")


def read_command(text: str, *, home: str, plain_sh: bool = False) -> tuple[Command, ...]:
    """The simple commands in a text, in order, those of substitutions in front of what they are part of.

    Args:
        text: What bash would get after `-c`.
        home: What `~` stands for.
        plain_sh: It is read by `sh`, which lacks some of bash's syntax.

    Raises:
        NotUnderstoodError: Something in it has no certain meaning.
    """
    tree = Tree(text, plain_sh=plain_sh)
    reader = _Reader(tree, home=home)
    reader.sequence(tree.root, start=0, end=len(tree.source))
    return tuple(reader.found)


class _Reader:
    """Walks the tree of one command."""

    def __init__(self, tree: Tree, *, home: str) -> None:
        self._tree = tree
        self._words = WordReader(tree, home=home, commands=self._whole)
        self._redirects = RedirectReader(tree, self._words, statement=self._statement)
        self._loops = 0
        self.found: list[Command] = []

    def sequence(self, node: Node, *, start: int, end: int) -> None:
        """A node that holds statements and operators only."""
        with self._tree.level():
            for child in self._tree.children(node, LINES, start=start, end=end):
                self._statement(child)

    def _whole(self, node: Node) -> None:
        self.sequence(node, start=node.start_byte, end=node.end_byte)

    def _statement(self, node: Node) -> None:
        match node.type:
            case "command":
                self._command(node)
            case "redirected_statement":
                self._redirected(node)
            case "variable_assignment":
                self._emit(Command(assignments=(self._words.assignment(node),)))
            case "for_statement":
                self._for(node)
            case "test_command":
                self._emit(Command(words=self._words.test(node)))
            case "comment":
                self._comment(node)
            case "file_redirect":
                self._emit(Command(redirects=self._redirects.read(node)))
            case kind if kind in _SEQUENCES:
                self._loops += kind in _LOOPS
                self._whole(node)
                self._loops -= kind in _LOOPS
            case kind if not node.is_named and kind in _OPERATORS:
                self._tree.check_operator(kind)
            case kind:
                raise NotUnderstoodError(f"it holds something that is not on the list of what is understood ({kind})")

    def _emit(self, command: Command, *, is_first: bool = False) -> None:
        self.found.append(replace(command, is_in_loop=self._loops > 0, is_first=is_first))

    def _comment(self, node: Node) -> None:
        source = self._tree.source
        before = source[node.start_byte - 1 : node.start_byte]
        line_end = source.find(b"\n", node.start_byte)
        if self._words.is_in_substitution or before not in (b"", b" ", b"\t", b"\n", b";", b"&", b"|", b"(", b")"):
            raise NotUnderstoodError("it holds a comment in an unusual place")
        if node.end_byte != (line_end if line_end >= 0 else len(source)):
            raise NotUnderstoodError("a comment does not end with its line")
        if source[: node.end_byte].endswith(b"\\"):
            raise NotUnderstoodError("a comment ends with a backslash")

    def _for(self, node: Node) -> None:
        name = node.child_by_field_name("variable")
        if name is None or node.children[0].type != "for":
            raise NotUnderstoodError("it holds a loop other than for NAME in WORDS")
        self._loops += 1
        with self._tree.level():
            for child in self._tree.children(node, LINES, start=node.start_byte, end=node.end_byte):
                if child.type in WORDS:
                    assignment = Assignment(name=self._tree.text(name), value=self._words.word(child))
                    self._emit(Command(assignments=(assignment,)))
                elif child != name:
                    self._statement(child)
        self._loops -= 1

    def _redirected(self, node: Node) -> None:
        body = node.child_by_field_name("body")
        redirects: list[Redirect] = []
        with self._tree.level():
            for child in self._tree.parts(node):
                if child == body:
                    self._statement(child)
                else:
                    redirects += self._redirects.read(child)
        if body is not None and body.type == "command" and self.found:
            whole = self.found.pop()
            self.found.append(replace(whole, redirects=(*whole.redirects, *redirects)))
        elif redirects:
            self._emit(Command(redirects=tuple(redirects)))

    def _command(self, node: Node) -> None:
        words: list[Word] = []
        assignments: list[Assignment] = []
        redirects: list[Redirect] = []
        for child in self._tree.parts(node):
            match child.type:
                case "variable_assignment" if not words:
                    assignments.append(self._words.assignment(child))
                case "command_name" if not words:
                    name = self._words.word(child)
                    check_name(name)
                    words.append(name)
                case "file_redirect" | "herestring_redirect":
                    redirects += self._redirects.read(child)
                case kind if words and (kind in WORDS or kind == "=="):
                    words.append(self._words.word(child))
                case kind:
                    raise NotUnderstoodError(f"a command holds something that is not understood ({kind})")
        command = Command(words=tuple(words), assignments=tuple(assignments), redirects=tuple(redirects))
        self._emit(command, is_first=_is_first(node))


def _is_first(node: Node) -> bool:
    """Whether a command runs first, in the shell itself: neither in a pipe nor in the background."""
    here: Node | None = node
    while here is not None and here.type != "program":
        parent, following = here.parent, here.next_sibling
        if parent is None or parent.type not in ("list", "program") or here.prev_sibling is not None:
            return False
        if following is not None and following.type not in ("&&", "||", ";", "\n", "command"):
            return False
        here = parent
    return here is not None
