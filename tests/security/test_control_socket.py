"""Who may talk to a run over its socket, and what those who may not, or who mean harm, can do to it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from callsheet.control.client import open_client
from callsheet.control.places import Reach
from callsheet.control.server import MOST_PEERS
from callsheet.errors import ControlLostError
from callsheet.permissions.decide import Decider
from callsheet.permissions.modes import Mode
from callsheet.permissions.sources import PermissionSettings
from callsheet.ports import CommandConfinement
from tests.support.confined import CONFINED, PYTHON, Site, name_of
from tests.support.controlled import PlayedRun, RawPeer, runtime_folder, said, served
from tests.support.deadline import within
from tests.surfaces.command import Command

pytestmark = pytest.mark.anyio

PEER = """
import json, socket, sys
peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
try:
    peer.connect(sys.argv[1])
except OSError as fault:
    print(json.dumps({"fault": type(fault).__name__}))
    sys.exit()
def send(data):
    try:
        peer.sendall(data)
    except OSError:
        pass  # it was told what there is to say, and left
send(json.dumps({"callsheet": 1, "token": sys.argv[2]}).encode() + b"\\n")
lines = peer.makefile()
print(lines.readline() or "null")
send(b'{"id": 1, "do": "pause"}\\n')
lines.readline()
"""
BY_NOBODY = f"import json, os, socket, sys; os.setresuid(65534, 65534, 65534)\n{PEER}"
BY_A_CHILD = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]], start_new_session=True)"


@pytest.fixture
def runtime() -> Iterator[Path]:
    with runtime_folder() as folder:
        yield folder


async def answer_to(reach: Reach, *before: str, peer: str = PEER) -> Any:
    """What another process, started by this one, gets for its greeting."""
    words = [sys.executable, *before, "-c", peer, str(reach.socket), reach.token]
    done = await anyio.run_process(words, check=False, stderr=None)
    return json.loads(done.stdout)


# --- who --------------------------------------------------------------------------------------------------------------


async def test_what_a_runs_process_starts_is_refused_though_it_has_the_token(runtime: Path) -> None:
    run = PlayedRun()
    with within(30):
        async with served(run, runtime) as server:
            child = await answer_to(server.reach)
            grandchild = await answer_to(server.reach, "-c", BY_A_CHILD)
    assert child == grandchild
    assert "you were started by a run" in child["error"]["message"]
    assert run.deeds == []


async def test_a_program_that_works_for_the_user_may_talk_to_the_run_that_started_it(runtime: Path) -> None:
    run = PlayedRun()
    started = f"import subprocess, sys; input(); subprocess.run([sys.executable, '-c', {PEER!r}, *sys.argv[1:]])"
    with within(30):
        async with served(run, runtime) as server:
            words = [sys.executable, "-c", started, str(server.reach.socket), server.reach.token]
            async with await anyio.open_process(words, stdin=-1, stdout=-1) as program:
                assert program.stdin is not None
                assert program.stdout is not None
                server.trusted.add(program.pid)
                await program.stdin.send(b"\n")
                assert b"hello" in await program.stdout.receive()
                await program.wait()
    assert run.deeds == [("pause", "a person")]


if os.geteuid() == 0:  # nobody else can act as somebody else

    async def test_another_user_is_refused_though_every_door_is_open_and_the_token_is_known(runtime: Path) -> None:
        run = PlayedRun()
        with within(30):
            async with served(run, runtime) as server:
                shut = await answer_to(server.reach, peer=BY_NOBODY)
                for door, mode in ((runtime, 0o755), (server.reach.folder, 0o755), (server.reach.socket, 0o666)):
                    door.chmod(mode)
                refused = await answer_to(server.reach, peer=BY_NOBODY)
        assert shut == {"fault": "PermissionError"}
        assert refused["error"]["message"] == "you are another user than the run's"
        assert run.deeds == []


@pytest.mark.parametrize("token", ["", "x", "T" * 43, "é", "x" * 199])
async def test_a_wrong_token_opens_nothing(runtime: Path, token: str) -> None:
    run = PlayedRun()
    with within():
        async with served(run, runtime) as server:
            with pytest.raises(ControlLostError, match="token is not this run's") as refused:
                async with open_client(replace(server.reach, token=token)):
                    pass
    assert refused.value.why == "refused"
    assert run.deeds == []


# --- what -------------------------------------------------------------------------------------------------------------

STRANGE_GREETINGS = {
    "nothing": b"\n",
    "no json": b"hello\n",
    "zeros": b"\0" * 100 + b"\n",
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "not an object": b"[1]\n",
    "no token": b'{"callsheet": 1}\n',
    "a number for a token": b'{"callsheet": 1, "token": 1}\n',
    "another key": b'{"callsheet": 1, "token": "x", "as": "root"}\n',
    "nested": b"[" * 4_000 + b"\n",
    "no utf-8": b'{"callsheet": 1, "token": "\xff\xfe"}\n',
    "too long": b"x" * 5_000 + b"\n",
    "another version": b'{"callsheet": 2, "token": "TOKEN"}\n',
}
STRANGE_REQUESTS = {
    "no json": b"pause\n",
    "an unknown deed": b'{"id": 1, "do": "eval", "code": "1"}\n',
    "python": b'{"id": 1, "do": "__class__"}\n',
    "another key": b'{"id": 1, "do": "pause", "env": {}}\n',
    "no id": b'{"do": "pause"}\n',
    "a true id": b'{"id": true, "do": "pause"}\n',
    "a huge id": b'{"id": 1e400, "do": "pause"}\n',
    "many digits": b'{"id": ' + b"9" * 10_000 + b', "do": "pause"}\n',
    "an object for an agent": b'{"id": 1, "do": "skip", "agent_id": {"a": 1}}\n',
    "a verdict that is none": b'{"id": 1, "do": "answer", "question_id": "q0001", "verdict": "unanswered"}\n',
    "a negative seq": b'{"id": 1, "do": "events", "after": -1}\n',
    "nested": b'{"id": 1, "do": ' + b'{"a":' * 20_000 + b"\n",
    "nobody's name": b'{"id": 1, "do": "pause", "by": ""}\n',
}


@pytest.mark.parametrize("greeting", STRANGE_GREETINGS.values(), ids=STRANGE_GREETINGS)
async def test_who_does_not_greet_as_agreed_is_cut_off_and_the_run_serves_others(
    runtime: Path, greeting: bytes
) -> None:
    run = PlayedRun()
    with within():
        async with served(run, runtime) as server:
            async with RawPeer.meet(server.reach) as peer:
                await peer.send(greeting.replace(b"TOKEN", server.reach.token.encode()))
                assert list(json.loads((await peer.rest()).splitlines()[-1])) == ["error"]
            async with open_client(server.reach) as client:
                assert await client.ask("pause") is True


@pytest.mark.parametrize("request_line", STRANGE_REQUESTS.values(), ids=STRANGE_REQUESTS)
async def test_what_is_no_request_does_nothing_and_ends_the_connection(runtime: Path, request_line: bytes) -> None:
    run = PlayedRun()
    with within():
        async with served(run, runtime) as server:
            async with RawPeer.meet(server.reach) as peer:
                await peer.send(greeting(server.reach) + request_line + b'{"id": 2, "do": "stop"}\n')
                last = json.loads((await peer.rest()).splitlines()[-1])
            assert last["error"]["kind"] == "malformed"
            assert run.deeds == []
            async with open_client(server.reach) as client:
                assert await client.ask("pause") is True


def greeting(reach: Reach) -> bytes:
    return json.dumps({"callsheet": 1, "token": reach.token}).encode() + b"\n"


async def test_a_line_without_end_is_not_read_to_its_end(runtime: Path) -> None:
    with within(30):
        async with served(PlayedRun(), runtime) as server:
            for first in (b"", greeting(server.reach)):
                async with RawPeer.meet(server.reach) as peer:
                    with pytest.raises(OSError, match=r"Broken pipe|Connection reset"):
                        await peer.send(first + b"x" * 16 * 1024 * 1024)
            async with open_client(server.reach) as client:
                assert await client.ask("pause") is True


async def test_who_says_nothing_is_cut_off(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callsheet.control.server.GREETING_S", 0.1)
    with within():
        async with served(PlayedRun(), runtime) as server:
            for begun in (b"", b'{"callsheet": 1, '):
                async with RawPeer.meet(server.reach) as peer:
                    await peer.send(begun)
                    assert await peer.rest() == b""


async def test_requests_without_number_whose_answers_nobody_reads_hold_up_nobody(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callsheet.control.server.STALLED_S", 0.2)
    with within(30):
        async with (
            served(PlayedRun(said(1)), runtime) as server,
            anyio.create_task_group() as tasks,
            open_client(server.reach) as client,
        ):

            async def flood() -> None:
                async with RawPeer.meet(server.reach) as peer:
                    await peer.send(greeting(server.reach))
                    with pytest.raises(OSError, match=r"Broken pipe|Connection reset"):
                        while True:
                            await peer.send(b'{"id": 1, "do": "questions"}\n' * 1_000)
                flooded.set()

            flooded = anyio.Event()
            tasks.start_soon(flood)
            asked = 0
            while not flooded.is_set():
                asked += (await client.ask("pause")) in (True, False)
            assert asked > 20


async def test_more_than_so_many_are_sent_away_and_come_in_when_others_have_gone(runtime: Path) -> None:
    with within(30):
        async with served(PlayedRun(), runtime) as server, AsyncExitStack() as first, AsyncExitStack() as others:
            for number in range(MOST_PEERS):
                peer = await (others if number else first).enter_async_context(RawPeer.meet(server.reach))
                await peer.send(greeting(server.reach))
                await anyio.wait_readable(peer.socket)
            with pytest.raises(ControlLostError, match="others are connected"):
                async with open_client(server.reach):
                    pass
            await first.aclose()
            while server.peers == MOST_PEERS:
                await anyio.lowlevel.checkpoint()
            async with open_client(server.reach) as client:
                assert await client.ask("pause") is True


# --- agents -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confinement", CONFINED, ids=name_of)
async def test_an_agents_command_sees_neither_socket_nor_key_and_cannot_connect(
    runtime: Path, tmp_path: Path, confinement: CommandConfinement
) -> None:
    site = Site(tmp_path, confinement)
    run = PlayedRun()
    with within(60):
        async with served(run, runtime) as server:
            script = site.workspace / "peer.py"
            script.write_text(PEER, encoding="utf-8")
            reach = server.reach
            seen = await site.run(f"ls {reach.folder}; cat {reach.file}; ls /run/user /tmp")
            connected = await site.run(f"{PYTHON} {script} {reach.socket} {reach.token}")
    assert reach.token not in seen.output
    assert reach.run_id not in seen.output.replace(str(reach.file), "")
    assert "hello" not in connected.output
    assert run.deeds == []


async def test_no_file_tool_opens_a_key_not_even_where_everything_is_allowed(runtime: Path, tmp_path: Path) -> None:
    decider = Decider(PermissionSettings(mode=Mode.BYPASS), root=tmp_path, home=tmp_path)
    with within():
        async with served(PlayedRun(), runtime) as server:
            key = server.reach.file
            (tmp_path / "link").symlink_to(key)
            for path in (str(key), "link", f"{key.parent}/../{key.parent.name}/{key.name}"):
                for tool in ("read", "write"):
                    assert decider.decide(tool, {"file_path": path, "content": ""}).decision == "deny"
            assert decider.decide("bash", {"command": f"cat {key}"}).decision == "deny"
            assert decider.hides(key)


SPY = """
import json, socket, sys
from pathlib import Path
folder = Path(sys.stdin.read().strip())
(key,) = folder.glob("*.callsheet-key")
token = json.loads(key.read_text())["token"]
peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
peer.connect(str(key).removesuffix(".callsheet-key") + ".sock")
try:
    peer.sendall(json.dumps({"callsheet": 1, "token": token}).encode() + b'\\n{"id": 1, "do": "stop"}\\n')
