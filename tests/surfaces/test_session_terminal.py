"""`callsheet` without a command at a real pseudo-terminal, with the real session behind it."""

from __future__ import annotations

import pytest

from tests.surfaces.command import Command
from tests.surfaces.terminal import Terminal

HELLO = "export const meta = { name: 'hello', description: 'd' }\nreturn await agent('p', { label: 'asked' })"


def test_a_session_answers_runs_a_saved_command_and_is_continued_after_its_terminal_is_gone(command: Command) -> None:
    folder = command.folder / ".claude" / "workflows"
    folder.mkdir(parents=True)
    (folder / "hello.js").write_text(HELLO, encoding="utf-8")
    answers = command.answers(
        {"label": "orchestrator", "result": "there are two files"}, {"label": "asked", "result": "forty-two"}
    )
    with Terminal(command, "--backend", answers) as terminal:
        terminal.wait_for("Enter sends", "callsheet in")
        terminal.type("what is here?\r")
        terminal.wait_for("there are two files")
        terminal.type("/hello\r")
        terminal.wait_for("hello completed", "forty-two")
        terminal.process.kill()
        terminal.end()

    with Terminal(command, "--continue", "--backend", answers) as terminal:
        terminal.wait_for("what is here?", "there are two files", "forty-two")
        terminal.type("\x03")
        terminal.wait_for("Ctrl-C again leaves")
        terminal.type("\x03")
        ended = terminal.end()
        assert terminal.process.returncode == 0
        assert terminal.is_as_before
    assert "callsheet --continue session_" in ended


def test_hooks_that_are_declared_are_asked_about_before_the_screen_opens(command: Command) -> None:
    declared = command.folder / ".claude" / "settings.json"
    declared.parent.mkdir(parents=True)
    hook = '{"hooks": {"PreToolUse": [{"matcher": "*", "hooks": [{"type": "command", "command": "true"}]}]}}'
    declared.write_text(hook, encoding="utf-8")
    answers = command.answers({"label": "orchestrator", "result": "two files"})

    with Terminal(command, "--backend", answers) as terminal:
        terminal.wait_for("Run without them?")
        terminal.type("n\r")
        ended = terminal.end()
        assert terminal.process.returncode == 5
    assert "declares PreToolUse hooks" in ended

    with Terminal(command, "--backend", answers) as terminal:
        terminal.wait_for("Run without them?")
        terminal.type("y\r")
        terminal.wait_for("Enter sends", "callsheet in")
        terminal.type("what is here?\r")
        terminal.wait_for("two files")

    with Terminal(command, "--backend", answers, "--ignore-hooks") as terminal:
        terminal.wait_for("Enter sends", "callsheet in")


def test_without_a_session_there_is_none_to_continue(command: Command) -> None:
    with Terminal(command, "--continue") as terminal:
        ended = terminal.end()
        assert terminal.process.returncode == 2
        assert terminal.is_as_before
    assert "there is no session here to continue" in ended
    assert "Traceback" not in ended


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--continue",), "a session needs a terminal"),
        (("--backend", "offline"), "a session needs a terminal"),
        (("--store", "x.db", "runs"), "Behind the command: callsheet runs --store"),
        (("--continue", "x", "runs"), "--continue before a command is for the session"),
    ],
)
def test_where_no_session_can_be_opened_it_is_said_why(command: Command, words: tuple[str, ...], says: str) -> None:
    done = command(*words)

    assert done.status == 2
    assert says in done.err
