"""The engine's refusal of a script in words for people (CONTRACT S06)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from callsheet.model.sandbox import SyntaxFault
from callsheet.model.script import Finding, Script
from callsheet.script import grammar, scan
from callsheet.script.source import Source
from callsheet.script.typescript import typescript_finding

_MISSING_BEFORE = "a comma, an operator or a `;` may be missing before it"

_WORDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"unexpected token in expression: '(.*)'", "`{0}` is not expected here, where a value should stand"),
        (r"Unexpected token '(.*)'", "`{0}` is not expected here"),
        (r"Unexpected identifier '(.*)'", f"`{{0}}` is not expected here: {_MISSING_BEFORE}"),
        (r"Unexpected (number|string template|string|regexp)", f"a {{0}} is not expected here: {_MISSING_BEFORE}"),
        (r"expecting ';'", f"the statement should have ended before this: {_MISSING_BEFORE}"),
        (r"expecting '(.*)'", "`{0}` is missing here"),
        (r"unexpected end of string", "a string or template begins here and does not end"),
        (r"unexpected end of comment", "a comment begins here and does not end: `*/` is missing"),
        (r"unexpected line terminator in regexp", "a regular expression begins here and does not end on its line"),
        (r"unexpected character", "this character means nothing in JavaScript"),
        (r"invalid number literal", "this is no number"),
        (r"missing initializer for variable", "this declaration needs a value: `= …`"),
        (r"invalid redefinition of .*", "this name is declared already: take another, or assign without `let`"),
        (r"variable name expected", "the name of a variable should stand here"),
        (r"function name expected", "the name of the function should stand here"),
        (r"missing formal parameter", "the name of a parameter should stand here"),
        (r"invalid property name", "the name of a property should stand here"),
        (r"expecting catch or finally", "`try { … }` needs a `catch` or a `finally`"),
        (r"invalid switch statement", "a `switch` holds only `case …:` and `default:`"),
        (r"unsupported keyword: (\w+)", "`{0}` cannot be used in a workflow script"),
        (r"unexpected 'await' keyword|'await' is a reserved identifier",
         "`await` stands in a function that is not async: write `async` before it, `async x => …`, and await what it "
         "then gives (of a list: `await Promise.all(…)`, or `pipeline` and `parallel`)"),
        (r"unexpected '(\w+)' keyword|'(\w+)' is a reserved identifier", "`{0}` is a reserved word and no name"),
        (r"invalid keyword: with", "`with` does not exist in strict mode"),
        (r"Octal literals are not allowed.*", "a number must not begin with 0: octal ones are written `0o…`"),
        (r"Octal escape sequences are not allowed.*", "octal escapes do not exist in strict mode: write `\\x…`"),
        (r"Invalid (\w+) escape sequence", "this {0} escape is not complete"),
        (r"break must be inside loop or switch", "`break` stands outside of any loop and `switch`"),
        (r"continue must be inside loop", "`continue` stands outside of any loop"),
        (r"break/continue label not found", "no loop around this has the label"),
        (
            r"invalid (?:assignment left-hand side|lvalue in strict mode|increment/decrement operand)",
            "nothing can be assigned to this",
        ),
        (r"line terminator not allowed after throw", "`throw` and its value must stand on one line"),
        (r"cannot delete a direct reference.*", "`delete` takes properties away, not variables"),
        (r"Duplicate parameter name.*", "two parameters have the same name"),
        (r"cannot mix \?\? with && or \|\|", "put parentheses where `??` meets `&&` or `||`"),
        (r"unparenthesized unary expression.*", "put parentheses around the left side of `**`"),
        (r"unexpected '\}': it closes the script, and more follows",
         "this `}` closes the script itself, and more follows: it is one too many, or a `{` is missing above"),
    )
)  # fmt: skip
"""What quickjs-ng says, and what is meant. What is not here is shown as the engine says it."""

_ENDS_EARLY = re.compile(r"the script ends too early \((.*)\)", re.DOTALL)
"""How the sandbox says that the engine stopped after the script's last character."""
_WANTS_MORE = re.compile(r"[Uu]nexpected|[Ee]xpect|.* expected")
_POINTS_AFTER = re.compile(r"invalid redefinition|missing initializer|(?:break|continue) must|cannot delete")
"""What the engine says at the token after the one that it means."""
_LAST_WORD = re.compile(r"([\w$]+)\s*\Z")
_OVERFLOW = "Maximum call stack size exceeded"
_ENDED_STRING = re.compile(r"['\"`]\w")
_NEAR = 200
_QUOTED = 60


