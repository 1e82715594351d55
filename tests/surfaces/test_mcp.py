"""`callsheet mcp` with the SDK's own client: over its streams, and over HTTP on loopback."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx2
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from tests.support.deadline import within
from tests.surfaces.command import META, Command

pytestmark = pytest.mark.anyio

Json = dict[str, Any]

ANSWERS = (
    {"label": "quick", "result": "at once"},
    {"label": "soon", "result": "soon", "delay_ms": 700},
    {"label": "slow", "result": "late", "delay_ms": 600_000},
)
SHORT = META + "phase('One'); const said = await agent('q', { label: 'soon' }); return { said, args }"
LONG = META + "const q = await agent('q', { label: 'quick' }); return [q, await agent('s', { label: 'slow' })]"
BIDI = "a\u202eb\u200bc\x1b[31m\U000e0041"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory, bytecode: Path) -> Command:
    """The command, in a workspace that all tests here share."""
    base = tmp_path_factory.mktemp("mcp")
    (base / "workspace").mkdir()
    (base / "home").mkdir()
    found = Command(base / "workspace", bytecode=bytecode)
    found.answers(*ANSWERS)
    return found


def words(*more: str) -> list[str]:
    return ["-m", "callsheet", "mcp", "--backend", "scripted:answers.json", "--max-budget", "50k $2", *more]


@pytest.fixture(scope="module")
async def host(command: Command) -> AsyncGenerator[Client]:
    """A client, and the server that it has started."""
    server = StdioServerParameters(
        command=sys.executable,
        args=words("--max-agents", "7", "--permission-mode", "ask"),
        cwd=command.folder,
        env=command.environ,
    )
    async with Client(stdio_client(server)) as client:
        yield client


async def said(client: Client, tool: str, **given: Any) -> Json:
    """What a tool answers that does what it is asked for."""
    with within(40):
        answer = await client.call_tool(tool, given)
    assert not answer.is_error, answer.content
    found = answer.structured_content
    assert isinstance(found, dict)
    assert json.loads(answer.content[0].text) == found  # type: ignore[union-attr]
    return found


class Told(NamedTuple):
    """What a notification says of a run's progress."""

    done: float
    total: float | None
    message: str | None


async def waited_for(client: Client, run_id: str) -> tuple[Json, list[Told]]:
    """A run's result once it has ended, and what was told of its progress."""
    told: list[Told] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append(Told(progress, total, message))

    with within(40):
        answer = await client.call_tool("workflow_result", {"runId": run_id, "waitSeconds": 30}, progress_callback=tell)
    assert not answer.is_error, answer.content
    return dict(answer.structured_content or {}), told


async def refused(client: Client, tool: str, **given: Any) -> Json:
    """Why a tool does not do what it is asked for."""
    with within(40):
        answer = await client.call_tool(tool, given)
    assert answer.is_error, answer.content
    assert answer.structured_content is not None
    return dict(answer.structured_content["error"])


async def until_at_work(client: Client, run_id: str, label: str) -> Json:
    """How a run stands once an agent of that label is at work."""
    with within(30):
        while True:
            status = await said(client, "workflow_status", runId=run_id)
            if any(agent.get("label") == label for agent in status.get("atWork", ())):
                return status
            await anyio.sleep(0.05)  # another process: its record says it


@pytest.mark.contract("G01")
async def test_a_workflow_goes_from_start_to_result_with_progress_and_args_as_json_text_are_decoded(
    host: Client, command: Command
) -> None:
    started = await said(host, "workflow", script=SHORT, args='{"files": ["a.py"]}')
    assert started["status"] == "running"
    assert text_of(started["scriptPath"]) == SHORT

    found, told = await waited_for(host, started["runId"])
    assert (found["status"], found["isOver"]) == ("completed", True)
    assert found["result"] == {"said": "soon", "args": {"files": ["a.py"]}}
    amounts = [each.done for each in told]
    assert amounts == sorted(set(amounts))
    assert told[-1] == Told(1, 1, "1 of 1 agent ended, 0 at work")
    recorded = command("runs", "--json").json["runs"]
    assert [run["status"] for run in recorded if run["run_id"] == started["runId"]] == ["completed"]


