"""The dashboard's server as `callsheet serve` starts it: runs of other processes watched and acted upon over HTTP."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from callsheet.app.records import Where, open_runs
from callsheet.app.watching import recorded_board
from callsheet.views.board_json import board_json
from tests.support.dashboard import Door, client_of
from tests.support.deadline import BUSY_S, within
from tests.support.live_run import live_run
from tests.surfaces.command import Command

pytestmark = pytest.mark.anyio

Json = dict[str, Any]

HELD: Json = {"result": "late", "delay_ms": 600_000}
BODY = """
log('begun')
await agent('Be quick. sk-ant-api03-0123456789abcdef0123', { label: 'quick', phase: 'One' })
return await Promise.all(['held', 'other', 'third'].map(label => agent('Hold on.', { label, phase: 'Two' })))
"""
ANSWERS: tuple[Json, ...] = (
    {"label": "quick", "result": "soon"},
    *({"label": label, **HELD} for label in ("held", "other", "third")),
)


class Shown:
    """What a reader shows that puts each patch over what it has, as `views.board_json` says."""

    def __init__(self) -> None:
        self.plain: Json = {}
        self.agents: dict[str, Json] = {}
        self.phases: dict[str, Json] = {}
        self.log: list[Json] = []

    def take(self, said: Json) -> None:
        if said["whole"]:
            self.agents, self.phases, self.log = {}, {}, []
        self.agents |= {agent["agent_id"]: agent for agent in said["agents"]}
        self.phases |= {phase["key"]: phase for phase in said["phases"]}
        self.log += said["log"]
        self.plain = {name: value for name, value in said.items() if name not in ("agents", "phases", "log", "whole")}

    @property
    def all(self) -> Any:
        return self.plain, self.agents, self.phases, self.log

    def states(self) -> dict[str, str]:
        return {agent["label"]: agent["status"] or agent["state"] for agent in self.agents.values()}


class Serving(Door):
    """The command, serving."""

    process: Process

    async def ended(self) -> int:
        """Waits for its end; its exit status."""
        with within(20):
            return await self.process.wait()


@asynccontextmanager
async def serving(command: Command, *words: str) -> AsyncGenerator[Serving]:
    """`callsheet serve` in a process of its own."""
    line = command.line("serve", "--port", "0", "--json", *words)
    process = await anyio.open_process(
        line, cwd=command.folder, env=command.environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        with within(30):
            said = json.loads(await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 10_000))
        base, _, token = said["url"].partition("/?token=")
        async with client_of(base) as client:
            serving = Serving(base, client)
            serving.headers = {"Authorization": f"Bearer {token}"}
            serving.process = process
            yield serving
    finally:
        with anyio.CancelScope(shield=True):
            with suppress(ProcessLookupError):
                process.kill()
            await process.aclose()


def recorded(command: Command, run_id: str) -> Any:
    """What the board of a run's record shows."""
    shown = Shown()
    with open_runs(Where(workspace=command.folder, environ=command.environ)) as runs:
        shown.take(json.loads(json.dumps(board_json(recorded_board(runs.record, runs.find(run_id))))))
    return shown.all


def listed_in(said: Json, run_id: str) -> Json:
    """A run in a list, which has those of others on this machine too."""
    (found,) = (run for run in said["runs"] if run["run_id"] == run_id)
    return dict(found)


def controlled(command: Command) -> list[tuple[str, str, str]]:
    """What the record says was done to agents, and by whom."""
    with closing(sqlite3.connect(command.folder / ".callsheet" / "callsheet.db")) as record:
        rows = record.execute("SELECT payload FROM events WHERE event = 'agent.controlled' ORDER BY seq").fetchall()
    deeds = [json.loads(payload) for (payload,) in rows]
    return [(deed["agent_id"], deed["action"], deed["by"]) for deed in deeds]


