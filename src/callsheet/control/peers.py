"""Who is at the other end of a socket, and whether they may be: the same user, and nothing that an agent started."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection
from pathlib import Path

_CREDENTIALS = struct.Struct("3i")
_MOST_ANCESTORS = 1_000
_ENDED = ("Z", "X")


def why_not(peer: socket.socket, *, hosts: Collection[int], trusted: Collection[int] = ()) -> str | None:
    """Why a peer may not talk to a run; None where it may, as far as the system tells who it is.

    What a run's process starts is an agent, or works for one; but for the few programs that it starts for its user.
    Where the system does not say who a peer is, the socket's mode, its folder's and the token have to do.

    Args:
        peer: The connection.
        hosts: The processes of runs, this one among them.
        trusted: Processes of this run's host that work for its user.
    """
    kind = getattr(socket, "SO_PEERCRED", None)
    if kind is None:
        return None
    pid, user, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, kind, _CREDENTIALS.size))
    if user != os.geteuid():
        return "you are another user than the run's"
    if pid <= 0:
        return "your process cannot be seen from here (it is in another container)"
    if pid == os.getpid():
        return None
    above = ancestors(pid)
    if above is None:
        return "your process is gone"
    for each in above:
        if each in trusted:
            return None
        if each in hosts:
            return "you were started by a run: what agents start has no say in runs"
    return None


def ancestors(pid: int) -> list[int] | None:
    """A process and those above it, nearest first, as far as the system shows them; None where it is gone."""
    found: list[int] = []
    while pid > 0 and len(found) < _MOST_ANCESTORS:
        stat = _stat(pid)
        if stat is None:
            # Others' processes may not be seen (`hidepid`); those of this user can be.
            return found or None
        found.append(pid)
        pid = int(stat[1])
    return found


def process_start(pid: int) -> str:
    """When a process started, in clock ticks since the machine did; empty where it has ended, or nothing says it."""
    stat = _stat(pid)
    return stat[19] if stat is not None and stat[0] not in _ENDED else ""


def _stat(pid: int) -> list[str] | None:
    """The fields of a process after its name: state, parent, group and so on."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = line.rpartition(")")[2].split()
    return fields if len(fields) > 19 else None
