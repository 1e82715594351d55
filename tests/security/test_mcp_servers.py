"""MCP servers that flood, hang on, leave things behind, or say what they should not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import psutil
import pytest

from callsheet.agents.mcp.config import McpServer, StdioServer
from callsheet.agents.mcp.launch import Launcher, ServerProgram, confined_by
from callsheet.agents.mcp.limits import McpLimits
from callsheet.agents.mcp.pool import open_mcp
from callsheet.agents.tools.names import ToolFailure
from callsheet.confinement.unconfined import Unconfined
from callsheet.model.confinement import CommandProfile, NetworkOpen
from callsheet.ports import CommandConfinement
from tests.support.confined import ALL, name_of
from tests.support.deadline import within
from tests.support.mcp_stage import Person, all_gone, environ, everything, noted, notes, stdio_server

pytestmark = pytest.mark.anyio


def supervised(folder: Path) -> Launcher:
    """Servers under a supervisor that holds them to nothing but their end."""

    def profile(_: ServerProgram) -> CommandProfile:
        scratch = folder / "scratch"
        scratch.mkdir(mode=0o700, exist_ok=True)
        return CommandProfile(scratch=scratch, writable=(folder,), network=NetworkOpen())

    return confined_by(Unconfined(), profile)


# --- floods -----------------------------------------------------------------------------------------------------------


async def test_a_message_without_end_ends_the_server_and_not_the_host(tmp_path: Path) -> None:
    told: list[str] = []
    with within(20):
        async with open_mcp(
            [stdio_server("raw", "line", folder=tmp_path)], environ=environ(), tell=told.append
        ) as pool:
            with pytest.raises(ToolFailure, match="it sent a message of more than 16777216 bytes"):
                await pool.call("mcp__s__t", {}, ask=Person())
    assert len(told) == 1


async def test_a_flood_of_notifications_makes_the_server_wait_and_nobody_else(tmp_path: Path) -> None:
    with within(20):
        async with open_mcp([stdio_server("raw", "notifications", folder=tmp_path)], environ=environ()) as pool:
            await pool.offer(everything)
            before = psutil.Process().cpu_times()
            with anyio.move_on_after(1.5):
                await pool.call("mcp__s__t", {}, ask=Person())
            after = psutil.Process().cpu_times()
    assert after.user + after.system - before.user - before.system < 0.75


@pytest.mark.parametrize(("mode", "answer"), [("noise", "through the noise"), ("stderr", "said")])
async def test_noise_on_its_output_and_much_on_its_error_stream_harm_nothing(
    tmp_path: Path, mode: str, answer: str
) -> None:
    with within(20):
        async with open_mcp([stdio_server("raw", mode, folder=tmp_path)], environ=environ()) as pool:
            assert await pool.call("mcp__s__t", {}, ask=Person()) == answer


async def test_pages_of_tools_without_end_are_read_up_to_a_bound(tmp_path: Path) -> None:
    with within(20):
        async with open_mcp([stdio_server("raw", "pages", folder=tmp_path)], environ=environ()) as pool:
            offer = await pool.offer(everything)
    assert "There are 100:" in offer.tools[0].description


async def test_a_result_of_any_length_is_cut(tmp_path: Path) -> None:
    with within(20):
        async with open_mcp([stdio_server("helper", folder=tmp_path)], environ=environ()) as pool:
            found = await pool.call("mcp__s__large", {"size": 5_000_000}, ask=Person())
    assert isinstance(found, str)
    assert len(found) < 101_000
    assert found.endswith("[cut after 100000 characters; ask for less at a time]")


async def test_a_server_that_reads_no_more_is_left_at_once_and_ended_after_the_time_of_a_call(tmp_path: Path) -> None:
    with within(20):
        async with open_mcp(
            [stdio_server("raw", "deaf", folder=tmp_path)], environ=environ(), limits=McpLimits(call_s=0.5)
        ) as pool:
            with pytest.raises(ToolFailure, match="did not answer within"):
                await pool.call("mcp__s__t", {"text": "x"}, ask=Person())
            with within(2), anyio.move_on_after(0.2):
                await pool.call("mcp__s__t", {"text": "x" * 1_000_000}, ask=Person())
            with pytest.raises(ToolFailure, match="is gone: it takes no more messages"):
                await pool.call("mcp__s__t", {"text": "x"}, ask=Person())


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_a_server_that_ignores_the_end_of_its_input_and_signals_is_killed_in_time(tmp_path: Path) -> None:
    with within(15):
        async with open_mcp([stdio_server("stubborn", folder=tmp_path)], environ=environ()) as pool:
            await pool.offer(everything)
            (server,) = await noted(tmp_path, "started")
            began = anyio.current_time()
        assert anyio.current_time() - began < 7
        await all_gone([server])


async def test_what_a_server_started_ends_with_it(tmp_path: Path) -> None:
    with within(30):
        async with open_mcp(
            [stdio_server("litters", folder=tmp_path)], environ=environ(), launcher=supervised(tmp_path)
        ) as pool:
            assert await pool.call("mcp__s__add", {"a": 1, "b": 1}, ask=Person()) == "2"
            litter = await noted(tmp_path, "litter", times=2)
        await all_gone(litter)
    assert "ended" in notes(tmp_path)


async def test_without_a_supervisor_what_it_started_in_its_group_ends_with_it(tmp_path: Path) -> None:
    with within(30):
        async with open_mcp([stdio_server("litters", folder=tmp_path)], environ=environ()) as pool:
            await pool.offer(everything)
            litter = await noted(tmp_path, "litter", times=2)
        # One has left the group, which only a supervisor notices: this test ends it.
        left = [each for each in litter if psutil.pid_exists(each) and os.getsid(each) == each]
        for each in left:
            os.kill(each, signal.SIGKILL)
        await all_gone([each for each in litter if each not in left])
    assert len(left) == 1


async def test_a_run_that_is_cancelled_leaves_no_server(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_mcp([stdio_server("raw", "the end", folder=tmp_path)], environ=environ()) as pool:
            await pool.offer(everything)
            await anyio.sleep_forever()

    with within(15):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            (server,) = await noted(tmp_path, "started")
            tasks.cancel_scope.cancel("the run is stopped")
        await all_gone([server])


_HOST = """
import anyio, sys
from pathlib import Path
from callsheet.agents.mcp.pool import open_mcp
from tests.security.test_mcp_servers import supervised
from tests.support.mcp_stage import environ, everything, stdio_server

