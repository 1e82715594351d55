"""A script under another name: `meta.name` is replaced where it stands, and nothing else."""

from __future__ import annotations

import json

from callsheet.script import grammar, scan
from callsheet.script.meta import MetaStatement, read_meta
from callsheet.script.source import Source


def renamed(text: str, name: str) -> str:
    """The text of a script with another `meta.name`.

    Args:
        text: A script that `read_script` takes.
        name: Its new name.

    Raises:
        ValueError: The text has no `meta.name` that could be replaced.
    """
    statement = read_meta(Source(text=text), grammar.Deadline())
    if not isinstance(statement, MetaStatement) or statement.name is None:
        raise ValueError("no meta.name")
    if statement.name == name:
        return text
    start = statement.start_of("meta.name")
    token = next(scan.tokens(text, start), None)
    if token is None or token.kind not in ("string", "template") or token.start != start:
        raise ValueError("no meta.name")
    return text[:start] + _literal(name, token.text[0]) + text[token.end :]


def _literal(name: str, quote: str) -> str:
    """The name as a string literal, in the quotes that were there where they serve."""
    if quote in name or quote == "`" or not name.isprintable() or "\\" in name:
        return json.dumps(name)
    return f"{quote}{name}{quote}"
