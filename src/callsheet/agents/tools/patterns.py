"""Glob patterns over relative paths: `*` within a folder, `**` across folders, `{a,b}` alternatives."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

MAX_ALTERNATIVES = 256

_Segment: TypeAlias = re.Pattern[str] | None
"""What one path segment must match; None is `**`, any number of segments."""


class PatternError(ValueError):
    """A pattern that cannot be used; says why."""


def compile_glob(pattern: str) -> Callable[[str], bool]:
    """A test for relative paths with `/` between segments.

    Time is bounded by the product of the lengths, whatever the pattern: no backtracking over several wildcards.

    Raises:
        PatternError: It is absolute, climbs out, or has too many alternatives.
    """
    if pattern.startswith("/"):
        raise PatternError("the pattern must be relative; give the folder as `path`")
    alternatives = [_segments(alternative) for alternative in _expand_braces(pattern)]

    def matches(path: str) -> bool:
        parts = path.split("/")
        return any(_match(segments, parts) for segments in alternatives)

    return matches


def literal_prefix(pattern: str) -> str:
    """The leading folders of a pattern that hold no wildcard: where a search for it can begin."""
    folders = pattern.split("/")[:-1]
    literal = []
    for folder in folders:
        if re.search(r"[*?\[{]", folder):
            break
        literal.append(folder)
    return "/".join(literal)


def _segments(pattern: str) -> list[_Segment]:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise PatternError("`..` is not permitted in the pattern; give the folder as `path`")
    return [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]


def _match(pattern: Sequence[_Segment], parts: Sequence[str]) -> bool:
    """Wildcard matching over segments: on a mismatch only the last `**` takes one more."""
    p = s = 0
    star = resume = -1
    while s < len(parts):
        wanted = pattern[p] if p < len(pattern) else None
        if p < len(pattern) and wanted is None:
            star, resume = p, s
            p += 1
        elif wanted is not None and wanted.match(parts[s]):
            p += 1
            s += 1
        elif star >= 0:
            resume += 1
            p, s = star + 1, resume
        else:
            return False
    return all(segment is None for segment in pattern[p:])


def _expand_braces(pattern: str) -> list[str]:
    """Every pattern without braces that `pattern` stands for."""
    done: list[str] = []
    todo = [pattern]
    while todo:
        current = todo.pop()
        found = re.search(r"\{([^{}]*,[^{}]*)\}", current)
        if found is None:
            done.append(current)
        else:
            todo += [current[: found.start()] + part + current[found.end() :] for part in found[1].split(",")]
        if len(done) + len(todo) > MAX_ALTERNATIVES:
            raise PatternError("the pattern has too many alternatives in braces")
    return done
