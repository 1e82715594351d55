"""What a question looks like, and what a typed line means."""

from __future__ import annotations

import pytest

from callsheet.cli.question import BY, meaning, question_lines, script_text_lines
from callsheet.model.approval import Answer, Question, ScriptShown, Verdict

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


SCRIPT = ScriptShown(
    name="x\n  │ y",
    description="d\x1b[2J",
    plan=("phases    A\u202e 1",),
    text="one\n\x1b[2Jtwo\n",
    sha256="ab" * 32,
    left_out=5,
)


def test_nothing_of_a_script_looks_like_a_line_of_ours_and_what_is_cut_off_is_said() -> None:
    asked = Question(tool="workflow", input="", reason="because", kind="script", id="q0001", script=SCRIPT)
    lines = [line.text for line in question_lines(asked, agents=0, more=1, width=110)]
    assert lines == [
        "",
        "? q0001 · run the script x␊  │ y? · 1 more question after it",
        "  │ d␛[2J",
        "  phases    A⟨U+202E⟩ 1",
        "  script    2 lines, and 5 characters that are not shown here · sha256 abababababab",
        "  why asked: because",
        "  y run it · r run it, and ask no more in this run · v view it · n no, or n and a word to its author",
    ]
    assert list(script_text_lines(SCRIPT)) == [
        "    1  one",
        "    2  ␛[2Jtwo",
        "    …  5 characters more, which are on record (nested_scripts) and not shown here",
    ]


def test_what_is_typed_about_a_script() -> None:
    asked = Question(tool="workflow", input="", reason="", kind="script", script=SCRIPT)
    assert [meaning(typed, asked) for typed in ("y", "r", "v", "s", "n why not")] == [
        Answer(verdict="once", by=BY), Answer(verdict="run", by=BY), "view", "show",
        Answer(verdict="deny", words="why not", by=BY),
    ]  # fmt: skip
    assert {meaning(typed, asked) for typed in ("p", "y please", "", "$5")} == {"type y, r, v or n, then Enter"}


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


# --- whether a run goes on that has cost as much as one may ---------------------------------------------------------

COST = Question(
    tool="cost stop",
    input="The run has cost $25.10, and has no budget of its own.\n12 agents wait for a start.",
    reason="without a budget no agent is started beyond $25.00 unless you say so",
    id="q0002",
    kind="cost",
    more_usd=25.0,
)


def test_a_question_about_cost_says_what_was_spent_and_what_can_be_said_to_it() -> None:
    assert [line.text for line in question_lines(COST, agents=12, more=0, width=200)] == [
        "",
        "? q0002 · cost stop · 12 agents wait",
        "  The run has cost $25.10, and has no budget of its own.",
        "  12 agents wait for a start.",
        "  why asked: without a budget no agent is started beyond $25.00 unless you say so",
        "  y $25.00 more · an amount, such as $10, for so much more · r without a limit · n stop here, to be resumed",
    ]
    assert all(len(line.text) <= 60 for line in question_lines(COST, agents=1, more=0, width=60))


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("y", Answer(verdict="once", by=BY)),
        ("$40", Answer(verdict="once", by=BY, more_usd=40.0)),
        (" 7.50\n", Answer(verdict="once", by=BY, more_usd=7.5)),
        ("$1,000", Answer(verdict="once", by=BY, more_usd=1000.0)),
        ("R", Answer(verdict="run", by=BY)),
        ("n", Answer(verdict="deny", by=BY)),
        ("no, that is enough", Answer(verdict="deny", by=BY)),
    ],
)
def test_an_amount_or_a_letter_answers_it(typed: str, answer: Answer) -> None:
    assert meaning(typed, COST) == answer


@pytest.mark.parametrize(
    "typed", ["", "0", "$0", "-5", "s", "p", "r 5", "y 40", "40k", "nan", "1e9", "$", "yes please"]
)
def test_what_is_no_amount_lets_nothing_go_on(typed: str) -> None:
    assert meaning(typed, COST) == "type y, an amount such as $10, r or n, then Enter"
