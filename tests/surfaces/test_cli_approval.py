"""A person at a terminal is shown what a run would do, and asked; what they said is remembered, listed and revoked."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.surfaces.command import META, Command
from tests.surfaces.terminal import Terminal

FORTY = "return await parallel(Array.from({ length: 40 }, (_, n) => () => agent('read file ' + n, { label: 'f' + n })))"
CHOICE = "choice: "
NOT_STARTED = "the run was not started, and nothing was touched"


def _files(command: Command) -> set[Path]:
    return set(command.folder.rglob("*")) | set(Path(command.environ["HOME"]).rglob("*"))


def _decisions(command: Command) -> list[tuple[str, str | None, str]]:
    with sqlite3.connect(command.folder / ".callsheet/callsheet.db") as record:
        return record.execute("SELECT workflow, path, decision FROM approvals ORDER BY rowid").fetchall()


def _answered(command: Command, *words: str, answer: str, term: str = "xterm-256color") -> Terminal:
    """The terminal of a command that was answered, when it has ended."""
    with Terminal(command, *words, term=term) as terminal:
        terminal.wait_for(CHOICE)
        terminal.type(answer)
        terminal.end()
    return terminal


def test_what_the_run_would_do_is_shown_and_no_touches_nothing(command: Command) -> None:
    script = command.script(FORTY)
    before = _files(command)
    command.environ |= {"ANTHROPIC_API_KEY": "sk-ant-of-this-test-0123456789abcdef"}
    with Terminal(command, "run", script) as terminal:
        terminal.wait_for("? Run case?", "│ a case", "agents    40, whatever they answer · at most 16 at once")
        terminal.wait_for("models    claude-sonnet-5-5 40", "cost      $", "anthropic: models, which are paid for")
        terminal.wait_for("files     read and edited here", "mode      acceptEdits", CHOICE)
        terminal.type("n\n")
        shown = terminal.end()

    assert terminal.process.returncode == 5
    assert NOT_STARTED in shown
    assert _files(command) == before


def test_yes_once_is_asked_again_and_yes_for_good_until_the_script_changes_or_it_is_revoked(command: Command) -> None:
    script = command.script("return 'ran'", ".claude/workflows/case.js")
    path = str(command.folder / script)

    assert _answered(command, "/case", answer="r\n").process.returncode == 0
    assert "not asked about again" in _answered(command, "run", "case", answer="a\n").shown
    with Terminal(command, "run", "case") as terminal:
        assert CHOICE not in terminal.end()
    assert _decisions(command) == [("case", path, "run"), ("case", path, "always"), ("case", path, "remembered")]
    kept = command("approvals", "--json").json["approvals"]
    assert [(each["workflow"], each["folder"], each["path"]) for each in kept] == [("case", str(command.folder), path)]

    command.script("return 'ran otherwise'", script)
    changed = _answered(command, "run", "case", answer="\x04")
    assert "since you approved it" in changed.shown
    assert ": the script changed" in changed.shown
    assert (changed.process.returncode, _decisions(command)[-1][2]) == (5, "no")

    command.script("return 'ran'", script)
    assert command("approvals", "revoke", "/case").out == f"case in {command.folder} is asked about again.\n"
    assert command("approvals", "revoke", "case").status == 1
    assert _answered(command, "run", "case", answer="\x1b").process.returncode == 5


@pytest.fixture
def editor(command: Command, tmp_path: Path) -> Path:
    """The person's editor: puts in the place of its file what `next.js` beside it holds."""
    program = tmp_path / "editor"
    program.write_text(f'#!/bin/sh\ncp "{tmp_path}/next.js" "$2"\n', encoding="utf-8")
    program.chmod(0o700)
    command.environ |= {"VISUAL": f"{program} --wait"}
    return tmp_path / "next.js"


