"""Landlock and a system-call filter: what the kernel gives a process to give up, where namespaces are not to be had.

Landlock grants; it cannot take a part out of what it granted. So a hidden folder inside a writable one cannot be held,
and is refused rather than left open; a protected one cannot be kept from writes, and the coverage says so.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from callsheet.confinement.filters import command_filter
from callsheet.confinement.places import existing, hidden_folders, name_servers, secret_files, visible_places
from callsheet.confinement.supervised import prepare_scratch, supervised
from callsheet.errors import ConfinementError
from callsheet.model.confinement import (
    CommandLine,
    CommandProfile,
    ConfinedLine,
    ConfinementName,
    Coverage,
    NetworkOpen,
)
from callsheet.ports import CommandConfinement

OLDEST_ABI = 3
"""Before it, files outside could be emptied."""

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_ALL_BY_ABI = {3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_TRUNCATE, _DEVICE_CALLS = 1 << 14, 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _DEVICE_CALLS
_MAKE_DEVICES = (1 << 6) | (1 << 11)
_TCP = 0b11
_SCOPES = 0b11
_TCP_SINCE, _DEVICE_CALLS_SINCE, _SCOPES_SINCE = 4, 5, 6
FULL_ABI = _SCOPES_SINCE
"""The first version with all that is used here."""
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
_CREATE_RULESET = 444
_MOST_GRANTS = 4096


def landlock_abi() -> int:
    """The version of Landlock that the kernel has; 0 for none."""
    if sys.platform != "linux":
        return 0
    answer: int = ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, 1)
    return max(0, answer)


class Landlock(CommandConfinement):
    """Runs commands under Landlock.

    Args:
        abi: As `landlock_abi` tells it, at least `OLDEST_ABI`.
    """

    def __init__(self, abi: int) -> None:
        self._abi = abi

    @property
    def name(self) -> ConfinementName:
        return "landlock"

    @property
    def coverage(self) -> tuple[Coverage, ...]:
        scoped = self._abi >= _SCOPES_SINCE
        return (
            Coverage(area="home", held="kernel", detail="not granted; HOME is a folder of the agent's own"),
            Coverage(area="hidden", held="kernel", detail="not granted; inside a writable folder it is refused"),
            Coverage(area="outside", held="kernel", detail="not granted, nor is /tmp; modes and times can be changed"),
            Coverage(area="protected", held="no", detail="rules alone: inside what is writable nothing can be exempt"),
            Coverage(area="network", held="kernel", detail="no sockets can be made"),
            Coverage(area="loopback", held="kernel", detail="no sockets can be made"),
            Coverage(area="hosts", held="no", detail="cannot be told apart: the network stays off altogether"),
            Coverage(area="unix_sockets", held="kernel", detail="none can be made; pairs within a program can"),
            Coverage(
                area="processes",
                held="kernel" if scoped else "no",
                detail="cannot be ended or read, but their names are seen"
                if scoped
                else "cannot be read, but can be ended (the kernel's Landlock is older than version 6)",
            ),
            Coverage(area="outlive", held="watched", detail="all that a command started is ended with it"),
            Coverage(
                area="disk", held="watched", detail="file size by the kernel; processes, memory, disk are watched"
            ),
        )

    @asynccontextmanager
    async def open(self, line: CommandLine, profile: CommandProfile) -> AsyncIterator[ConfinedLine]:
        home, temporary = prepare_scratch(profile.scratch)
        environ = {**line.environ, "HOME": os.fspath(home), "TMPDIR": os.fspath(temporary)}
        internet = isinstance(profile.network, NetworkOpen)
        landlock: dict[str, object] = {
            "handled": [self._all, 0 if internet or self._abi < _TCP_SINCE else _TCP, self._scopes],
            "grants": [[os.fspath(path), access & self._all] for path, access in self._grants(profile)],
            "files": _ON_FILES & self._all,
        }
        with supervised(
            line,
            profile,
            argv=line.argv,
            environ=environ,
            cwd=line.cwd,
            filter_program=command_filter(internet=internet),
            landlock=landlock,
            processes_limit=_user_processes(profile.limits.processes),
        ) as confined:
            yield confined

    @property
    def _all(self) -> int:
        return _ALL_BY_ABI[min(self._abi, _DEVICE_CALLS_SINCE)]

    @property
    def _scopes(self) -> int:
        return _SCOPES if self._abi >= _SCOPES_SINCE else 0

    def _grants(self, profile: CommandProfile) -> Sequence[tuple[Path, int]]:
        writable = (*existing(profile.writable), *existing((profile.scratch,)))
        inside = existing(profile.hidden)
        for path in inside:
            for folder in writable:
                if path == folder or folder in path.parents:
                    raise ConfinementError(
                        f"Landlock cannot hide {path}, which lies inside the writable {folder}: move it elsewhere, "
                        "or install bubblewrap."
                    )
        if Path("/") in writable:
            raise ConfinementError("The workspace is the whole system (/): name a folder with --workspace PATH.")
        system = (*hidden_folders(profile), *secret_files(), Path("/dev"), *inside)
        grants = [(path, _READ) for path in _without(Path("/"), system)]
        for visible in visible_places(profile):
            grants += [(path, _READ) for path in _without(visible, inside)]
        if isinstance(profile.network, NetworkOpen) and (servers := name_servers()) is not None:
            grants.append((servers, _READ_FILE))
        grants += [(Path(device), _READ_FILE | _WRITE_FILE | _DEVICE_CALLS) for device in _DEVICES]
        grants += [(path, self._all & ~_MAKE_DEVICES) for path in writable]
        if len(grants) > _MOST_GRANTS:
            raise ConfinementError(
                f"Landlock would need {len(grants)} grants to leave out what is hidden; install bubblewrap."
            )
        return grants


def _without(folder: Path, left_out: Sequence[Path]) -> Iterator[Path]:
    """What to grant so that all of a folder is, but some of it: the folder, or those of its parts that may be."""
    if folder in left_out:
        return
    if not any(folder in path.parents for path in left_out):
        yield folder
        return
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return
    for path in paths:
        if not path.is_symlink():
            yield from _without(path, left_out)


def _user_processes(more: int) -> int | None:
    """The user's processes, as the kernel counts them, and as many more; None for root, who has no such limit."""
    if os.geteuid() == 0:
        return None
    count = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                count += entry.stat().st_uid == os.geteuid()
            except OSError:
                continue
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    wanted = count + more
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
