"""Bytes of a script file become a Script, or a refusal with places. Nothing of the script is run (CONTRACT S)."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePath

from callsheet.errors import ScriptRefusedError
from callsheet.model.script import Finding, Script
from callsheet.script import grammar
from callsheet.script.meta import MetaStatement, hashbang_end, read_meta
from callsheet.script.refused import refused_uses
from callsheet.script.source import Source, decode, position

WORKFLOW_SUFFIXES = (".js", ".mjs")

_NOT_A_LINE_END = re.compile("[^\n\r\u2028\u2029]")


def is_workflow_file(path: PurePath | str) -> bool:
    """Whether a path names a workflow file: `.js` or `.mjs` (CONTRACT S09)."""
    return PurePath(path).suffix in WORKFLOW_SUFFIXES


def read_script(data: bytes, *, origin: str, path: str | None) -> Script:
    """Reads a script: its text, its meta, and what stands in it that must not (CONTRACT S01–S03, S05, S08).

    Whether the body is JavaScript is not judged here: the engine's compile does that (S06).

    Args:
        data: The file's bytes.
        origin: The path or name as the caller gave it.
        path: The file's absolute path, None where the text did not come from a file.

    Raises:
        ScriptRefusedError: With all that is wrong, and the workflow's name where it could be read.
    """
    source = decode(data)
    deadline = grammar.Deadline()
    statement = read_meta(source, deadline)
    found = isinstance(statement, MetaStatement)
    body = blanked(source.text, 0, hashbang_end(source.text))
    if isinstance(statement, MetaStatement):
        body = blanked(body, statement.start, statement.end)
        meta, name, findings = statement.meta, statement.name, list(statement.findings)
    else:
        meta, name, findings = None, None, [statement]
    findings = _in_order(findings + refused_uses(Source(text=body), deadline, has_meta=found))
    if meta is None or findings:
        raise ScriptRefusedError(tuple(findings), workflow=name)
    return Script(
        origin=origin,
        path=path,
        text=source.text,
        body=body,
        meta=meta,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def blanked(text: str, start: int, end: int) -> str:
    """The text with a part of it made spaces, line ends kept, so that all positions stay."""
    return text[:start] + _NOT_A_LINE_END.sub(" ", text[start:end]) + text[end:]


def _in_order(findings: list[Finding]) -> list[Finding]:
    """By place; of one code at one place the first."""
    kept: dict[tuple[int, int, str], Finding] = {}
    for finding in findings:
        kept.setdefault((*position(finding), finding.code), finding)
    return sorted(kept.values(), key=position)
