"""Disks that are really full: a tiny file system of its own where this process may mount one, else a limit on files."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
        return _run(command.line(*words), command)


def _run(line: list[str], command: Command) -> Done:
    done = subprocess.run(line, cwd=command.folder, env=command.environ, capture_output=True, timeout=60, check=False)
    return Done(status=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())


@contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    size = f"size={DISK_BYTES},mode=700"
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
