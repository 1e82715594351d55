"""A script that a run is handed as text, and the person who approves it: at the terminal, from elsewhere, on resume."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.surfaces.command import Command
from tests.surfaces.following import following
from tests.surfaces.terminal import Terminal

pytestmark = pytest.mark.contract("W03")

ROOT = Path(__file__).parents[2]
EVIL = "\x1b[2J\u202eevil"
DRAFT = f"""export const meta = {{ name: 'find-bugs', description: {json.dumps("Looks for bugs " + EVIL)} }}
phase('Find')
const found = await parallel(args.files.map((file) => () => agent('Read ' + file, {{ label: file }})))
return found
"""
OTHER = """export const meta = { name: 'other', description: 'another' }
if (args.never) await workflow('x')
return 'other ran'
"""
TWO = f"""
const said = []
for (const script of [{json.dumps(DRAFT)}, {json.dumps(OTHER)}]) {{
  try {{ said.push(await workflow({{ script }}, {{ files: ['a.py', 'b.py'] }})) }}
  catch (error) {{ said.push(error.name + ': ' + error.message) }}
}}
return said
"""
BUG = {"label": "*", "result": "a bug"}


class Drafting(Command):
    """The command with runs that take scripts as text."""

    def line(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "tests.support.drafting", *words]

    def words(self, body: str = TWO) -> list[str]:
        return ["run", self.script(body), "--backend", self.answers(BUG)]


@pytest.fixture
def drafting(command: Command, bytecode: Path) -> Drafting:
    made = Drafting(command.folder, bytecode=bytecode)
    made.environ["PYTHONPATH"] = str(ROOT)
    return made


def decisions(command: Command) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(command.folder / ".callsheet/callsheet.db")) as record:
        return record.execute(
            "SELECT attempt, n, workflow, decision, decided_by, words FROM nested_scripts ORDER BY attempt, n"
        ).fetchall()


def test_at_the_terminal_it_is_shown_viewed_run_and_declined_with_a_word(drafting: Drafting, tmp_path: Path) -> None:
    pager = tmp_path / "pager"
    pager.write_text(f"#!{sys.executable}\nimport sys\nprint('PAGED', sys.stdin.read())\n", encoding="utf-8")
    pager.chmod(0o755)
    drafting.environ["PAGER"] = str(pager)
    with Terminal(drafting, *drafting.words()) as terminal:
        shown = terminal.next("answer: ")
        assert "? q0001 · run the script find-bugs?" in shown
        assert "  │ Looks for bugs ␛[2J⟨U+202E⟩evil\r\n" in shown
        assert "  phases    Find 2\r\n" in shown
        assert "  agents    2" in shown
        assert "  script    4 lines · sha256 " in shown
        assert "  y run it · r run it, and ask no more in this run · v view it" in shown
        terminal.type("p\n")
        assert "type y, r, v or n, then Enter" in terminal.next("answer: ")
        terminal.type("v\n")
        viewed = terminal.next("PAGED", "answer: ")
        assert "    3  const found = await parallel(args.files.map(" in viewed
        assert EVIL not in viewed
        terminal.type("y\n")
        second = terminal.next("answer: ")
        assert "? q0002 · run the script other?" in second
        assert "  nested    it names workflow(), which it is refused: there is one level only" in second
        terminal.type("n count the bugs first\n")
        ended = terminal.end()

    assert terminal.process.returncode == 0
    assert terminal.is_as_before
    assert '"DeclinedError: declined: count the bugs first"' in ended
    assert ended.count('"a bug"') == 2
    assert decisions(drafting) == [
        (1, 1, "find-bugs", "once", "person at the terminal", None),
        (1, 2, "other", "deny", "person at the terminal", "count the bugs first"),
    ]
    assert drafting("replay", "last").status == 0, "a replay is told the same"


def test_yes_to_all_asks_no_more(drafting: Drafting) -> None:
    with Terminal(drafting, *drafting.words()) as terminal:
        terminal.next("answer: ")
        terminal.type("r\n")
        ended = terminal.end()
    assert '"other ran"' in ended
    assert [row[3] for row in decisions(drafting)] == ["run", "run"]


@pytest.mark.parametrize("flag", ["--yes", "--headless", "--output=json"])
def test_where_nobody_is_asked_about_a_run_nobody_is_asked_about_its_scripts(drafting: Drafting, flag: str) -> None:
    with Terminal(drafting, *drafting.words(), flag) as terminal:
        ended = terminal.end()
    assert "? q0001" not in ended
    assert "other ran" in ended
    assert [row[3] for row in decisions(drafting)] == ["unasked", "unasked"]


def test_a_detached_run_waits_and_is_answered_with_the_command(drafting: Drafting) -> None:
    run_id = drafting(*drafting.words(), "--detach", "-q").out.strip()
    with following(drafting, run_id) as follow:
        asked = follow.until("approval.asked")
        assert (asked["kind"], asked["script"]["name"], asked["script"]["left_out"]) == ("script", "find-bugs", 0)
        assert asked["script"]["text"] == DRAFT
        shown = drafting("answer", run_id)
        assert "? q0001 · run the script find-bugs?" in shown.out
        assert "  phases    Find 2" in shown.out
        assert f"  callsheet answer {run_id} q0001 --view" in shown.out
        assert f"  callsheet answer {run_id} q0001 yes|no|always until 2" in shown.out
        viewed = drafting("answer", run_id, "--view")
        assert "    3  const found = await parallel(" in viewed.out
        assert EVIL not in viewed.out
        plan = drafting("answer", run_id, "--json").json["questions"][0]["script"]["plan"]
        assert plan[0] == "phases    Find 2"
        assert 'args      {"files":["a.py","b.py"]}' in plan, "what it is given is approved with it"
        assert drafting("answer", run_id, "yes", "--view").status == 2
        assert drafting("answer", run_id, "yes").status == 0
        assert follow.until("approval.asked")["script"]["name"] == "other"
        assert drafting("answer", run_id, "no", "--say", "not that").status == 0
        finished = follow.until("run.finished")
    assert finished["result"] == [["a bug", "a bug"], "DeclinedError: declined: not that"]


def test_an_answer_to_what_was_asked_before_a_resume_meets_no_other_question(drafting: Drafting) -> None:
    """A host that is killed while a second question is open asks that one first when it goes on."""
    begun = drafting(*drafting.words(), "--detach", "--output", "json").json
    run_id, host = begun["run_id"], psutil.Process(begun["pid"])
    try:
        with following(drafting, run_id) as follow:
            follow.until("approval.asked", id="q0001")
            assert drafting("answer", run_id, "q0001", "yes").status == 0
            follow.until("approval.asked", id="q0002")
            host.kill()
            psutil.wait_procs([host], timeout=20)
            assert follow.process.wait(20) == 0

        host = psutil.Process(drafting("resume", run_id, "--detach", "--output", "json").json["pid"])
        with following(drafting, run_id) as follow:
            asked = follow.until("approval.asked", id="q2-0001")
            assert asked["script"]["name"] == "other"
            for stale in ("q0001", "q0002"):
                refused = drafting("answer", run_id, stale, "yes")
                assert refused.status == 2
                assert f"'{stale}' was asked before this run was resumed" in refused.err
                assert "open now: q2-0001 (run the script other?)" in refused.err
            assert [row[:4] for row in decisions(drafting)][2:] == [
                (2, 1, "find-bugs", "once"),
                (2, 2, "other", "asked"),
            ]
            logs = drafting("logs", run_id)
            assert "q2-0001" in logs.out
            assert drafting("answer", run_id, "q2-0001", "no").status == 0
            finished = follow.until("run.finished")
        assert finished["result"] == [["a bug", "a bug"], "DeclinedError: declined"]
    finally:
        if host.is_running():
            host.kill()


def test_unanswered_the_run_ends_and_goes_on_where_it_was_asked_again_only_about_what_was_not_approved(
    drafting: Drafting,
) -> None:
    with Terminal(drafting, *drafting.words(), "--approval-timeout", "1") as terminal:
        ended = terminal.end()
    assert terminal.process.returncode == 6
    assert "whether 'find-bugs' is to run was asked, and nobody answered within 1 s" in ended
    replayed = drafting("replay", "last")
    assert (replayed.status, "is to run was not answered" in replayed.out) == (6, True)

    resume = ("resume", "last", "--approval-timeout", "600")
    with Terminal(drafting, *resume) as terminal:
        assert "? q2-0001 · run the script find-bugs?" in terminal.next("answer: ")
        terminal.type("y\n")
        assert "? q2-0002 · run the script other?" in terminal.next("answer: ")
        terminal.type("\x03")
        terminal.end()
    assert terminal.process.returncode == 130

    with Terminal(drafting, *resume) as terminal:
        assert "? q3-0001 · run the script other?" in terminal.next("answer: "), "the first is not asked about again"
        terminal.type("y\n")
        ended = terminal.end()
    assert terminal.process.returncode == 0
    assert '"other ran"' in ended
    assert [row[:4] for row in decisions(drafting)] == [
        (1, 1, "find-bugs", "unanswered"),
        (2, 1, "find-bugs", "once"), (2, 2, "other", "unanswered"),
        (3, 1, "find-bugs", "once"), (3, 2, "other", "once"),
    ]  # fmt: skip


def test_a_text_that_is_refused_is_on_record_and_a_replay_refuses_it_again(drafting: Drafting) -> None:
    broken = "export const meta = { name: 'broken', description: 'b' }\nreturn (\n"
    body = (
        f"try {{ return await workflow({{ script: {json.dumps(broken)} }}) }} catch (error) {{ return error.message }}"
    )
    ran = drafting(*drafting.words(body), "--output", "json")
    assert "is refused at line" in ran.json["result"]
    with closing(sqlite3.connect(drafting.folder / ".callsheet/callsheet.db")) as record:
        (row,) = record.execute("SELECT workflow, decision, script_text FROM nested_scripts").fetchall()
    assert row == ("broken", None, broken)
    assert drafting("replay", "last").status == 0


def test_other_runs_take_no_texts(command: Command) -> None:
    done = command.run("return await workflow({ script: 'x' }).catch((error) => [error.name, error.message])")
    assert done.status == 0
    name, message = json.loads(done.out)
    assert (name, "this run takes no scripts as text" in message) == ("TypeError", True)