async def test_a_run_is_stopped_and_its_edited_script_goes_on_without_asking_again_what_was_answered(
    host: Client,
) -> None:
    started = await said(host, "workflow", script=LONG, budget="10k")
    run_id = started["runId"]
    status = await until_at_work(host, run_id, "slow")
    assert (status["isOver"], status["agents"]["outcomes"]) == (False, {"ok": 1})
    assert (await said(host, "workflow_result", runId=run_id, waitSeconds=0.2))["isOver"] is False
    again = await refused(host, "workflow", resumeFromRunId=run_id)
    assert again["kind"] == "not_started"
    assert run_id in again["message"]

    stopped = await said(host, "workflow_stop", runId=run_id)
    assert (stopped["wasRunning"], stopped["isOver"]) == (True, True)
    assert (await said(host, "workflow_stop", runId=run_id))["wasRunning"] is False
    for tool, name in (("workflow", "resumeFromRunId"), ("workflow_status", "runId"), ("workflow_stop", "runId")):
        assert (await refused(host, tool, **{name: "run_none"}))["kind"] == "not_found"

    edited = LONG.replace("await agent('s', { label: 'slow' })", "args ?? 'none'")
    await anyio.Path(started["scriptPath"]).write_text(edited, encoding="utf-8")
    resumed = await said(host, "workflow", scriptPath=started["scriptPath"], resumeFromRunId=run_id, budget="20k")
    assert (resumed["runId"], started["limits"]["budgetTokens"]) == (run_id, 10_000)
    assert resumed["limits"]["budgetTokens"] == 20_000
    found = await said(host, "workflow_result", runId=run_id, waitSeconds=30)
    assert (found["status"], found["result"]) == ("completed", ["at once", "none"])
    assert found["resumed"] == {"reused": 1, "live": 0}


async def test_a_bad_script_is_refused_with_all_its_findings_and_their_places_before_anything_starts(
    host: Client, command: Command
) -> None:
    before = len(await runs_of(host))
    error = await refused(host, "workflow", script=META + "const x: string = 'a'\nreturn await parallel([agent('a')]")
    assert error["kind"] == "script_refused"
    first = error["findings"][0]
    assert (first["severity"], first["line"]) == ("error", 2)
    assert first["message"] and first["column"]
    assert "workflow again" in error["next"]

    error = await refused(host, "workflow", script="import fs from 'fs'\n")
    assert error["findings"][0]["code"] == "import"
    assert len(await runs_of(host)) == before
    assert not list((command.folder / ".callsheet" / "scripts").glob(".*"))


@pytest.mark.parametrize(
    ("given", "kind", "hint"),
    [
        ({}, "usage", "script"),
        ({"script": "x", "name": "y"}, "usage", "only one"),
        ({"scriptpath": "x.js"}, "usage", "scriptPath"),
        ({"name": "code-reviev"}, "not_found", "code-review"),
        ({"name": "../../../etc/passwd"}, "usage", "scriptPath"),
        ({"name": "answers.json"}, "not_found", "answers"),
        ({"name": f"x{BIDI}\n"}, "usage", "name"),
        ({"name": "a\0b"}, "not_found", "a"),
        ({"name": "x" * 5_000}, "not_found", "xxx"),
        ({"scriptPath": f"{'x' * 5_000}.js"}, "script_refused", "cannot be read"),
        ({"scriptPath": "/etc/passwd"}, "usage", ".js"),
        ({"scriptPath": "../outside.js"}, "usage", "outside the workspace"),
        ({"scriptPath": "a\0.js"}, "usage", "scriptPath"),
        ({"scriptPath": "none.js"}, "script_refused", "there is no file"),
        ({"script": META, "budget": "a lot"}, "usage", "budget"),
        ({"script": META, "maxAgents": 0}, "usage", "maxAgents"),
    ],
)
async def test_a_call_that_cannot_be_meant_so_is_refused_in_words_that_help(
    host: Client, given: Json, kind: str, hint: str
) -> None:
    error = await refused(host, "workflow", **given)
    assert (error["kind"], hint in error["message"]) == (kind, True), error