def test_an_edited_script_is_checked_and_runs_and_its_file_stays_until_it_is_saved(
    command: Command, editor: Path
) -> None:
    script = command.script("return 'as it was'")
    with Terminal(command, "run", script) as terminal:
        terminal.next(CHOICE)
        editor.write_text(META + "let = (", encoding="utf-8")
        terminal.type("\x07")
        refused = terminal.next("r runs the script as it was", CHOICE)
        assert "error: the edited script:2:5" in refused
        editor.write_text(META + "return 'edited'", encoding="utf-8")
        terminal.type("e\n")
        told = " ".join(terminal.next("r run the edited script", CHOICE).split())
        assert "what runs is your text, this once; case.js stays as it was, unless you save it with w" in told
        terminal.type("r\n")
        assert "note: the script was edited before the run" in terminal.end()

    assert (command.folder / script).read_text(encoding="utf-8") == META + "return 'as it was'"
    assert _decisions(command) == [("case", str(command.folder / script), "run edited")]
    with sqlite3.connect(command.folder / ".callsheet/callsheet.db") as record:
        assert record.execute("SELECT script_text, result FROM runs").fetchall() == [
            (META + "return 'edited'", '"edited"')
        ]

    with Terminal(command, "run", script) as terminal:
        terminal.next(CHOICE)
        terminal.type("\x07")
        terminal.next("w save it to case.js", CHOICE)
        terminal.type("w\n")
        terminal.next("saved: ", "do not ask again", CHOICE)
        terminal.type("n\n")
        terminal.end()
    assert (command.folder / script).read_text(encoding="utf-8") == META + "return 'edited'"


def test_a_script_that_changes_while_it_is_looked_at_runs_as_it_was_shown(command: Command) -> None:
    script = command.script("return 'as it was shown'")
    with Terminal(command, "run", script) as terminal:
        terminal.wait_for(CHOICE)
        command.script("return 'as nobody saw it'")
        terminal.type("y\n")
        assert "as it was shown" in terminal.end()


def test_a_plain_terminal_shows_the_script_as_text_without_colours(command: Command) -> None:
    command.environ |= {"NO_COLOR": "1"}
    script = command.script("return '\x1b[31mred'")
    with Terminal(command, "run", script, term="dumb") as terminal:
        terminal.next(CHOICE)
        terminal.type("nonsense\n")
        terminal.next("type r, a, v, e, d or n, then Enter", CHOICE)
        terminal.type("\x1b[A")
        terminal.next("[A", CHOICE)  # an arrow key is no answer
        terminal.type("v\n")
        terminal.next("    2  return '␛[31mred'", CHOICE)
        terminal.type("d\n")
        terminal.next("agents may:", CHOICE)
        terminal.type("n\n")
        terminal.end()

    assert terminal.process.returncode == 5
    assert "\x1b" not in terminal.shown


def test_ctrl_c_ends_the_command_and_leaves_the_terminal_as_it_was(command: Command) -> None:
    with Terminal(command, "run", command.script("return 1")) as terminal:
        terminal.wait_for(CHOICE)
        terminal.type("\x03")
        shown = terminal.end()

    assert (terminal.process.returncode, terminal.is_as_before) == (130, True)
    assert "ended before a run began" in shown
    assert not (command.folder / ".callsheet").exists()


@pytest.mark.parametrize(
    ("words", "environ"),
    [
        (("--yes",), {}),
        (("--output", "json"), {}),
        (("--backend", "offline"), {"CI": "true"}),
    ],
    ids=lambda part: " ".join(part) or None,
)
def test_nobody_is_asked_who_said_yes_before_or_is_a_program(
    command: Command, words: tuple[str, ...], environ: dict[str, str]
) -> None:
    command.environ |= environ
    with Terminal(command, "run", command.script("return 1"), *words) as terminal:
        shown = terminal.end()

    assert terminal.process.returncode == 0, shown
    assert CHOICE not in shown


def test_a_run_that_is_watched_is_asked_about_before_it_leaves(command: Command) -> None:
    terminal = _answered(command, "run", command.script("return 1"), "--watch", answer="n\n")

    assert (terminal.process.returncode, terminal.is_as_before) == (5, True)
    assert NOT_STARTED in terminal.shown


def test_where_the_users_folder_lies_in_the_workspace_nothing_is_remembered(command: Command) -> None:
    command.environ |= {"CALLSHEET_CONFIG_DIR": str(command.folder / "config")}
    (command.folder / "config").mkdir()
    approvals = {"version": 1, "folders": {str(command.folder): {"case": {}}}}
    (command.folder / "config/approvals.json").write_text(json.dumps(approvals), encoding="utf-8")
    terminal = _answered(command, "run", command.script("return 1"), answer="n\n")

    assert "it cannot be remembered" in terminal.shown
    assert [path.name for path in (command.folder / "config").iterdir()] == ["approvals.json"]