async def test_a_run_of_another_process_is_watched_from_its_middle_acted_upon_and_its_record_says_who_did_it(
    command: Command,
) -> None:
    with within(60):
        async with live_run(command, BODY, answers=ANSWERS) as run, serving(command, "--control") as door:
            await run.until("agent.started", agent_id="a0004")
            path = f"/api/runs/{run.run_id}"
            listed = listed_in(await door.json("/api/runs"), run.run_id)
            assert (listed["is_live"], listed["workflow"], listed["agents"]) == (True, "case", 4)

            shown = Shown()
            async with door.stream(f"{path}/stream") as events:
                shown.take((await anext(events)).data)
                while shown.states().get("third") != "running":
                    shown.take((await anext(events)).data)
                joined = await door.json(path)
                assert joined["whole"]
                assert {agent["label"] for agent in joined["agents"]} == {"quick", "held", "other", "third"}

                assert (await door.post(f"{path}/pause")).json() == {"done": True, "changed": True}
                while shown.plain["status"] != "paused":
                    shown.take((await anext(events)).data)
                assert (await door.post(f"{path}/pause")).json() == {"done": True, "changed": False}
                assert (await door.post(f"{path}/go_on")).json() == {"done": True, "changed": True}

                refused = await door.post(f"{path}/agents/a0002/message", {"text": "hello"})
                assert (refused.status_code, refused.json()["error"]["why"]) == (409, "takes_no_messages")
                assert (await door.post(f"{path}/agents/a0099/skip")).status_code == 404
                assert (await door.post(f"{path}/agents/a0001/skip")).status_code == 409
                assert (await door.post(f"{path}/questions/q0001/answer", {"verdict": "deny"})).status_code == 404

                for deed in ("a0002/skip", "a0003/restart", "a0004/stop", "a0003/skip"):
                    assert (await door.post(f"{path}/agents/{deed}")).json()["done"], deed
                last = None
                async for event in events:
                    if event.name == "board":
                        shown.take(event.data)
                        assert event.number == str(event.data["seq"])
                    last = event
            assert last is not None
            assert (last.name, last.data) == ("end", {"status": "degraded"})
            assert (await run.ended()).result["result"] == [None, None, None]

            graph = await door.json(f"{path}/graph")
            agent = await door.json(f"{path}/agents/a0001")
            result = await door.json(f"{path}/result")
            late = Shown()
            late.take(await door.json(path))
    assert shown.states() == {"quick": "ok", "held": "skipped", "other": "skipped", "third": "cancelled"}
    assert shown.all == late.all == recorded(command, run.run_id)
    assert {name: result[name] for name in ("run_id", "status", "result")} == {
        "run_id": run.run_id,
        "status": "degraded",
        "result": [None, None, None],
    }
    assert [(edge["from"], edge["to"]) for edge in graph["edges"]] == [
        ("a0001", "a0002"),
        ("a0001", "a0003"),
        ("a0001", "a0004"),
    ]
    assert (agent["prompt"], agent["result"], agent["status"]) == (
        "Be quick. ‹secret anthropic-key›",
        "soon",
        "ok",
    )
    by = "a person in the browser"
    assert [(agent_id, action) for agent_id, action, who in controlled(command) if who == by] == [
        ("a0002", "skip"),
        ("a0003", "restart"),
        ("a0004", "stop"),
        ("a0003", "skip"),
    ]


async def test_who_comes_again_with_the_number_of_its_last_event_gets_what_happened_since_and_misses_nothing(
    command: Command,
) -> None:
    with within(60):
        async with live_run(command, BODY, answers=ANSWERS) as run, serving(command, "--control") as door:
            await run.until("agent.started", agent_id="a0004")
            path = f"/api/runs/{run.run_id}"
            shown = Shown()
            number = None
            async with door.stream(f"{path}/stream") as events:
                while shown.states().get("third") != "running":
                    event = await anext(events)
                    shown.take(event.data)
                    number = event.number
            assert number is not None
            await door.post(f"{path}/agents/a0002/skip")
            await run.until("agent.finished", label="held")
            async with door.stream(f"{path}/stream?after=0", headers={"Last-Event-ID": number}) as events:
                while shown.states().get("held") != "skipped":
                    event = await anext(events)
                    assert not event.data["whole"]
                    assert {agent["agent_id"] for agent in event.data["agents"]} <= {"a0002"}
                    shown.take(event.data)
            stopped = await door.post(f"{path}/stop")
            assert stopped.json() == {"done": True, "changed": True, "status": "cancelled", "ended": True}
            async with door.stream(f"{path}/stream?after={shown.plain['seq']}") as events:
                async for event in events:
                    if event.name == "board":
                        shown.take(event.data)
            late = await door.post(f"{path}/stop")
            assert late.json()["changed"] is False
            assert (await door.post(f"{path}/pause")).status_code == 409
    assert shown.all == recorded(command, run.run_id)


