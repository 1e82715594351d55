"""The script that a call of `workflow` means: its text kept in a file, or a file that is there."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from callsheet.app import compose, places
from callsheet.app.check import check_files
from callsheet.app.plan import Surroundings
from callsheet.app.source import is_path
from callsheet.app.tool_inputs import StartInput
from callsheet.errors import ScriptRefusedError, StoreError, UsageError
from callsheet.model.dataclass import dataclass
from callsheet.model.script import Finding

_UNFIT = re.compile(r"[^A-Za-z0-9]+")
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolScript:
    """A script that may run.

    Attributes:
        path: Its file; None for the recorded script of a run that goes on.
        named: What the run is told to run: the path, or a saved name.
        warnings: What the checker has to say.
    """

    path: str | None
    named: str | None
    workflow: str | None = None
    warnings: tuple[Finding, ...] = ()


async def tool_script(asked: StartInput, *, root: Path, around: Surroundings) -> ToolScript:
    """Finds, keeps and checks the script.

    Raises:
        UsageError: None is named, or several; the file is none that may be named; it cannot be kept.
        NotFoundError: There is no saved workflow of that name.
        ScriptRefusedError: It cannot run; says all that is wrong with it.
    """
    from anyio import to_thread

    given = [each for each in (asked.script, asked.name, asked.script_path) if each is not None]
    if len(given) > 1:
        raise UsageError("Give only one of script, name and scriptPath.")
    if not given:
        if asked.resume_from_run_id is None:
            raise UsageError("Give a script's text as script, a saved workflow's name, or a scriptPath.")
        return ToolScript(path=None, named=None)
    if asked.name is not None:
        path, named = await to_thread.run_sync(_saved, asked.name, root, around)
    elif asked.script_path is not None:
        path = named = await to_thread.run_sync(_file, asked.script_path, root, around)
    else:
        path = named = await to_thread.run_sync(_kept, asked.script or "", root, around)
    (checked,) = await check_files([path])
    if checked.errors:
        raise ScriptRefusedError(checked.findings, workflow=checked.workflow)
    return ToolScript(path=path, named=named, workflow=checked.workflow, warnings=checked.findings)


def _saved(name: str, root: Path, around: Surroundings) -> tuple[str, str]:
    from callsheet.app.listing import workflow_named

    if is_path(name) or "\n" in name:
        raise UsageError(
            "name is the name of a saved workflow (workflow_list has them); a file is named by scriptPath."
        )
    script, _ = workflow_named(name, start=root, home=around.home, environ=around.environ, workspace=root)
    path = script.path or ""
    # A file of that name beside it would be taken for what is meant.
    return path, path if (root / name).exists() else name


def _file(said: str, root: Path, around: Surroundings) -> str:
    from callsheet.script.reader import is_workflow_file

    if "\0" in said or not is_workflow_file(Path(said)):
        raise UsageError("scriptPath is a file that ends in .js or .mjs. A script's text is given as script.")
    try:
        path = (root / Path(said)).resolve()
    except (OSError, RuntimeError):
        raise UsageError("scriptPath cannot be followed to a file.") from None
    if not any(path.is_relative_to(place.resolve()) for place in (root, *places.state_folders(root, around.environ))):
        raise UsageError(
            f"scriptPath lies outside the workspace {root}. Pass its text as script, or a saved workflow's name."
        )
    return str(path)


def _kept(text: str, root: Path, around: Surroundings) -> str:
    """Keeps a script's text in a file that can be edited, and gives its path; the same text has the same file."""
    data = text.encode("utf-8", "surrogatepass")
    script = compose.script_reader()(data, origin="script", path=None)
    slug = _UNFIT.sub("-", script.meta.name)[:_LONGEST_NAME].strip("-") or "workflow"
    try:
        folder = places.state_folder(root, around.environ) / places.SCRIPTS
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{slug}-{hashlib.sha256(data).hexdigest()[:8]}.js"
        if folder.is_symlink():
            raise UsageError(f"{folder} is a link: scripts are not kept there. Remove it.")
        if not _holds(path, data):
            _write(path, data)
    except StoreError as fault:
        raise UsageError(f"the script cannot be kept: {fault.message}") from None
    except OSError as fault:
        raise UsageError(f"the script cannot be kept: {fault.strerror}.") from None
    return str(path)


def _holds(path: Path, data: bytes) -> bool:
    try:
        return not path.is_symlink() and path.read_bytes() == data
    except OSError:
        return False


def _write(path: Path, data: bytes) -> None:
    """Writes beside it and puts it in its place: a run that reads it meanwhile has one or the other whole."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise
