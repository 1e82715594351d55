"""What a person sees: the command on a pseudo-terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading

import pytest

from tests.surfaces.command import LIMIT_S, Command
from tests.surfaces.events import HOSTILE

COLOUR = re.compile("\x1b\\[[0-9;]*m")
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """A terminal of 24 rows and 100 columns with a command on it."""

    def __init__(self, command: Command, *words: str, term: str = "xterm-256color") -> None:
        self._main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.process = subprocess.Popen(
            command.line(*words),
            cwd=command.folder,
            env=command.environ | {"TERM": term},
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
        )
        os.close(side)
        self.shown = ""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the terminal's last user is gone
            while data := os.read(self._main, 65_536):
                with self._changed:
                    self.shown += data.decode(errors="replace")
                    self._changed.notify_all()

    def wait_for(self, *words: str) -> None:
        """Waits until the terminal has shown all these words."""

        def is_there() -> bool:
            text = COLOUR.sub("", self.shown)
            return all(word in text for word in words)

        with self._changed:
            assert self._changed.wait_for(is_there, LIMIT_S), self.shown[-2_000:]

    def end(self) -> str:
        """Waits for the command's end, and gives all that was shown, without colours."""
        self.process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        return COLOUR.sub("", self.shown.replace("\r\n", "\n"))

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        os.close(self._main)


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
