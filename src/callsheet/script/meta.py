"""The `export const meta = {…}` of a script: found at its head and read, whatever follows it (CONTRACT S01–S03).

A scanner finds where the statement ends, and only that part is parsed, so that nothing in the body can spoil it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

from tree_sitter import Node

from callsheet.model.dataclass import dataclass
from callsheet.model.script import DeclaredPhase, Finding, Meta
from callsheet.model.values import JsonValue
from callsheet.script import grammar, scan
from callsheet.script.source import Source
from callsheet.script.values import Fault, LiteralReader

_FORM = "`export const meta = { name: '…', description: '…' }`"

_HEAD = re.compile(rf"export(?>{scan.TRIVIA}+)const(?>{scan.TRIVIA}+)meta(?![\w$])(?>{scan.TRIVIA}*)")
_TRIED = 5
"""How many places that look like a meta further down are looked at."""
_MAX_FAULTS = 20
_BROKEN_LINE = re.compile(rf"[{scan.LINE_ENDS}]")
_WORD = re.compile(r"[\w$]+")
_CONTINUES = re.compile(r"[(\[`.,?*/%<>=&|^]|[+-](?![+-])|!=|(?:in|instanceof)(?![\w$])")
"""What a new line may begin with to belong to the expression before it: JavaScript puts no `;` before these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaStatement:
    """The meta statement of a script.

    Attributes:
        start, end: Its characters, a `;` at its end with it.
        meta: What it says; None where something in it is refused.
        name: `meta.name` where it could be read.
        findings: What is refused in it.
    """

    start: int
    end: int
    meta: Meta | None
    name: str | None
    findings: tuple[Finding, ...]
    _text: Source
    _bytes: Mapping[str, int]

    def start_of(self, path: str) -> int:
        """The character at which a value begins, down to the second level: `meta.phases[0]`; else the statement's."""
        return self.start + self._text.offset_of_byte(self._bytes.get(path, 0))


def hashbang_end(text: str) -> int:
    """Where a first line `#!…` ends, 0 where there is none (CONTRACT S08)."""
    if not text.startswith("#!"):
        return 0
    ended = _BROKEN_LINE.search(text)
    return ended.start() if ended else len(text)


def read_meta(source: Source, deadline: grammar.Deadline) -> MetaStatement | Finding:
    """Reads the meta statement, or says why there is none where it must stand."""
    text = source.text
    start = scan.after_trivia(text, hashbang_end(text))
    head = _HEAD.match(text, start)
    if head is None:
        return _not_first(source, start)
    at = head.end()
    if text[at : at + 1] == ":":
        return _typescript(source, at, "a type annotation")
    if text[at : at + 1] != "=":
        return source.finding("meta-not-literal", "S02", f"meta must be given a literal object: write {_FORM}", at)
    at = scan.after_trivia(text, at + 1)
    if text[at : at + 1] != "{":
        return source.finding(
            "meta-not-literal", "S02", f"meta must be a literal object, written out where it stands: {_FORM}", at
        )
    end = scan.end_of_bracket(text, at)
    if end is None:
        message = f"the script ends before `{{` of line {source.place(at).line} is closed, with which meta begins"
        return _missing_separator(source, at, len(text)) or source.finding("syntax", "S06", message, at)
    after = scan.after_trivia(text, end)
    if text[after : after + 1] == ";":
        return _read(source, start, after + 1, at, end, deadline)
    statement = _read(source, start, end, at, end, deadline)
    joined = _joined_to_next(source, end, after)
    return statement if joined is None else replace(statement, meta=None, findings=(*statement.findings, joined))


