"""Two real runs on one workspace: who works there is told, and what can be done about it (DESIGN 17)."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import anyio
import pytest

from tests.support.deadline import within
from tests.support.live_run import LiveRun, live_run
from tests.surfaces.command import Command

pytestmark = pytest.mark.anyio

BODY = "return await agent('p', { label: 'writer' })"
NAME_OF_LEASES = ".callsheet/leases"


def writes(name: str, *, for_s: float = 600) -> dict[str, object]:
    return {"label": "writer", "result": "done", "writes": {name: "text"}, "delay_ms": int(for_s * 1000)}


@contextmanager
def leases_given_back(command: Command) -> Iterator[None]:
    yield
    assert [path.name for path in (command.folder / NAME_OF_LEASES).iterdir()] == ["gate"]


async def works(run: LiveRun) -> None:
    await run.until("agent.started")


async def second(command: Command, *words: str, **answer: object) -> tuple[int, dict[str, object], str]:
    """Another run, of a script and answers of its own, to its end."""
    async with live_run(command, BODY, *words, answers=(writes("b.md", for_s=0) | answer,), name="second.js") as run:
        ended = await run.ended()
    return ended.status, ended.result, ended.err


def when(result: dict[str, object], moment: str) -> str:
    agents = result["agents"]
    assert isinstance(agents, list)
    return str(agents[0][moment])


async def test_a_second_run_is_told_who_works_in_the_workspace_and_what_can_be_done(command: Command) -> None:
    with leases_given_back(command):
        async with live_run(command, BODY, answers=(writes("a.md"),)) as first:
            await works(first)
            status, result, said = await second(command)
            assert status == 2
            assert (result["status"], result["agents"]) == ("failed", [])
            error = result["error"]
            assert isinstance(error, dict) and error["kind"] == "config"
            for word in (first.run_id, f"process {first.pid}", "--wait", "--worktree", "--share"):
                assert word in error["message"] and word in said
            first.strike(first.pid, signal.SIGINT)
            assert (await first.ended()).status == 130
    assert not (command.folder / "b.md").exists()


async def test_a_lease_is_free_at_once_when_its_run_is_killed(command: Command) -> None:
    with leases_given_back(command):
        async with live_run(command, BODY, answers=(writes("a.md"),)) as first:
            await works(first)
            first.strike(first.pid, signal.SIGKILL)
            await first.status()
        status, result, _ = await second(command)
    assert (status, result["status"]) == (0, "completed")
    assert (command.folder / "b.md").read_text(encoding="utf-8") == "text"


async def test_runs_that_share_work_side_by_side(command: Command) -> None:
    with leases_given_back(command):
        async with live_run(command, BODY, "--share", answers=(writes("a.md"),)) as first:
            await works(first)
            status, result, _ = await second(command, "--share")
            assert (status, result["status"]) == (0, "completed")
            assert (await second(command))[0] == 2
            first.strike(first.pid, signal.SIGINT)
            assert (await first.ended()).status == 130


async def test_sharing_takes_both(command: Command) -> None:
    async with live_run(command, BODY, answers=(writes("a.md"),)) as first:
        await works(first)
        assert (await second(command, "--share"))[0] == 2
        first.strike(first.pid, signal.SIGINT)
        await first.ended()


async def test_a_run_that_waits_begins_when_the_other_has_ended(command: Command) -> None:
    with leases_given_back(command):
        async with live_run(command, BODY, answers=(writes("a.md", for_s=1.5),)) as first:
            await works(first)
            status, result, _ = await second(command, "--wait")
            ended = await first.ended()
    assert (ended.status, status, result["status"]) == (0, 0, "completed")
    assert {path.name for path in command.folder.glob("*.md")} == {"a.md", "b.md"}
    assert when(result, "started_at") > when(ended.result, "ended_at")


async def test_waiting_has_an_end(command: Command) -> None:
    async with live_run(command, BODY, answers=(writes("a.md"),)) as first:
        await works(first)
        assert (await second(command, "--wait", "0.4"))[0] == 2
        first.strike(first.pid, signal.SIGINT)
        await first.ended()


async def test_a_run_that_waits_says_so_and_is_stopped_by_ctrl_c(command: Command) -> None:
    async with live_run(command, BODY, answers=(writes("a.md"),)) as first:
        await works(first)
        words = ("run", command.script(BODY, "second.js"), "--backend", "scripted:answers.json", "--wait=forever")
        with within(30):
            async with await anyio.open_process(
                command.line(*words), cwd=command.folder, env=command.environ
            ) as waiting:
                assert waiting.stderr is not None
                said = b""
                while b"waiting for the workspace" not in said:
                    said += await waiting.stderr.receive()
                waiting.send_signal(signal.SIGINT)
                assert await waiting.wait() == 130
        assert first.run_id.encode() in said
        first.strike(first.pid, signal.SIGINT)
        await first.ended()


async def test_runs_whose_agents_write_nothing_are_in_nobodys_way(command: Command) -> None:
    async with live_run(command, BODY, answers=(writes("a.md"),)) as first:
        await works(first)
        status, result, _ = await second(command, writes={})
        assert (status, result["status"]) == (0, "completed")
        first.strike(first.pid, signal.SIGINT)
        await first.ended()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--worktree", "--share"), "exclude each other"),
        (("--worktree", "--wait"), "exclude each other"),
        (("--wait", "soon"), "is no number of seconds"),
    ],
)
def test_what_cannot_be_asked_for_is_said(command: Command, words: tuple[str, ...], says: str) -> None:
    done = command("run", command.script("return 1"), "--backend", command.answers(), *words)
    assert done.status == 2
    assert says in done.err


def test_how_the_workspace_is_used_is_recorded(command: Command) -> None:
    assert command.run("return 1", "--share").status == 0
    with closing(sqlite3.connect(command.folder / ".callsheet" / "callsheet.db")) as record:
        (settings,) = record.execute("SELECT settings FROM runs").fetchone()
    assert json.loads(settings)["workspace_use"] == "share"


def test_an_error_of_the_script_comes_through_the_lease_as_itself(command: Command) -> None:
    (command.folder / "bad.js").write_text("import x from 'y'", encoding="utf-8")
    done = command("run", "bad.js", "--backend", "offline", "--output", "json")
    assert (done.status, done.json["error"]["kind"]) == (2, "refused")
