"""What agents start begins no runs of its own: no budget of their run would count them."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

import callsheet
from callsheet.agents.claude_code.environment import program_environment
from callsheet.agents.mcp.config import StdioServer
from callsheet.agents.mcp.launch import server_program
from callsheet.errors import InsideRunError
from callsheet.shell.environment import INSIDE_RUN, command_environment, inside_run
from tests.support.deadline import within
from tests.support.sessions import SessionStage
from tests.surfaces.command import META, Command

RUN = "run_01JZZZZZZZZZZZZZZZZZZZZZZZ"
INSIDE = {INSIDE_RUN: RUN}
ASKS = META + "return await agent('inner')"
PLAYED = {"answers": [{"prompt": "inner", "result": "from a file"}]}


@pytest.fixture
def command(tmp_path: Path, bytecode: Path) -> Command:
    for folder in ("workspace", "home"):
        (tmp_path / folder).mkdir()
    made = Command(tmp_path / "workspace", bytecode=bytecode)
    (made.folder / "inner.js").write_text(ASKS, encoding="utf-8")
    (made.folder / "played.json").write_text(json.dumps(PLAYED), encoding="utf-8")
    return made


def configure(command: Command, text: str) -> None:
    folder = command.folder.parent / "home" / ".config" / "callsheet"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "words",
    [
        ("run", "inner.js"),
        ("run", "inner.js", "--detach"),
        ("resume", "last"),
        ("do", "count the files"),
        ("author", "count the files"),
    ],
)
def test_inside_a_run_every_command_that_starts_agents_refuses_with_the_place_and_a_remedy(
    command: Command, words: tuple[str, ...]
) -> None:
    if words[0] == "resume":
        assert command("run", "inner.js", "--backend", "offline").status == 0
    refused = command(*words, "--backend", "offline", environ=INSIDE)
    assert refused.status == 2, refused.err
    assert f"an agent of {RUN} has started" in refused.err
    assert "agent() or workflow()" in refused.err
    assert "--backend scripted:FILE" in refused.err
    assert refused.out == ""


def test_inside_a_run_what_reads_goes_on_and_so_do_rehearsals_and_answers_of_a_file(command: Command) -> None:
    played = command("run", "inner.js", "--backend", "scripted:played.json", environ=INSIDE)
    assert (played.status, played.out) == (0, "from a file\n"), played.err
    for words in (
        ("check", "inner.js"),
        ("list",),
        ("runs",),
        ("show", "last"),
        ("rehearse", "inner.js"),
        ("config",),
    ):
        assert command(*words, environ=INSIDE).status == 0, words


def test_a_program_that_an_agent_starts_cannot_start_agents(command: Command) -> None:
    callsheet_run = shlex.join([sys.executable, "-m", "callsheet", "run", "inner.js", "--backend"])
    configure(
        command,
        f"[agents.paid]\ncommand = ['sh', '-c', {json.dumps(f'{callsheet_run} offline 2>&1; echo $?')}]\n"
        f"[agents.free]\ncommand = ['sh', '-c', {json.dumps(f'{callsheet_run} scripted:played.json --share')}]\n",
    )
    outer = command.script("return [await agent('x', { agentType: 'paid' }), await agent('x', { agentType: 'free' })]")
    done = command("run", outer, "--backend", "offline", "--output", "json", "--unconfined", "--share")
    paid, free = done.json["result"]
    assert f"an agent of {done.json['run_id']} has started" in paid
    assert paid.endswith("\n2")
    assert free == "from a file"


def test_all_that_agents_start_is_marked_and_neither_they_nor_a_server_s_configuration_choose_that(
    tmp_path: Path,
) -> None:
    host = {"PATH": "/usr/bin:/bin", "CALLSHEET_STORE": "/elsewhere"}
    environ = inside_run({**host, INSIDE_RUN: "run_outer"}, RUN)
    assert INSIDE_RUN not in command_environment(host)
    assert command_environment(environ, keep=["CALLSHEET_STORE"])[INSIDE_RUN] == RUN
    assert "CALLSHEET_STORE" not in command_environment(environ, keep=["CALLSHEET_STORE"])
    server = StdioServer(command="sh", arguments=(), environ={INSIDE_RUN: ""}, folder=tmp_path)
    assert server_program(server, environ, workspace=None).environ[INSIDE_RUN] == RUN
    assert program_environment(environ, temporary=tmp_path, workspace=tmp_path)[INSIDE_RUN] == RUN


@pytest.mark.anyio
async def test_the_python_api_refuses_too(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INSIDE_RUN, RUN)
    monkeypatch.setenv("HOME", command.environ["HOME"])
    monkeypatch.chdir(command.folder)
    with within(60):
        with pytest.raises(InsideRunError) as refused:
            await callsheet.run("inner.js", backend="offline")
        assert refused.value.run_id == RUN
        result = await callsheet.run("inner.js", backend="scripted:played.json")
    assert result.result == "from a file"


@pytest.mark.anyio
async def test_a_session_does_not_open(tmp_path: Path) -> None:
    stage = SessionStage(tmp_path)
    stage.environ |= INSIDE
    with within(60), pytest.raises(InsideRunError, match=RUN):
        async with stage.open(backend="offline"):
            pass
    assert stage.files == []


@pytest.mark.anyio
async def test_a_workflow_server_that_an_agent_is_given_starts_nothing_and_still_tells(command: Command) -> None:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "callsheet", "mcp", "--backend", "offline"],
        cwd=command.folder,
        env=command.environ | INSIDE,
    )
    with within(60):
        async with Client(stdio_client(server)) as client:
            refused = await client.call_tool("workflow", {"script": ASKS})
            listed = await client.call_tool("workflow_list", {"runs": 5})
    assert refused.is_error
    assert refused.structured_content is not None
    error = refused.structured_content["error"]
    assert (error["kind"], RUN in error["message"]) == ("inside_a_run", True)
    assert "agent() or workflow()" in error["message"]
    assert not listed.is_error
    assert listed.structured_content is not None
    assert listed.structured_content["runs"] == []