async def test_a_call_gets_no_more_than_the_server_was_given_and_is_told_so(host: Client) -> None:
    started = await said(
        host, "workflow", script=SHORT, budget="2M $1", maxAgents=500, maxParallel=3, permissionMode="bypass"
    )
    limits = started["limits"]
    assert (limits["budgetTokens"], limits["budgetUsd"], limits["maxAgents"]) == (50_000, 1.0, 7)
    assert (limits["maxParallel"], limits["permissionMode"]) == (3, "ask")
    assert [note.partition(":")[0] for note in started["notes"][:2]] == ["budget in tokens", "maxAgents"]
    assert "bypass" in started["notes"][2]

    narrow = await said(host, "workflow", script=SHORT, permissionMode="plan", maxAgents=2)
    assert (narrow["limits"]["permissionMode"], narrow["limits"]["maxAgents"]) == ("plan", 2)
    assert narrow["limits"]["budgetTokens"] == 50_000
    for run in (started, narrow):
        status = await said(host, "workflow_result", runId=run["runId"], waitSeconds=30)
        assert status["status"] == "completed"


async def test_what_could_act_on_a_terminal_is_escaped_in_text_and_whole_as_data(host: Client) -> None:
    started = await said(host, "workflow", script=SHORT, args={"name": BIDI})
    with within(40):
        answer = await host.call_tool("workflow_result", {"runId": started["runId"], "waitSeconds": 30})
    text = answer.content[0].text  # type: ignore[union-attr]
    assert not set(BIDI) - set("abc[31m") & set(text)
    assert json.loads(text)["result"]["args"] == {"name": BIDI}


async def test_workflows_runs_guide_types_and_scripts_can_be_listed_and_read(host: Client, command: Command) -> None:
    command.script("return 1", ".claude/workflows/mine.js")
    started = await said(host, "workflow", name="case")
    assert (await said(host, "workflow_result", runId=started["runId"], waitSeconds=30))["result"] == 1
    listed = await said(host, "workflow_list", runs=1, guide=True)
    assert {"case", "code-review"} <= {each["name"] for each in listed["workflows"]}
    assert [run["runId"] for run in listed["runs"]] == [started["runId"]]
    assert (listed["most"]["maxAgents"], listed["most"]["permissionMode"]) == (7, "ask")
    assert "pipeline" in listed["guide"]

    with within(20):
        uris = [each.uri for each in (await host.list_resources()).resources]
        run = f"callsheet://runs/{started['runId']}"
        assert {"callsheet://guide", "callsheet://workflow.d.ts", "callsheet://runs", run} <= set(uris)
        templates = (await host.list_resource_templates()).resource_templates
        assert {each.uri_template for each in templates} >= {"callsheet://runs/{runId}/result"}
        assert await read(host, "callsheet://guide") == listed["guide"]
        assert "declare function agent" in await read(host, "callsheet://workflow.d.ts")
        assert await read(host, f"{run}/script") == META + "return 1"
        assert json.loads(await read(host, run))["status"] == "completed"
        assert json.loads(await read(host, f"{run}/result"))["run_id"] == started["runId"]
        for uri in ("callsheet://runs/../../etc/passwd", "callsheet://runs/run_none", "file:///etc/passwd"):
            with pytest.raises(MCPError):
                await host.read_resource(uri)


