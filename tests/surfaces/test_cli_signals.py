"""Ctrl-C and termination, with real processes and real signals."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.deadline import BUSY_S
from tests.surfaces.command import LIMIT_S, Command

SLOW = ({"label": "quick", "result": "at once"}, {"label": "slow", "result": "late", "delay_ms": 600_000})
BODY = "await agent('q', { label: 'quick' }); return await agent('s', { label: 'slow' })"
SPINNING = "await agent('q', { label: 'quick' }); for (;;);"


@contextmanager
def started(command: Command, *words: str, body: str = BODY, until: str = "slow") -> Iterator[subprocess.Popen[bytes]]:
    """A run that is going on: an agent of this label has started."""
    name = command.script(body)
    process = command.start("run", name, "--backend", command.answers(*SLOW), *words)
    limit = threading.Timer(LIMIT_S, process.kill)
    limit.start()
    try:
        wait_for(process, f" {until}")
        yield process
    finally:
        limit.cancel()
        if process.poll() is None:
            process.kill()
        process.wait(120)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def wait_for(process: subprocess.Popen[bytes], words: str) -> None:
    """Reads standard error until a line of progress ends in the words, or the command is over."""
    assert process.stderr is not None
    seen: list[str] = []
    for line in iter(process.stderr.readline, b""):
        seen.append(line.decode())
        if seen[-1].startswith("[") and seen[-1].rstrip().endswith(words):
            return
    raise AssertionError(f"{words!r} was never said: {''.join(seen)}")


def everyone(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The command's process and all below it."""
    root = psutil.Process(process.pid)
    return [root, *root.children(recursive=True)]


def ended_within(process: subprocess.Popen[bytes], seconds: float) -> tuple[str, str]:
    """Its last words on both streams; fails where it takes longer."""
    out, err = process.communicate(timeout=seconds)
    return out.decode(), err.decode()


def record(command: Command) -> tuple[str, dict[str, str]]:
    """The status of the one run in the record, and of its agents by label."""
    with closing(sqlite3.connect(command.folder / ".callsheet" / "callsheet.db")) as db:
        ((status,),) = db.execute("select status from runs").fetchall()
        return status, dict(db.execute("select label, status from agent_runs").fetchall())


@pytest.mark.parametrize("output", ["text", "json"])
def test_ctrl_c_ends_a_run_in_order_and_the_last_line_names_it(command: Command, output: str) -> None:
    with started(command, "--output", output) as process:
        family = everyone(process)
        process.send_signal(signal.SIGINT)
        out, err = ended_within(process, BUSY_S)

    assert process.returncode == 130
    assert "stopping: " in err
    assert err.splitlines()[-1].startswith("run: run_")
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert record(command) == ("cancelled", {"quick": "ok", "slow": "cancelled"})
    if output == "json":
        assert json.loads(out)["status"] == "cancelled"
        assert [agent["status"] for agent in json.loads(out)["agents"]] == ["ok", "cancelled"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_told_to_end_ends_a_run_in_order_and_it_can_be_resumed(command: Command, number: signal.Signals) -> None:
    with started(command) as process:
        process.send_signal(number)
        _, err = ended_within(process, BUSY_S)

    assert process.returncode == 6
    assert "interrupted" in err and err.splitlines()[-1].startswith("run: run_")
    assert record(command) == ("interrupted", {"quick": "ok", "slow": "cancelled"})


def test_lines_of_json_end_as_they_should_when_a_run_is_stopped(command: Command) -> None:
    with started(command, "--output", "jsonl") as process:
        process.send_signal(signal.SIGINT)
        out, _ = ended_within(process, BUSY_S)

    events = [json.loads(line) for line in out.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (events[-1]["event"], events[-1]["status"]) == ("run.finished", "cancelled")


def test_ctrl_c_ends_a_script_that_spins(command: Command) -> None:
    with started(command, "--cpu-limit", "50", body=SPINNING, until="quick") as process:
        process.send_signal(signal.SIGINT)
        _, err = ended_within(process, BUSY_S)

    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("run: run_")


def test_a_second_signal_ends_at_once_and_leaves_no_process(command: Command) -> None:
    with started(command) as process:
        family = everyone(process)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        _, err = ended_within(process, BUSY_S)
        _, alive = psutil.wait_procs(family[1:], timeout=BUSY_S)

    assert process.returncode == 130
    assert err.splitlines()[-1].split("run: ")[-1].startswith("run_")
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def test_killing_the_command_leaves_no_process(command: Command) -> None:
    with started(command) as process:
        family = everyone(process)
        process.kill()
        _, alive = psutil.wait_procs(family[1:], timeout=BUSY_S)

    assert len(family) > 1
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def test_a_signal_before_the_run_began_ends_at_once(command: Command, tmp_path: Path) -> None:
    process = command.start("run", "-", "--backend", command.answers(), stdin=subprocess.PIPE)
    root = psutil.Process(process.pid)
    deadline = time.monotonic() + LIMIT_S
    while signal.SIGINT not in caught_signals(process.pid) and time.monotonic() < deadline:
        root.cpu_times()

    process.send_signal(signal.SIGINT)
    _, err = ended_within(process, BUSY_S)

    assert process.returncode == 130
    assert err.splitlines()[-1] == "ended before a run began"


def caught_signals(pid: int) -> set[signal.Signals]:
    """The signals that a process handles itself; Python's own Ctrl-C is there before anything of ours is."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("SigCgt:"):
            mask = int(line.split()[1], 16)
            if not mask >> (signal.SIGALRM - 1) & 1:
                return set()
            return {one for one in signal.Signals if mask >> (one - 1) & 1}
    return set()
