"""Disks that are really full, or read-only: mounted where this process may mount, else a limit on files, or modes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.surfaces.command import Command, Done

DISK_BYTES = 128 * 1024

_LIMITED = (
    "import os, resource, sys\n"
    "os.environ['PYTHONDONTWRITEBYTECODE'] = '1'  # a module that is cut short could not be imported again\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))\n"
    "os.execv(sys.argv[2], sys.argv[2:])"
)


def run_with_room_for(free_bytes: int, command: Command, *words: str) -> Done:
    """Runs the command with that much room in its `.callsheet` folder."""
    if not _MAY_MOUNT:
        return _run([sys.executable, "-c", _LIMITED, str(free_bytes), *command.line(*words)], command)
    folder = command.folder / ".callsheet"
    folder.mkdir(mode=0o700)
    with _mounted(folder):
        (folder / "filling").write_bytes(bytes(DISK_BYTES - free_bytes))
        return command(*words)


@contextmanager
def full_disk(command: Command) -> Iterator[Callable[..., Done]]:
    """Gives the command on a disk that is full: its `.callsheet` folder has what it has, and takes nothing more."""
    if not _MAY_MOUNT:
        yield lambda *words: _run([sys.executable, "-c", _LIMITED, "0", *command.line(*words)], command)
        return
    folder = command.folder / ".callsheet"
    kept = folder.rename(command.folder.parent / "kept")
    folder.mkdir(mode=0o700)
    with _mounted(folder, size_bytes=sum(each.stat().st_size for each in kept.rglob("*")) + 2 * DISK_BYTES):
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        with suppress(OSError), (folder / "filling").open("wb", buffering=0) as filling:
            while filling.write(bytes(4096)):
                pass
        yield command
    folder.rmdir()
    kept.rename(folder)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Within it nothing in a folder can be changed, also not by root."""
    if _MAY_MOUNT:
        subprocess.run(["mount", "--bind", folder, folder], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
            yield
        finally:
            subprocess.run(["umount", folder], check=True)
        return
    # Root without the right to mount can at least make files immutable; anybody else is held by their mode.
    lock, unlock = (["chattr", "-R", "+i"], ["chattr", "-R", "-i"]) if os.geteuid() == 0 else _BY_MODE
    subprocess.run([*lock, folder], check=True)
    try:
        yield
    finally:
        subprocess.run([*unlock, folder], check=True)


_BY_MODE = ["chmod", "-R", "a-w"], ["chmod", "-R", "u+w"]


def _run(line: list[str], command: Command) -> Done:
    done = subprocess.run(line, cwd=command.folder, env=command.environ, capture_output=True, timeout=120, check=False)
    return Done(status=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())


@contextmanager
def _mounted(folder: Path, size_bytes: int = DISK_BYTES) -> Iterator[None]:
    size = f"size={size_bytes},mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", folder], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def _may_mount() -> bool:
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            with _mounted(Path(folder)):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


_MAY_MOUNT = _may_mount()
