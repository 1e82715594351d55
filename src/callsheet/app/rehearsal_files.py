"""The files of a workspace that lie in the scopes which calls declare."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from callsheet.model.call import Scope
from callsheet.model.rehearsal import ScopedFiles
from callsheet.permissions.globs import Globs

MOST_FILES = 50_000
_EXAMPLES = 5
_LEFT_OUT = frozenset({".git", ".callsheet"})


def files_in(root: Path, scopes: Mapping[Scope, int]) -> tuple[ScopedFiles, ...]:
    """What lies in each scope; at most fifty thousand files are looked at, links not followed.

    Args:
        root: The workspace.
        scopes: How many calls declare each.
    """
    if not scopes:
        return ()
    globs = {scope: None if (said := _told(scope)) is None else Globs(said) for scope in scopes}
    counts = dict.fromkeys(scopes, 0)
    examples: dict[Scope, list[str]] = {scope: [] for scope in scopes}
    is_cut = False
    for number, file in enumerate(_files(root)):
        if number == MOST_FILES:
            is_cut = True
            break
        for scope, wanted in globs.items():
            if wanted is None or wanted.match(file):
                counts[scope] += 1
                if len(examples[scope]) < _EXAMPLES:
                    examples[scope].append(file)
    return tuple(
        ScopedFiles(
            read=scope.read,
            write=scope.write,
            agents=agents,
            files=counts[scope],
            examples=tuple(examples[scope]),
            is_cut=is_cut,
        )
        for scope, agents in scopes.items()
    )


def _told(scope: Scope) -> tuple[str, ...] | None:
    return scope.write if scope.write is not None else scope.read


def _files(root: Path) -> Iterator[str]:
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if name not in _LEFT_OUT)
        relative = os.path.relpath(folder, root)
        for name in sorted(files):
            yield name if relative == "." else f"{relative}/{name}"