def syntax_finding(script: Script, fault: SyntaxFault) -> Finding:
    """What the engine refused, where, and with its line.

    A script that ends too early is said to, naming the bracket, string, template or comment that is open; and
    TypeScript is named, where it is surely the reason.
    """
    source = Source(text=script.text)
    end = len(script.body.rstrip())
    early = _ENDS_EARLY.fullmatch(fault.message)
    message = early[1] if early else fault.message
    offset = end if fault.place is None else min(source.offset(fault.place), end)
    counted = scan.brackets(script.body)
    if (opened := _opened_there(source, counted, message, offset, end)) is not None:
        return opened
    if fault.place is None:
        is_deep = message.endswith(_OVERFLOW)
        where = "brackets or operators that are nested too deeply" if is_deep else "its regular expressions"
        words = f"the engine refuses the script and does not say where ({message}): look for {where}"
        return Finding(severity="error", code="syntax", contract="S06", message=words)
    if offset < end and (typescript := _typescript(Source(text=script.body), offset)) is not None:
        return typescript
    if _ENDED_STRING.search(script.body, max(offset - 1, 0), offset + 1):
        quote = script.body[offset - 1]
        words = f"the string before this has ended: write `\\{quote}` for a {quote} in it, or use backticks around it"
        if quote == "`":
            words = "the template before this has ended: write `\\`` for a backtick in it"
        return _finding(source, words, offset)
    if _POINTS_AFTER.match(message) and (word := _LAST_WORD.search(script.body, max(offset - _NEAR, 0), offset)):
        return _finding(source, _in_words(message).replace("this name", f"`{word[1]}`"), word.start())
    if offset == end and _WANTS_MORE.match(message):
        return _finding(source, f"the script ends too early: {_in_words(message)}", offset)
    return _finding(source, _in_words(message) + _open_before(source, counted, offset), offset)


def _opened_there(source: Source, counted: scan.Brackets, message: str, offset: int, end: int) -> Finding | None:
    """What the brackets say of the place where the engine stopped; None where they have no part in it."""
    unended, stray = counted.unended, counted.stray
    if unended is not None:
        is_it = offset == end or (message.startswith("unexpected end of") and unended.start <= offset)
        return _unended(source, unended) if is_it else None
    if stray is not None:
        # The engine takes what a stray bracket closes for the end, and stops there, at the next token, or at the end.
        is_it = stray.start <= offset <= scan.after_trivia(source.text, stray.end)
        is_it = is_it or (offset == end and not counted.unclosed)
        return _stray(source, stray, counted.unclosed) if is_it else None
    if offset == end and counted.unclosed and _WANTS_MORE.match(message):
        opened, line = _opened(source, counted.unclosed[-1])
        return _finding(source, f"the script ends before {opened} is closed: `{line}`", end)
    return None


def _open_before(source: Source, counted: scan.Brackets, offset: int) -> str:
    """What was opened before a place and is never closed, in words to be added; empty where all is closed."""
    opened = [token for token in counted.unclosed if token.start < offset]
    if not opened or counted.stray is not None or counted.unended is not None:
        return ""
    where, line = _opened(source, opened[-1])
    return f"; {where} is not closed: `{line}`"


def _finding(source: Source, message: str, offset: int) -> Finding:
    return source.finding("syntax", "S06", message, offset)


def _in_words(message: str) -> str:
    for pattern, words in _WORDS:
        if match := pattern.fullmatch(message):
            said = next((group for group in match.groups() if group is not None), "")
            return words.replace("{0}", said)
    return message


def _opened(source: Source, token: scan.Token) -> tuple[str, str]:
    """Where a bracket was opened, in words, and what its line says."""
    place = source.place(token.start)
    line = source.line(place.line).strip()
    shown = line if len(line) <= _QUOTED else f"{line[: _QUOTED - 1]}…"
    return f"`{token.text}` of line {place.line}", shown


def _stray(source: Source, stray: scan.Token, unclosed: Sequence[scan.Token]) -> Finding:
    if not unclosed:
        message = f"this `{stray.text}` closes nothing: it is one too many, or its partner is missing above"
    else:
        closer = scan.CLOSER[unclosed[-1].text]
        opened, line = _opened(source, unclosed[-1])
        message = f"`{closer}` is missing before this `{stray.text}`: {opened} is not closed: `{line}`"
    return _finding(source, message, stray.start)


def _unended(source: Source, token: scan.Token) -> Finding:
    match token.text[0]:
        case "'" | '"':
            return _finding(source, "a string begins here and does not end on its line", token.start)
        case "/":
            what, closer = "comment", "`*/`"
        case _:
            what, closer = "template", "a backtick"
    line = source.place(token.start).line
    return _finding(
        source, f"the script ends before the {what} that begins in line {line} is closed with {closer}", token.start
    )


def _typescript(body: Source, offset: int) -> Finding | None:
    tree = grammar.javascript_tree(body.text)
    return typescript_finding(body, tree.root_node, grammar.Deadline(), near=offset) if tree is not None else None
