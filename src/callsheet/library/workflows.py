"""Saved workflows: what each file is called, and whether it can be used."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from callsheet.errors import ScriptRefusedError
from callsheet.library.files import UnreadableError, read_start
from callsheet.library.places import LEADS_OUT, Place, Places, Source, files_in
from callsheet.model.dataclass import dataclass
from callsheet.model.script import MAX_SCRIPT_BYTES, Finding, Script

SUFFIXES = (".js", ".mjs")

ReadScript = Callable[..., Script]
"""`script.reader.read_script`."""

_ESCAPED_NAME = re.compile(rb"name['\"]?\s*:\s*['\"`][^'\"`\n]*\\")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A workflow file, as a list of them shows it.

    Attributes:
        name: What it is run by: `meta.name`, with `package:` in front for those of packages; the file's stem where the
            meta could not be read.
        when_to_use: `meta.whenToUse`, None where it says nothing.
        problem: Why it cannot be run, None if it can.
        by_file: The other name that it can be run by where no other file has it: the stem, with the same prefix.
        shadowed_by: The file that has the same name and is nearer, None where there is none.
    """

    name: str
    description: str
    source: Source
    path: str
    by_file: str
    when_to_use: str | None = None
    problem: str | None = None
    shadowed_by: str | None = None


class FileState(NamedTuple):
    """A workflow file as it was when it was read: while it is the same, it says the same."""

    path: str
    source: Source
    prefix: str
    modified_ns: int
    changed_ns: int
    size_bytes: int


Known = dict[FileState, Listed]
"""What files were found to say, those looked at last at the end."""


class WorkflowFiles:
    """Reads workflow files, each once as long as it stays as it is.

    Args:
        read: Makes a `Script` of bytes.
        places: Where they may lie.
        known: What was found before; what is found is put there.
    """

    def __init__(self, read: ReadScript, *, places: Places, known: Known | None = None) -> None:
        self._read = read
        self._places = places
        self._known: Known = {} if known is None else known

    def listed(self, place: Place, *, named: str | None = None, or_file: bool = False) -> Iterator[Listed]:
        """The workflows of a place, by file name.

        Args:
            place: Where to look.
            named: Pass over files that certainly have another `meta.name`, without parsing them.
            or_file: Do not pass over files whose stem is `named`.
        """
        leads_out = self._places.leads_out(place, place.folder)
        for entry in files_in(place.folder, SUFFIXES):
            is_wanted = or_file and Path(entry.name).stem == named
            found = self._listed(entry, place, None if is_wanted else named, leads_out=leads_out)
            if found is not None:
                yield found

    def script_of(self, listed: Listed, *, origin: str) -> Script:
        """The script of a workflow, read anew.

        Raises:
            ScriptRefusedError: It cannot be read, or is refused.
        """
        path = Path(listed.path)
        if self._places.leads_out(Place(folder=path.parent, source=listed.source), path):
            raise _unreadable(path, LEADS_OUT)
        return self.script_at(path, origin=origin)

    def script_at(self, path: Path, *, origin: str) -> Script:
        """The script of a file that may be read.

        Raises:
            ScriptRefusedError: It cannot be read, or is refused.
        """
        return self._read(_bytes_of(path), origin=origin, path=str(path))

    def _listed(self, entry: os.DirEntry[str], place: Place, named: str | None, *, leads_out: bool) -> Listed | None:
        path = Path(place.folder, entry.name)
        name = place.prefix + path.stem
        bare = Listed(name=name, description="", source=place.source, path=str(path), by_file=name)
        if leads_out or (entry.is_symlink() and self._places.leads_out(place, path)):
            return replace(bare, problem=f"it {LEADS_OUT}")
        try:
            state = entry.stat()
        except OSError as error:
            return replace(bare, problem=f"it cannot be read: {os.strerror(error.errno or 0).lower()}")
        key = FileState(
            path=str(path),
            source=place.source,
            prefix=place.prefix,
            modified_ns=state.st_mtime_ns,
            changed_ns=state.st_ctime_ns,
            size_bytes=state.st_size,
        )
        if key in self._known:
            self._known[key] = self._known.pop(key)
        else:
            try:
                data = _bytes_of(path)
                if named is not None and not _may_be_named(named, data):
                    return None
                meta = self._read(data, origin=str(path), path=str(path)).meta
                self._known[key] = replace(
                    bare, name=place.prefix + meta.name, description=meta.description, when_to_use=meta.when_to_use
                )
            except ScriptRefusedError as error:
                name = place.prefix + (error.workflow or path.stem)
                self._known[key] = replace(bare, name=name, problem=_problem(error))
        return self._known[key]


def _may_be_named(name: str, data: bytes) -> bool:
    """Whether a script may have this `meta.name`: it holds the name, or a name written with escapes."""
    return name.encode("utf-8", "replace") in data or _ESCAPED_NAME.search(data) is not None


def _bytes_of(path: Path) -> bytes:
    try:
        return read_start(path, limit_bytes=MAX_SCRIPT_BYTES)
    except UnreadableError as error:
        raise _unreadable(path, error.reason) from None


def _unreadable(path: Path, reason: str) -> ScriptRefusedError:
    return ScriptRefusedError(
        (Finding(severity="error", code="unreadable", contract="S08", message=f"{path} {reason}."),)
    )


def _problem(error: ScriptRefusedError) -> str:
    place = f"line {error.place.line}: " if error.place is not None else ""
    return f"{place}{error.message}"
