"""Agents that ask, and the person at a real pseudo-terminal who answers."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.surfaces.command import Command
from tests.surfaces.events import HOSTILE
from tests.surfaces.terminal import HIDE, SHOW, Terminal

ROOT = Path(__file__).parents[2]
RULE = "Bash(npm test:*)"


class Asking(Command):
    """The command with agents that ask."""

    def line(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "tests.support.asking", *words]

    def words(self, *questions: dict[str, Any]) -> list[str]:
        """The words that run a script whose agents ask these questions, all at once."""
        calls = ", ".join(
            f"agent({json.dumps(json.dumps(one))}, {{ label: 'agent {number}' }})"
            for number, one in enumerate(questions, 1)
        )
        return ["run", self.script(f"return await Promise.all([{calls}])"), "--backend", self.answers()]


@pytest.fixture
def asking(command: Command, bytecode: Path) -> Asking:
    made = Asking(command.folder, bytecode=bytecode)
    made.environ["PYTHONPATH"] = str(ROOT)
    return made


def answers_in(shown: str) -> list[str]:
    """The agents' answers, from the result that was printed."""
    return [line.strip().strip(",").strip('"') for line in shown.splitlines() if line.startswith('  "')]


NPM = {"input": "npm test", "rules": [RULE]}


@pytest.mark.parametrize(("typed", "verdict"), [("y", "once"), ("R", "run"), (" no ", "deny")])
def test_an_answer_is_a_letter_and_enter(asking: Asking, typed: str, verdict: str) -> None:
    with Terminal(asking, *asking.words(NPM)) as terminal:
        shown = terminal.next("answer: ")
        assert "? q0001 · bash · 1 agent waits" in shown
        assert "  │ npm test\r\n" in shown
        assert "  why asked: no rule allows it" in shown
        assert f"  always would add: {RULE}" in shown
        terminal.type(f"{typed}\n")
        ended = terminal.end()

    assert answers_in(ended) == [f"{verdict}: None"]
    assert terminal.process.returncode == 0
    assert terminal.is_as_before


def test_equal_questions_are_one_and_others_come_one_after_another(asking: Asking) -> None:
    other = {"input": "src/a.py", "tool": "edit", "reason": "it is protected"}

    with Terminal(asking, *asking.words(NPM, NPM, NPM, other)) as terminal:
        first = terminal.next("answer: ")
        assert "3 agents wait · 1 more question after it" in first
        terminal.type("y\n")
        second = terminal.next("answer: ")
        assert "? q0002 · edit · 1 agent waits\r\n" in second
        assert "no rule can allow it for longer" in second
        terminal.type("r\n")
        assert "no rule can allow this for longer: type y or n" in terminal.next("answer: ")
        terminal.type("n\n")
        ended = terminal.end()

    assert answers_in(ended) == ["once: None"] * 3 + ["deny: None"]
    assert "allowed once q0001 bash npm test · person at the terminal · 3 agents" in ended
    assert "denied q0002 edit src/a.py · person at the terminal · 1 agent" in ended


def test_agents_that_ask_the_same_later_are_counted_at_the_open_question(asking: Asking) -> None:
    with Terminal(asking, *asking.words(NPM, NPM | {"once": "go"})) as terminal:
        assert "1 agent waits" in terminal.next("answer: ")
        (asking.folder / "go").touch()
        assert "  2 agents wait for this now" in terminal.next("answer: ")
        terminal.type("y\n")
        ended = terminal.end()

    assert answers_in(ended) == ["once: None"] * 2


def test_a_denial_carries_words_to_the_agent_and_the_summary_says_what_would_allow_it(asking: Asking) -> None:
    with Terminal(asking, *asking.words(NPM)) as terminal:
        terminal.next("answer: ")
        terminal.type("maybe\n")
        assert "type y, r, p or n, then Enter" in terminal.next("answer: ")
        terminal.type("n use  pytest\tinstead\n")
        ended = terminal.end()

    assert answers_in(ended) == ["deny: use pytest␉instead"]
    assert 'denied: bash "npm test" (no rule), 1 agent' in ended
    assert f"  --allow '{RULE}'\n" in ended
    assert f'  {{"permissions": {{"allow": ["{RULE}"]}}}}\n' in ended


