"""Globs in the manner of `.gitignore`, for scopes (CONTRACT A14).

A script writes them, so matching takes time in proportion to pattern and path: the usual translation into one regular
expression lets `*a*a*a*a*a*b` stop the host for hours.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable

from callsheet.model.dataclass import dataclass

_ANY = "**"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Glob:
    """One pattern, taken apart.

    Attributes:
        parts: One for each folder level; None is `**`, any number of levels.
        is_beneath: It means what lies in what it names, not that itself (`src/`, `src/**`).
    """

    parts: tuple[re.Pattern[str] | None, ...]
    is_beneath: bool
    is_exception: bool

    def states(self, path: Iterable[str]) -> tuple[frozenset[int], bool]:
        """How far into the pattern a path leads: the parts that may come next, and whether it is matched on the way."""
        end = len(self.parts)
        now = self._with_skipped({0})
        is_in = False
        for name in path:
            if end in now:
                return now, True  # what lies in a matched folder is matched
            after: set[int] = set()
            for state in now:
                part = self.parts[state]
                if part is None:
                    after.add(state)
                elif part.match(name):
                    after.add(state + 1)
            now = self._with_skipped(after)
            is_in = end in now and not self.is_beneath
        return now, is_in

    def _with_skipped(self, states: set[int]) -> frozenset[int]:
        """States, and those behind a `**` that stands for no level."""
        found = set(states)
        for state in sorted(states):
            while state < len(self.parts) and self.parts[state] is None:
                state += 1
                found.add(state)
        return frozenset(found)


class Globs:
    """Some globs; the last that matches a path decides, `!` in front of one takes out.

    A pattern with a slash before its end counts from the root, one without matches in every folder. What names a folder
    means all in it.

    Args:
        patterns: The globs, relative to the root of the workspace. An empty one means nothing.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._globs = [_parse(pattern) for pattern in patterns if pattern.strip("! ")]

    def match(self, relative: str) -> bool:
        """Whether a path, relative to the root, is meant."""
        is_in = False
        for glob in self._globs:
            if glob.is_exception == is_in and glob.states(_names(relative))[1]:
                is_in = not glob.is_exception
        return is_in

    def reach(self, folder: str) -> bool:
        """Whether a folder, relative to the root, is meant or may hold something that is."""
        return any(glob.states(_names(folder))[0] for glob in self._globs if not glob.is_exception)


def _names(relative: str) -> list[str]:
    return [] if relative == "." else relative.split("/")


def _parse(pattern: str) -> _Glob:
    is_exception = pattern.startswith("!")
    text = pattern.removeprefix("!")
    is_from_root = "/" in text.rstrip("/")
    names = [name for name in text.split("/") if name not in ("", ".")]
    is_beneath = text.endswith("/") or not names
    if is_beneath and names[-1:] == [_ANY]:
        names.append("*")  # `src/**/`: what lies in the folders of src
    while names and names[-1] == _ANY:
        names.pop()
        is_beneath = True
    if names and not is_from_root:
        names.insert(0, _ANY)
    parts = tuple(None if name == _ANY else re.compile(fnmatch.translate(name)) for name in names)
    return _Glob(parts=parts, is_beneath=is_beneath, is_exception=is_exception)
