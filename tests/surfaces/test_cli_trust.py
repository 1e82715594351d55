"""`callsheet trust`, the question before a run, and the flags that say what agents may do."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest

from tests.surfaces.command import Command
from tests.surfaces.terminal import Terminal

ALLOW = {"permissions": {"allow": ["Bash(curl:*)"]}}
ANSWERS = ({"result": "ok"},)


class Keyboard(Terminal):
    """A terminal with somebody at it."""

    def __enter__(self) -> Keyboard:
        return self

    def type(self, text: str) -> None:
        os.write(self._main, text.encode())


@pytest.fixture
def asking(command: Command) -> Command:
    """A workspace whose files ask for something."""
    _ask_for(command, ALLOW)
    return command


def _ask_for(command: Command, settings: object) -> None:
    (command.folder / ".claude").mkdir(exist_ok=True)
    (command.folder / ".claude/settings.json").write_text(json.dumps(settings), encoding="utf-8")


def _words(command: Command, *more: str) -> list[str]:
    return ["run", command.script("return 1"), "--backend", command.answers(*ANSWERS), *more]


def _notes(command: Command, *more: str) -> list[str]:
    done = command(*_words(command, "--output", "jsonl", "-q", *more))
    notes: list[str] = done.events[0]["notes"]
    return [note for note in notes if "not in a git working tree" not in note]


def test_trust_is_shown_given_listed_and_revoked(asking: Command) -> None:
    assert "ignored until trusted: allow Bash(curl:*)" in _notes(asking)[0]
    shown = asking("trust", ".")
    assert (shown.status, "is not trusted" in shown.out) == (5, True)
    assert "let agents use Bash(curl:*) without asking" in shown.err
    assert asking("trust").out == "No folder is trusted, and nothing is allowed always.\n"

    assert asking("trust", ".", "--yes").status == 0

    assert _notes(asking)[0].startswith("trusted (remembered; callsheet trust): ")
    listed = asking("trust", "--output", "json").json
    assert listed["trusted"][0]["folder"] == str(asking.folder)
    assert listed["trusted"][0]["grants"] == ["let agents use Bash(curl:*) without asking"]
    assert asking("trust", ".").status == 0
    assert asking("trust", "--revoke", ".").out == f"{asking.folder} is no longer trusted.\n"
    assert "ignored until trusted" in _notes(asking)[0]


def test_trust_ends_when_the_files_change_and_the_change_is_named(asking: Command) -> None:
    asking("trust", ".", "--yes")
    _ask_for(asking, {"permissions": {"allow": ["Bash(curl:*)", "Bash(rm:*)"]}})

    notes = _notes(asking)

    assert notes[0] == (
        "this folder was trusted and no longer is: new: let agents use Bash(rm:*) without asking; "
        ".claude/settings.json changed. Look at it: callsheet trust ."
    )
    assert "ignored until trusted: allow Bash(curl:*)" in notes[1]
    shown = asking("trust", ".")
    assert "  new: let agents use Bash(rm:*) without asking" in shown.err


def test_a_rule_that_is_taken_away_ends_trust_too(asking: Command) -> None:
    _ask_for(asking, {"permissions": {"allow": ["Bash(git:*)"], "deny": ["Bash(git push:*)"]}})
    asking("trust", ".", "--yes")
    _ask_for(asking, {"permissions": {"allow": ["Bash(git:*)"]}})

    assert "no longer is: .claude/settings.json changed" in _notes(asking)[0]


def test_trust_for_one_run_is_not_remembered(asking: Command) -> None:
    assert _notes(asking, "--trust")[0].startswith("trusted (--trust): ")
    assert "ignored until trusted" in _notes(asking)[0]


def test_a_person_at_a_terminal_is_asked_once_and_yes_is_remembered(asking: Command) -> None:
    words = _words(asking)
    with Keyboard(asking, *words) as terminal:
        terminal.wait_for("let agents use Bash(curl:*) without asking", "Trust this folder, from now on? [y/N]")
        terminal.type("y\n")
        first = terminal.end()
    with Keyboard(asking, *words) as terminal:
        second = terminal.end()

    assert "trusted (you said so)" in first
    assert "[y/N]" not in second
    assert "trusted (remembered; callsheet trust)" in second


@pytest.mark.parametrize("answer", ["n\n", "\n", "yeah\n", "\x04"])
def test_what_is_not_yes_is_no_for_this_run_alone(asking: Command, answer: str) -> None:
    words = _words(asking)
    for _ in range(2):
        with Keyboard(asking, *words) as terminal:
            terminal.wait_for("[y/N]")
            terminal.type(answer)
            shown = terminal.end()
        assert "ignored until trusted" in shown
        assert terminal.process.returncode == 0


def test_ctrl_c_at_the_question_ends_the_command(asking: Command) -> None:
    with Keyboard(asking, *_words(asking)) as terminal:
        terminal.wait_for("[y/N]")
        os.kill(terminal.process.pid, 2)
        terminal.end()

    assert terminal.process.returncode == 130


def test_text_of_the_repository_cannot_paint_over_the_question(command: Command) -> None:
    _ask_for(command, {"permissions": {"allow": ["Bash(x)\x1b[2K\r\nTrusted. Nothing is asked\u202e for."]}})

    shown = command("trust", ".").err

    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "␛[2K" in shown
    assert len(shown.splitlines()) == 2


def test_under_ci_nobody_is_asked_although_there_is_a_terminal(asking: Command) -> None:
    asking.environ["CI"] = "true"
    with Keyboard(asking, *_words(asking)) as terminal:
        assert "[y/N]" not in terminal.end()


def test_hooks_are_asked_about_at_a_terminal(command: Command) -> None:
    _ask_for(command, {"hooks": {"PreToolUse": [{"hooks": []}]}})
    words = _words(command)
    for answer, status in (("y\n", 0), ("n\n", 5)):
        with Keyboard(command, *words) as terminal:
            terminal.wait_for("Run without them? [y/N]")
            terminal.type(answer)
            terminal.end()
        assert terminal.process.returncode == status


def test_hooks_are_asked_about_before_a_script_is_written(command: Command) -> None:
    _ask_for(command, {"hooks": {"PreToolUse": [{"hooks": []}]}})
    (command.folder / "a.txt").write_text("alpha", encoding="utf-8")
    words = ("author", "Sum up a.txt", "--quiet")
    for answer, status in (("y\n", 0), ("n\n", 5)):
        with Keyboard(command, *words) as terminal:
            terminal.wait_for("Run without them? [y/N]")
            terminal.type(answer)
            terminal.end()
        assert terminal.process.returncode == status
    refused = command(*words)
    assert (refused.status, "--ignore-hooks" in refused.err) == (5, True)
    assert command(*words, "--ignore-hooks").status == 0


def test_what_a_run_was_allowed_stands_in_its_record(command: Command) -> None:
    (command.folder.parent / "shared").mkdir()
    done = command.run(
        "return 1",
        *("--permission-mode", "plan", "--allow", "Bash(npm test:*)", "--deny", "Read(.env)", "--add-dir", "../shared"),
        "--unconfined",
    )

    with sqlite3.connect(command.folder / ".callsheet/callsheet.db") as database:
        (text,) = database.execute("select settings from runs").fetchone()
    assert done.status == 0
    assert json.loads(text)["permissions"] == {
        "mode": "plan",
        "mode_source": "flags",
        "allow": ["Bash(npm test:*)"],
        "deny": ["Read(.env)"],
        "folders": [str(command.folder.parent / "shared")],
        "trusted": False,
        "unconfined": True,
        "ignore_hooks": False,
        "config_from": None,
        "config": None,
    }


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--allow", "Bsh(x)"), "--allow 'Bsh(x)': there is no tool Bsh. Did you mean Bash?"),
        (("--deny", "Bash("), "--deny 'Bash(':"),
        (
            ("--permission-mode", "acceptedits"),
            "permission mode 'acceptedits' does not exist. Did you mean acceptEdits?",
        ),
        (("--add-dir", "../nowhere"), "there is no such folder"),
        (("--config-from", "main"), "is not the root of a git working tree"),
    ],
)
def test_a_flag_that_cannot_hold_is_wrong_usage(command: Command, words: tuple[str, ...], told: str) -> None:
    done = command.run("return 1", *words)

    assert done.status == 2
    assert told in done.err


def test_bypass_is_said_and_managed_settings_are_not_needed_for_it(command: Command) -> None:
    done = command.run("return 1", "--permission-mode", "bypass")

    assert "permission mode bypass: agents may do everything that no rule denies or asks." in done.err


def test_a_users_own_folder_may_be_named_and_is_no_setting(asking: Command, tmp_path: Path) -> None:
    asking.environ["CALLSHEET_CONFIG_DIR"] = str(tmp_path / "mine")

    assert asking("trust", ".", "--yes").status == 0

    assert (tmp_path / "mine/trust.json").is_file()
    assert _notes(asking)[0].startswith("trusted (remembered")
