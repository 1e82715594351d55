"""From what a caller named to a script: a path, a saved name, or text from standard input (CONTRACT S08, S09)."""

from __future__ import annotations

import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from callsheet.errors import CallsheetError, NotFoundError, ScriptRefusedError, UsageError
from callsheet.model.script import MAX_SCRIPT_BYTES, Finding, Script
from callsheet.ports import WorkflowLibrary

STDIN = "-"
BUILT_IN = "built in"
"""Where the workflows come from in which Callsheet itself writes scripts, does tasks and talks."""

_MAX_PATH_CHARS = 4_096

ReadScript = Callable[..., Script]
"""`script.reader.read_script`."""


def find_script(
    name_or_path: str, *, start: Path, stdin: bytes | None, library: WorkflowLibrary, read: ReadScript
) -> Script:
    """The script that a caller means.

    What has a folder in it, ends in `.js` or `.mjs`, or is a file here, is a path; anything else a saved name.

    Args:
        name_or_path: As given; `-` for `stdin`.
        start: The folder that paths are relative to.
        stdin: The script, where the caller has its text: read from standard input, or built in.
        library: Where saved names are looked up.
        read: Makes a `Script` of bytes.

    Raises:
        NotFoundError: No saved workflow of that name; names those that look alike.
        UsageError: What was given is a script's text.
        ScriptRefusedError: The file cannot be read, or is no workflow (CONTRACT S).
    """
    if stdin is not None or name_or_path == STDIN:
        return read(stdin or b"", origin=name_or_path, path=None)
    if "\n" in name_or_path or len(name_or_path) > _MAX_PATH_CHARS:
        raise UsageError(
            "this is neither a path nor a name; it looks like a script's text. Pipe that in: callsheet run - < FILE."
        )
    path = start / expanded(name_or_path)
    if is_path(name_or_path) or _is_there(path.is_file):
        return read(read_bytes(path, origin=name_or_path, library=library), origin=name_or_path, path=str(path))
    try:
        return library.workflow(name_or_path)
    except NotFoundError as fault:
        raise _no_such_name(name_or_path, path, fault) from None


def recorded_origin(path: str | None, text: str) -> str:
    """Where the script of a recorded run came from: its path where it had one."""
    if path:
        return path
    from callsheet.authoring.briefing import authoring_script
    from callsheet.authoring.doing import doing_script
    from callsheet.authoring.talking import talk_script

    return BUILT_IN if text in (authoring_script(), doing_script(), talk_script()) else STDIN


def is_path(name_or_path: str) -> bool:
    """Whether the words name a file rather than a saved workflow."""
    from callsheet.script.reader import is_workflow_file

    return os.sep in name_or_path or name_or_path in {os.curdir, os.pardir} or is_workflow_file(name_or_path)


def names_saved(word: str, start: Path) -> str | None:
    """The saved name that a word can only mean, with or without the / of a command; None where it is a path."""
    name = word.removeprefix("/")
    if not name or is_path(name) or _is_there((start / expanded(word)).exists):
        return None
    return name


def expanded(path: str) -> Path:
    """The path with `~` replaced; as it stands where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _is_there(test: Callable[[], bool]) -> bool:
    try:
        return test()
    except OSError:
        return False


def read_bytes(path: Path, *, origin: str, library: WorkflowLibrary | None = None) -> bytes:
    """A script file's bytes; of one that is too large only so many that the reader refuses it.

    Raises:
        ScriptRefusedError: It does not exist (names what looks alike), is a directory, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_SCRIPT_BYTES + 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise _refused("missing", f"{origin} is a link to {path.readlink()}, which is not there.") from None
        raise _refused("missing", f"there is no file {origin}. {_near_files(path, library)}") from None
    except IsADirectoryError:
        raise _refused("directory", f"{origin} is a directory. {_scripts_there(path)}") from None
    except OSError as fault:
        raise _refused("unreadable", f"{origin} cannot be read: {fault.strerror}.") from None


def _refused(code: str, message: str) -> ScriptRefusedError:
    return ScriptRefusedError((Finding(severity="error", code=code, contract="S08", message=message),))


def _near_files(path: Path, library: WorkflowLibrary | None) -> str:
    """What a caller may have meant with a path that leads nowhere."""
    near = list(get_close_matches(path.name, scripts_in(path.parent), n=2, cutoff=0.6))
    if library is not None:
        near += _near_names(path.stem, library)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return _scripts_there(path.parent)


def _scripts_there(folder: Path) -> str:
    scripts = scripts_in(folder)
    if not scripts:
        return "Name a .js or .mjs file, or a saved workflow."
    return f"Scripts there: {', '.join(scripts[:5])}{' …' if len(scripts) > 5 else ''}."


def scripts_in(folder: Path) -> list[str]:
    """The names of the workflow files in a folder, sorted; none where it cannot be read."""
    from callsheet.script.reader import is_workflow_file

    try:
        return sorted(entry.name for entry in folder.iterdir() if is_workflow_file(entry))
    except OSError:
        return []


def _near_names(stem: str, library: WorkflowLibrary) -> tuple[str, ...]:
    try:
        return (library.workflow(stem).meta.name,)
    except NotFoundError as fault:
        return fault.near[:2]
    except CallsheetError:
        return ()


def _no_such_name(name: str, path: Path, fault: NotFoundError) -> NotFoundError:
    if _is_there(path.is_dir):
        inside = scripts_in(path)
        hint = f" {name} is a directory here" + (f"; did you mean {name}/{inside[0]}?" if inside else ".")
        return NotFoundError(f"{fault.message}{hint}", name=name, near=fault.near)
    files = get_close_matches(name, [Path(script).stem for script in scripts_in(path.parent)], n=1, cutoff=0.6)
    if not files:
        return fault
    file = next(script for script in scripts_in(path.parent) if Path(script).stem == files[0])
    return NotFoundError(f"{fault.message} There is a file {file} here.", name=name, near=(*fault.near, file))