def _joined_to_next(source: Source, end: int, after: int) -> Finding | None:
    """What is wrong where no `;` follows the literal and what comes next does not let one be put in."""
    text = source.text
    if after == len(text):
        return None
    word = _WORD.match(text, after)
    is_new_line = _BROKEN_LINE.search(text, end, after) is not None
    if word and word[0] in {"as", "satisfies"} and not is_new_line:
        return _typescript(source, after, f"`{word[0]}`")
    if text[after] == ",":
        return source.finding("second-export", "S05", "meta must be exported alone: end its statement with `;`", after)
    if _CONTINUES.match(text, after):
        return source.finding(
            "meta-not-literal",
            "S02",
            f"meta must be a literal, and JavaScript takes `{text[after]}` for a part of it: end the meta statement "
            "with `;`",
            after,
        )
    if is_new_line:
        return None
    return source.finding("syntax", "S06", "a `;` or a new line is missing between meta and what follows", after)


def _typescript(source: Source, at: int, what: str) -> Finding:
    return source.finding(
        "typescript", "S05", f"{what} is TypeScript, and a workflow script is plain JavaScript: take it away", at
    )


_FIRST_STATEMENTS: tuple[tuple[str, str, str], ...] = (
    (r"import(?![\w$])", "import", "`import` is not available, and the first statement of a workflow script is {form}. "
     "Everything that a script may use is there without it"),
    (r"export\s+default(?![\w$])", "meta-default-export",
     "`export default` is not what makes a workflow script: its first statement is {form}"),
    (r"export\s+(?:let|var)\s+meta(?![\w$])", "meta-not-const", "meta must be a constant: write {form}"),
    (r"(?:const|let|var)\s+meta(?![\w$])", "meta-not-exported", "meta is not exported: write {form}"),
    (r"(?:module\s*\.\s*)?exports(?![\w$])", "meta-not-exported",
     "`exports` is not available: the first statement of a workflow script is {form}"),
    *((mark, "fence", f"this is a mark of Markdown, and no JavaScript: take the lines with {mark} away, so that "
       "the script begins with {form}") for mark in ("```", "~~~")),
)  # fmt: skip


def _not_first(source: Source, start: int) -> Finding:
    """Why the first statement is not the meta statement."""
    text = source.text
    for pattern, code, message in _FIRST_STATEMENTS:
        if re.compile(pattern).match(text, start):
            contract = "S05" if code == "import" else "S01"
            return source.finding(code, contract, message.format(form=_FORM), start)
    if start == len(text):
        last = max(start - 1, 0)
        return source.finding("meta-missing", "S01", f"the script has no meta: its first statement is {_FORM}", last)
    for later in islice(re.finditer(r"^[ \t]*(export\s+const\s+meta)(?![\w$])", text, re.MULTILINE), _TRIED):
        if scan.is_code(text, later.start(1)):
            line = source.place(later.start(1)).line
            return source.finding(
                "meta-not-first",
                "S01",
                f"meta must be the first statement: move `export const meta` from line {line} above this line. "
                "Only comments may stand before it",
                start,
            )
    return source.finding("meta-missing", "S01", f"the script has no meta: its first statement must be {_FORM}", start)


def _read(
    source: Source, start: int, end: int, literal_start: int, literal_end: int, deadline: grammar.Deadline
) -> MetaStatement:
    statement = Source(text=source.text[start:literal_end])
    literal = _literal(statement, literal_start - start, deadline)
    value: JsonValue = None
    starts: Mapping[str, int] = {}
    if literal is None:
        message = "meta is not valid JavaScript: look for a missing `,`, quote or bracket in it"
        findings = [source.finding("syntax", "S06", message, literal_start)]
    else:
        reader = LiteralReader()
        value, starts = reader.read(literal, "meta"), reader.starts
        findings = [
            _finding(source, fault, start + statement.offset_of_byte(fault.node.start_byte))
            for fault in reader.faults[:_MAX_FAULTS]
        ]
        if not findings and literal.has_error:
            at = start + statement.offset_of_byte(next(grammar.faults(literal)).start_byte)
            findings = [source.finding("syntax", "S06", "meta is not valid JavaScript here", at)]
    if any(finding.code == "syntax" for finding in findings):
        missing = _missing_separator(source, literal_start, literal_end)
        findings = [missing] if missing is not None else findings
    meta = None
    if isinstance(value, dict) and not findings:
        findings = _shape(source, value, literal_start)
        meta = None if findings else _meta(value)
    name = value.get("name") if isinstance(value, dict) else None
    return MetaStatement(
        start=start,
        end=end,
        meta=meta,
        name=name if isinstance(name, str) and name.strip() else None,
        findings=tuple(findings),
        _text=statement,
        _bytes=starts,
    )


def _literal(statement: Source, offset: int, deadline: grammar.Deadline) -> Node | None:
    """The object literal that begins at an offset of the statement; None where the grammar finds none there."""
    tree = grammar.parse(statement.text.encode(), deadline)
    if tree is None:
        return None
    first = statement.byte_of_offset(offset)
    node = tree.root_node.descendant_for_byte_range(first, len(statement.text.encode()))
    return node if node is not None and node.type == "object" else None


def _missing_separator(source: Source, start: int, end: int) -> Finding | None:
    """Where two values stand side by side in a literal: what is wrong most often, and what a tree places badly."""
    before: scan.Token | None = None
    for token in scan.tokens(source.text[:end], start):
        if token.kind == "comment":
            continue
        begins = token.kind in {"string", "word", "template"} or token.text in {"{", "["}
        if before is not None and begins and before.kind in {"string", "word", "template", "close"}:
            if before.kind == "string" and before.end == token.start:
                message = f"the string before this has ended: write `\\{before.text[-1]}` for a {before.text[-1]} in it"
            else:
                message = f"a `,` or a `:` is missing in meta before `{token.text[:40]}`"
            return source.finding("syntax", "S06", message, token.start)
        before = token
    return None


def _finding(source: Source, fault: Fault, at: int) -> Finding:
    if fault.code == "syntax":
        return source.finding("syntax", "S06", f"{fault.path} is not valid JavaScript: {fault.message}", at)
    if fault.code == "key":
        return source.finding("meta-key", "S02", f"{fault.path}: {fault.message}; take another name", at)
    return source.finding(
        "meta-not-literal",
        "S02",
        f"{fault.path} must be a literal, since meta is read without running the script: {fault.message}. "
        "Write the value itself",
        at,
    )


def _shape(source: Source, value: dict[str, JsonValue], at: int) -> list[Finding]:
    """What of CONTRACT S03 the value does not hold."""
    findings = []
    for key, purpose in (("name", "the command that people type"), ("description", "one sentence for lists and menus")):
        given = value.get(key)
        if isinstance(given, str) and given.strip():
            continue
        wrong = "is missing" if key not in value else "is empty" if isinstance(given, str) else "is not a string"
        findings.append(
            source.finding(f"meta-{key}", "S03", f"meta.{key} {wrong}: it must be a non-empty string, {purpose}", at)
        )
    return findings


def _meta(value: dict[str, JsonValue]) -> Meta:
    name, description, when = value["name"], value["description"], value.get("whenToUse")
    assert isinstance(name, str) and isinstance(description, str)
    phases = value.get("phases")
    return Meta(
        name=name,
        description=description,
        when_to_use=when if isinstance(when, str) else None,
        phases=tuple(phase for entry in phases if (phase := _phase(entry))) if isinstance(phases, list) else (),
        value=value,
    )


def _phase(entry: JsonValue) -> DeclaredPhase | None:
    """One declared phase. What is not of the form is left out here, and the checker says so."""
    match entry:
        case str() if entry:
            return DeclaredPhase(title=entry)
        case {"title": str() as title, **rest} if title:
            detail, model = rest.get("detail"), rest.get("model")
            return DeclaredPhase(
                title=title,
                detail=detail if isinstance(detail, str) else None,
                model=model if isinstance(model, str) else None,
            )
        case _:
            return None