async def test_it_is_said_that_a_run_is_lost_when_its_process_is_gone(command: Command) -> None:
    with within(60):
        async with live_run(command, BODY, answers=ANSWERS) as run, serving(command) as door:
            await run.until("agent.started", agent_id="a0004")
            async with (
                door.stream(f"/api/runs/{run.run_id}/stream") as events,
                door.stream("/api/runs/stream") as listings,
            ):
                await anext(events)
                assert listed_in((await anext(listings)).data, run.run_id)["is_live"]
                run.kill_all()
                names = [event.name async for event in events]
                assert (names[-1], {*names[:-1]}) == ("lost", {"board"})
                listed = listed_in((await anext(listings)).data, run.run_id)
                while listed["is_live"]:
                    listed = listed_in((await anext(listings)).data, run.run_id)
                assert listed["status"] == "interrupted"
            board = await door.json(f"/api/runs/{run.run_id}")
            assert board["is_over"]
            assert "process is gone" in board["lost"]
            assert f"callsheet resume {run.run_id}" in board["lost"]


async def test_a_run_of_another_folder_is_shown_while_it_goes_on_and_found_when_it_is_over(
    command: Command, tmp_path: Path, bytecode: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = Command(tmp_path / "elsewhere", bytecode=bytecode, near=command)
    with within(60):
        async with serving(command, "--control") as door:
            async with live_run(other, BODY, answers=ANSWERS) as run:
                await run.until("agent.started", agent_id="a0004")
                listed = listed_in(await door.json("/api/runs"), run.run_id)
                assert (listed["is_live"], listed["workspace"]) == (True, str(other.folder))
                await door.post(f"/api/runs/{run.run_id}/stop")
                await run.ended()
            listed = listed_in(await door.json("/api/runs"), run.run_id)
            assert (listed["status"], listed["is_live"]) == ("cancelled", False)
            assert (await door.json(f"/api/runs/{run.run_id}"))["status"] == "cancelled"
            assert (await door.get("/api/runs/run_01NONE")).status_code == 404


async def test_what_was_no_secret_when_it_was_recorded_and_is_one_now_is_not_given(command: Command) -> None:
    secret = "t0p-s3cret-of-later"
    body = f"log('{secret}'); return await agent('x', {{ label: 'use {secret}' }})"
    with within(60):
        run_id = command.run(body, "--yes", "--output", "json").json["run_id"]
        command.environ["LATE_TOKEN"] = secret
        async with serving(command) as door:
            for path in ("", "/graph", "/result", "/agents/a0001"):
                said = json.dumps(await door.json(f"/api/runs/{run_id}{path}"))
                assert (secret in said, "LATE_TOKEN" in said) == (False, True), path


async def test_the_list_is_given_by_pages_newest_first(command: Command) -> None:
    names = [command.run("return 1", "--output", "json").json["run_id"] for _ in range(3)][::-1]
    with within(60):
        async with serving(command) as door:
            said = [run["run_id"] for run in (await door.json("/api/runs?limit=2"))["runs"]]
            first = [name for name in said if name in names]  # those of others go on
            rest = [run["run_id"] for run in (await door.json(f"/api/runs?limit=2&before={first[-1]}"))["runs"]]
    assert (first, rest) == (names[:2], names[2:])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_at_once_also_while_streams_are_read_and_runs_go_on(
    command: Command, number: signal.Signals
) -> None:
    with within(60):
        async with live_run(command, BODY, answers=ANSWERS) as run, serving(command) as door:
            await run.until("agent.started", agent_id="a0004")
            async with (
                door.stream(f"/api/runs/{run.run_id}/stream") as events,
                door.stream("/api/runs/stream") as listings,
            ):
                await anext(events)
                await anext(listings)
                began = anyio.current_time()
                door.process.send_signal(number)
                assert await door.ended() == 0
                took_s = anyio.current_time() - began
                assert [event.name async for event in events] == [], "it ends like a connection that is lost"
            assert door.process.stderr is not None
            err = b"".join([piece async for piece in door.process.stderr]).decode()
            assert "Traceback" not in err
            assert took_s < BUSY_S  # a stream that is not ended takes for ever
            assert run.pid and (await run.sandbox())


def test_other_machines_are_let_in_only_where_that_is_meant(command: Command) -> None:
    done = command("serve", "--host", "0.0.0.0", "--port", "0")
    assert done.status == 2
    assert "--expose" in done.err
    assert "not encrypted" in done.err
    assert "ssh -L" in done.err
    assert done.out == ""


def test_a_port_that_is_taken_is_said_and_no_traceback_with_it(command: Command) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = command("serve", "--port", str(taken.getsockname()[1]))
    assert done.status == 2
    assert done.err.startswith("error: 127.0.0.1:")
    assert "--port" in done.err
