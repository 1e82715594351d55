from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import get_args

import anyio
import pytest

from callsheet.confinement.bubblewrap import Bubblewrap
from callsheet.confinement.landlock import Landlock
from callsheet.confinement.probe import failure, find_confinement, probe
from callsheet.confinement.unconfined import Unconfined
from callsheet.errors import ConfinementError
from callsheet.model.confinement import (
    CommandLine,
    CommandProfile,
    ConfinedLine,
    CoverageArea,
    NetworkHosts,
)
from callsheet.ports import CommandConfinement
from tests.support.confined import ALL, CONFINED, PYTHON, Site, name_of
from tests.support.deadline import within

pytestmark = pytest.mark.anyio


class Loose(Unconfined):
    """Holds nothing, and says so of itself only in that it is asked."""


class Broken(Unconfined):
    """Cannot be opened."""

    @asynccontextmanager
    async def open(self, line: CommandLine, profile: CommandProfile) -> AsyncIterator[ConfinedLine]:
        if profile.writable:
            raise ConfinementError("it is broken")
        async with super().open(line, profile) as confined:
            yield confined


async def test_the_best_that_holds_is_found_once() -> None:
    with within(60):
        found = await find_confinement()
        assert await find_confinement() is found
    assert found.best.name == (CONFINED[0].name if CONFINED else "none")


async def test_what_is_there_but_does_not_hold_is_not_taken() -> None:
    with within(60):
        found = await probe([("bubblewrap", "bwrap is not installed"), Loose(), Broken()])
    assert found.best.name == "none"
    reasons = [why for _, why in found.failures]
    assert reasons[0] == "bwrap is not installed"
    assert "the home folder can be read; hidden folders can be read; files outside can be written" in reasons[1]
    assert reasons[2] == "it is broken"


@pytest.mark.parametrize("program", ["/bin/true", "/bin/false", "/nonexistent/bwrap"])
async def test_a_program_that_only_has_the_name_does_not_hold(program: str) -> None:
    with within(60):
        assert await failure(Bubblewrap(Path(program))) is not None


@pytest.mark.parametrize("confinement", [*ALL, Landlock(3), Landlock(7)], ids=name_of)
def test_every_area_is_told_of_once(confinement: CommandConfinement) -> None:
    assert sorted(row.area for row in confinement.coverage) == sorted(get_args(CoverageArea))


def test_unconfined_says_that_it_covers_nothing_but_limits() -> None:
    assert {row.area for row in Unconfined().coverage if row.held != "no"} == {"outlive", "disk"}


def test_an_old_landlock_says_that_processes_can_be_ended() -> None:
    held = {abi: next(row.held for row in Landlock(abi).coverage if row.area == "processes") for abi in (5, 6)}
    assert held == {5: "no", 6: "kernel"}


async def test_the_whole_system_as_workspace_is_refused(tmp_path: Path) -> None:
    for confinement in CONFINED:
        site = Site(tmp_path / confinement.name, confinement)
        line = CommandLine(argv=("/bin/true",), environ={}, cwd=site.workspace)
        with pytest.raises(ConfinementError, match="whole system"):
            async with confinement.open(line, replace(site.profile, writable=(Path("/"),), hidden=())):
                pytest.fail("it was held")


@pytest.mark.parametrize("confinement", [each for each in CONFINED if each.name == "bubblewrap"], ids=name_of)
async def test_allowed_hosts_go_through_the_proxy_and_nothing_goes_beside_it(
    confinement: CommandConfinement, tmp_path: Path
) -> None:
    site = Site(tmp_path, confinement, network=NetworkHosts(hosts=("example.invalid",)))
    text = """
import os, socket
address = os.environ["https_proxy"].removeprefix("http://").split(":")
def ask(target):
    with socket.create_connection((address[0], int(address[1])), timeout=10) as proxy:
        proxy.sendall(f"CONNECT {target} HTTP/1.1\\r\\n\\r\\n".encode())
        print(proxy.recv(4096).split(b"\\r\\n")[0].decode())
ask("other.invalid:443")
ask("127.0.0.1:443")
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2)
except OSError as error:
    print(type(error).__name__)
"""
    (site.workspace / "ask.py").write_text(text, encoding="utf-8")
    with within(30):
        ended = await site.run(f"{PYTHON} ask.py")
    assert ended.output == "HTTP/1.1 403 Forbidden\nHTTP/1.1 403 Forbidden\nOSError\n"


async def test_who_is_not_root_is_confined_as_well(shared_path: Path) -> None:
    """As root this runs everything as somebody else; what holds for root there holds for them."""
    source = Path(__file__).parents[3]
    code = """
import os, shutil, sys
from pathlib import Path
import anyio, anyio.to_thread, asyncio, concurrent.futures.thread, encodings.ascii, encodings.idna, unicodedata
from callsheet.confinement import filters, probe, supervised
import pyseccomp, subprocess
base = Path(sys.argv[1])
supervised.SUPERVISOR = Path(shutil.copy(supervised.SUPERVISOR, base))
supervised.SUPERVISOR.chmod(0o755)
if os.geteuid() == 0:
    os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
    sys.executable = sys.argv[2]
os.environ["TMPDIR"] = str(base)
async def main():
    for each in probe.candidates():
        print(*(each if isinstance(each, tuple) else (each.name, await probe.failure(each))))
anyio.run(main)
"""
    words = [sys.executable, "-c", code, str(shared_path), "/usr/bin/python3"]
    with within(60):
        done = await anyio.run_process(
            words, cwd=source, env={**os.environ, "PYTHONPATH": f"{source}/src"}, check=False
        )
    assert done.returncode == 0, done.stderr.decode()
    said = done.stdout.decode().splitlines()
    assert {f"{each.name} None" for each in CONFINED} <= set(said), said