async def main(folder):
    server = stdio_server("stubborn", folder=folder)
    async with open_mcp([server], environ=environ(), launcher=supervised(folder)) as pool:
        await pool.offer(everything)
        print("up", flush=True)
        await anyio.sleep_forever()

anyio.run(main, Path(sys.argv[1]))
"""


async def test_a_host_that_is_killed_leaves_no_server_under_a_supervisor(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    with within(30):
        host = await anyio.open_process(
            [sys.executable, "-c", _HOST, str(tmp_path)],
            cwd=root,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{root}:{root / 'src'}"},
            stderr=subprocess.DEVNULL,
        )
        async with host:
            assert host.stdout is not None
            assert await host.stdout.receive() == b"up\n"
            server = await noted(tmp_path, "started")
            host.kill()
            await host.wait()
            await all_gone(server)


# --- confinement ------------------------------------------------------------------------------------------------------


@pytest.fixture
def profile(tmp_path: Path) -> CommandProfile:
    base = tmp_path.resolve()
    (base / "ws").mkdir()
    (base / "scratch").mkdir(mode=0o700)
    return CommandProfile(
        scratch=base / "scratch",
        writable=(base / "ws",),
        visible=(Path(sys.base_prefix), Path(sys.prefix).resolve(), Path(__file__).parents[2].resolve()),
        home=Path.home(),
    )


@pytest.mark.parametrize("confinement", ALL, ids=name_of)
async def test_a_server_works_under_every_confinement(profile: CommandProfile, confinement: CommandConfinement) -> None:
    (folder,) = profile.writable
    launcher = confined_by(confinement, lambda _: profile)
    with within(30):
        async with open_mcp([stdio_server("helper", folder=folder)], environ=environ(), launcher=launcher) as pool:
            assert await pool.call("mcp__s__add", {"a": 1, "b": 2}, ask=Person()) == "3"
        assert notes(folder) == ["started", "ended"]


# --- programs ---------------------------------------------------------------------------------------------------------


async def test_no_program_of_the_workspace_is_taken_for_a_well_known_one(tmp_path: Path) -> None:
    trap = tmp_path / "node_modules" / ".bin" / "helper-server"
    trap.parent.mkdir(parents=True)
    trap.write_text(f"#!/bin/sh\necho trapped > {tmp_path}/trapped\n", encoding="utf-8")
    trap.chmod(0o755)
    how = StdioServer(command="helper-server", arguments=(), environ={}, folder=tmp_path)
    server = McpServer(name="s", source="test", scope="user", how=how)
    path = f"{trap.parent}:{os.environ['PATH']}"
    with within():
        async with open_mcp([server], environ={"PATH": path}, workspace=tmp_path) as pool:
            offer = await pool.offer(everything)
    assert "there is no program 'helper-server'" in offer.notes[0]
    assert not (tmp_path / "trapped").exists()
