"""What workflow files were found to say, kept between commands: a list of hundreds parses only what has changed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

from callsheet import __version__
from callsheet.library.files import UnreadableError, read_bytes
from callsheet.library.places import Source
from callsheet.library.workflows import FileState, Known, Listed

_FORM = 1
_MAX_BYTES = 16 * 1024 * 1024
_MAX_FILES = 5_000
_SETTLED_NS = 2_000_000_000
"""A file that has just been written may be written again within one tick of its clock; it is not kept yet."""


def catalogue_path(environ: Mapping[str, str], home: Path) -> Path:
    """Where the catalogue lies: in the user's cache, since it can be made anew at any time."""
    base = Path(environ.get("XDG_CACHE_HOME", ""))  # a relative one would lie in the workspace
    return (base if base.is_absolute() else home / ".cache") / "callsheet" / "workflows.json"


def read_catalogue(path: Path) -> Known:
    """What is kept; nothing where there is no such file, or it is damaged or of another version."""
    with suppress(UnreadableError, ValueError, TypeError, KeyError, RecursionError):
        kept = json.loads(read_bytes(path, limit_bytes=_MAX_BYTES))
        if kept["form"] == _FORM and kept["version"] == __version__:
            return dict(map(_entry, kept["files"]))
    return {}


def write_catalogue(path: Path, known: Known) -> None:
    """Keeps what is known, the latest files of it. Where it cannot be written it is not kept, and nothing is said."""
    before = time.time_ns() - _SETTLED_NS
    kept = [_row(state, listed) for state, listed in known.items() if state.changed_ns < before]
    text = json.dumps({"form": _FORM, "version": __version__, "files": kept[-_MAX_FILES:]}, separators=(",", ":"))
    part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(text)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _row(state: FileState, listed: Listed) -> list[object]:
    said = (listed.name, listed.description, listed.when_to_use, listed.by_file, listed.problem)
    return [*state, *said]


def _entry(row: list[Any]) -> tuple[FileState, Listed]:
    path, source, prefix, modified, changed, size, name, description, when, by_file, problem = row
    texts = (path, prefix, name, description, by_file)
    numbers = (modified, changed, size)
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(number, int) for number in numbers):
        raise TypeError
    if source not in get_args(Source) or not all(isinstance(text, str | None) for text in (when, problem)):
        raise TypeError
    state = FileState(
        path=path, source=source, prefix=prefix, modified_ns=modified, changed_ns=changed, size_bytes=size
    )
    listed = Listed(
        name=name,
        description=description,
        when_to_use=when,
        source=source,
        path=path,
        by_file=by_file,
        problem=problem,
    )
    return state, listed
