"""Where the record lies, and that its folder is ours, private and fit for SQLite (FORMATS 4)."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from callsheet.errors import StoreError
from callsheet.model.dataclass import dataclass
from callsheet.store.faults import store_error

STATE_FOLDER = ".callsheet"
RECORD_NAME = "callsheet.db"

_NETWORK_TYPES = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs"}
    | {"lustre", "ncpfs", "nfs", "nfs4", "orangefs", "pvfs2", "smb3", "smbfs"}
)
_PREPARING = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreChoice:
    """Where the record goes. `note` is for people: why not where they would look for it; None where there is no why."""

    path: Path
    note: str | None = None


def choose_store_path(
    workspace: Path,
    explicit: Path | None,
    environ: Mapping[str, str],
    *,
    avoid: str | None = None,
    fault_of: Callable[[Path], str | None] | None = None,
) -> StoreChoice:
    """Where the record of a workspace lies: as asked, else `.callsheet/` in it, else the user's state folder.

    The state folder serves where the workspace's file system cannot keep a database.

    Args:
        workspace: Root of the workspace.
        explicit: What `--store` says: a file, or a folder that is there.
        environ: For `CALLSHEET_STORE`, `XDG_STATE_HOME` and `HOME`.
        avoid: Why it must not lie in the workspace unless somebody says so; None where it may.
        fault_of: Why a folder's file system is not fit, None if it is; `file_system_fault` unless given.

    Raises:
        StoreError: `.callsheet` cannot be made or is not to be trusted, or no place is fit.
    """
    fault_of = fault_of or file_system_fault
    asked = explicit or (Path(environ["CALLSHEET_STORE"]) if environ.get("CALLSHEET_STORE") else None)
    if asked is not None:
        asked = asked.expanduser().absolute()
        return StoreChoice(path=asked / RECORD_NAME if asked.is_dir() else asked)
    usual = workspace.absolute() / STATE_FOLDER / RECORD_NAME
    fault = avoid or _fault(usual, fault_of)
    if fault is None:
        return StoreChoice(path=usual)
    other = _state_home(environ) / "callsheet" / _workspace_hash(workspace) / RECORD_NAME
    other_fault = _fault(other, fault_of)
    if other_fault is not None:
        raise StoreError(
            f"The record can lie neither in {usual.parent} ({fault}) nor in {other.parent} ({other_fault}): "
            "name a place on a local disk with --store PATH or CALLSHEET_STORE.",
            kind="config",
        )
    return StoreChoice(path=other, note=f"The record is kept at {other}: the folder {usual.parent} {fault}.")


def find_store_path(
    workspace: Path, explicit: Path | None, environ: Mapping[str, str], *, avoid: str | None = None
) -> Path:
    """Where the record of a workspace is, or would be looked for first; makes nothing."""
    asked = explicit or (Path(environ["CALLSHEET_STORE"]) if environ.get("CALLSHEET_STORE") else None)
    if asked is not None:
        asked = asked.expanduser().absolute()
        return asked / RECORD_NAME if asked.is_dir() else asked
    places = [folder / RECORD_NAME for folder in state_folders(workspace, environ)]
    if avoid is not None:
        places.reverse()
    return next((place for place in places if place.is_file()), places[0])


def state_folders(workspace: Path, environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Where `state_folder` can lie: in the workspace, and the workspace's part of the user's state folder."""
    other = _state_home(environ) / "callsheet" / _workspace_hash(workspace)
    return workspace.absolute() / STATE_FOLDER, other


def state_folder(workspace: Path, environ: Mapping[str, str], *, avoid: str | None = None) -> Path:
    """Where runs keep what they share about a workspace, wherever their records lie; it is there and private.

    `.callsheet/` in it, else, where that cannot be, the workspace's part of the user's state folder.

    Args:
        workspace: Its root.
        environ: As for `choose_store_path`.
        avoid: As for `choose_store_path`.

    Raises:
        StoreError: There is no place for it.
    """
    usual = {name: text for name, text in environ.items() if name != "CALLSHEET_STORE"}
    try:
        return choose_store_path(workspace, None, usual, avoid=avoid).path.parent
    except StoreError:
        other = _state_home(environ) / "callsheet" / _workspace_hash(workspace)
        try:
            prepare_folder(other)
        except OSError as error:
            raise store_error(other / RECORD_NAME, error) from error
        return other


def _fault(record: Path, fault_of: Callable[[Path], str | None]) -> str | None:
    try:
        prepare_folder(record.parent)
        return fault_of(record.parent)
    except OSError as error:
        raise store_error(record, error) from error


