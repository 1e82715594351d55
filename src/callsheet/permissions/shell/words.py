"""Words of a shell command: what bash would make of them, or that nobody can tell before it runs.

The grammar library says where words, substitutions and operators are. This lexer reads each word anew, by the rules of
bash alone, and must come to the same end: where the two differ, the command is not understood.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from callsheet.model.dataclass import dataclass

SUBSTITUTION = "$(…)"
"""The name under which a command substitution stands in `Word.unknowns`."""

_VARIABLE = re.compile(rb"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\}|([?#$!0-9@*-]))")
_METACHARACTERS = frozenset(b" \t\n|&;()<>")
_ANSI_C = {b"n": b"\n", b"t": b"\t", b"\\": b"\\", b"'": b"'", b'"': b'"'}
_BRACES_EXPAND = re.compile(rb"\{.*(?:,|\.\.).*\}", re.DOTALL)


class NotUnderstoodError(Exception):
    """A command holds something whose meaning cannot be told for certain; `reason` says what."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word of a command.

    Attributes:
        text: What the program gets; None where that is known only when it runs.
        source: As written.
        unknowns: Variables and substitutions in it.
        is_split: It may become several words, or none: an expansion or a glob outside quotes.
        is_bare: Nothing in it is quoted, so that bash may take it for a reserved word.
    """

    text: str | None
    source: str
    unknowns: tuple[str, ...] = ()
    is_split: bool = False
    is_bare: bool = False


def literal(text: str) -> Word:
    """A word whose text is known."""
    return Word(text=text, source=text)


def check_characters(command: str) -> None:
    """Refuses characters that people do not see, or take for others.

    Raises:
        NotUnderstoodError: One is there.
    """
    for char in command:
        if char in "\t\n" or " " <= char <= "~":
            continue
        name = f"U+{ord(char):04X}"
        category = unicodedata.category(char)
        if category[0] == "C" or category[0] == "Z":
            raise NotUnderstoodError(f"it holds a character that is not seen, or a strange space ({name})")
        plain = unicodedata.normalize("NFKC", char)
        if len(plain) == 1 and plain.isascii():
            raise NotUnderstoodError(f"it holds {name}, which looks like {plain!r} and is not")


class Lexer:
    """Reads single words of a command.

    Args:
        source: The command.
        substitutions: Where its command substitutions begin and end.
        home: What `~` stands for.
        in_backticks: A backtick ends the word.
    """

    def __init__(
        self, source: bytes, substitutions: Mapping[int, int], *, home: str, in_backticks: bool = False
    ) -> None:
        self._ends = _METACHARACTERS | {ord("`")} if in_backticks else _METACHARACTERS
        self._source = source
        self._substitutions = substitutions
        self._home = home.encode()
        self.visited: set[int] = set()
        self._begin()

    def _begin(self) -> None:
        self._text = bytearray()
        self._unquoted = bytearray()
        self._unknowns: list[str] = []
        self._is_split = self._is_quoted = self._is_glob = False

    def word(self, at: int) -> tuple[Word, int]:
        """The word that begins at a byte, and the byte where it ends.

        Raises:
            NotUnderstoodError: It holds something that this lexer does not know.
        """
        start = at
        source = self._source
        self._begin()
        if source[at : at + 1] == b"~":
            at = self._tilde(at)
        elif source[at : at + 1] == b"#":
            raise NotUnderstoodError("a comment stands where a word was expected")
        while at < len(source) and source[at] not in self._ends:
            at = self._piece(at)
        return self._finished(source[start:at].decode()), at

    def _finished(self, written: str) -> Word:
        if _BRACES_EXPAND.search(self._unquoted):
            self._unknowns.append("{…}")
            self._is_split = True
        if self._is_glob:
            self._unknowns.append("a glob")
            self._is_split = True
        text = None if self._unknowns else bytes(self._text).decode()
        return Word(
            text=text,
            source=written,
            unknowns=tuple(self._unknowns),
            is_split=self._is_split,
            is_bare=not self._is_quoted and not self._unknowns,
        )

    def _piece(self, at: int) -> int:
        """Reads one character or one quoted piece outside quotes; the byte after it."""
        source = self._source
        char = source[at : at + 1]
        match char:
            case b"\\":
                escaped = source[at + 1 : at + 2]
                if escaped in (b"", b"\n"):
                    raise NotUnderstoodError("a line is continued within a word")
                self._quoted(escaped)
                return at + 2
            case b"'":
                end = source.find(b"'", at + 1)
                if end < 0:
                    raise NotUnderstoodError("a quote is not closed")
                self._quoted(source[at + 1 : end])
                return end + 1
            case b'"':
                return self._double_quoted(at + 1)
            case b"$" if source[at + 1 : at + 2] == b"'":
                return self._ansi_c(at + 2)
            case b"$" | b"`":
                return self._expansion(at, quoted=False)
            case b"~" if source[at - 1 : at] in (b"=", b":"):
                raise NotUnderstoodError("a ~ stands after = or :")
            case _:
                self._is_glob = self._is_glob or char in (b"*", b"?", b"[")
                self._text += char
                self._unquoted += char
                return at + 1

    def _quoted(self, text: bytes) -> None:
        self._is_quoted = True
        self._text += text
        self._unquoted += b"\0" if text else b""

    def _tilde(self, at: int) -> int:
        following = self._source[at + 1 : at + 2]
        if following not in (b"", b"/") and following[0] not in self._ends:
            raise NotUnderstoodError("a ~ with a name stands for somebody's folder")
        self._quoted(self._home)
        return at + 1

    def _double_quoted(self, at: int) -> int:
        source = self._source
        self._quoted(b"")
        while True:
            char = source[at : at + 1]
            match char:
                case b"":
                    raise NotUnderstoodError("a quote is not closed")
                case b'"':
                    return at + 1
                case b"\\":
                    escaped = source[at + 1 : at + 2]
                    if escaped in (b"", b"\n"):
                        raise NotUnderstoodError("a line is continued within a word")
                    self._quoted(escaped if escaped in (b"$", b"`", b'"', b"\\") else b"\\" + escaped)
                    at += 2
                case b"$" | b"`":
                    at = self._expansion(at, quoted=True)
                case _:
                    self._quoted(char)
                    at += 1

    def _ansi_c(self, at: int) -> int:
        source = self._source
        self._quoted(b"")
        while (char := source[at : at + 1]) != b"'":
            if char == b"\\":
                escape = _ANSI_C.get(source[at + 1 : at + 2])
                if escape is None:
                    raise NotUnderstoodError("$'…' holds an escape other than \\n \\t \\\\ \\' \\\"")
                self._quoted(escape)
                at += 2
            elif char:
                self._quoted(char)
                at += 1
            else:
                raise NotUnderstoodError("a quote is not closed")
        return at + 1

    def _expansion(self, at: int, *, quoted: bool) -> int:
        source = self._source
        following = source[at + 1 : at + 2]
        end = self._substitutions.get(at)
        if end is not None:
            self.visited.add(at)
            self._unknowns.append(SUBSTITUTION)
        elif source[at : at + 1] == b"`" or following in (b"(", b"[", b'"'):
            raise NotUnderstoodError(
                f"it holds {source[at : at + 3].decode(errors='replace')!r}, which is not followed"
            )
        elif (found := _VARIABLE.match(source, at)) is not None:
            self._unknowns.append((found[1] or found[2] or found[3]).decode())
            end = found.end()
        elif following == b"{":
            raise NotUnderstoodError("it holds an expansion other than a plain ${NAME}")
        else:
            self._quoted(b"$")
            return at + 1
        self._is_split = self._is_split or not quoted
        if quoted:
            self._is_quoted = True
        self._unquoted += b"\0"
        return end
