"""Files of a workspace, opened beneath its root without following any link.

Whoever decided that a path may be touched followed its links at that moment. Here each folder on the way is opened by
itself, so that a link which was put there since is an error and not a way out.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from callsheet.workspace.errors import WorkspacePathError, path_error

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE_BYTES = 1024 * 1024
_NO_WRITE_BITS = 0o222


def open_beneath(root: Path, relative: str, flags: int, mode: int = 0o666) -> int:
    """Opens a file or folder beneath a root; the caller closes the descriptor, which programs started do not inherit.

    Args:
        root: The workspace, without links.
        relative: A path beneath it, without links and `..`, as `PathDecision.relative` gives it; `.` is the root.
        flags: As for `os.open`. What is no regular file is opened without waiting for its other end.
        mode: Of a file that is made, less the umask.

    Raises:
        WorkspacePathError: No such path, a link stands in the way, or the system refuses.
    """
    names = _names(relative)
    with _folder(root, names[:-1], relative) as folder:
        try:
            return os.open(
                names[-1] if names else ".",
                flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                mode,
                dir_fd=folder,
            )
        except OSError as error:
            raise path_error(relative, error) from error


def read_bytes_beneath(root: Path, relative: str, *, limit_bytes: int | None = None) -> bytes:
    """The content of a regular file beneath a root.

    Args:
        root: As for `open_beneath`.
        relative: As for `open_beneath`.
        limit_bytes: A larger file is an error; None for no limit.

    Raises:
        WorkspacePathError: As `open_beneath`; also what is no regular file, or is too large.
    """
    descriptor = open_beneath(root, relative, os.O_RDONLY)
    try:
        _check_regular(os.fstat(descriptor), relative)
        content = bytearray()
        while piece := os.read(descriptor, _PIECE_BYTES):
            content += piece
            if limit_bytes is not None and len(content) > limit_bytes:
                raise WorkspacePathError(
                    f"{relative} is larger than {limit_bytes:,} bytes; read a part of it.",
                    relative=relative,
                    fault="too_large",
                )
        return bytes(content)
    except OSError as error:
        raise path_error(relative, error) from error
    finally:
        os.close(descriptor)


def write_bytes_beneath(root: Path, relative: str, content: bytes) -> None:
    """Puts content in a file beneath a root: all of it or, when anything fails, the file as it was.

    Folders on the way are made. A file that is there keeps its mode and owner; one that nobody may write is an error,
    as it is for an editor. The file is new (a hard link to the old one keeps the old content). Nothing is fsync'd.

    Args:
        root: As for `open_beneath`.
        relative: As for `open_beneath`.
        content: The whole new content.

    Raises:
        WorkspacePathError: As `open_beneath`; also where something else than a regular file is in its place.
    """
    names = _names(relative)
    if not names:
        raise WorkspacePathError(f"{relative} is a folder, not a file.", relative=relative, fault="not_a_file")
    with _folder(root, names[:-1], relative, make=True) as folder:
        try:
            _replace(folder, names[-1], content, relative)
        except OSError as error:
            raise path_error(relative, error) from error


def write_new_beneath(root: Path, relative: str, content: bytes) -> None:
    """Makes a file beneath a root that was not there. Folders on the way are made.

    Args:
        root: As for `open_beneath`.
        relative: As for `open_beneath`.
        content: The whole content.

    Raises:
        FileExistsError: Something is there, if only a link that leads nowhere; it stays as it is.
        WorkspacePathError: As `open_beneath`; nothing of the file stays.
    """
    names = _names(relative)
    if not names:
        raise WorkspacePathError(f"{relative} is a folder, not a file.", relative=relative, fault="not_a_file")
    with _folder(root, names[:-1], relative, make=True) as folder:
        try:
            descriptor = os.open(names[-1], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
            except BaseException:
                os.unlink(names[-1], dir_fd=folder)
                raise
        except FileExistsError:
            raise
        except OSError as error:
            raise path_error(relative, error) from error


@contextmanager
def folder_beneath(root: Path, relative: str, *, make: bool = False) -> Iterator[int]:
    """A folder beneath a root, open as long as the context lasts.

    Args:
        root: As for `open_beneath`.
        relative: As for `open_beneath`.
        make: Make it, and those on the way, where they are not there.

    Raises:
        WorkspacePathError: As `open_beneath`.
    """
    with _folder(root, _names(relative), relative, make=make) as folder:
        yield folder


def _replace(folder: int, name: str, content: bytes, relative: str) -> None:
    old = _stat_of(folder, name)
    if old is not None:
        _check_regular(old, relative)
        if not old.st_mode & _NO_WRITE_BITS:
            raise WorkspacePathError(f"{relative} is read-only for everybody.", relative=relative, fault="read_only")
    temporary = f".callsheet-{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
    try:
        try:
            if old is not None:
                with suppress(PermissionError):
                    os.fchown(descriptor, old.st_uid, old.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(old.st_mode) & 0o777)
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise


def _stat_of(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _check_regular(found: os.stat_result, relative: str) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    if stat.S_ISLNK(found.st_mode):
        raise WorkspacePathError(
            f"{relative} is a symbolic link, which is not followed here.", relative=relative, fault="link"
        )
    what = "a folder" if stat.S_ISDIR(found.st_mode) else "a device, pipe or socket"
    raise WorkspacePathError(f"{relative} is {what}, not a file.", relative=relative, fault="not_a_file")


def _names(relative: str) -> list[str]:
    names = [name for name in relative.split("/") if name not in ("", ".")]
    try:
        os.fsencode(relative)
        is_text = "\0" not in relative
    except UnicodeEncodeError:
        is_text = False
    if not relative or relative.startswith("/") or ".." in names or not is_text:
        raise WorkspacePathError(
            f"{relative!r} is not a path beneath the workspace.", relative=relative, fault="bad_path"
        )
    return names


@contextmanager
def _folder(root: Path, names: list[str], relative: str, *, make: bool = False) -> Iterator[int]:
    """The folder at the end of some names, each opened in the one before; where it is not there it can be made."""
    try:
        here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise path_error(str(root), error) from error
    try:
        for name in names:
            try:
                below = _open_folder(here, name, make=make)
            except OSError as error:
                raise _folder_error(here, name, relative, error) from error
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


def _open_folder(parent: int, name: str, *, make: bool) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=parent)
    return os.open(name, _FOLDER, dir_fd=parent)


def _folder_error(parent: int, name: str, relative: str, error: OSError) -> WorkspacePathError:
    # With O_DIRECTORY the system calls a link "not a directory"; whoever reads this must know which it is.
    with suppress(OSError):
        found = _stat_of(parent, name)
        if found is not None and stat.S_ISLNK(found.st_mode):
            return WorkspacePathError(
                f"{relative} leads through a symbolic link ({name}), which is not followed here.",
                relative=relative,
                fault="link",
            )
    return path_error(relative, error)
