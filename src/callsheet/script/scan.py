"""A small scanner of JavaScript's tokens, for what needs no grammar: where comments end and which bracket is open.

It knows strings, templates, comments and regular expressions well enough to count brackets. Where a `/` could be either
a division or a regular expression it goes by the token before it, as editors do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple, cast

from callsheet.model.dataclass import dataclass

SPACE = "\t\v\f \xa0\ufeff\u1680\u2000-\u200a\u202f\u205f\u3000"
"""White space of ECMAScript, for a character class."""
LINE_ENDS = "\n\r\u2028\u2029"

TRIVIA = rf"(?:[{SPACE}{LINE_ENDS}]++|//[^{LINE_ENDS}]*+|/\*(?s:.*?)\*/)"
"""White space and comments, for a regular expression."""

# Of a repeated group `(?>(…)*)` is written and not `(…)*+`: Python before 3.11.5 takes too much by the latter where the
# group begins to match and then does not.

TokenKind = Literal["comment", "string", "template", "regex", "word", "open", "close", "other", "unended"]

_TOKEN = re.compile(
    rf"""[{SPACE}{LINE_ENDS}]++
    |(?P<comment>//[^{LINE_ENDS}]*+|/\*(?s:.*?)\*/)
    |(?P<string>'(?>(?:[^'\\\n\r]++|\\(?:\r\n|(?s:.)))*)'|"(?>(?:[^"\\\n\r]++|\\(?:\r\n|(?s:.)))*)")
    |(?P<word>[\w$\\#]++)
    |(?P<open>[({{\[])
    |(?P<close>[)}}\]])
    |(?P<template>`)
    |(?P<slash>/(?!\*))
    |(?P<unended>['"]|/\*)
    |(?P<other>(?s:.))""",
    re.VERBOSE,
)
_TRIVIA = re.compile(rf"(?>{TRIVIA}*)")
_TEMPLATE_TEXT = re.compile(r"(?>(?:[^`\\$]++|\\(?s:.)|\$(?!\{))*)(?P<end>`|\$\{)?")
_CLASS = rf"\[(?>(?:[^\]\\{LINE_ENDS}]|\\[^{LINE_ENDS}])*)\]"
_REGEX = re.compile(rf"/(?>(?:[^/\\\[{LINE_ENDS}]|\\[^{LINE_ENDS}]|{_CLASS})+)/\w*+")
_LONGEST_REGEX = 200
"""Longer ones hardly matter where brackets are counted, and each beginning of one costs as much."""
_BEFORE_A_REGEX = frozenset(
    {
        "await", "case", "default", "delete", "do", "else", "extends", "in", "instanceof", "new", "of", "return",
        "throw", "typeof", "void", "yield",
    }
)  # fmt: skip

CLOSER = {"(": ")", "[": "]", "{": "}", "${": "}"}


def after_trivia(text: str, start: int) -> int:
    """The next character that is neither white space nor in a comment; the end where there is none."""
    match = _TRIVIA.match(text, start)
    assert match is not None
    return match.end()


class Token(NamedTuple):
    """A token and where it stands. `${` in a template is an `open`; the `}` that answers it a `close`."""

    kind: TokenKind
    text: str
    start: int

    @property
    def end(self) -> int:
        """The character after it."""
        return self.start + len(self.text)


def tokens(text: str, start: int = 0) -> Iterator[Token]:
    """The tokens from an offset on, without white space.

    A template is given in parts: its text as `template`, `${` and `}` as brackets. A string, template or comment that
    does not end is one `unended` token, and the last.
    """
    braces: list[int | None] = []  # for each open `{` None, for each `${` where its template begins
    before: Token | None = None
    at = start
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None
        at = match.end()
        if match.lastgroup is None:
            continue
        found = [_token(text, match, before)]
        template: int | None = None
        if found[0].text == "}" and braces and (template := braces.pop()) is not None:
            found += _template_text(text, at, template)
        elif found[0].kind == "template":
            template = found[0].start
            found = _template_text(text, template, template)
        if found[-1].text in {"{", "${"}:
            braces.append(template)
        yield from found
        if found[-1].kind == "unended":
            return
        at = found[-1].end
        if found[-1].kind != "comment":
            before = found[-1]


def _token(text: str, match: re.Match[str], before: Token | None) -> Token:
    start, group = match.start(), match.lastgroup
    if group == "slash":
        regex = _REGEX.match(text, start, start + _LONGEST_REGEX) if _may_begin_a_regex(text, start, before) else None
        return Token("other", "/", start) if regex is None else Token("regex", regex.group(), start)
    if group == "unended":
        return Token("unended", text[start:], start)
    return Token(cast(TokenKind, group), match.group(), start)


def _template_text(text: str, start: int, template: int) -> list[Token]:
    """The text of a template from an offset on, and the `${` that follows it."""
    match = _TEMPLATE_TEXT.match(text, start + (start == template))
    assert match is not None
    match match["end"]:
        case "`":
            return [Token("template", text[start : match.end()], start)]
        case "${":
            return [Token("template", text[start : match.end() - 2], start), Token("open", "${", match.end() - 2)]
        case _:
            return [Token("unended", text[template:], template)]


def _may_begin_a_regex(text: str, start: int, before: Token | None) -> bool:
    """Whether a `/` here begins a regular expression rather than divides what stands before it."""
    if before is None:
        return True
    match before.kind:
        case "word":
            return before.text in _BEFORE_A_REGEX
        case "string" | "template" | "regex":
            return False
        case "close":
            return before.text == "}" and "\n" in text[before.end : start]
        case _:
            return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Brackets:
    """What the brackets of a text come to.

    Attributes:
        unclosed: Those still open at the end, outermost first.
        stray: The first that closes nothing, or something else than was opened last; counting ends there.
        unended: A string, template or comment that runs to the end.
    """

    unclosed: tuple[Token, ...] = ()
    stray: Token | None = None
    unended: Token | None = None


def brackets(text: str) -> Brackets:
    """Counts the brackets of a text."""
    opened: list[Token] = []
    for token in tokens(text):
        match token.kind:
            case "open":
                opened.append(token)
            case "close":
                if not opened or CLOSER[opened[-1].text] != token.text:
                    return Brackets(unclosed=tuple(opened), stray=token)
                opened.pop()
            case "unended":
                return Brackets(unclosed=tuple(opened), unended=token)
            case _:
                pass
    return Brackets(unclosed=tuple(opened))


def end_of_bracket(text: str, start: int) -> int | None:
    """Where the bracket that opens at an offset is closed: the offset after its partner; None if it is not."""
    depth = 0
    for token in tokens(text, start):
        if token.kind == "open":
            depth += 1
        elif token.kind == "close":
            depth -= 1
            if depth == 0:
                return token.end
    return None


def is_code(text: str, offset: int) -> bool:
    """Whether a character stands in code, and not in a comment, string, template text or regular expression."""
    for token in tokens(text):
        if token.start <= offset < token.end:
            return token.kind in {"word", "open", "close", "other"}
        if token.start > offset:
            break
    return True
