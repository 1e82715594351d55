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


async def read(root: Path, relative: str, arguments: ReadInput) -> ToolContent:
    """The file's text, lines of it, or its picture.

    Raises:
        ToolFailure: It is not there, too large, or neither text nor a picture.
    """
    with _opened("read", root, relative) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= IN_LOOP_BYTES:
            return _read(file, size, arguments)
        return await to_thread.run_sync(_read, file, size, arguments)


def _read(file: BinaryIO, size: int, arguments: ReadInput) -> ToolContent:
    path = arguments.file_path
    media_type = _MEDIA_TYPES.get(Path(path).suffix.lower())
    if media_type is not None:
        return [_picture(file, size, path, media_type)]
    try:
        if arguments.view_range is None:
            if size > READ_LIMIT_BYTES:
                raise ToolFailure(
                    f"read: {path} has {size} bytes, more than {READ_LIMIT_BYTES}; give `view_range`, such as [1, 500]"
                )
            return file.read().decode() or "[the file is empty]"
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


async def write(root: Path, relative: str, arguments: WriteInput) -> str:
    """Writes the whole file; readers see the old text or the new, never a part.

    Raises:
        ToolFailure: The file system refused.
    """
    data = _encoded("write", arguments.content)
    if len(data) <= IN_LOOP_BYTES:
        _store("write", root, relative, data)
    else:
        await to_thread.run_sync(_store, "write", root, relative, data)
    return f"wrote {len(data)} bytes to {arguments.file_path}"


def edit(root: Path, relative: str, arguments: EditInput) -> str:
    """Replaces text in one stretch on the event loop, so that no other agent of the run writes in between.

    Raises:
        ToolFailure: The text does not stand there, or not once; or the file cannot be edited.
    """
    path = arguments.file_path
    with _opened("edit", root, relative) as file:
        size = os.fstat(file.fileno()).st_size
        if size > EDIT_LIMIT_BYTES:
            raise ToolFailure(f"edit: {path} has {size} bytes, more than the {EDIT_LIMIT_BYTES} that can be edited")
        try:
            text = file.read().decode()
        except UnicodeDecodeError:
            raise ToolFailure(f"edit: {path} is not UTF-8 text") from None
    count = text.count(arguments.old_string)
    if count == 0:
        raise ToolFailure(f"edit: old_string does not stand in {path}; read the file and copy the text exactly")
    if count > 1 and not arguments.replace_all:
        raise ToolFailure(f"edit: old_string stands {count} times in {path}; give more of its surroundings")
    _store("edit", root, relative, _encoded("edit", text.replace(arguments.old_string, arguments.new_string)))
    return f"edited {path} ({count} replacement{'s' if count > 1 else ''})"


def _encoded(tool: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ToolFailure(f"{tool}: the text holds half of a surrogate pair, which UTF-8 cannot express") from None


def _opened(tool: str, root: Path, relative: str) -> BinaryIO:
    try:
        descriptor = open_beneath(root, relative, os.O_RDONLY)
    except WorkspacePathError as error:
        raise _failure(tool, error) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        hint = "a folder; list it with `glob`" if stat.S_ISDIR(mode) else "not a file"
        raise ToolFailure(f"{tool}: {relative} is {hint}")
    return os.fdopen(descriptor, "rb")


def _store(tool: str, root: Path, relative: str, data: bytes) -> None:
    try:
        write_bytes_beneath(root, relative, data)
    except WorkspacePathError as error:
        raise _failure(tool, error) from None


def _failure(tool: str, error: WorkspacePathError) -> ToolFailure:
    # A link that the policy did not see was put there since: that is not allowed, rather than not possible.
    return ToolFailure(f"{tool}: {error.message}", denied=error.fault == "link")
