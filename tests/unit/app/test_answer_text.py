"""The answer to a task, as it is printed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from callsheet.app.answer_text import answer_in, answer_lines, told_text
from callsheet.authoring.answering import answer_of
from callsheet.cli.result_words import result_words
from callsheet.model.run import RunResult
from callsheet.model.values import JsonValue
from tests.surfaces.events import HOSTILE, ended
from tests.surfaces.results import result

AGENTS = tuple(ended(number, label=label).agent for number, label in ((2, "read a"), (3, "read b")))


def of(value: Any) -> RunResult:
    return replace(result(), workflow="do", result=value, agents=AGENTS)


def printed(**value: Any) -> list[str]:
    plain = {"answer": "**Three.**", "evidence": [], "conflicts": [], "left_out": [], "ended": "answered"}
    run = of(plain | value)
    answer = answer_in(run)
    assert answer is not None
    return [line for lines in answer_lines(answer, run) for line in lines.split("\n")]


def test_the_answer_comes_first_and_what_it_rests_on_names_agents_by_id_and_label() -> None:
    lines = printed(
        evidence=[
            {"claim": "It says three.", "agents": ["a0002", "read b"], "where": ["a.txt:1"]},
            {"claim": "So does the code.", "agents": [], "where": ["b.py:7"]},
        ],
        left_out=["c.txt was not read"],
    )
    assert lines == [
        "**Three.**",
        "",
        "## Evidence",
        "",
        "- It says three.",
        "  [a0002 read a; a0003 read b; a.txt:1]",
        "- So does the code.",
        "  [b.py:7]",
        "",
        "## Left out",
        "",
        "- c.txt was not read",
    ]


def test_a_conflict_shows_who_said_what_which_was_taken_and_why() -> None:
    said = [{"agent": "a0002", "what": "three"}, {"agent": "a0003", "what": "five"}]
    taken = {"about": "retries", "said": said, "taken": "a0003", "why": "it quotes the code"}
    still_open = {"about": "waits", "said": said, "taken": None, "why": "neither quotes"}
    lines = printed(conflicts=[taken, still_open])
    assert lines[2:] == [
        "## Conflicting findings",
        "",
        "- retries",
        "  - a0002 read a: three",
        "  - a0003 read b: five",
        "  taken: a0003 read b, since: it quotes the code",
        "- waits",
        "  - a0002 read a: three",
        "  - a0003 read b: five",
        "  left open, since: neither quotes",
    ]


def test_without_an_answer_it_says_why_and_how_to_go_on_and_shows_what_workflows_returned() -> None:
    ran = [
        {"name": None, "why": "to understand", "status": "returned", "result": {"n": 3}},
        {"name": "fix", "why": "to change", "status": "failed", "result": None},
    ]
    lines = printed(answer=None, ended="over_budget", workflows=ran)
    assert lines[0].startswith("There is no answer: the budget is spent. To go on: callsheet resume run_")
    assert lines[0].endswith(" --budget AMOUNT")
    assert "## 1. to understand" in lines
    assert '  "n": 3' in lines
    assert not any("to change" in line for line in lines)
    assert printed(answer=None, ended="declined")[0].startswith("There is no answer: a workflow was declined.")


def test_what_agents_wrote_moves_no_cursor() -> None:
    one = {"agent": "a0002", "what": HOSTILE}
    lines = printed(
        answer=HOSTILE,
        evidence=[{"claim": HOSTILE, "agents": [HOSTILE], "where": [HOSTILE]}],
        conflicts=[{"about": HOSTILE, "said": [one, one], "taken": HOSTILE, "why": HOSTILE}],
        left_out=[HOSTILE],
    )
    assert not any(char in line for line in lines for char in "\x1b\x07\u202e")


def test_another_workflow_of_that_name_is_printed_as_every_other() -> None:
    assert answer_in(of({"answer": 3})) is None
    assert answer_in(replace(of({"answer": "x", "ended": "answered"}), workflow="other")) is None
    assert answer_of("text") is None


def test_an_answer_of_no_word_is_said_to_be_one() -> None:
    assert printed(answer=" \n") == ["The orchestrator answered with no word."]


SCRIPT = """\
export const meta = { name: 'tidy', description: 'Tidies up', phases: [{ title: 'Look', detail: 'each file' }] }
return agent(`say ${'```'}`)
"""


def test_a_script_that_was_written_is_shown_with_its_notes_and_its_plan() -> None:
    run = replace(result(), workflow="author", result={"script": SCRIPT, "notes": "One agent for each file.\x1b[2J"})
    text = told_text(run)
    assert text is not None
    assert text.split("\n") == [
        "One agent for each file.␛[2J",
        "",
        "## tidy",
        "",
        "Tidies up",
        "",
        "1. Look: each file",
        "",
        "````js",
        *SCRIPT.splitlines(),
        "````",
    ]
    assert result_words(run) == text


def test_what_is_no_script_with_notes_is_no_more_than_its_json() -> None:
    broken = replace(result(), workflow="author", result={"script": "no script", "notes": ""})
    assert (told_text(broken) or "").startswith("## The script\n\n```js\nno script")
    others: tuple[JsonValue, ...] = ({"script": SCRIPT}, {"script": 3, "notes": ""}, "text", None)
    for value in others:
        assert told_text(replace(broken, result=value)) is None
    assert told_text(replace(broken, workflow="other")) is None