async def test_output_holds_nothing_but_the_protocol_and_runs_go_on_when_input_ends(command: Command) -> None:
    line = [sys.executable, *words()]
    process = await anyio.open_process(
        line, cwd=command.folder, env=command.environ, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with process:
        assert process.stdin is not None and process.stdout is not None
        answers = BufferedByteReceiveStream(process.stdout)
        about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        calls: tuple[Json, ...] = (
            {"id": 1, "method": "initialize", "params": about},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/call", "params": {"name": "workflow", "arguments": {"script": LONG}}},
        )
        with within(40):
            found: list[Json] = []
            for call in calls:
                await process.stdin.send(json.dumps({"jsonrpc": "2.0", **call}).encode() + b"\n")
                if "id" in call:
                    found.append(json.loads(await answers.receive_until(b"\n", 1_000_000)))
            await process.stdin.aclose()
            rest = b""
            with suppress(anyio.EndOfStream):
                while True:
                    rest += await answers.receive()
            assert await process.wait() == 0
        assert [each["id"] for each in found] == [1, 2]
        assert rest == b""
    run_id = found[1]["result"]["structuredContent"]["runId"]
    listed = command("runs", "--json").json["runs"]
    assert next(run["status"] for run in listed if run["run_id"] == run_id) == "running"
    assert command("stop", run_id).status == 0


@asynccontextmanager
async def over_http(command: Command, *more: str) -> AsyncGenerator[tuple[str, str]]:
    """The server on loopback: its URL and its token."""
    line = [sys.executable, *words("--http", "--port", "0", *more)]
    process = await anyio.open_process(line, cwd=command.folder, env=command.environ, stdin=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        with within(30):
            told = json.loads(await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 10_000))
        yield told["url"], told["token"]
        process.send_signal(signal.SIGTERM)
        with within(20):
            assert await process.wait() == 0
    finally:
        with anyio.CancelScope(shield=True):
            with suppress(ProcessLookupError):
                process.kill()
            await process.aclose()


async def test_over_http_a_client_with_the_token_runs_a_workflow_and_nobody_else_is_let_in(command: Command) -> None:
    kept = command.folder.parent / "token"
    async with over_http(command, "--token-file", str(kept)) as (url, token):
        assert kept.read_text(encoding="utf-8").strip() == token
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        bearer = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(headers=bearer, timeout=120) as http:
            async with Client(streamable_http_client(url, http_client=http)) as client:
                started = await said(client, "workflow", script=SHORT)
                found, told = await waited_for(client, started["runId"])
                assert (found["status"], told[-1].done) == ("completed", 1)
            with within(20):
                call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
                for headers, status in (
                    ({"Authorization": "Bearer wrong"}, 401),
                    ({"Authorization": ""}, 401),
                    ({"Host": "evil.example"}, 421),
                    ({"Origin": "http://evil.example"}, 403),
                    ({"Origin": "null"}, 403),
                ):
                    answered = await http.post(url, json=call, headers=headers)
                    assert answered.status_code == status, headers


async def test_a_server_that_others_could_reach_or_with_a_token_that_others_can_read_does_not_start(
    command: Command,
) -> None:
    exposed = command("mcp", "--http", "--host", "0.0.0.0")
    assert (exposed.status, "--expose" in exposed.err) == (2, True)
    kept = command.folder.parent / "open-token"
    kept.write_text("t" * 40, encoding="utf-8")
    kept.chmod(0o644)
    opened = command("mcp", "--http", "--port", "0", "--token-file", str(kept))
    assert (opened.status, "chmod 600" in opened.err) == (2, True)
    alone = command("mcp", "--port", "8450")
    assert (alone.status, "goes with --http" in alone.err) == (2, True)
    budget = command("mcp", "--max-budget", "much")
    assert (budget.status, "--max-budget" in budget.err) == (2, True)


def text_of(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


async def runs_of(client: Client) -> list[Json]:
    return list((await said(client, "workflow_list", runs=100))["runs"])


async def read(client: Client, uri: str) -> str:
    (found,) = (await client.read_resource(uri)).contents
    return str(found.text)  # type: ignore[union-attr]
