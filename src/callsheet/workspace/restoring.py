"""Files put back as they were: each at once or not at all, none through a link, and the same again after a crash."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread

from callsheet.workspace.errors import WorkspacePathError
from callsheet.workspace.files import folder_beneath
from callsheet.workspace.looking import TEMPORARY, Seen, stamp_of
from callsheet.workspace.stock import Entry, Stock

_BUSY = "it changes at this moment"
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


async def bring_back(
    root: Path,
    stock: Stock,
    back: Mapping[str, Entry | None],
    left: dict[str, str],
    seen: Mapping[str, Seen],
) -> None:
    """Removals first: they make room. All bytes are known to be good before the first file is touched.

    Args:
        root: The workspace.
        stock: Where the bytes are.
        back: How files are to be; None for one that is not to be there.
        left: Takes those that could not be brought back, and why.
        seen: How they were when they were last looked at.

    Raises:
        CheckpointError: Bytes are missing or damaged; nothing was changed.
        GitRefusedError: Git would not.
    """
    by_blob: dict[str, list[tuple[str, Entry]]] = {}
    for path, entry in sorted(back.items()):
        if entry is not None:
            by_blob.setdefault(entry.blob, []).append((path, entry))
    async for _ in stock.contents(by_blob):
        pass

    def remove() -> None:
        for path in sorted(path for path, entry in back.items() if entry is None):
            if (why := take_away(root, path, expect=seen.get(path))) is not None:
                left[path] = why

    def write(entries: list[tuple[str, Entry]], content: bytes) -> None:
        for path, entry in entries:
            if (why := put_back(root, path, entry, content, expect=seen.get(path))) is not None:
                left[path] = why

    with anyio.CancelScope(shield=True):  # bounded by the number of files; half of it is nobody's wish
        await anyio.to_thread.run_sync(remove)
        async for blob, content in stock.contents(by_blob):
            await anyio.to_thread.run_sync(write, by_blob[blob], content)


def put_back(root: Path, path: str, entry: Entry, content: bytes, *, expect: Seen | None) -> str | None:
    """Writes a file or link with bytes and mode, in one step, whatever file or link is there now.

    Args:
        root: The workspace.
        path: Relative.
        entry: How it is to be.
        content: Its bytes; of a link, what it says.
        expect: How it was when it was last looked at: where it is other now, it stays.

    Returns:
        Why it could not be; None where it is done.
    """
    folder, _, name = path.rpartition("/")
    try:
        with folder_beneath(root, folder or ".", make=True) as here:
            temporary = f"{TEMPORARY}{secrets.token_hex(8)}"
            try:
                owner = _owner(here, name)
                if entry.is_link:
                    os.symlink(content, temporary, dir_fd=here)
                    if owner is not None:
                        with suppress(PermissionError):
                            os.chown(temporary, *owner, dir_fd=here, follow_symlinks=False)
                else:
                    _write(here, temporary, entry, content, owner)
                _clear_folder(here, name)
                if not _is_expected(here, name, expect):
                    raise OSError(errno.EBUSY, _BUSY)
                os.rename(temporary, name, src_dir_fd=here, dst_dir_fd=here)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=here)
                raise
    except (OSError, WorkspacePathError) as error:
        return _why(error)
    return None


def take_away(root: Path, path: str, *, expect: Seen | None) -> str | None:
    """Removes a file or link, and the folders that it leaves empty; as `put_back` otherwise."""
    folder, _, name = path.rpartition("/")
    try:
        with folder_beneath(root, folder or ".") as here, suppress(FileNotFoundError):
            if not _is_expected(here, name, expect):
                return _BUSY
            os.unlink(name, dir_fd=here)
    except WorkspacePathError as error:
        return None if error.fault == "missing" else error.message
    except OSError as error:
        return _why(error)
    while folder:
        folder, _, name = folder.rpartition("/")
        try:
            with folder_beneath(root, folder or ".") as here:
                os.rmdir(name, dir_fd=here)
        except (OSError, WorkspacePathError):
            break
    return None


def sweep(root: Path, folders: Iterable[str]) -> None:
    """Removes what a restore that was killed had under way."""
    for folder in folders:
        with suppress(OSError, WorkspacePathError), folder_beneath(root, folder or ".") as here:
            with os.scandir(here) as entries:
                ours = [entry.name for entry in entries if entry.name.startswith(TEMPORARY)]
            for name in ours:
                os.unlink(name, dir_fd=here)


def folders_of(paths: Iterable[str]) -> set[str]:
    """The folders that hold these."""
    return {path.rpartition("/")[0] for path in paths}


def _write(here: int, name: str, entry: Entry, content: bytes, owner: tuple[int, int] | None) -> None:
    descriptor = os.open(name, _MAKE, 0o600, dir_fd=here)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        if owner is not None:
            with suppress(PermissionError):
                os.fchown(descriptor, *owner)
        os.fchmod(descriptor, stat.S_IMODE(entry.mode))  # last: a new owner takes bits away
    finally:
        os.close(descriptor)


def _owner(here: int, name: str) -> tuple[int, int] | None:
    """Whose what is there is, or the folder, where that is somebody else: root works in the folders of others."""
    try:
        found = os.stat(name, dir_fd=here, follow_symlinks=False)
    except FileNotFoundError:
        found = os.fstat(here)
    owner = (found.st_uid, found.st_gid)
    return None if owner == (os.geteuid(), os.getegid()) else owner


def _is_expected(here: int, name: str, expect: Seen | None) -> bool:
    # But for the last time: of two names of one file, putting one back changes it.
    found = stamp_of(here, name)
    return (found and found[:-1]) == (expect and expect.stamp[:-1])


def _clear_folder(here: int, name: str) -> None:
    """Makes room where an empty folder is in the way."""
    try:
        os.rmdir(name, dir_fd=here)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise OSError(errno.ENOTEMPTY, "a folder with ignored files is in its place") from None
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise


def _why(error: OSError | WorkspacePathError) -> str:
    return error.message if isinstance(error, WorkspacePathError) else error.strerror or str(error)
