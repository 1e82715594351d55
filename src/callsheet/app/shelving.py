"""The use cases: a workflow is put where it can be run by name: one that was run, or a new one (FORMATS 6)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app import compose, places
from callsheet.app.source import is_path
from callsheet.errors import NotFoundError, ScriptRefusedError, UsageError
from callsheet.model.dataclass import dataclass
from callsheet.model.script import Script

if TYPE_CHECKING:
    from callsheet.app.records import Listed as ListedRun
    from callsheet.app.records import Runs

FOLDER = ".claude/workflows"
MAX_NAME_CHARS = 100
_UNFIT = re.compile(r"[^\w.-]+")
_MAX_STEM_CHARS = 80
_RAN = ("once", "run", "unasked")
"""What was decided about a nested script that has run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelved:
    """A workflow that can now be run by name.

    Attributes:
        path: Its file.
        is_new: False where the file was there with just this content.
        notes: What is to be known about its name: what shadows it, and what it shadows.
    """

    name: str
    path: Path
    is_new: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where workflows are put from: the caller's folder and the user's.

    Attributes:
        is_user: The user's own folder is meant, not the workspace's.
        is_forced: A file that is there is replaced.
    """

    start: Path
    home: Path
    environ: Mapping[str, str]
    workspace: Path | None = None
    is_user: bool = False
    is_forced: bool = False

    @property
    def place(self) -> tuple[Path, str]:
        """The folder for workflows: one taken as it is, and the way beneath it, on which no link is followed."""
        if not self.is_user:
            return places.workspace(self.start, self.workspace).root, FOLDER
        named = self.environ.get("CLAUDE_CONFIG_DIR")
        if named:
            return Path(os.path.realpath(named)), "workflows"
        return Path(os.path.realpath(self.home)), FOLDER


def saved(runs: Runs, run: ListedRun, target: Target, *, name: str | None = None) -> Shelved:
    """Puts the script of a recorded run where it can be run by name; of one that did a task, the last it has written.

    Args:
        runs: The runs of a record.
        run: The run.
        target: Where it is put.
        name: Its name; None for the name that it has.

    Raises:
        NotFoundError: The run is gone, or its script has been pruned.
        UsageError: A name that is none, another file in its place, a link on the way, or a folder that cannot be
            written.
    """
    row = runs.record.run(run.run_id)
    text = "" if row is None else row.run.script_text
    if not text:
        raise NotFoundError(
            f"the record has no script of {run.run_id} any more: it was pruned. Save it from the file it came from.",
            name=run.run_id,
        )
    if row is not None and json.loads(row.run.settings).get("drafts") is True:
        text = _last_written(runs, run.run_id)
    if name is not None:
        text = _renamed(text, checked_name(name))
    return _shelved(text, target, what=run.run_id)


def _last_written(runs: Runs, run_id: str) -> str:
    """The last script that a run was handed as text, and has run.

    Raises:
        NotFoundError: It has run none.
    """
    rows = sorted(runs.record.rows("nested_scripts", run_id), key=lambda row: (row["attempt"], row["n"]))
    texts = {(row["attempt"], row["n"]): row["script_text"] for row in rows}
    for row in reversed(rows):
        text = texts.get((row["attempt"], row["n"] if row["same_as"] is None else row["same_as"]))
        if row["script_path"] is None and row["decision"] in _RAN and isinstance(text, str):
            return text
    raise NotFoundError(
        f"{run_id} has run no script that was written for it: there is nothing to save. Saved workflows that it ran "
        "have their names already.",
        name=run_id,
    )


def kept(text: str, target: Target, *, name: str | None = None, what: str) -> Shelved:
    """Puts a script that is in no file yet where it can be run by name.

    Args:
        text: The script.
        target: Where it is put.
        name: Its name; None for the name that it has.
        what: How it is called where it cannot be.

    Raises:
        UsageError: As `saved`.
    """
    return _shelved(text if name is None else _renamed(text, checked_name(name)), target, what=what)


def begun(name: str, target: Target) -> Shelved:
    """Makes a workflow to begin from: commented, and without findings.

    Raises:
        UsageError: As `saved`.
    """
    from callsheet.library.templates import template

    own = checked_name(name)
    return _shelved(_renamed(template("workflow.js"), own).replace("new-workflow", own), target, what=own)


def checked_name(name: str) -> str:
    """The name, if a workflow can have it.

    Raises:
        UsageError: It is empty, too long, or has characters that nobody can type.
    """
    if not name.strip() or name != name.strip() or not name.isprintable():
        raise UsageError(f"{name!r} is no name for a workflow: write words, best joined by hyphens: review-changes.")
    if len(name) > MAX_NAME_CHARS:
        raise UsageError(f"a workflow's name has at most {MAX_NAME_CHARS} characters, and this one {len(name)}.")
    if name.startswith("-") or ":" in name:
        raise UsageError(f"{name!r} is no name for a workflow: it does not begin with -, and has no colon.")
    if is_path(name):
        raise UsageError(f"{name!r} is no name for a workflow: callsheet run takes it for a path. Leave out / and .js.")
    return name


def _renamed(text: str, name: str) -> str:
    from callsheet.script.renaming import renamed

    try:
        return renamed(text, name)
    except ValueError:
        raise UsageError("the script's meta.name cannot be replaced. Save it without --as, then edit it.") from None


def _shelved(text: str, target: Target, *, what: str) -> Shelved:
    script = _read(text, what)
    root, folder = target.place
    relative = f"{folder}/{_stem(script.meta.name)}.js"
    is_new = _written(root, relative, text.encode(), is_forced=target.is_forced)
    path = root / relative
    return Shelved(name=script.meta.name, path=path, is_new=is_new, notes=_notes(script.meta.name, path, target))


def _read(text: str, what: str) -> Script:
    try:
        return compose.script_reader()(text.encode(), origin=what, path=None)
    except ScriptRefusedError as refused:
        raise UsageError(f"the script of {what} could not be run by name: {refused.message}") from None


def _stem(name: str) -> str:
    """A file name for a workflow: what no file system minds."""
    stem = _UNFIT.sub("-", name)[:_MAX_STEM_CHARS].strip("-.")
    return stem or "workflow"


def _written(root: Path, relative: str, content: bytes, *, is_forced: bool) -> bool:
    """Writes a file; False where it was there with this content.

    Raises:
        UsageError: Another is in its place, a link is on the way, or it cannot be written.
    """
    from callsheet.workspace.errors import WorkspacePathError
    from callsheet.workspace.files import read_bytes_beneath, write_bytes_beneath, write_new_beneath

    if not root.is_dir():
        raise UsageError(f"there is no folder {root}. Make it first.")
    try:
        if not is_forced:
            write_new_beneath(root, relative, content)
        elif _is_there(root, relative) and read_bytes_beneath(root, relative) == content:
            return False
        else:
            write_bytes_beneath(root, relative, content)
    except FileExistsError:
        try:
            if read_bytes_beneath(root, relative) == content:
                return False
        except WorkspacePathError as fault:
            raise _not_written(root, fault) from None
        raise UsageError(
            f"{root / relative} is there already, with other content. Take another name with --as, or replace it with "
            "--force."
        ) from None
    except WorkspacePathError as fault:
        raise _not_written(root, fault) from None
    return True


def _is_there(root: Path, relative: str) -> bool:
    return os.path.lexists(root / relative)


def _not_written(root: Path, fault: Exception) -> UsageError:
    return UsageError(f"nothing was saved in {root}: {fault}")


def _notes(name: str, path: Path, target: Target) -> tuple[str, ...]:
    """What else has the name here."""
    root = places.workspace(target.start, target.workspace).root
    library = compose.library(root, start=target.start, home=target.home, environ=target.environ)
    listed = library.workflows()
    real = os.path.realpath(path)
    own = next((each for each in listed if os.path.realpath(each.path) == real), None)
    if own is None:
        return (f"It is not found from {target.start}, only from within {root}.",)
    if own.shadowed_by is not None:
        return (f"{own.shadowed_by} has this name too and is nearer: it is the one that runs.",)
    return tuple(
        f"{each.path} has this name too and is no longer the one that runs."
        for each in listed
        if each.shadowed_by == own.path
    )
