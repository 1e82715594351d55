"""Which confinement works here: found out by running a command in it that tries what it must not be able to."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import field
from pathlib import Path

import anyio
import anyio.to_thread

from callsheet.confinement.bubblewrap import Bubblewrap
from callsheet.confinement.landlock import FULL_ABI, OLDEST_ABI, Landlock, landlock_abi
from callsheet.confinement.unconfined import Unconfined
from callsheet.errors import ConfinementError
from callsheet.model.confinement import CommandLine, CommandProfile, ConfinementName, Coverage
from callsheet.model.dataclass import dataclass
from callsheet.ports import CommandConfinement
from callsheet.programs import host_path

_PROBE_WITHIN_S = 15.0
_BASH = "/bin/bash"
_HELD = "held"
_TRIES = """
exec 2>/dev/null
[ "$(cat "$home/secret")" = x ] && echo 'the home folder can be read'
[ "$(cat "$record/secret")" = x ] && echo 'hidden folders can be read'
echo x >"$outside/written" && [ -e "$outside/written" ] && echo 'files outside can be written'
exec 3<>/dev/tcp/127.0.0.1/$port && echo 'this machine can be connected to'
kill -0 $host && echo 'other processes can be reached'
grep -q '^Seccomp:.2$' /proc/self/status || echo 'there is no system-call filter'
grep -q '^NoNewPrivs:.1$' /proc/self/status || echo 'privileges can be gained'
echo x >written && echo x >"$TMPDIR/written" && echo held
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What was found.

    Attributes:
        best: What commands are to be run in.
        failures: Those that are better and do not work here, with the reason, best first.
    """

    best: CommandConfinement
    failures: tuple[tuple[ConfinementName, str], ...]


@dataclass(slots=True)
class _Cache:
    found: dict[tuple[Path, ...], Probed] = field(default_factory=dict)


_cache = _Cache()


async def find_confinement(*, outside: tuple[Path, ...] = ()) -> Probed:
    """The best confinement that works here; tried at the first call of a process, known at later ones.

    Args:
        outside: As for `candidates`.
    """
    if outside not in _cache.found:
        _cache.found[outside] = await probe(candidates(outside=outside))
    return _cache.found[outside]


def candidates(*, outside: tuple[Path, ...] = ()) -> tuple[CommandConfinement | tuple[ConfinementName, str], ...]:
    """What this machine may have, best first; where a part of it is missing, the reason.

    Args:
        outside: Workspaces: no program in them is used.
    """
    program = shutil.which("bwrap", path=host_path(os.environ.get("PATH"), outside=outside))
    abi = landlock_abi()
    return (
        Bubblewrap(Path(program).resolve()) if program else ("bubblewrap", "bwrap is not installed"),
        Landlock(abi)
        if abi >= OLDEST_ABI
        else ("landlock", f"the kernel has version {abi} of it, {OLDEST_ABI} is the oldest that holds"),
    )


async def probe(tried: Sequence[CommandConfinement | tuple[ConfinementName, str]]) -> Probed:
    """The first that holds all that is tried, else none.

    Args:
        tried: As `candidates` gives them.
    """
    failures: list[tuple[ConfinementName, str]] = []
    for each in tried:
        if isinstance(each, tuple):
            failures.append(each)
            continue
        why = await failure(each)
        if why is None:
            return Probed(best=each, failures=tuple(failures))
        failures.append((each.name, why))
    return Probed(best=Unconfined(), failures=tuple(failures))


async def try_all(
    *, outside: tuple[Path, ...] = ()
) -> tuple[tuple[ConfinementName, CommandConfinement | None, str | None], ...]:
    """Each confinement by name, best first: itself where it works here, the reason where it does not. For doctor."""
    found: list[tuple[ConfinementName, CommandConfinement | None, str | None]] = []
    for each in candidates(outside=outside):
        if isinstance(each, tuple):
            found.append((each[0], None, each[1]))
        else:
            why = await failure(each)
            found.append((each.name, each if why is None else None, why))
    none = Unconfined()
    return (*found, (none.name, none, None))


def coverages() -> tuple[tuple[ConfinementName, tuple[Coverage, ...]], ...]:
    """What each confinement covers where all of it works; for the README."""
    every: tuple[CommandConfinement, ...] = (Bubblewrap(Path("/usr/bin/bwrap")), Landlock(FULL_ABI), Unconfined())
    return tuple((each.name, each.coverage) for each in every)


async def failure(confinement: CommandConfinement) -> str | None:
    """Why a confinement does not hold here, None if it does. A few tens of milliseconds; bounded."""
    with _trial() as (profile, environ):
        line = CommandLine(
            argv=(_BASH, "--noprofile", "--norc", "-c", _TRIES), environ=environ, cwd=profile.writable[0]
        )
        try:
            async with confinement.open(line, profile) as confined:
                said = await anyio.to_thread.run_sync(
                    _run, confined.argv, confined.environ, confined.pass_fds, abandon_on_cancel=False
                )
                report = os.pread(confined.report_fd, 4096, 0).decode("utf-8", "replace")
        except (ConfinementError, OSError) as error:
            return str(error)
        except subprocess.TimeoutExpired:
            return f"it did not end within {_PROBE_WITHIN_S:g} s"
    found = said.split("\n")
    return None if found == [_HELD, ""] else _reason(found, report)


def _reason(said: Sequence[str], report: str) -> str:
    lines = [line for line in [*report.split("\n"), *said] if line and line not in (_HELD, "setup")]
    return "; ".join(lines[:3]) or "it could not be run"


@contextmanager
def _trial() -> Iterator[tuple[CommandProfile, dict[str, str]]]:
    """A workspace with something beside it that must not be reached."""
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callsheet-probe-"))).resolve()
        names = ("workspace", "scratch", "home", "record", "outside")
        workspace, scratch, home, record, outside = (base / name for name in names)
        for folder in (workspace, scratch, home, record, outside):
            folder.mkdir(mode=0o700)
        for folder in (home, record):
            (folder / "secret").write_text("x", encoding="ascii")
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        yield (
            CommandProfile(scratch=scratch, writable=(workspace,), hidden=(record,), home=home),
            {
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "home": os.fspath(home),
                "record": os.fspath(record),
                "outside": os.fspath(outside),
                "port": str(listener.getsockname()[1]),
                "host": str(os.getpid()),
            },
        )


def _run(argv: tuple[str, ...], environ: dict[str, str], descriptors: tuple[int, ...]) -> str:
    # In a thread: a first use that happens on the loop of a run must not hold up the others.
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=environ,
        pass_fds=descriptors,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            process.wait(_PROBE_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return process.stdout.read(65536).decode("utf-8", "replace")
