"""Runs that go on by themselves: started, followed, stopped, killed and taken up again, with real processes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from callsheet.control.client import open_client
from callsheet.control.places import reachable
from tests.support.deadline import within
from tests.support.processes import ended
from tests.surfaces.command import Command
from tests.surfaces.following import Following, following
from tests.surfaces.terminal import Terminal

SLOW = {"label": "slow", "result": "late", "delay_ms": 600_000}
QUICK = {"label": "quick", "result": "at once"}
BODY = "const q = await agent('q', { label: 'quick' }); return [q, await agent('s', { label: 'slow' })]"


class Detached:
    """Runs by themselves, in one folder; none is left behind."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._hosts: list[psutil.Process] = []

    def start(
        self, *words: str, verb: tuple[str, ...] = (), answers: tuple[Any, ...] = (QUICK, SLOW)
    ) -> dict[str, Any]:
        """Starts one, and says what was said of it."""
        begin = verb or ("run", self.command.script(BODY))
        done = self.command(*begin, "--backend", self.command.answers(*answers), *words, "-d", "--output", "json")
        assert done.status == 0, done.err
        self._hosts.append(psutil.Process(done.json["pid"]))
        return dict(done.json)

    def wait_for_end(self, run: dict[str, Any]) -> None:
        """Waits until a run's process has ended."""

        async def wait() -> None:
            with within(20):
                await ended([run["pid"]])

        anyio.run(wait)

    def status_of(self, run: dict[str, Any]) -> str:
        listed = self.command("runs", "--json").json["runs"]
        return str(next(each["status"] for each in listed if each["run_id"] == run["run_id"]))

    def close(self) -> None:
        for host in self._hosts:
            if host.is_running():
                host.kill()


@pytest.fixture
def runs(command: Command) -> Iterator[Detached]:
    made = Detached(command)
    yield made
    made.close()


def at_work(follow: Following) -> None:
    follow.until("agent.started", agent_id="a0002")


