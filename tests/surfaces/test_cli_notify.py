"""A command of the user's that is told when a run has ended, or waits for a person."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import callsheet
from tests.support.deadline import within
from tests.support.processes import ended
from tests.surfaces.command import META, Command
from tests.surfaces.following import following
from tests.surfaces.test_cli_asking import NPM, ROOT, Asking

TELLER = """
import json, os, sys
said = json.load(sys.stdin) | {"env": {name: os.environ[name] for name in os.environ if name.startswith("CALLSHEET_")}}
said |= {"words": sys.argv[2:], "cwd": os.getcwd(), "home": os.environ["HOME"]}
with open(sys.argv[1], "a", encoding="utf-8") as file:
    file.write(json.dumps(said) + "\\n")
"""
ANSWERER = """
import json, subprocess, sys
said = json.load(sys.stdin)
if said["reason"] == "waiting":
    words = [sys.executable, "-m", "callsheet", "answer", said["run_id"], said["question"]["id"], "yes"]
    subprocess.run(words, check=True)
"""


@pytest.fixture
def asking(command: Command, bytecode: Path) -> Asking:
    made = Asking(command.folder, bytecode=bytecode)
    made.environ["PYTHONPATH"] = str(ROOT)
    return made


def teller(command: Command) -> tuple[str, Path]:
    """A command that writes down what it is told, and where."""
    (command.folder.parent / "teller.py").write_text(TELLER, encoding="utf-8")
    told = command.folder.parent / "told.jsonl"
    return f"{sys.executable} {command.folder.parent / 'teller.py'} {told} 'two words'", told


def lines(told: Path) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in told.read_text(encoding="utf-8").splitlines()]


def test_a_command_is_told_of_the_end_in_words_environment_and_json(command: Command) -> None:
    notify, told = teller(command)
    done = command.run("throw new Error('no luck')", "--notify", notify, "--output", "json")
    (said,) = lines(told)
    run_id = done.json["run_id"]
    assert done.status == 1
    assert said["words"] == ["two words"], "parted as a shell does, and no shell has run"
    assert (said["reason"], said["run_id"], said["workflow"], said["status"]) == ("finished", run_id, "case", "failed")
    assert said["text"] == "case failed: Error: no luck"
    assert said["error"] == {"kind": "script", "message": "Error: no luck"}
    assert (said["cwd"], said["home"]) == (str(command.folder), command.environ["HOME"])
    assert said["env"] == {
        "CALLSHEET_RUN_ID": run_id,
        "CALLSHEET_STATUS": "failed",
        "CALLSHEET_REASON": "finished",
        "CALLSHEET_TEXT": said["text"],
    }


def test_a_command_is_told_once_when_a_person_is_waited_for_and_may_be_who_answers(asking: Asking) -> None:
    (asking.folder.parent / "answerer.py").write_text(ANSWERER, encoding="utf-8")
    answerer = f"{sys.executable} {asking.folder.parent / 'answerer.py'}"
    run_id = asking(*asking.words(NPM), "--notify", answerer, "--detach", "-q").out.strip()
    with following(asking, run_id) as follow:
        assert follow.until("run.finished")["result"] == ["once: None"]
    assert asking("stop", run_id).status == 0, "it waits until the process has ended, and the workspace is free"

    notify, told = teller(asking)
    two = asking.words(NPM, {"input": "make"})
    begun = asking(*two, "--notify", notify, "--approval-timeout", "1", "--detach", "-q")
    assert begun.status == 0, begun.err
    run_id = begun.out.strip()
    pid = None
    with following(asking, run_id) as follow:
        follow.until("run.finished")
        pid = follow.process.pid
    assert pid is not None
    assert asking("stop", run_id).status == 0, "it waits until the process, and so the command, has ended"
    reasons = [(said["reason"], said["status"]) for said in _settled(told, 2)]
    assert reasons == [("waiting", "waiting"), ("finished", "completed")]
    first = lines(told)[0]
    assert first["question"]["id"] == "q0001"
    assert first["question"]["input"] in ("npm test", "make")
    assert f"callsheet answer {run_id} q0001 yes|no" in first["text"]


def _settled(told: Path, number: int) -> Sequence[dict[str, Any]]:
    """What was told, once it was told so often."""

    def is_told() -> bool:
        return told.is_file() and len(told.read_text(encoding="utf-8").splitlines()) >= number

    async def wait() -> None:
        with within(20):
            while not is_told():
                await anyio.lowlevel.checkpoint()

    anyio.run(wait)
    return lines(told)


@pytest.mark.parametrize(
    ("notify", "said"),
    [
        ("/nowhere/teller", "it could not be started"),
        ("false", "it ended with status 1"),
        ("sh -c 'exec <&-; exit 3'", "it ended with status 3"),
    ],
)
def test_a_command_that_fails_is_said_and_the_run_is_as_it_was(command: Command, notify: str, said: str) -> None:
    done = command.run("return 1", "--notify", notify, "--output", "json")
    assert (done.status, done.json["status"]) == (0, "completed")
    assert f"--notify {notify}: {said}" in done.err
    assert f"--notify {notify}: {said}" in command.run("return 1", "--notify", notify, "--quiet").err


@pytest.mark.parametrize("notify", ["'open", " "])
def test_what_is_no_command_is_refused_before_anything_starts(command: Command, notify: str) -> None:
    done = command.run("return 1", "--notify", notify)
    assert done.status == 2
    assert "--notify is" in done.err


def test_it_is_the_users_to_say_in_settings_or_environment_and_never_a_workspaces(command: Command) -> None:
    notify, told = teller(command)
    (command.folder / "callsheet.toml").write_text(f"notify = {json.dumps(notify)}\n", encoding="utf-8")
    ignored = command.run("return 1", "--trust")
    assert ignored.status == 0
    assert "notify is never read from a workspace" in ignored.err
    assert not told.exists()
    config = Path(command.environ["HOME"]) / ".config" / "callsheet"
    config.mkdir(parents=True)
    (config / "config.toml").write_text(f"notify = {json.dumps(notify)}\n", encoding="utf-8")
    assert command.run("return 1").status == 0
    (config / "config.toml").unlink()
    assert command.run("return 1", environ={"CALLSHEET_NOTIFY": notify}).status == 0
    assert len(lines(told)) == 2


@pytest.mark.anyio
async def test_a_command_that_hangs_is_killed_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callsheet.app.notifying.LIMIT_S", 0.5)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "case.js").write_text(f"{META}return 1", encoding="utf-8")
    (tmp_path / "answers.json").write_text('{"answers": []}', encoding="utf-8")
    os.mkfifo(tmp_path / "pids")
    notify = f"sh -c 'sleep 600 & echo $$ $! > {tmp_path / 'pids'}; wait'"
    with within(30):
        async with callsheet.open_run("./case.js", backend="scripted:answers.json", notify=notify) as run:
            pids = await anyio.Path(tmp_path / "pids").read_text()
            result = await run.result()
        await ended(map(int, pids.split()))
    assert result.status == "completed"


def test_ctrl_c_does_not_wait_long_for_it(command: Command) -> None:
    slow = {"label": "*", "result": "x", "delay_ms": 600_000}
    words = ("run", command.script("return await agent('x', { label: 'slow' })"), "--backend", command.answers(slow))
    process = command.start(*words, "--notify", "sleep 600")
    try:
        assert process.stderr is not None
        for line in iter(process.stderr.readline, b""):
            if line.rstrip().endswith(b" slow"):
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert b"it had not ended after 2 s, and was killed" in err
    assert b"cancelled: stopped by a person" in err
