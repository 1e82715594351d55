"""What a question looks like, and what a typed line means."""

from __future__ import annotations

import pytest

from callsheet.cli.question import BY, meaning, question_lines
from callsheet.model.approval import Answer, Question, Verdict

ASKED = Question(tool="bash", input="npm test", reason="no rule allows it", rules=("Bash(npm test:*)",), id="q0001")
ONLY_ONCE = Question(tool="bash", input="npm test", reason="it is protected", id="q0001")


@pytest.mark.parametrize(
    ("typed", "verdict"),
    [
        ("y\n", "once"), ("YES", "once"), (" o ", "once"), ("r", "run"), ("run", "run"), ("p", "project"),
        ("project\r\n", "project"), ("n", "deny"), ("No", "deny"),
    ],
)  # fmt: skip
def test_a_letter_or_word_is_an_answer(typed: str, verdict: Verdict) -> None:
    assert meaning(typed, ASKED) == Answer(verdict=verdict, by=BY)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("n use pytest", "use pytest"),
        ("no: use  pytest\n", "use pytest"),
        ("N y", "y"),
        ("n \x1b[2Jx\u202e", "␛[2Jx⟨U+202E⟩"),
        ("n  ", None),
    ],
)
def test_what_follows_a_no_is_for_the_agent(typed: str, words: str | None) -> None:
    assert meaning(typed, ASKED) == Answer(verdict="deny", words=words, by=BY)


@pytest.mark.parametrize(
    "typed", ["", "\n", "npm test", "yarn build", "y please", "yy", "r m", "ja", "\x1b[A", "run it", "0"]
)
def test_anything_else_allows_nothing_and_says_what_can_be_typed(typed: str) -> None:
    assert meaning(typed, ASKED) == "type y, r, p or n, then Enter"


@pytest.mark.parametrize("typed", ["r", "p", "run", "project"])
def test_what_no_rule_can_allow_is_allowed_once_or_not_at_all(typed: str) -> None:
    said = meaning(typed, ONLY_ONCE)
    assert isinstance(said, str) and said.startswith("no rule can allow this for longer")
    assert meaning("y", ONLY_ONCE) == Answer(verdict="once", by=BY)


def test_a_long_input_can_be_asked_for() -> None:
    assert meaning("s", ASKED) == meaning("Show\n", ASKED) == "show"


def test_rows_are_broken_at_the_width_of_the_terminal_wide_characters_too() -> None:
    question = Question(tool="bash", input="表" * 60, reason="because " * 20, rules=("Bash(" + "x" * 90 + ")",))
    lines = [line.text for line in question_lines(question, agents=1, more=0, width=40)]

    rows = [line for line in lines if "表" in line]
    assert len(rows) == 4 and all(row.startswith("  │ ") and row.count("表") <= 17 for row in rows)
    assert [line for line in lines if line.startswith("  why asked: ")]
    own = ("", "? ", "  why asked: ", "  always would add: ", "  y once")
    assert all(line.startswith(("  │ ", *own[1:])) or line == "" for line in lines)
    assert all(len(line) <= 40 for line in lines if "x" in line or "because" in line)


def test_an_empty_input_still_has_its_row() -> None:
    lines = [line.text for line in question_lines(Question(tool="t", input="", reason=""), agents=1, more=0, width=80)]
    assert "  │ " in lines


def test_a_reason_is_broken_between_words_and_a_rule_and_an_input_where_the_room_ends() -> None:
    reason = "The rule 'Bash(npm:*)' of the project wants to be asked about npm run " + "x" * 50 + " here."
    question = Question(tool="bash", input="echo " * 12, reason=reason, rules=("Bash(echo one  two  three  four:*)",))
    lines = [line.text for line in question_lines(question, agents=1, more=0, width=40)]

    start = next(at for at, line in enumerate(lines) if line.startswith("  why asked: "))
    end = next(at for at, line in enumerate(lines) if line.startswith("  always would add: "))
    rows = [line.removeprefix("  │ ").removeprefix("  ") for line in lines[start:end]]
    assert rows == [
        "why asked: The rule 'Bash(npm:*)'",
        "of the project wants to be asked",
        "about npm run",
        "x" * 35,
        "x" * 15 + " here.",
    ]
    assert lines[end] == "  always would add: Bash(echo one  tw"
    assert lines[end + 1] == "  │ o  three  four:*)", "nothing of a rule is left out, spaces neither"
    assert lines[2] == "  │ " + ("echo " * 7)