def is_gone(pid: int) -> bool:
    """Whether a process has ended; who has the dead of a container to wait for need not have done so yet."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def sockets(command: Command, run_id: str) -> list[str]:
    folder = Path(command.environ["XDG_RUNTIME_DIR"]) / "callsheet"
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(run_id))


# --- starting ---------------------------------------------------------------------------------------------------------


def test_a_detached_run_prints_its_id_goes_on_alone_is_stopped_and_resumed(command: Command, runs: Detached) -> None:
    done = command("run", command.script(BODY), "--backend", command.answers(QUICK, SLOW), "--detach")
    assert (done.status, done.out.count("\n")) == (0, 1)
    run_id = done.out.strip()
    assert f"callsheet logs {run_id} -f" in done.err
    assert f"callsheet stop {run_id}" in done.err

    with following(command, run_id) as follow:
        at_work(follow)
        stopped = command("stop", run_id)
        follow.until("run.finished", status="cancelled")
    assert stopped.status == 0
    assert stopped.out.splitlines() == [
        f"{run_id} has ended: cancelled",
        f"go on with it: callsheet resume {run_id}",
    ]
    assert sockets(command, run_id) == []

    resumed = command("resume", run_id, "--output", "json", "--backend", command.answers({"result": "now"}))
    assert (resumed.status, resumed.json["result"]) == (0, ["at once", "now"])
    assert resumed.json["resumed"]["reused"] == 1


def test_a_run_whose_process_dies_before_it_is_on_record_is_not_said_to_have_started(command: Command) -> None:
    assert command.run("return 1").status == 0
    words = ("run", command.script(BODY), "--backend", command.answers(SLOW), "--detach")
    with closing(sqlite3.connect(command.folder / ".callsheet" / "callsheet.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with command.start(*words) as starting:
            os.kill(anyio.run(opened, command), signal.SIGKILL)
            out, _ = starting.communicate(timeout=120)
        other.execute("COMMIT")

    assert (starting.returncode, out) == (128 + signal.SIGKILL, b"")
    assert len(command("runs", "--json").json["runs"]) == 1


async def opened(command: Command) -> int:
    """Waits until the run of a workspace has begun and can be talked to; gives its process."""
    with within(20):
        while True:
            await anyio.sleep(0.01)
            for reach in reachable(command.environ):
                if reach.workspace == str(command.folder):
                    async with open_client(reach):
                        return reach.pid


def test_its_process_has_a_session_of_its_own_no_terminal_and_no_stream_of_ours(
    command: Command, runs: Detached
) -> None:
    run = runs.start()
    host = psutil.Process(run["pid"])
    assert (os.getsid(host.pid), host.terminal()) == (host.pid, None)
    streams = [str(Path(f"/proc/{host.pid}/fd/{number}").readlink()) for number in range(3)]
    assert streams == ["/dev/null", "/dev/null", run["log"]]
    assert run["status"] == "running"
    assert run["workspace"] == str(command.folder)
    assert runs.status_of(run) == "running"

    assert command("stop", run["run_id"], "--json").json == {
        "run_id": run["run_id"],
        "was": "running",
        "status": "cancelled",
        "ended": True,
    }
    assert is_gone(host.pid)
    words = Path(run["log"]).read_text(encoding="utf-8")
    assert "cancelled: stopped by a person" in words
    assert Path(run["log"]).stat().st_mode & 0o777 == 0o600


def test_it_survives_its_terminal_and_a_hangup(command: Command, runs: Detached) -> None:
    words = ["run", command.script(BODY), "--backend", command.answers(QUICK, SLOW), "--detach"]
    with Terminal(command, *words) as terminal:
        shown = terminal.end()
    run_id = next(line.strip() for line in shown.splitlines() if line.startswith("run_"))
    pid = int(shown.partition("process ")[2].split()[0])
    with following(command, run_id) as follow:
        at_work(follow)
        os.kill(pid, signal.SIGHUP)
        assert command("agent", "skip", run_id, "2").out == f"a0002 of {run_id} is skipped\n"
        finished = follow.until("run.finished")
    assert (finished["status"], finished["result"]) == ("degraded", ["at once", None])


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("run", "nowhere.js"), 2, "there is no file nowhere.js"),
        (("run", "broken.js"), 2, "broken.js:2:"),
        (("run", "case.js", "--backend", "scripted:nowhere.json"), 2, "nowhere.json"),
        (("run", "case.js", "--max-parallel", "0"), 2, "--max-parallel is 0"),
        (("resume", "run_nobody"), 2, "has no run run_nobody"),
    ],
)
def test_a_run_that_does_not_start_says_why_here_with_its_exit_status(
    command: Command, words: tuple[str, ...], status: int, said: str
) -> None:
    command.script("return 1")
    command.script("return (", "broken.js")
    command.run("return 1")
    as_text = command(*words, "--detach")
    as_json = command(*words, "--detach", "--output", "json")
    assert (as_text.status, as_text.out) == (status, "")
    assert said in as_text.err
    assert as_json.status == status
    assert as_json.json["status"] == "failed"


def test_the_workspace_in_use_is_said_before_it_detaches_and_ctrl_c_ends_the_wait(
    command: Command, runs: Detached
) -> None:
    tree = ("run", command.script("await agent('x')", "one.js"), "--backend", "offline")
    held = command.start(*tree, "--wait=600", "--detach")
    first = held.communicate(timeout=120)[0].decode().strip()
    assert first.startswith("run_")
    waiting = command("stop", first)
    assert waiting.status == 0


def test_a_resumed_run_is_detached_in_the_same_way(command: Command, runs: Detached) -> None:
    first = runs.start()
    command("stop", first["run_id"], "--now")
    again = runs.start(verb=("resume", first["run_id"]), answers=({"result": "now"},))
    assert again["run_id"] == first["run_id"]
    runs.wait_for_end(again)
    assert command("show", first["run_id"], "--json").json["result"] == ["at once", "now"]


def test_a_script_from_standard_input_is_read_before_it_detaches(command: Command, runs: Detached) -> None:
    script = b"export const meta = { name: 'case', description: 'x' }\nreturn await agent('x')"
    done = command("run", "-", "--backend", command.answers(), "--detach", "--output", "json", stdin=script)
    assert done.status == 0, done.err
    runs.wait_for_end(done.json)
    assert runs.status_of(done.json) == "completed"


# --- stopping ---------------------------------------------------------------------------------------------------------


def test_a_run_that_is_over_is_left_alone_and_one_that_is_unknown_is_said(command: Command) -> None:
    run_id = command.run("return 1", "--output", "json").json["run_id"]
    over = command("stop", run_id)
    assert (over.status, over.out) == (0, f"{run_id} was over already: completed\n")
    unknown = command("stop", "run_nobody")
    assert unknown.status == 2
    assert "no run run_nobody" in unknown.err
    refused = command("pause", run_id)
    assert refused.status == 2
    assert "is over (completed)" in refused.err


def test_a_killed_host_is_found_and_its_run_can_be_resumed(command: Command, runs: Detached) -> None:
    run = runs.start()
    run_id = run["run_id"]
    with following(command, run_id) as follow:
        at_work(follow)
        os.kill(run["pid"], signal.SIGKILL)
        runs.wait_for_end(run)
        assert follow.process.wait(120) == 0
    assert len(sockets(command, run_id)) == 2
    assert runs.status_of(run) == "interrupted"

    stopped = command("stop", run_id)
    assert stopped.status == 0
    assert stopped.out.splitlines()[0] == f"{run_id} had no process any more, and was not stopped"
    assert sockets(command, run_id) == [], "what it left is taken away"
    paused = command("pause", run_id)
    assert paused.status == 1
    assert f"callsheet resume {run_id}" in paused.err

    resumed = command("resume", run_id, "--output", "json", "--backend", command.answers({"result": "now"}))
    assert (resumed.status, resumed.json["result"]) == (0, ["at once", "now"])


def test_now_ends_it_without_a_farewell_and_even_where_it_does_not_answer(command: Command, runs: Detached) -> None:
    for is_standing_still in (False, True):
        run = runs.start()
        if is_standing_still:
            os.kill(run["pid"], signal.SIGSTOP)
        done = command("stop", run["run_id"], "--now")
        assert (done.status, done.out.splitlines()[0]) == (0, f"{run['run_id']} has ended: interrupted"), done.err
        assert is_gone(run["pid"])
        assert "ended at once" in Path(run["log"]).read_text(encoding="utf-8") or is_standing_still


def test_a_run_of_another_folder_is_reached_by_the_beginning_of_its_id(
    command: Command, runs: Detached, tmp_path: Path
) -> None:
    run = runs.start()
    elsewhere = Command(tmp_path, bytecode=Path(command.environ["PYTHONPYCACHEPREFIX"]), near=command)
    elsewhere.environ |= {"HOME": command.environ["HOME"]}
    assert elsewhere("stop", run["run_id"][:-1]).status == 0
    assert runs.status_of(run) == "cancelled"


def test_ctrl_c_ends_the_following_of_a_run_and_not_the_run(command: Command, runs: Detached) -> None:
    run = runs.start()
    with following(command, run["run_id"]) as follow:
        at_work(follow)
        follow.process.send_signal(signal.SIGINT)
        _, err = follow.process.communicate(timeout=120)
        assert follow.process.returncode == 130
        assert f"{run['run_id']} goes on. Stop it with: callsheet stop {run['run_id']}" in err.decode()
    assert runs.status_of(run) == "running"
    assert command("stop", run["run_id"]).status == 0


# --- stepping in ------------------------------------------------------------------------------------------------------


def test_a_run_is_paused_goes_on_and_its_agents_are_stepped_in_on(command: Command, runs: Detached) -> None:
    run_id = runs.start()["run_id"]
    with following(command, run_id) as follow:
        at_work(follow)
        assert command("pause", run_id).out == f"{run_id} is paused\n"
        assert command("pause", "last").out == f"{run_id} is paused already\n"
        assert command("unpause", run_id).out == f"{run_id} is going on\n"
        assert command("agent", "restart", run_id, "a0002").out == f"a0002 of {run_id} starts over\n"
        refused = command("agent", "message", run_id, "2", "hello")
        assert refused.status == 2
        assert "do not look for any" in refused.err
        unknown = command("agent", "stop", run_id, "9")
        assert unknown.status == 2
        assert "there are a0001 to a0002" in unknown.err
        assert command("agent", "stop", run_id, "2").out == f"a0002 of {run_id} is stopped\n"
        follow.until("run.finished", status="degraded")
    deeds = [event for event in follow.events if event["event"] == "agent.controlled"]
    assert [(deed["action"], deed["by"]) for deed in deeds] == [
        ("restart", "a person at the command line"),
        ("stop", "a person at the command line"),
    ]
    assert [event["seq"] for event in follow.events] == list(range(1, len(follow.events) + 1))


def test_a_foreground_run_is_stopped_from_elsewhere_and_exits_as_after_ctrl_c(command: Command) -> None:
    process = command.start("run", command.script(BODY), "--backend", command.answers(QUICK, SLOW))
    try:
        assert process.stderr is not None
        for line in iter(process.stderr.readline, b""):
            if line.rstrip().endswith(b"slow"):
                break
        assert command("stop", "last").status == 0
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert b"stopped by a person" in err


def test_the_object_of_a_start_is_json_on_one_line(command: Command, runs: Detached) -> None:
    done = subprocess.run(
        command.line(
            "run", command.script("return 1"), "--backend", command.answers(), "-d", "--output", "jsonl", "-q"
        ),
        cwd=command.folder,
        env=command.environ,
        capture_output=True,
        timeout=120,
        check=True,
    )
    said = json.loads(done.stdout)
    assert set(said) == {"run_id", "pid", "status", "workspace", "record", "log"}
    assert done.stderr == b""
    runs.wait_for_end(said)
