"""The redirections of a command: which files it opens, and that a here-document is nothing but text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from callsheet.permissions.shell.operands import WordReader
from callsheet.permissions.shell.simple import Access, Redirect
from callsheet.permissions.shell.tree import WORDS, Tree
from callsheet.permissions.shell.words import NotUnderstoodError, Word

if TYPE_CHECKING:
    from tree_sitter import Node

_DELIMITER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class RedirectReader:
    """Reads the redirections of one command."""

    def __init__(self, tree: Tree, words: WordReader, *, statement: Callable[[Node], None]) -> None:
        """Nothing is read yet.

        Args:
            tree: The command.
            words: Reads its words.
            statement: Reads what follows a here-document in its line.
        """
        self._tree = tree
        self._source = tree.source
        self._words = words
        self._statement = statement

    def read(self, node: Node) -> tuple[Redirect, ...]:
        """The files that a redirection opens: one, or none where it only joins or closes streams.

        Raises:
            NotUnderstoodError: It has no certain meaning.
        """
        match node.type:
            case "file_redirect":
                return self._file_redirect(node)
            case "herestring_redirect":
                self._tree.check_operator("<<<")
                for child in self._tree.parts(node):
                    if child.type in WORDS:
                        self._words.word(child)
                    elif child.type not in ("<<<", "file_descriptor"):
                        raise NotUnderstoodError("a here-string holds something that is not understood")
                return ()
            case "heredoc_redirect":
                return self._here_document(node)
            case kind:
                raise NotUnderstoodError(f"it holds a redirection that is not understood ({kind})")

    def _file_redirect(self, node: Node) -> tuple[Redirect, ...]:
        operator = ""
        targets: list[Word] = []
        for child in self._tree.parts(node):
            if child.type == "file_descriptor":
                if (
                    not self._tree.text(child).isdigit()
                    or self._source[child.end_byte : child.end_byte + 1] not in b"<>"
                ):
                    raise NotUnderstoodError("a redirection uses a variable for its number")
            elif child.type in WORDS:
                targets.append(self._words.word(child))
            else:
                operator = child.type
        self._tree.check_operator(operator)
        if operator in ("<&-", ">&-") and not targets:
            return ()
        if len(targets) != 1:
            raise NotUnderstoodError("words follow a redirection; write them in front of it")
        (target,) = targets
        match operator:
            case "<&" | ">&" if target.is_bare and (target.source.isdigit() or target.source == "-"):
                return ()
            case "<":
                return (Redirect(access=Access.READ, target=target),)
            case ">" | ">>" | ">|" | "&>" | "&>>":
                return (Redirect(access=Access.WRITE, target=target),)
            case _:
                raise NotUnderstoodError(f"it holds a redirection that is not understood ({operator})")

    def _here_document(self, node: Node) -> tuple[Redirect, ...]:
        start = body = end = None
        redirects: list[Redirect] = []
        for child in node.children:
            match child.type:
                case "<<":
                    pass
                case "heredoc_start":
                    start = child
                case "heredoc_body":
                    body = child
                case "heredoc_end":
                    end = child
                case "file_redirect":
                    redirects += self.read(child)
                case _ if start is not None and body is None and child.type not in WORDS:
                    self._statement(child)
                case kind:
                    raise NotUnderstoodError(f"a here-document holds something that is not understood ({kind})")
        if start is None or end is None:
            raise NotUnderstoodError("a here-document does not end")
        self._check_here_document(node, start, end)
        return tuple(redirects)

    def _check_here_document(self, node: Node, start: Node, end: Node) -> None:
        source = self._source
        written = self._tree.text(start)
        is_quoted = len(written) > 2 and written[0] == written[-1] and written[0] in "'\""
        delimiter = written[1:-1] if is_quoted else written
        if not _DELIMITER.fullmatch(delimiter) or source[node.start_byte : node.end_byte].count(b"<<") != 1:
            raise NotUnderstoodError("a here-document has an unusual delimiter, or is not alone in its line")
        first = source.find(b"\n", start.end_byte) + 1
        if source[start.end_byte : start.end_byte + 1] not in (b"\n", b" ", b"\t", b";", b"|", b"&", b">", b")"):
            raise NotUnderstoodError("a here-document has an unusual delimiter")
        closing = re.compile(rb"^" + re.escape(delimiter.encode()) + rb"$", re.MULTILINE).search(source, first)
        if self._words.is_in_substitution or not first or closing is None or closing.start() != end.start_byte:
            raise NotUnderstoodError("a here-document does not end where it seems to")
        if closing.end() != end.end_byte or source[end.end_byte : end.end_byte + 1] not in (b"", b"\n"):
            raise NotUnderstoodError("a here-document does not end where it seems to")
        head = source[start.end_byte : first - 1]
        if any(mark in head for mark in (b"'", b'"', b"\\", b"#", b"`", b"$")):
            raise NotUnderstoodError("the line of a here-document holds quotes or expansions behind its start")
        if not is_quoted and re.search(rb"[$`\\]", source[first : closing.start()]):
            raise NotUnderstoodError(f"a here-document expands what is in it; write <<'{delimiter}'")
