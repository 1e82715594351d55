"""Bubblewrap: namespaces of its own for each command, and a system-call filter within.

The whole system is mounted read-only, the user's places over it as empty folders, and the workspace over those. There
are no processes to see but the command's own, and they end with it: the kernel kills what is left in their namespace.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from callsheet.confinement.filters import command_filter
from callsheet.confinement.gateway import BRIDGE, open_gateway
from callsheet.confinement.places import existing, hidden_folders, name_servers, secret_files, visible_places
from callsheet.confinement.supervised import prepare_scratch, supervised, user_home
from callsheet.errors import ConfinementError
from callsheet.model.confinement import (
    CommandLine,
    CommandProfile,
    ConfinedLine,
    ConfinementName,
    Coverage,
    NetworkHosts,
    NetworkOff,
    NetworkOpen,
)
from callsheet.ports import CommandConfinement

_COVERAGE = (
    Coverage(area="home", held="kernel", detail="an empty folder of the agent's own stands in its place"),
    Coverage(area="hidden", held="kernel", detail="an empty folder stands in its place"),
    Coverage(area="outside", held="kernel", detail="mounted read-only; /tmp is the agent's own"),
    Coverage(area="protected", held="kernel", detail="mounted read-only where they exist when the command starts"),
    Coverage(area="network", held="kernel", detail="a network of its own, with nothing in it"),
    Coverage(area="loopback", held="kernel", detail="its loopback is its own"),
    Coverage(area="hosts", held="kernel", detail="HTTP and HTTPS through a filtering proxy, nothing else"),
    Coverage(area="unix_sockets", held="kernel", detail="none can be made or connected; pairs within a program can"),
    Coverage(area="processes", held="kernel", detail="others are neither seen nor reached"),
    Coverage(area="outlive", held="kernel", detail="the command's namespace ends with it, and all in it"),
    Coverage(area="disk", held="watched", detail="file size by the kernel; processes, memory, disk are watched"),
)
_SMALL_BYTES = 64 * 1024 * 1024
_SHARED_BYTES = 512 * 1024 * 1024


class Bubblewrap(CommandConfinement):
    """Runs commands under `bwrap`.

    Args:
        program: Its absolute path.
    """

    def __init__(self, program: Path) -> None:
        self._program = program

    @property
    def name(self) -> ConfinementName:
        return "bubblewrap"

    @property
    def coverage(self) -> tuple[Coverage, ...]:
        return _COVERAGE

    @asynccontextmanager
    async def open(self, line: CommandLine, profile: CommandProfile) -> AsyncIterator[ConfinedLine]:
        home, temporary = prepare_scratch(profile.scratch)
        program = command_filter(internet=True)
        async with AsyncExitStack() as stack:
            argv = line.argv
            environ = {**line.environ, "HOME": os.fspath(user_home(profile)), "TMPDIR": "/tmp"}
            mounts = _mounts(profile, home, temporary)
            match profile.network:
                case NetworkHosts(hosts=hosts):
                    gateway = await stack.enter_async_context(open_gateway(hosts))
                    argv = gateway.bridged(argv)
                    environ |= gateway.environ
                    line = CommandLine(
                        argv=argv, environ=environ, cwd=line.cwd, pass_fds=(*line.pass_fds, gateway.descriptor)
                    )
                    mounts.need(*_bridge_places())
                case NetworkOpen() if (servers := name_servers()) is not None:
                    mounts.need(servers)
                case NetworkOff() | NetworkOpen():
                    pass
            words = [
                os.fspath(self._program),
                *_namespaces(network=isinstance(profile.network, NetworkOpen)),
                *mounts.words(),
                *("--seccomp", "{filter}", "--chdir", os.fspath(line.cwd), "--", *argv),
            ]
            yield stack.enter_context(
                supervised(line, profile, argv=words, environ=environ, cwd=Path("/"), filter_program=program)
            )


def _namespaces(*, network: bool) -> list[str]:
    words = ["--unshare-user-try", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if not network:
        words.append("--unshare-net")
    return [*words, "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "agent"]


def _bridge_places() -> tuple[Path, ...]:
    return tuple(place.resolve() for place in (Path(sys.base_prefix), Path(sys.executable), BRIDGE))


class _Mounts:
    """Mounts by place: a deeper one covers part of a shallower one, whatever the order they were named in."""

    def __init__(self) -> None:
        self._by_place: dict[Path, list[str]] = {}

    def need(self, *places: Path) -> None:
        for place in places:
            self._by_place.setdefault(place, ["--ro-bind", os.fspath(place), os.fspath(place)])

    def read(self, place: Path) -> None:
        self._by_place[place] = ["--ro-bind", os.fspath(place), os.fspath(place)]

    def write(self, place: Path, source: Path | None = None) -> None:
        self._by_place[place] = ["--bind", os.fspath(source or place), os.fspath(place)]

    def hide(self, place: Path) -> None:
        where = os.fspath(place)
        if place.is_dir():
            self._by_place[place] = ["--size", str(_SMALL_BYTES), "--tmpfs", where]
        else:
            self._by_place[place] = ["--ro-bind", os.devnull, where]

    def words(self) -> list[str]:
        ordered = sorted(self._by_place.items(), key=lambda item: (len(item[0].parts), item[0]))
        empty = [place for place, words in ordered if "--tmpfs" in words]
        first = ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
        shared = ["--size", str(_SHARED_BYTES), "--tmpfs", "/dev/shm"]
        sealed = [word for place in [*empty, Path("/dev")] for word in ("--remount-ro", os.fspath(place))]
        return [*first, *shared, *(word for _, words in ordered for word in words), *sealed]


def _mounts(profile: CommandProfile, home: Path, temporary: Path) -> _Mounts:
    mounts = _Mounts()
    hidden = [place for place in hidden_folders(profile) if place.parts[1:2] != ("dev",)]
    for place in (*hidden, *secret_files()):
        mounts.hide(place)
    for place in visible_places(profile):
        mounts.read(place)
    mounts.write(Path("/tmp"), temporary)
    mounts.write(user_home(profile), home)
    for place in existing(profile.writable):
        if place == Path("/"):
            raise ConfinementError("The workspace is the whole system (/): name a folder with --workspace PATH.")
        mounts.write(place)
    for place in existing(profile.protected):
        mounts.read(place)
    for place in existing(profile.hidden):
        mounts.hide(place)
    return mounts