def _state_home(environ: Mapping[str, str]) -> Path:
    given = Path(environ.get("XDG_STATE_HOME", ""))
    if given.is_absolute():
        return given
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / ".local" / "state"


def _workspace_hash(workspace: Path) -> str:
    return hashlib.sha256(os.fsencode(workspace.resolve())).hexdigest()[:16]


def file_system_fault(folder: Path) -> str | None:
    """Why SQLite cannot keep a database in a folder, as the end of a sentence about it; None if it can.

    Tried, not guessed: a lock is taken and a file is mapped as shared memory. Network file systems are refused by
    their name, because there both work and two machines still do not see each other's memory.

    Raises:
        OSError: No file can be made in the folder, or written.
    """
    network = _network_type(folder)
    if network is not None:
        return f"lies on a network file system ({network})"
    probe = folder / f".probe-{os.urandom(8).hex()}"
    descriptor = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        # Written, not only made long: on a full disk the page is not there, and touching it would end the process.
        if os.write(descriptor, bytes(mmap.PAGESIZE)) < mmap.PAGESIZE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with mmap.mmap(descriptor, mmap.PAGESIZE) as shared:
                shared[0] = 1
        except (OSError, ValueError) as error:
            return f"lies on a file system without locks or shared memory ({error})"
        return None
    finally:
        os.close(descriptor)
        probe.unlink(missing_ok=True)


def _network_type(folder: Path) -> str | None:
    device = folder.stat().st_dev
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    kind = mounted_type(mounts, f"{os.major(device)}:{os.minor(device)}")
    return kind if kind in _NETWORK_TYPES else None


def mounted_type(mounts: str, device: str) -> str | None:
    """The type of the file system on `device` (`major:minor`), in a text like `/proc/self/mountinfo`."""
    for line in mounts.splitlines():
        before, dash, after = line.partition(" - ")
        if dash and before.split()[2:3] == [device]:
            return after.split()[0]
    return None


def prepare_folder(folder: Path, *, user: int | None = None) -> None:
    """Makes the record's folder, private to the user.

    A folder named `.callsheet` is always ours: it gets mode 0700 and a `.gitignore` that hides all of it, and is
    refused where a repository or another user could have put it there. Other folders are left as they are.

    Raises:
        StoreError: `.callsheet` is a symbolic link, or belongs to somebody else.
        OSError: It cannot be made.
    """
    _make_folders(folder)
    if folder.name != STATE_FOLDER:
        return
    if folder.is_symlink():
        raise StoreError(
            f"The folder {folder} is a symbolic link, and could lead the record anywhere: "
            "remove it, or name another place with --store PATH or CALLSHEET_STORE.",
            kind="config",
        )
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != (os.geteuid() if user is None else user):
            raise StoreError(
                f"The folder {folder} belongs to another user (uid {found.st_uid}): "
                "run as that user, or name another place with --store PATH or CALLSHEET_STORE.",
                kind="config",
            )
        if found.st_mode & 0o077:
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & 0o700)
        with suppress(FileExistsError):
            _write_new(".gitignore", b"*\n", folder=descriptor)
    finally:
        os.close(descriptor)


def _make_folders(folder: Path) -> None:
    missing = []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        with suppress(FileExistsError):
            each.mkdir(mode=0o700)


def prepare_file(path: Path) -> None:
    """Makes the record's file, mode 0600, which SQLite gives to its `-wal` and `-shm` files too.

    Raises:
        StoreError: It is a symbolic link or no file.
        OSError: It cannot be made.
    """
    # Closing any descriptor of a file drops the locks that SQLite holds on it elsewhere in this process (POSIX). So
    # the file is only ever opened here while it is new, and nobody of this process gets to SQLite before it is closed.
    with _PREPARING:
        try:
            found = path.lstat()
        except FileNotFoundError:
            with suppress(FileExistsError):
                _write_new(path.name, b"", folder=path.parent)
            found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "not a file"
        raise StoreError(
            f"The record {path} is {what}: name the file itself with --store PATH or CALLSHEET_STORE.", kind="config"
        )
    if found.st_mode & 0o077 and found.st_uid == os.geteuid():
        path.chmod(stat.S_IMODE(found.st_mode) & 0o700)


def _write_new(name: str, content: bytes, *, folder: int | Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    if isinstance(folder, Path):
        descriptor = os.open(folder / name, flags, 0o600)
    else:
        descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    try:
        os.write(descriptor, content)
    except OSError:  # nothing half written stays, which the next run would take for whole
        os.unlink(name, dir_fd=folder) if isinstance(folder, int) else (folder / name).unlink()
        raise
    finally:
        os.close(descriptor)
