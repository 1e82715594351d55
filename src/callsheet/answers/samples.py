"""Text made up to match a pattern: the common constructs of regular expressions, written out once."""

from __future__ import annotations

from collections.abc import Callable

MAX_SAMPLE_CHARS = 5_000


class _UnsupportedError(Exception):
    """A construct that this module does not write out."""


def sample(pattern: str, *, repeat: int = 1) -> str | None:
    """Text that the pattern is likely to match; None where it uses what is not written out here.

    Look-around is passed over, so the text must be tried against the pattern before it is used.

    Args:
        pattern: A regular expression as JavaScript and JSON Schema write it.
        repeat: How often to write what may be repeated, within the limits that the pattern sets.
    """
    try:
        text = _Reader(pattern, repeat).alternatives()
    except (_UnsupportedError, IndexError, ValueError):
        return None
    return text if len(text) <= MAX_SAMPLE_CHARS else None


_Test = Callable[[str], bool]

_CLASSES: dict[str, _Test] = {
    "d": lambda char: char.isascii() and char.isdecimal(),
    "D": lambda char: not (char.isascii() and char.isdecimal()),
    "w": lambda char: char.isascii() and (char.isalnum() or char == "_"),
    "W": lambda char: not (char.isascii() and (char.isalnum() or char == "_")),
    "s": str.isspace,
    "S": lambda char: not char.isspace(),
}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_TRIED = "aA1 -_.xZ0/:#é"
_MAX_GROUPS = 50


def _between(low: str, high: str) -> _Test:
    return lambda char: low <= char <= high


class _Reader:
    """Reads a pattern from left to right and writes one text for it."""

    def __init__(self, pattern: str, repeat: int) -> None:
        self._pattern = pattern
        self._at = 0
        self._groups = 0
        self._repeat = repeat

    def alternatives(self) -> str:
        first = self._sequence()
        while self._take("|"):
            self._sequence()
        if self._at < len(self._pattern) and self._pattern[self._at] != ")":
            raise _UnsupportedError
        return first

    def _sequence(self) -> str:
        written: list[str] = []
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            piece = self._piece()
            written.append(piece * self._times())
            if sum(map(len, written)) > MAX_SAMPLE_CHARS:
                raise _UnsupportedError
        return "".join(written)

    def _piece(self) -> str:
        char = self._next()
        match char:
            case "^" | "$":
                return ""
            case ".":
                return "a"
            case "(":
                return self._group()
            case "[":
                return self._set()
            case "\\":
                return self._escape()
            case "*" | "+" | "?" | "{":
                raise _UnsupportedError
            case _:
                return char

    def _group(self) -> str:
        self._groups += 1
        if self._groups > _MAX_GROUPS:
            raise _UnsupportedError
        seen_through = False
        if self._take("?"):
            if self._take("<"):
                seen_through = self._take("=") or self._take("!")
                if not seen_through:
                    self._at = self._pattern.index(">", self._at) + 1
            elif not self._take(":"):
                if self._next() not in "=!":
                    raise _UnsupportedError
                seen_through = True
        inner = self.alternatives()
        if not self._take(")"):
            raise _UnsupportedError
        return "" if seen_through else inner

    def _set(self) -> str:
        excludes = self._take("^")
        tests: list[_Test] = []
        tried = _TRIED if excludes else ""
        while not self._take("]"):
            low = self._member()
            if not isinstance(low, str):
                tests.append(low)
                tried += _TRIED
                continue
            high: str | _Test = low
            if self._pattern[self._at] == "-" and self._pattern[self._at + 1] != "]":
                self._at += 1
                high = self._member()
            tests.append(_between(low, high if isinstance(high, str) else low))
            tried += low
        for char in tried:
            if any(test(char) for test in tests) != excludes:
                return char
        raise _UnsupportedError

    def _member(self) -> str | _Test:
        """One character of a set, or the test of a class of characters in it."""
        if not self._take("\\"):
            return self._next()
        if self._pattern[self._at] in _CLASSES:
            return _CLASSES[self._next()]
        return "\b" if self._take("b") else self._escape()

    def _escape(self) -> str:
        char = self._next()
        if char in _CLASSES:
            return next(tried for tried in _TRIED if _CLASSES[char](tried))
        if char in _CONTROLS:
            return _CONTROLS[char]
        match char:
            case "b" | "B":
                return ""
            case "x":
                return self._code_point(2)
            case "u" if self._take("{"):
                end = self._pattern.index("}", self._at)
                code, self._at = self._pattern[self._at : end], end + 1
                return chr(int(code, 16))
            case "u":
                return self._code_point(4)
            case "p" | "P":
                self._at = self._pattern.index("}", self._at) + 1
                return "a" if char == "p" else "1"
            case _ if char.isalnum():
                raise _UnsupportedError
            case _:
                return char

    def _code_point(self, digits: int) -> str:
        code = self._pattern[self._at : self._at + digits]
        self._at += digits
        return chr(int(code, 16))

    def _times(self) -> int:
        least, most = 1, 1
        if self._take("*"):
            least, most = 0, MAX_SAMPLE_CHARS
        elif self._take("+"):
            least, most = 1, MAX_SAMPLE_CHARS
        elif self._take("?"):
            least, most = 0, 1
        elif self._take("{"):
            end = self._pattern.index("}", self._at)
            low, comma, high = self._pattern[self._at : end].partition(",")
            self._at = end + 1
            least = int(low)
            most = int(high) if high else MAX_SAMPLE_CHARS if comma else least
        else:
            return 1
        self._take("?")
        return min(max(least, min(self._repeat, most)), MAX_SAMPLE_CHARS)

    def _next(self) -> str:
        char = self._pattern[self._at]
        self._at += 1
        return char

    def _take(self, expected: str) -> bool:
        if self._pattern.startswith(expected, self._at):
            self._at += 1
            return True
        return False
