"""A command's text → the simple commands in it, or that it is not understood.

What is accepted stands here in full: node types, characters between them, words. Everything else is not understood,
and what is not understood is not allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING

from callsheet.permissions.shell.words import Lexer, NotUnderstoodError, Word, check_characters

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

MAX_COMMAND_BYTES = 64 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 60

_WORDS = frozenset(
    {
        *("word", "number", "string", "raw_string", "ansi_c_string", "concatenation", "simple_expansion", "expansion"),
        *("command_substitution", "brace_expression"),
    }
)
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
_BASH_ONLY = frozenset({"|&", "&>", "&>>", "<<<", "<&-", ">&-"})
_RESERVED = frozenset(
    {
        *("if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "select"),
        *("function", "in", "coproc", "{", "}", "!", "[[", "]]"),
    }
)
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_ASSIGNMENT_LIKE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\[.*\])?\+?=", re.DOTALL)
_BLANKS = re.compile(rb"(?:[ \t]|(?<=[ \t])\\\n)*")
_LINES = re.compile(rb"(?:[ \t\n]|(?<=[ \t])\\\n)*")
_DELIMITER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BEFORE_REDIRECT = re.compile(r"\{.*|\d+", re.DOTALL)
_LOOPS = frozenset({"while_statement", "for_statement"})


class Access(Enum):
    """What a redirection does with its file."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """A redirection from or to a file."""

    access: Access
    target: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A variable set in front of a command, for a loop, or alone."""

    name: str
    value: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A simple command: its words, what is set for it, where it reads and writes.

    Attributes:
        words: The program's name first; none where only variables are set or files opened.
        assignments: Set for this command, or for the rest of the shell where there are no words.
        redirects: Files that the shell opens for it.
        is_in_loop: It may run several times.
        is_first: It runs first, for certain, and in the shell itself.
    """

    words: tuple[Word, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    redirects: tuple[Redirect, ...] = ()
    is_in_loop: bool = False
    is_first: bool = False


def check_name(word: Word) -> None:
    """Refuses a word that bash would not take for a program's name where `time` and the like stand in front of it.

    Raises:
        NotUnderstoodError: It is a reserved word, or sets a variable.
    """
    if (word.is_bare and word.source in _RESERVED) or _ASSIGNMENT_LIKE.match(word.source):
        raise NotUnderstoodError(f"{word.source} is not a program's name")


@cache
def _parser() -> Parser:
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


def read_command(text: str, *, home: str, plain_sh: bool = False) -> tuple[Command, ...]:
    """The simple commands in a text, in order, those of substitutions in front of what they are part of.

    Args:
        text: What bash would get after `-c`.
        home: What `~` stands for.
        plain_sh: It is read by `sh`, which lacks some of bash's syntax.

    Raises:
        NotUnderstoodError: Something in it has no certain meaning.
    """
    check_characters(text)
    source = text.encode()
    if len(source) > MAX_COMMAND_BYTES:
        raise NotUnderstoodError(f"it is longer than {MAX_COMMAND_BYTES} bytes")
    tree = _parser().parse(source)
    if tree.root_node.has_error:
        raise NotUnderstoodError("it cannot be parsed")
    reader = _Reader(source, home=home, plain_sh=plain_sh)
    reader.sequence(tree.root_node, start=0, end=len(source))
    return tuple(reader.found)


class _Reader:
    """Walks the tree of one command."""

    def __init__(self, source: bytes, *, home: str, plain_sh: bool) -> None:
        self._source = source
        self._home = home
        self._plain_sh = plain_sh
        self._loops = 0
        self._depth = 0
        self._nodes = 0
        self._substitutions = 0
        self._in_backticks = False
        self.found: list[Command] = []

    # --- statements ---------------------------------------------------------------------------------------------------

    def sequence(self, node: Node, *, start: int, end: int) -> None:
        """A node that holds statements and operators only."""
        self._enter()
        for child in self._children(node, _LINES, start=start, end=end):
            self._statement(child)
        self._depth -= 1

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotUnderstoodError("it is nested too deeply")

    def _statement(self, node: Node) -> None:
        match node.type:
            case "command":
                self._command(node)
            case "redirected_statement":
                self._redirected(node)
            case "variable_assignment":
                self._emit(Command(assignments=(self._assignment(node),)))
            case "for_statement":
                self._for(node)
            case "test_command":
                self._test(node)
            case "comment":
                self._comment(node)
            case "file_redirect":
                self._emit(Command(redirects=self._redirect(node)))
            case kind if kind in _SEQUENCES:
                self._loops += kind in _LOOPS
                self.sequence(node, start=node.start_byte, end=node.end_byte)
                self._loops -= kind in _LOOPS
            case kind if not node.is_named and kind in _OPERATORS:
                self._bash_only(kind)
            case kind:
                raise NotUnderstoodError(f"it holds something that is not on the list of what is understood ({kind})")

    def _emit(self, command: Command, *, is_first: bool = False) -> None:
        self.found.append(replace(command, is_in_loop=self._loops > 0, is_first=is_first))

    @staticmethod
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

    def _bash_only(self, kind: str) -> None:
        if self._plain_sh and kind in _BASH_ONLY:
            raise NotUnderstoodError(f"sh does not know {kind} as bash does")

    def _comment(self, node: Node) -> None:
        before = self._source[node.start_byte - 1 : node.start_byte]
        line_end = self._source.find(b"\n", node.start_byte)
        if self._substitutions or before not in (b"", b" ", b"\t", b"\n", b";", b"&", b"|", b"(", b")"):
            raise NotUnderstoodError("it holds a comment in an unusual place")
        if node.end_byte != (line_end if line_end >= 0 else len(self._source)):
            raise NotUnderstoodError("a comment does not end with its line")
        if self._source[: node.end_byte].endswith(b"\\"):
            raise NotUnderstoodError("a comment ends with a backslash")

    def _for(self, node: Node) -> None:
        self._enter()
        self._loops += 1
        name = node.child_by_field_name("variable")
        if name is None or node.children[0].type != "for":
            raise NotUnderstoodError("it holds a loop other than for NAME in WORDS")
        for child in self._children(node, _LINES, start=node.start_byte, end=node.end_byte):
            if child.type in _WORDS:
                self._emit(Command(assignments=(Assignment(name=self._text(name), value=self._word(child)),)))
            elif child != name:
                self._statement(child)
        self._loops -= 1
        self._depth -= 1

    def _redirected(self, node: Node) -> None:
        self._enter()
        body = node.child_by_field_name("body")
        redirects: list[Redirect] = []
        for child in self._children(node, _BLANKS, start=node.start_byte, end=node.end_byte):
            if child == body:
                self._statement(child)
            else:
                redirects += self._redirect(child)
        if body is not None and body.type == "command" and self.found:
            whole = self.found.pop()
            self.found.append(replace(whole, redirects=(*whole.redirects, *redirects)))
        elif redirects:
            self._emit(Command(redirects=tuple(redirects)))
        self._depth -= 1

    def _command(self, node: Node) -> None:
        words: list[Word] = []
        assignments: list[Assignment] = []
        redirects: list[Redirect] = []
        for child in self._children(node, _BLANKS, start=node.start_byte, end=node.end_byte):
            match child.type:
                case "variable_assignment" if not words:
                    assignments.append(self._assignment(child))
                case "command_name" if not words:
                    name = self._word(child)
                    check_name(name)
                    words.append(name)
                case "file_redirect" | "herestring_redirect":
                    redirects += self._redirect(child)
                case kind if words and (kind in _WORDS or kind == "=="):
                    words.append(self._word(child))
                case kind:
                    raise NotUnderstoodError(f"a command holds something that is not understood ({kind})")
        command = Command(words=tuple(words), assignments=tuple(assignments), redirects=tuple(redirects))
        self._emit(command, is_first=self._is_first(node))

    def _assignment(self, node: Node) -> Assignment:
        found = _ASSIGNMENT.match(self._text(node))
        if found is None:
            raise NotUnderstoodError("it sets something other than a plain variable")
        at = node.start_byte + found.end()
        if self._source[at : at + 1] == b"~":
            raise NotUnderstoodError("a ~ stands after = or :")
        return Assignment(name=found[1], value=self._word_at(node, at))

    def _test(self, node: Node) -> None:
        """`[ … ]`: its words are read here, since the library makes expressions of them."""
        if self._source[node.start_byte : node.start_byte + 2] not in (b"[ ", b"[\t"):
            raise NotUnderstoodError("it holds [[ or (( , whose words may run commands")
        words = []
        at = node.start_byte
        substitutions = self._inner(node)
        lexer = Lexer(self._source, substitutions, home=self._home, in_backticks=self._in_backticks)
        while at < node.end_byte:
            found, after = lexer.word(at)
            if after == at:
                raise NotUnderstoodError("a test holds an operator of the shell")
            words.append(found)
            blanks = _BLANKS.match(self._source, after)
            at = blanks.end() if blanks is not None else after
        if at != node.end_byte and words[-1:] != [replace(words[-1], text="]")]:
            raise NotUnderstoodError("a test does not end where it seems to")
        if lexer.visited != set(substitutions) or words[-1].text != "]":
            raise NotUnderstoodError("a test does not end where it seems to")
        first = replace(words[0], text="[", unknowns=(), is_split=False)
        self._emit(Command(words=(first, *words[1:])))

    # --- redirections -------------------------------------------------------------------------------------------------

    def _redirect(self, node: Node) -> tuple[Redirect, ...]:
        match node.type:
            case "file_redirect":
                return self._file_redirect(node)
            case "herestring_redirect":
                self._bash_only("<<<")
                for child in self._children(node, _BLANKS, start=node.start_byte, end=node.end_byte):
                    if child.type in _WORDS:
                        self._word(child)
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
        for child in self._children(node, _BLANKS, start=node.start_byte, end=node.end_byte):
            if child.type == "file_descriptor":
                if not self._text(child).isdigit() or self._source[child.end_byte : child.end_byte + 1] not in b"<>":
                    raise NotUnderstoodError("a redirection uses a variable for its number")
            elif child.type in _WORDS:
                targets.append(self._word(child))
            else:
                operator = child.type
        self._bash_only(operator)
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
                    redirects += self._redirect(child)
                case _ if start is not None and body is None and child.type not in _WORDS:
                    self._statement(child)
                case kind:
                    raise NotUnderstoodError(f"a here-document holds something that is not understood ({kind})")
        if start is None or end is None:
            raise NotUnderstoodError("a here-document does not end")
        self._check_here_document(node, start, end)
        return tuple(redirects)

    def _check_here_document(self, node: Node, start: Node, end: Node) -> None:
        source = self._source
        written = self._text(start)
        is_quoted = len(written) > 2 and written[0] == written[-1] and written[0] in "'\""
        delimiter = written[1:-1] if is_quoted else written
        if not _DELIMITER.fullmatch(delimiter) or source[node.start_byte : node.end_byte].count(b"<<") != 1:
            raise NotUnderstoodError("a here-document has an unusual delimiter, or is not alone in its line")
        first = source.find(b"\n", start.end_byte) + 1
        if source[start.end_byte : start.end_byte + 1] not in (b"\n", b" ", b"\t", b";", b"|", b"&", b">", b")"):
            raise NotUnderstoodError("a here-document has an unusual delimiter")
        closing = re.compile(rb"^" + re.escape(delimiter.encode()) + rb"$", re.MULTILINE).search(source, first)
        if self._substitutions or not first or closing is None or closing.start() != end.start_byte:
            raise NotUnderstoodError("a here-document does not end where it seems to")
        if closing.end() != end.end_byte or source[end.end_byte : end.end_byte + 1] not in (b"", b"\n"):
            raise NotUnderstoodError("a here-document does not end where it seems to")
        head = source[start.end_byte : first - 1]
        if any(mark in head for mark in (b"'", b'"', b"\\", b"#", b"`", b"$")):
            raise NotUnderstoodError("the line of a here-document holds quotes or expansions behind its start")
        if not is_quoted and re.search(rb"[$`\\]", source[first : closing.start()]):
            raise NotUnderstoodError(f"a here-document expands what is in it; write <<'{delimiter}'")

    # --- words --------------------------------------------------------------------------------------------------------

    def _word(self, node: Node) -> Word:
        return self._word_at(node, node.start_byte)

    def _word_at(self, node: Node, at: int) -> Word:
        """The word at a byte; where its substitutions and its end are must be the same for library and lexer."""
        substitutions = self._inner(node)
        lexer = Lexer(self._source, substitutions, home=self._home, in_backticks=self._in_backticks)
        found, end = lexer.word(at)
        if end != node.end_byte or lexer.visited != set(substitutions):
            raise NotUnderstoodError(f"{self._text(node)!r} does not end where it seems to")
        if self._source[end : end + 1] in (b"<", b">") and _BEFORE_REDIRECT.fullmatch(found.source):
            raise NotUnderstoodError(f"a redirection uses {found.source} for its number")
        if self._plain_sh and "$'" in found.source:
            raise NotUnderstoodError("sh does not know $'…' as bash does")
        return found

    def _inner(self, node: Node) -> dict[int, int]:
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
        self.sequence(node, start=node.start_byte, end=node.end_byte)
        self._substitutions -= 1
        self._in_backticks = outer

    # --- what lies between --------------------------------------------------------------------------------------------

    def _children(self, node: Node, between: re.Pattern[bytes], *, start: int, end: int) -> Iterator[Node]:
        """The children of a node; nothing but blanks may lie between them."""
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
        found = between.match(self._source, start, end)
        if found is None or found.end() != end:
            shown = self._source[start:end].decode(errors="replace")
            raise NotUnderstoodError(f"it holds {shown!r} in an unusual place")

    def _text(self, node: Node) -> str:
        return self._source[node.start_byte : node.end_byte].decode()
