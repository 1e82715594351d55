"""`callsheet watch` and `run --watch` at a real pseudo-terminal."""

from __future__ import annotations

import json

import pytest

from tests.surfaces.command import Command
from tests.surfaces.terminal import Terminal

LONG = {"label": "*", "result": "x", "delay_ms": 600_000}


def test_a_run_that_is_watched_goes_on_when_the_dashboard_is_closed(command: Command) -> None:
    body = "log('hello'); return await agent('p', { label: 'slow one' })"
    words = ("run", command.script(body), "--backend", command.answers(LONG), "--watch")
    with Terminal(command, *words) as terminal:
        terminal.wait_for("slow one", "hello")
        terminal.type("q")
        ended = terminal.end()
        assert terminal.process.returncode == 0
        assert terminal.is_as_before
    assert "goes on by itself" in ended
    (run,) = command("runs", "--json").json["runs"]
    assert run["status"] == "running"
    assert f"callsheet stop {run['run_id']}" in ended
    assert command("stop", "last").status == 0

    with Terminal(command, "watch", "last") as terminal:
        terminal.wait_for("slow one", "cancelled", "callsheet resume")
        terminal.type("\x03")
        assert "Traceback" not in terminal.end()
        assert terminal.process.returncode == 0


def test_a_watched_run_that_ends_gives_its_result_and_status_when_the_dashboard_is_closed(command: Command) -> None:
    words = ("run", command.script("return 6 * 7"), "--backend", command.answers(), "--watch", "--output", "json")
    with Terminal(command, *words) as terminal:
        terminal.wait_for("completed")
        terminal.type("q")
        ended = terminal.end()
        assert terminal.process.returncode == 0
    assert '"result": 42' in ended or '"result":42' in ended


@pytest.mark.parametrize(
    "words", [("watch",), ("watch", "last"), ("run", "case.js", "--backend", "offline", "--watch")]
)
def test_without_a_terminal_it_is_said_what_to_do_instead(command: Command, words: tuple[str, ...]) -> None:
    command.script("return 1")
    done = command(*words)

    assert done.status == 2
    assert "the dashboard needs a terminal, and this is none. " in done.err
    assert ("callsheet logs" in done.err) != ("--detach" in done.err)
    assert command("runs", "--json").json["runs"] == [], "nothing was run"


def test_a_run_that_is_none_is_said_so_before_anything_is_drawn(command: Command) -> None:
    with Terminal(command, "watch", "run_nothing") as terminal:
        ended = terminal.end()
        assert terminal.process.returncode == 2
    assert "run_nothing" in ended
    assert "\x1b[?1049h" not in ended


def test_the_shell_completes_the_runs(command: Command) -> None:
    run_id = command.run("return 1", "--output", "json").json["run_id"]
    environ = {"_CALLSHEET_COMPLETE": "bash_complete", "COMP_WORDS": "callsheet watch run_", "COMP_CWORD": "2"}
    done = command(environ=environ)
    assert run_id in done.out, json.dumps([done.out, done.err])