def test_the_tree_is_off_the_screen_while_a_question_stands_there_and_back_after_it(asking: Asking) -> None:
    slow = NPM | {"once": "go"}

    with Terminal(asking, *asking.words(slow, {"input": "x", "once": "later"})) as terminal:
        terminal.wait_for("● agent 1")
        (asking.folder / "go").touch()
        terminal.next("answer: ")
        assert terminal.shown.rfind(SHOW) > terminal.shown.rfind(HIDE), "the cursor is there to type at"
        stood = len(terminal.shown)
        terminal.type("y\n")
        terminal.next("allowed once q0001", "● agent 2")
        assert HIDE not in terminal.shown[:stood].split("answer: ")[-1]
        (asking.folder / "later").touch()
        terminal.next("answer: ")
        terminal.type("y\n")
        ended = terminal.end()

    assert answers_in(ended) == ["once: None", "once: None"]
    assert ended.count(HIDE) == ended.count(SHOW)


def test_what_was_typed_before_a_question_stood_there_is_no_answer_to_it(asking: Asking) -> None:
    with Terminal(asking, *asking.words(NPM | {"once": "go"})) as terminal:
        terminal.wait_for("● agent 1")
        terminal.type("y\n")
        terminal.wait_for("y\r\n")
        (asking.folder / "go").touch()
        terminal.next("answer: ")
        terminal.type("n\n")
        ended = terminal.end()

    assert answers_in(ended) == ["deny: None"]


def test_hostile_text_is_shown_as_text_and_no_row_of_it_looks_like_one_of_ours(asking: Asking) -> None:
    forged = f"ls {HOSTILE}\n" + "x" * 95 + "answer: y\n  y once · n no"
    hostile = {"input": forged, "reason": f"{HOSTILE}\n  always would add: nothing", "rules": [f"Bash({HOSTILE})"]}

    with Terminal(asking, *asking.words(hostile)) as terminal:
        shown = terminal.next("to the agent\r\nanswer: ")
        assert "  │ ls ␛[2J␛]0;owned␇ [bold]x[/bold] ⟨U+202E⟩gnp.exe\r\n" in shown
        assert not [character for character in "\x07\u202e" if character in shown] and "\x1b[2J" not in shown
        rows = shown.split("\r\n")
        ours = ("  y once", "  always would add: Bash(", "answer: ")
        for row in rows[rows.index(next(row for row in rows if "? q0001" in row)) + 1 :]:
            assert row.startswith(("  │ ", "  why asked: ", *ours)), row
        terminal.type("n\n")
        ended = terminal.end()

    assert "\x1b[2J" not in ended and "\u202e" not in ended
    assert "--allow" not in ended, "a rule with characters that cannot be seen is spelled out instead"
    assert "\\u001b[2J" in ended and "\\u202e" in ended


def test_a_long_command_is_cut_in_sight_and_shown_whole_on_demand(asking: Asking) -> None:
    long = "\n".join(f"line {number}" for number in range(500))

    with Terminal(asking, *asking.words({"input": long})) as terminal:
        shown = terminal.next("answer: ")
        assert "440 rows in between are not shown: s shows them" in shown
        assert "line 0\r\n" in shown and "line 499\r\n" in shown and "line 250\r\n" not in shown
        terminal.type("s\n")
        assert "line 250\r\n" in terminal.next("line 499", "answer: ")
        terminal.type("y\n")
        ended = terminal.end()

    assert answers_in(ended) == ["once: None"]


def test_a_question_that_nobody_answers_is_taken_off_the_screen_and_denied(asking: Asking) -> None:
    with Terminal(asking, *asking.words(NPM), "--approval-timeout", "1") as terminal:
        terminal.next("answer: ")
        terminal.type("y but not finished")
        ended = terminal.end()

    assert "no longer asked" in ended
    assert answers_in(ended) == ["unanswered: nobody answered within 1 s"]
    assert terminal.process.returncode == 0
    assert terminal.is_as_before


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_at_a_question_stops_the_run_and_leaves_the_terminal_as_it_was(asking: Asking, times: int) -> None:
    with Terminal(asking, *asking.words(NPM)) as terminal:
        terminal.next("answer: ")
        terminal.type("\x03" * times)
        ended = terminal.end()

    assert terminal.process.returncode == 130
    assert terminal.is_as_before
    assert ended.rfind(SHOW) > ended.rfind(HIDE)
    assert "run_" in ended.splitlines()[-1]


