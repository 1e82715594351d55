"""Edits of an agent, made once more on files that have lost them (CONTRACT R03); proved by the mark of what it left.

What an agent changed by its file tools is on record, edit by edit. Made on the file as it is now they either give, to
the byte, what the agent had left, or they are not made: so nothing that anybody else has written is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from callsheet.model.dataclass import dataclass
from callsheet.workspace.errors import WorkspacePathError
from callsheet.workspace.files import read_bytes_beneath, write_bytes_beneath
from callsheet.workspace.marks import mark_of_bytes, marks_of

MOST_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEdit:
    """One change of one file: all of its text, or every place of `old` replaced by `text`."""

    text: str
    old: str | None = None
    is_everywhere: bool = False


def rebuilt(root: Path, path: str, edits: Iterable[FileEdit], *, mark: str) -> bytes | None:
    """What an agent had left in a file, made from what is there now; None where that does not lead to it.

    A file that is there is never replaced as a whole: what it holds may be somebody's.

    Args:
        root: The workspace.
        path: The file, relative to it.
        edits: The agent's, in order.
        mark: Of what it had left.
    """
    try:
        now: str | None = read_bytes_beneath(root, path, limit_bytes=MOST_BYTES).decode()
    except WorkspacePathError as error:
        if error.fault != "missing":
            return None
        now = None
    except UnicodeDecodeError:
        return None
    was_there = now is not None
    for edit in edits:
        if edit.old is None:
            if was_there:
                return None
            now = edit.text
        elif now is None or not _applies(now, edit):
            return None
        else:
            now = now.replace(edit.old, edit.text)
    if now is None:
        return None
    data = now.encode("utf-8", "surrogatepass")
    return data if mark_of_bytes(data) == mark else None


def put(root: Path, path: str, data: bytes) -> bool:
    """Writes a file that `rebuilt` gave; whether it could be written."""
    try:
        write_bytes_beneath(root, path, data)
    except WorkspacePathError:
        return False
    return True


def mark_now(root: Path, path: str) -> str | None:
    """The mark of a file as it is."""
    return marks_of(root, (path,)).get(path)


def _applies(text: str, edit: FileEdit) -> bool:
    assert edit.old is not None
    count = text.count(edit.old)
    return count == 1 or (count > 1 and edit.is_everywhere)
