"""read, write and edit: what they mean is the SDK's agent toolset's; how they reach the disk is the workspace's."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from anyio import to_thread

from callsheet.agents.tools.inputs import EditInput, ReadInput, WriteInput
from callsheet.agents.tools.names import ToolContent, ToolFailure
from callsheet.agents.tools.stamps import stamp_of, stamp_of_file
from callsheet.model.dataclass import dataclass
from callsheet.workspace.errors import WorkspacePathError
from callsheet.workspace.files import open_beneath, write_bytes_beneath

READ_LIMIT_BYTES = 256 * 1024
EDIT_LIMIT_BYTES = 1024 * 1024
IMAGE_LIMIT_BYTES = 5 * 1024 * 1024 // 4 * 3
PDF_LIMIT_BYTES = 20 * 1024 * 1024
IN_LOOP_BYTES = 64 * 1024
"""Up to this size a file is handled on the event loop: a thread costs more than the read."""

_MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".pdf": "application/pdf",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A file that may be touched.

    Attributes:
        base: A folder that cannot be put elsewhere by agents: the workspace's root, or `/` for what lies outside it.
        relative: The path beneath it, without links.
    """

    base: Path
    relative: str

    @property
    def path(self) -> Path:
        """The absolute path, without links."""
        return self.base / self.relative


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of a call.

    Attributes:
        content: For the agent.
        stamp: What the agent now knows the file to hold; None where it does not know it.
    """

    content: ToolContent
    stamp: bytes | None


async def read(place: Place, arguments: ReadInput) -> Done:
    """The file's text, lines of it, or its picture.

    Raises:
        ToolFailure: It is not there, too large, or neither text nor a picture.
    """
    with _opened("read", place) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= IN_LOOP_BYTES:
            return _read(file, size, arguments)
        return await to_thread.run_sync(_read, file, size, arguments)


def _read(file: BinaryIO, size: int, arguments: ReadInput) -> Done:
    path = arguments.file_path
    media_type = _MEDIA_TYPES.get(Path(path).suffix.lower())
    if media_type is not None:
        content: ToolContent = [_picture(file, size, path, media_type)]
    else:
        content = _text(file, size, arguments)
    return Done(content=content, stamp=stamp_of_file(file))


def _text(file: BinaryIO, size: int, arguments: ReadInput) -> str:
    path = arguments.file_path
    try:
        if arguments.view_range is None:
            if size > READ_LIMIT_BYTES:
                raise ToolFailure(
                    f"read: {path} has {size} bytes, more than {READ_LIMIT_BYTES}; give `view_range`, such as [1, 500]"
                )
            return file.read().decode()
        return b"".join(_lines(file, path, *arguments.view_range)).decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise ToolFailure(f"read: {path} is not UTF-8 text") from None


def _lines(file: BinaryIO, path: str, first: int, last: int) -> Iterator[bytes]:
    size = 0
    for number, line in enumerate(file, 1):
        if 0 < last < number:
            return
        if number >= first:
            size += len(line)
            if size > READ_LIMIT_BYTES:
                raise ToolFailure(f"read: these lines of {path} have more than {READ_LIMIT_BYTES} bytes; ask for fewer")
            yield line


def _picture(file: BinaryIO, size: int, path: str, media_type: str) -> dict[str, Any]:
    pdf = media_type == "application/pdf"
    limit = PDF_LIMIT_BYTES if pdf else IMAGE_LIMIT_BYTES
    if size > limit:
        raise ToolFailure(f"read: {path} has {size} bytes, more than the {limit} that can be shown")
    data = base64.standard_b64encode(file.read()).decode("ascii")
    source = {"type": "base64", "media_type": media_type, "data": data}
    return {"type": "document" if pdf else "image", "source": source}


async def stamp_at(place: Place) -> bytes | None:
    """The stamp of a file; None where there is none that can be read."""
    try:
        with _opened("read", place) as file:
            return await to_thread.run_sync(stamp_of_file, file)
    except (ToolFailure, OSError):
        return None


async def write(place: Place, arguments: WriteInput, *, known: bytes | None) -> Done:
    """Writes the whole file; readers see the old text or the new, never a part. The caller holds the file's lock.

    Args:
        place: Where.
        arguments: What.
        known: The stamp of what the agent last saw there; None where it saw nothing.

    Raises:
        ToolFailure: The agent does not know what it would overwrite; or the file system refused.
    """
    data = _encoded("write", arguments.content)
    if len(data) <= IN_LOOP_BYTES and _size(place) <= IN_LOOP_BYTES:
        _replace(place, arguments.file_path, data, known)
    else:
        await to_thread.run_sync(_replace, place, arguments.file_path, data, known)
    return Done(content=f"wrote {len(data)} bytes to {arguments.file_path}", stamp=stamp_of(data))


def _size(place: Place) -> int:
    try:
        return os.lstat(place.path).st_size
    except OSError:
        return 0


def _replace(place: Place, path: str, data: bytes, known: bytes | None) -> None:
    try:
        with _opened("write", place) as file:
            found = stamp_of_file(file) if os.fstat(file.fileno()).st_size else None
    except MissingFileError:
        found = None
    if found is not None and known is None:
        raise ToolFailure(f"write: {path} is there already, and you have not read it; read it first")
    if found is not None and found != known:
        raise ToolFailure(f"write: {path} was changed by somebody else since you read it; read it again")
    _store("write", place, data)


async def edit(place: Place, arguments: EditInput, *, known: bytes | None) -> Done:
    """Replaces text in a file as it is now. The caller holds the file's lock.

    What others changed elsewhere in it stays, and stays unknown to the agent.

    Args:
        place: Where.
        arguments: What.
        known: The stamp of what the agent last saw there; None where it saw nothing.

    Raises:
        ToolFailure: The text does not stand there, or not once; or the file cannot be edited.
    """
    if _size(place) <= IN_LOOP_BYTES:
        return _edit(place, arguments, known)
    return await to_thread.run_sync(lambda: _edit(place, arguments, known))


def _edit(place: Place, arguments: EditInput, known: bytes | None) -> Done:
    path = arguments.file_path
    with _opened("edit", place) as file:
        size = os.fstat(file.fileno()).st_size
        if size > EDIT_LIMIT_BYTES:
            raise ToolFailure(f"edit: {path} has {size} bytes, more than the {EDIT_LIMIT_BYTES} that can be edited")
        before = file.read()
    try:
        text = before.decode()
    except UnicodeDecodeError:
        raise ToolFailure(f"edit: {path} is not UTF-8 text") from None
    is_known = stamp_of(before) == known
    remedy = "read the file and copy the text exactly"
    if known is not None and not is_known:
        remedy = "the file was changed by somebody else since you read it: read it again"
    count = text.count(arguments.old_string)
    if count == 0:
        raise ToolFailure(f"edit: old_string does not stand in {path}; {remedy}")
    if count > 1 and not arguments.replace_all:
        more = f" ({remedy})" if known is not None and not is_known else ""
        raise ToolFailure(f"edit: old_string stands {count} times in {path}; give more of its surroundings{more}")
    after = _encoded("edit", text.replace(arguments.old_string, arguments.new_string))
    _store("edit", place, after)
    said = f"edited {path} ({count} replacement{'s' if count > 1 else ''})"
    if known is not None and not is_known:
        said += "; others have changed this file too since you read it"
    return Done(content=said, stamp=stamp_of(after) if is_known else known)


def _encoded(tool: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ToolFailure(f"{tool}: the text holds half of a surrogate pair, which UTF-8 cannot express") from None


class MissingFileError(ToolFailure):
    """There is no such file."""


def _opened(tool: str, place: Place) -> BinaryIO:
    try:
        descriptor = open_beneath(place.base, place.relative, os.O_RDONLY)
    except WorkspacePathError as error:
        raise _failure(tool, error) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        hint = "a folder; list it with `glob`" if stat.S_ISDIR(mode) else "not a file"
        raise ToolFailure(f"{tool}: {place.relative} is {hint}")
    return os.fdopen(descriptor, "rb")


def _store(tool: str, place: Place, data: bytes) -> None:
    try:
        write_bytes_beneath(place.base, place.relative, data)
    except WorkspacePathError as error:
        raise _failure(tool, error) from None


def _failure(tool: str, error: WorkspacePathError) -> ToolFailure:
    message = f"{tool}: {error.message}"
    if error.fault == "missing":
        return MissingFileError(message)
    # A link that the policy did not see was put there since: that is not allowed, rather than not possible.
    return ToolFailure(message, denied=error.fault == "link", rule="link" if error.fault == "link" else None)
