"""Rules of a workspace, for a run whose agents work in a copy of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from callsheet.permissions.globs import Globs
from callsheet.permissions.rules import Effect, Rule
from callsheet.permissions.sources import PermissionSettings


def moved_settings(settings: PermissionSettings, *, root: Path, copy: Path) -> PermissionSettings:
    """The same settings, with what rules say of paths in the workspace said of the copy.

    What restricts goes on to hold for the workspace too; what allows does not: the copy is there to leave it alone.

    Args:
        settings: As they hold in the workspace.
        root: The workspace, without links.
        copy: Where its files lie for this run, without links.
    """
    rules = tuple(new for rule in settings.rules for new in _moved(rule, root, copy))
    return replace(settings, rules=rules)


def _moved(rule: Rule, root: Path, copy: Path) -> Iterator[Rule]:
    if rule.pattern is None or rule.base is None:
        yield rule
        return
    base = Path(os.path.realpath(rule.base))
    if base.is_relative_to(root):
        new = [replace(rule, base=copy / base.relative_to(root))]
    elif root.is_relative_to(base):
        rests = _below(_parts(rule.pattern), root.relative_to(base).parts)
        new = [_with_pattern(rule, copy, "/" + ("/".join(rest) or "**")) for rest in rests]
    else:
        new = []
    if not new or rule.effect is not Effect.ALLOW:
        yield rule
    yield from new


def _parts(pattern: str) -> tuple[str, ...]:
    # Without a slash inside, or before, a pattern means any depth.
    stripped = pattern.strip("/")
    parts = tuple(stripped.split("/"))
    return parts if pattern.startswith("/") or len(parts) > 1 else ("**", *parts)


def _below(pattern: tuple[str, ...], folders: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """What is left of a pattern below these folders, in every way in which it can lead there."""
    if not folders:
        yield pattern
    elif pattern and pattern[0] == "**":
        yield from _below(pattern[1:], folders)
        yield from _below(pattern, folders[1:])
    elif pattern and fnmatchcase(folders[0], pattern[0]):
        # A pattern that ends on the way means all that lies beneath.
        yield from _below(pattern[1:] or ("**",), folders[1:])


def _with_pattern(rule: Rule, base: Path, pattern: str) -> Rule:
    return replace(rule, base=base, pattern=pattern, globs=(Globs([pattern]), Globs([pattern.casefold()])))
