"""What every confinement shares: the supervisor's command line, and the descriptors that travel with it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from callsheet.model.confinement import CommandLine, CommandProfile, ConfinedLine

SUPERVISOR = Path(__file__).with_name("supervise.py")
_GROUPS = Path("/sys/fs/cgroup")
SCRATCH_HOME, SCRATCH_TMP = "home", "tmp"


@contextmanager
def supervised(
    line: CommandLine,
    profile: CommandProfile,
    *,
    argv: Sequence[str],
    environ: dict[str, str],
    cwd: Path,
    filter_program: bytes | None = None,
    landlock: dict[str, object] | None = None,
    processes_limit: int | None = None,
) -> Iterator[ConfinedLine]:
    """The supervisor's command line for `argv`.

    Args:
        line: What is run in the end; its descriptors travel along.
        profile: Whose limits the supervisor keeps.
        argv: What the supervisor starts; `{filter}` in it becomes the number of the filter's descriptor.
        environ: Of supervisor and command.
        cwd: Of what the supervisor starts.
        filter_program: For the supervisor to load where there is `landlock`, else for `argv`.
        landlock: Arguments of the supervisor's own Landlock step.
        processes_limit: Hard limit of the user's processes, where such a limit means something.
    """
    report = os.memfd_create("callsheet-report", os.MFD_CLOEXEC)
    filter_fd = None
    try:
        if filter_program is not None:
            filter_fd = os.memfd_create("callsheet-filter", os.MFD_CLOEXEC)
            os.write(filter_fd, filter_program)
            os.lseek(filter_fd, 0, os.SEEK_SET)
        own = [report] if filter_fd is None else [report, filter_fd]
        plan = {
            "cwd": os.fspath(cwd),
            "limits": _limits(profile, processes_limit),
            "processes": profile.limits.processes,
            "memory_bytes": profile.limits.memory_bytes,
            "disk_bytes": profile.limits.disk_bytes,
            "disk_folders": _file_systems([*profile.writable, profile.scratch]),
            "group_parents": _group_parents(),
            "landlock": landlock,
            "filter_fd": filter_fd if landlock is not None else None,
            "report_fd": report,
            "close": own if landlock is not None else [report],
        }
        words = [word if word != "{filter}" else str(filter_fd) for word in argv]
        yield ConfinedLine(
            argv=(sys.executable, "-I", "-S", "-B", os.fspath(SUPERVISOR), json.dumps(plan), *words),
            environ=environ,
            pass_fds=(*line.pass_fds, *own),
            report_fd=report,
        )
    finally:
        for descriptor in (report, filter_fd):
            if descriptor is not None:
                os.close(descriptor)


def prepare_scratch(scratch: Path) -> tuple[Path, Path]:
    """The private home and temporary folder within an agent's scratch folder, made where they are not there yet."""
    home, temporary = scratch / SCRATCH_HOME, scratch / SCRATCH_TMP
    for folder in (home, temporary):
        folder.mkdir(mode=0o700, exist_ok=True)
    return home, temporary


def user_home(profile: CommandProfile) -> Path:
    """The home folder that is hidden."""
    return (profile.home or Path.home()).resolve()


def _limits(profile: CommandProfile, processes: int | None) -> dict[str, int]:
    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": profile.limits.cpu_s,
        "RLIMIT_FSIZE": profile.limits.file_bytes,
        "RLIMIT_NOFILE": profile.limits.open_files,
    }
    return limits if processes is None else {**limits, "RLIMIT_NPROC": processes}


def _group_parents() -> list[str]:
    """Control groups in which this process might make one that counts processes: beneath its own, else beside it."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        number, controllers, own = line.split(":", 2)
        if number == "0" or "pids" in controllers.split(","):
            mounted = _GROUPS if number == "0" else _GROUPS / "pids"
            place = mounted / own.lstrip("/")
            found += [place, place.parent] if place != mounted else [place]
    return [os.fspath(place) for place in found if os.access(place, os.W_OK)]


def _file_systems(folders: Sequence[Path]) -> list[str]:
    """One folder of each file system that is written to."""
    seen: dict[int, str] = {}
    for folder in folders:
        if folder.exists():
            seen.setdefault(folder.stat().st_dev, os.fspath(folder))
    return list(seen.values())
