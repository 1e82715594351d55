"""The use cases: what can be run by name here, and one workflow of it whole (FORMATS 6)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app import compose, places
from callsheet.library.workflows import Listed
from callsheet.model.dataclass import dataclass
from callsheet.model.script import Script
from callsheet.model.values import JsonValue

if TYPE_CHECKING:
    from callsheet.library.library import Library


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The workflows that can be run by name from a folder.

    Attributes:
        root: The workspace.
        workflows: Nearest first; those that are shadowed or cannot be run say so.
        folders: Where they were looked for, as people write it.
    """

    root: Path
    workflows: tuple[Listed, ...]
    folders: tuple[str, ...]

    @property
    def public(self) -> JsonValue:
        """As `callsheet list --json` prints it."""
        return {"workflows": [public_of(listed) for listed in self.workflows], "folders": list(self.folders)}


def public_of(listed: Listed) -> dict[str, JsonValue]:
    """A workflow of a list as JSON."""
    return {
        "name": listed.name,
        "description": listed.description,
        "when_to_use": listed.when_to_use,
        "source": listed.source,
        "path": listed.path,
        "by_file": listed.by_file,
        "shadowed_by": listed.shadowed_by,
        "problem": listed.problem,
    }


def workflows_here(*, start: Path, home: Path, environ: Mapping[str, str], workspace: Path | None = None) -> Shelf:
    """Every workflow that can be named here. Files that have not changed since the last list are not parsed again.

    Args:
        start: The caller's folder; nearer workflows win.
        home: The user's home folder.
        environ: For `CLAUDE_CONFIG_DIR` and `XDG_CACHE_HOME`.
        workspace: Its root; None for the one around `start`.

    Raises:
        UsageError: There is no such workspace.
    """
    from callsheet.library.catalogue import catalogue_path, read_catalogue, write_catalogue

    root = places.workspace(start, workspace).root
    catalogue = catalogue_path(environ, home)
    known = read_catalogue(catalogue)
    before = set(known)
    library = compose.library(root, start=start, home=home, environ=environ, known=known)
    found = library.workflows()
    if known.keys() != before:
        write_catalogue(catalogue, known)
    return Shelf(root=root, workflows=found, folders=library.workflow_folders())


def workflow_file(
    name: str, *, start: Path, home: Path, environ: Mapping[str, str], workspace: Path | None = None
) -> str:
    """The file of a workflow, whether it can be run or not; relative to `start` where it lies in the workspace.

    Raises:
        NotFoundError: There is none; names those that look alike.
        UsageError: There is no such workspace.
    """
    root = places.workspace(start, workspace).root
    library: Library = compose.library(root, start=start, home=home, environ=environ)
    path = library.named(name).path
    return as_written(path, start=start, root=root)


def as_written(path: str, *, start: Path, root: Path) -> str:
    """A file's path as people would write it: one of the workspace from where they stand, others whole."""
    return os.path.relpath(path, start) if Path(path).is_relative_to(root) else path


def workflow_named(
    name: str, *, start: Path, home: Path, environ: Mapping[str, str], workspace: Path | None = None
) -> tuple[Script, Listed]:
    """A workflow by its name, as `callsheet run NAME` would take it.

    Raises:
        NotFoundError: There is none; names those that look alike.
        ScriptRefusedError: It cannot be run.
        UsageError: There is no such workspace.
    """
    root = places.workspace(start, workspace).root
    library: Library = compose.library(root, start=start, home=home, environ=environ)
    script = library.workflow(name)
    listed = next(each for each in library.workflows() if each.path == script.path)
    return script, listed
