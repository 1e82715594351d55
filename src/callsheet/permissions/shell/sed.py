"""Which scripts of sed are harmless: addresses, `s///` with g i p and digits, `d`, `p`, `q`, `=` (DESIGN 9).

`e` and the flag `e` run commands, `w`, `r`, `W`, `R` open files: none of them is here.
"""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"(?:\d+(?:~\d+)?|\$|/(?P<regex>(?:[^/\\\n\[\]]|\\[^\n]|\[\^?\]?[^/\]\[\n\\]*\])+)/I?)")
_SECOND = re.compile(r"[ \t]*,[ \t]*(?:[+~]\d+|" + _ADDRESS.pattern.replace("?P<regex>", "?:") + ")")
_DELIMITERS = "/|#,:@!%_"
_FLAGS = re.compile(r"[gip0-9]*")
_END = re.compile(r"[ \t]*(?:[;\n][ \t;\n]*|$)")


def is_harmless(script: str) -> bool:
    """Whether a script of sed only prints, deletes and replaces."""
    at = _skip_blanks(script, 0)
    while at < len(script):
        after = _command(script, at)
        if after is None:
            return False
        end = _END.match(script, after)
        if end is None:
            return False
        at = end.end()
    return True


def _skip_blanks(script: str, at: int) -> int:
    while at < len(script) and script[at] in " \t\n;":
        at += 1
    return at


def _command(script: str, at: int) -> int | None:
    """The place behind the command that begins there; None where it is not a harmless one."""
    address = _ADDRESS.match(script, at)
    if address is not None:
        at = address.end()
        second = _SECOND.match(script, at)
        at = second.end() if second is not None else at
    while at < len(script) and script[at] in " \t!":
        at += 1
    match script[at : at + 1]:
        case "d" | "p" | "q" | "=":
            return at + 1
        case "s":
            return _substitute(script, at + 1)
        case _:
            return None


def _substitute(script: str, at: int) -> int | None:
    delimiter = script[at : at + 1]
    if not delimiter or delimiter not in _DELIMITERS:
        return None
    for _ in range(2):
        at += 1
        while (char := script[at : at + 1]) != delimiter:
            if char in ("", "\n"):
                return None
            if char == "\\":
                if script[at + 1 : at + 2] in ("", "\n"):
                    return None
                at += 1
            elif char == "[" and _hides(script, at, delimiter):
                return None
            at += 1
    flags = _FLAGS.match(script, at + 1)
    return flags.end() if flags is not None else None


def _hides(script: str, at: int, delimiter: str) -> bool:
    """Whether a delimiter or a backslash stands in the brackets that open there: programs differ in what it means."""
    end = script.find("]", at + (3 if script[at + 1 : at + 2] == "^" else 2))
    inside = script[at : end if end >= 0 else len(script)]
    return end >= 0 and (delimiter in inside or "\\" in inside)
