"""The use case: a repository gets what people need who write workflows in it (FORMATS 6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from callsheet.app import places
from callsheet.app.settings import WORKSPACE_FILES
from callsheet.app.shelving import FOLDER
from callsheet.errors import UsageError
from callsheet.model.dataclass import dataclass

TYPES = f"{FOLDER}/workflow.d.ts"
EDITOR = f"{FOLDER}/jsconfig.json"
SETTINGS = WORKSPACE_FILES[0]

State = Literal["made", "there", "updated", "kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A file that was looked after.

    Attributes:
        state: `made`; `there` just so already; `updated` where it was another version's; `kept` where somebody has
            written something else there.
    """

    path: Path
    state: State


def prepare(
    *, start: Path, environ: Mapping[str, str], workspace: Path | None = None, is_forced: bool = False
) -> tuple[Prepared, ...]:
    """Makes the folder for workflows, with types for editors, and a settings file with nothing set.

    Nothing of a person's is replaced: a settings file is never touched, and editor files only when `is_forced`, but for
    the types, which are Callsheet's own and follow its version.

    Args:
        start: The caller's folder.
        environ: The caller's.
        workspace: Its root; None for the one around `start`.
        is_forced: Replace an editor file that somebody changed.

    Raises:
        UsageError: No such workspace, a link on the way, or the folder cannot be written.
    """
    root = places.workspace(start, workspace).root
    return tuple(_prepared(root, is_forced=is_forced))


def dialect_types() -> str:
    """What a script can use, as TypeScript declarations."""
    from callsheet.sandbox.process import runtime_folder

    return (runtime_folder() / "workflow.d.ts").read_text(encoding="utf-8")


def _prepared(root: Path, *, is_forced: bool) -> Iterator[Prepared]:
    from callsheet.library.templates import template

    yield _put(root, TYPES, dialect_types(), replaces="updated")
    yield _put(root, EDITOR, template("jsconfig.json"), replaces="updated" if is_forced else None)
    yield _put(root, SETTINGS, template("settings.toml"), replaces=None)


def _put(root: Path, relative: str, text: str, *, replaces: State | None) -> Prepared:
    from callsheet.workspace.errors import WorkspacePathError
    from callsheet.workspace.files import read_bytes_beneath, write_bytes_beneath, write_new_beneath

    content, path = text.encode(), root / relative
    try:
        try:
            write_new_beneath(root, relative, content)
        except FileExistsError:
            if read_bytes_beneath(root, relative) == content:
                return Prepared(path=path, state="there")
            if replaces is None:
                return Prepared(path=path, state="kept")
            write_bytes_beneath(root, relative, content)
            return Prepared(path=path, state=replaces)
    except WorkspacePathError as fault:
        raise UsageError(f"{root} could not be prepared: {fault}") from None
    return Prepared(path=path, state="made")