except OSError:
    pass  # it was told what there is to say, and left
print(peer.makefile().readline())
"""


@pytest.mark.parametrize("is_confined", [True, False], ids=["confined", "unconfined"])
def test_an_agent_of_a_real_run_cannot_reach_it(command: Command, runtime: Path, is_confined: bool) -> None:
    spy = command.folder.parent / "spy.py"
    spy.write_text(SPY, encoding="utf-8")
    words = ["sh", "-c", "cat > it; ls -l $(cat it); ls -la /tmp"] if is_confined else [sys.executable, str(spy)]
    config = Path(command.environ["HOME"]) / ".config" / "callsheet"
    config.mkdir(parents=True)
    (config / "config.toml").write_text(f"[agents.spy]\ncommand = {json.dumps(words)}\n", encoding="utf-8")
    script = command.script(f"return await agent('{runtime}/callsheet', {{ agentType: 'spy', settle: true }})")
    flags = [] if is_confined else ["--unconfined"]
    environ = {"XDG_RUNTIME_DIR": str(runtime)}
    done = command("run", script, "--backend", "offline", "--output", "json", *flags, environ=environ)
    assert done.json["status"] in ("completed", "degraded"), "it was not stopped"
    said = json.dumps(done.json["result"])
    if is_confined:
        assert "total 0" in said or "cannot access" in said
        assert ".callsheet-key" not in said
        assert ".sock" not in said
        assert done.json["run_id"] not in said
    else:
        assert "you were started by a run" in said
