"""What an agent's command may touch, and what of that the kernel enforces (DESIGN 10)."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Literal, TypeAlias

from callsheet.model.dataclass import dataclass

ConfinementName = Literal["bubblewrap", "landlock", "none"]

CoverageArea = Literal[
    "home",
    "hidden",
    "outside",
    "protected",
    "network",
    "loopback",
    "hosts",
    "unix_sockets",
    "processes",
    "outlive",
    "disk",
]
"""What is covered or not: reads of the home folder; the record and what else is hidden; writes outside the workspace;
writes to protected paths inside; other hosts; this machine's own services; an allow-list of hosts; Unix sockets; other
processes; outliving the command; disk, processes and memory without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """One row of what a confinement covers, for doctor, run and README.

    Attributes:
        held: `kernel`: enforced by the system; `watched`: noticed within a moment and ended; `no`: rules alone.
        detail: For people, the end of a sentence.
    """

    area: CoverageArea
    held: Literal["kernel", "watched", "no"]
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandsHeld:
    """What holds the commands of a run's agents, in short (`run.started`).

    Attributes:
        name: The confinement that was found to work here.
        coverage: One row for every area.
        unconfined: The caller said that the machine is the boundary: commands need none.
    """

    name: ConfinementName
    coverage: tuple[Coverage, ...]
    unconfined: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOff:
    """No connection leaves the command; in a network of its own it may talk to itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkHosts:
    """Only HTTP and HTTPS to these hosts, through a filtering proxy.

    Attributes:
        hosts: `example.com` or `*.example.com` (not the domain itself), with `:port` for another than 80 and 443.
    """

    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOpen:
    """The host's own network, loopback included; Unix sockets stay closed."""


CommandNetwork: TypeAlias = NetworkOff | NetworkHosts | NetworkOpen


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLimits:
    """What one command, with everything that it starts, may use.

    Attributes:
        processes: At one time, over the whole tree.
        memory_bytes: Resident and not shared, over the whole tree.
        file_bytes: Of one file.
        disk_bytes: By which the free space of the folders it may write may shrink while it runs.
        cpu_s: CPU seconds of one process.
        open_files: Descriptors of one process.
    """

    processes: int = 1024
    memory_bytes: int = 8 * 1024**3
    file_bytes: int = 4 * 1024**3
    disk_bytes: int = 8 * 1024**3
    cpu_s: int = 3600
    open_files: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandProfile:
    """What a command may touch. All paths absolute, all links followed; those that do not exist are passed over.

    Attributes:
        scratch: A private folder of the agent's, made by the caller (0700) and kept over its commands: its home and
            `/tmp`.
        writable: Folders and files that it may change: the workspace, or the folders of a scope's write globs.
        visible: What it may read although it lies in the home folder or another hidden place (tools, a read-only
            workspace).
        protected: Within `writable`, what it may read but not change (`.git`, `.claude`, …).
        hidden: What it may neither read nor change, wherever it lies (`.callsheet`).
        home: The user's home folder, always hidden; None to ask the system.
    """

    scratch: Path
    writable: tuple[Path, ...] = ()
    visible: tuple[Path, ...] = ()
    protected: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    home: Path | None = None
    network: CommandNetwork = field(default_factory=NetworkOff)
    limits: CommandLimits = field(default_factory=CommandLimits)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """A program to run, as it would be run unconfined.

    Attributes:
        argv: The program by absolute path, and its arguments.
        environ: Its whole environment; the confinement adds `HOME`, `TMPDIR` and, with allowed hosts, the proxy.
        cwd: Absolute; must be visible in the profile.
        pass_fds: Descriptors that it inherits under their own numbers.
    """

    argv: tuple[str, ...]
    environ: dict[str, str]
    cwd: Path
    pass_fds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfinedLine:
    """What to start instead: a supervisor that runs the command confined and ends all of it.

    It lives as long as its standard input is open: closing that kills the command with everything under it. Its exit
    status is the command's, 128 and the signal's number where one ended it.

    Attributes:
        argv, environ, pass_fds: To be given to the system as they are.
        report_fd: Once the supervisor has ended, this file holds one word on why it killed the command: nothing,
            `processes`, `memory`, `disk`, `setup` (and a line for people). Closed with the context.
    """

    argv: tuple[str, ...]
    environ: dict[str, str]
    pass_fds: tuple[int, ...]
    report_fd: int
