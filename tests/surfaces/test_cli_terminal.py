"""What a person sees: the command on a pseudo-terminal."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.surfaces.command import Command
from tests.surfaces.events import HOSTILE
from tests.surfaces.terminal import HIDE, SHOW, Terminal


def test_a_terminal_shows_a_tree_that_is_drawn_in_place_and_gives_the_cursor_back(command: Command) -> None:
    name = command.script("phase('Find'); log('a line'); await agent('p', { label: 'slow' }); return { done: true }")
    backend = command.answers({"label": "slow", "result": "x", "delay_ms": 900})

    with Terminal(command, "run", name, "--backend", backend) as terminal:
        terminal.wait_for("● slow", "1 at work")
        shown = terminal.end()

    assert terminal.process.returncode == 0
    assert "log: a line" in shown
    assert "Find" in shown and "Ctrl-C stops" in shown
    assert '{\n  "done": true\n}' in shown
    assert "completed · " in shown
    assert shown.count(HIDE) == shown.count(SHOW) == 1
    assert shown.splitlines()[-1].startswith("run: run_")


def test_a_terminal_shows_hostile_text_as_text(command: Command) -> None:
    text = json.dumps(HOSTILE)
    name = command.script(f"phase({text}); log({text}); await agent('p', {{ label: {text} }}); return {text}")

    with Terminal(command, "run", name, "--backend", command.answers({"result": HOSTILE, "delay_ms": 500})) as terminal:
        shown = terminal.end()

    assert terminal.process.returncode == 0
    assert "\x1b[2J" not in shown and "\x1b]" not in shown and "\x07" not in shown and "\u202e" not in shown
    assert "␛[2J␛]0;owned␇ [bold]x[/bold] ⟨U+202E⟩gnp.exe" in shown


def test_a_dumb_terminal_gets_plain_lines(command: Command) -> None:
    with Terminal(
        command, "run", command.script("await agent('p')"), "--backend", command.answers(), term="dumb"
    ) as terminal:
        shown = terminal.end()

    assert "ok        a0001 p" in shown
    assert HIDE not in shown


def test_lines_of_json_on_a_terminal_are_not_drawn_over(command: Command) -> None:
    name = command.script("return await agent('p')")

    with Terminal(command, "run", name, "--backend", command.answers(), "--output", "jsonl") as terminal:
        shown = terminal.end()

    assert HIDE not in shown
    assert json.loads(next(line for line in shown.splitlines() if '"run.finished"' in line))["status"] == "completed"


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_on_a_terminal_gives_the_cursor_back(command: Command, times: int) -> None:
    name = command.script("await agent('p', { label: 'slow' })")
    backend = command.answers({"label": "slow", "result": "x", "delay_ms": 600_000})

    with Terminal(command, "run", name, "--backend", backend) as terminal:
        terminal.wait_for("● slow")
        for _ in range(times):
            os.killpg(terminal.process.pid, signal.SIGINT)
        shown = terminal.end()

    assert terminal.process.returncode == 130
    assert shown.rstrip().rfind(SHOW) > shown.rfind(HIDE)
    assert "run_" in shown.splitlines()[-1]