def test_ctrl_d_is_no_answer(asking: Asking) -> None:
    with Terminal(asking, *asking.words(NPM)) as terminal:
        terminal.next("answer: ")
        terminal.type("\x04")
        assert "type y, r, p or n" in terminal.next("answer: ")
        terminal.type("y\n")
        assert answers_in(terminal.end()) == ["once: None"]


@pytest.mark.parametrize("how", [("--quiet",), ("--output", "jsonl"), ()])
def test_questions_are_asked_beside_plain_lines_objects_and_silence_too(asking: Asking, how: tuple[str, ...]) -> None:
    with Terminal(asking, *asking.words(NPM), *how, term="dumb") as terminal:
        terminal.next("answer: ")
        terminal.type("y\n")
        ended = terminal.end()

    assert "once: None" in ended
    if not how:
        assert "] asks q0001 bash npm test · 1 agent waiting" in ended
        assert "] allowed once q0001 bash npm test · person at the terminal · 1 agent" in ended
    assert terminal.process.returncode == 0


@pytest.mark.parametrize(("words", "environ"), [(["--headless"], {}), ([], {"CI": "true"})])
def test_on_request_and_under_ci_nobody_is_asked(asking: Asking, words: list[str], environ: dict[str, str]) -> None:
    asking.environ |= environ

    with Terminal(asking, *asking.words(NPM), *words) as terminal:
        ended = terminal.end()

    assert answers_in(ended) == ["unanswered: nobody is there to be asked"]


def test_without_a_terminal_nobody_is_asked_and_the_object_says_what_would_allow_it(asking: Asking) -> None:
    done = asking(*asking.words(NPM, NPM), "--output", "json")

    assert done.status == 0
    assert done.json["status"] == "completed"
    assert done.json["result"] == ["unanswered: nobody is there to be asked"] * 2
    assert done.json["denials"] == [
        {"tool": "bash", "input": '"npm test"', "rule": "no rule", "agents": 2, "would_allow": [RULE]}
    ]
    assert f"--allow '{RULE}'" in done.err


def test_a_terminal_that_goes_away_ends_the_run(asking: Asking) -> None:
    with Terminal(asking, *asking.words(NPM)) as terminal:
        terminal.next("answer: ")
        os.kill(terminal.process.pid, signal.SIGHUP)
        terminal.end()

    assert terminal.process.returncode == 6


@pytest.mark.contract("L04")
def test_a_run_without_a_budget_asks_whether_it_goes_on_and_stops_resumable_where_it_is_told_to(asking: Asking) -> None:
    costly = {"cost_usd": 3.0}
    words = [*asking.words(costly, costly, costly, costly), "--cost-stop", "$5", "--max-parallel", "1"]
    with Terminal(asking, *words) as terminal:
        first = terminal.next("answer: ")
        assert "? q0001 · cost stop · 2 agents wait" in first
        assert "The run has cost $6.00, and has no budget of its own." in first
        assert "Those that wait would cost about $6.00 more" in first
        assert "y $5.00 more" in first
        terminal.type("y 40\n")
        assert "type y, an amount such as $10, r or n" in terminal.next("answer: ")
        terminal.type("$2\n")
        assert "The run has cost $9.00" in terminal.next("answer: ")
        terminal.type("n\n")
        ended = terminal.end()
    assert terminal.process.returncode == 6
    assert "person at the terminal said to stop here" in ended.replace("\r\n", " ").replace("Person", "person")
    assert "callsheet resume run_" in ended

    with Terminal(asking, "resume", "--cost-stop", "none") as terminal:
        resumed = terminal.end()
    assert terminal.process.returncode == 0, resumed
    assert "? q0" not in resumed
