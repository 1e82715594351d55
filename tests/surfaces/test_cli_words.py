"""What is said at the end of a run, and of a script that is wrong."""

from __future__ import annotations

import json
import shlex

import pytest

from callsheet.cli.findings import finding_lines
from callsheet.cli.summary import summary_lines
from callsheet.model.outcome import Usage
from callsheet.model.run import Denial, Problem, RunError
from callsheet.model.script import Finding
from callsheet.model.values import Place
from tests.surfaces.events import HOSTILE, ended
from tests.surfaces.results import result


def said(**given: object) -> list[str]:
    return [line.text for line in summary_lines(result(**given), "/w/.callsheet/callsheet.db")]


# --- the summary ------------------------------------------------------------------------------------------------------


def test_a_summary_says_status_figures_backend_record_and_run_last() -> None:
    usage = Usage(input_tokens=12_000, output_tokens=950, cost_usd=0.34)
    agents = (ended(1).agent, ended(2).agent)

    assert said(usage=usage, agents=agents, duration_ms=125_000) == [
        "completed · 2 m 05 s · 2 agents · 12k in, 950 out · $0.34",
        "backend: anthropic",
        "record: /w/.callsheet/callsheet.db",
        "run: run_X",
    ]


@pytest.mark.parametrize("backend", ["offline", "scripted"])
def test_a_summary_says_plainly_that_no_model_was_asked(backend: str) -> None:
    assert any(
        line.startswith(f"backend: {backend} (") and "no model was asked" in line for line in said(backend=backend)
    )


def test_a_degraded_run_shows_each_problem_with_the_command_that_reruns_it() -> None:
    problem = Problem(
        where="parallel 2 [17]",
        cause="failed",
        message="the message",
        line=41,
        agent_id="a0023",
        label="verify:x",
        next="callsheet resume run_X --rerun a0023",
    )

    lines = said(status="degraded", problems=(problem, Problem(where="9 more", cause="threw", message="m", count=9)))

    assert lines[0].startswith("degraded: 2 problems · ")
    assert "  parallel 2 [17] (line 41) · a0023 verify:x · failed: the message" in lines
    assert "      callsheet resume run_X --rerun a0023" in lines
    assert "  9 more · threw ×9: m" in lines


def test_of_many_problems_the_first_are_shown_and_the_rest_counted() -> None:
    problems = tuple(Problem(where=f"agent {number}", cause="failed", message="m") for number in range(25))

    lines = said(status="degraded", problems=problems)

    assert sum("· failed: m" in line for line in lines) == 20
    assert "  … 5 more problems: callsheet show run_X --full" in lines


def test_a_failed_run_shows_its_error_with_the_place() -> None:
    error = RunError(kind="script", message="TypeError: x is not a function\n  at y", line=3, column=7)

    assert "error: review.js:3:7: TypeError: x is not a function\n      at y" in said(status="failed", error=error)


def test_what_is_not_known_or_only_estimated_of_the_cost_is_said() -> None:
    assert "cost unknown" in said(usage=Usage(cost_usd=None))[0]
    assert "  of which $0.50 are estimated" in said(usage=Usage(cost_usd=1.0, estimated_usd=0.5))


def test_who_stopped_a_run_is_said() -> None:
    assert said(status="cancelled", stopped_by_person=True)[0].startswith("cancelled: stopped by a person · ")
    assert said(status="interrupted")[0].startswith("interrupted: it can be resumed · ")


def test_denials_are_listed() -> None:
    denials = (Denial(tool="bash", input="rm -rf /", rule="default", agents=3),)

    assert "denied: bash rm -rf / (default), 3 agents" in said(denials=denials)


def test_what_would_have_allowed_the_denials_is_ready_to_paste_each_rule_once() -> None:
    test, quoted = "Bash(npm test:*)", "Bash(echo 'it''s')"
    lines = said(
        denials=(
            Denial(tool="bash", input="npm test", rule="no rule", agents=3, would_allow=(test,)),
            Denial(tool="bash", input="x", rule="no rule", agents=1, would_allow=(quoted, test)),
            Denial(tool="read", input="/", rule="outside", agents=1),
        )
    )

    at = lines.index("to allow this next time:")
    assert shlex.split(lines[at + 1]) == ["--allow", test, "--allow", quoted]
    assert lines[at + 2] == "or in .claude/settings.json:"
    assert json.loads(lines[at + 3]) == {"permissions": {"allow": [test, quoted]}}


def test_denials_that_no_rule_can_lift_name_none() -> None:
    assert "to allow this next time:" not in said(denials=(Denial(tool="read", input="/", rule="outside", agents=1),))


def test_a_rule_with_characters_that_cannot_be_seen_is_given_spelled_out_only() -> None:
    rule = "Bash(echo \u202egnp\x1b[2J\n)"
    lines = said(denials=(Denial(tool="bash", input="x", rule="no rule", agents=1, would_allow=(rule,)),))

    assert not [line for line in lines if "--allow" in line]
    assert json.loads(lines[lines.index("or in .claude/settings.json:") + 1])["permissions"]["allow"] == [rule]
    assert all(line.isprintable() and "\u202e" not in line for line in lines)


def test_hostile_text_in_any_field_stays_text() -> None:
    lines = said(
        status="degraded",
        script=HOSTILE,
        error=RunError(kind="script", message=HOSTILE, line=1),
        problems=(Problem(where=HOSTILE, cause="failed", message=HOSTILE, label=HOSTILE, next=HOSTILE),),
        denials=(Denial(tool=HOSTILE, input=HOSTILE, rule=HOSTILE, agents=1, would_allow=(HOSTILE,)),),
    )

    assert not [line for line in lines for character in "\x1b\x07\u202e" if character in line]
    assert sum(line.count("\n") for line in lines) == 1


# --- findings ---------------------------------------------------------------------------------------------------------


def shown(source: str, column: int | None, message: str = "wrong") -> list[str]:
    finding = Finding(
        severity="error",
        code="c",
        contract="S06",
        message=message,
        place=Place(line=12, column=column),
        source_line=source,
    )
    return list(finding_lines(finding, "a.js"))


@pytest.mark.contract("S06")
def test_a_finding_shows_its_line_with_a_caret() -> None:
    assert shown("const x = ;", 11) == [
        "error: a.js:12:11: wrong",
        "    12 | const x = ;",
        "       |           ^",
    ]


def test_the_caret_stands_right_behind_wide_and_invisible_characters() -> None:
    _, line, caret = shown("世界\u200b;", 4)

    assert line == "    12 | 世界⟨U+200B⟩;"
    assert caret == "       | " + " " * (4 + len("⟨U+200B⟩")) + "^"


@pytest.mark.contract("S06")
@pytest.mark.parametrize(
    ("source", "column", "before"),
    [
        ("\tx y", 4, 3),
        ("a\tx", 3, 2),
        ("'日本' x", 6, 7),
        ("'e\u0301' x", 6, 4),
        ("a\x1b[31mb", 7, 6),
        ("ab", 3, 2),
        ("", 1, 0),
    ],
)
def test_the_caret_stands_right_below_tabs_wide_and_combining_characters(source: str, column: int, before: int) -> None:
    assert shown(source, column)[2] == f"       | {' ' * before}^"


@pytest.mark.parametrize("column", [1, 500, 999, 1000])
def test_of_a_long_line_the_surroundings_of_the_column_are_shown(column: int) -> None:
    source = "a" * (column - 1) + "!" + "b" * (1000 - column)

    _, line, caret = shown(source, column)

    assert len(line) < 120
    assert line[caret.index("^")] == "!"
    assert line.count("…") == (1 if column in {1, 999, 1000} else 2)


def test_a_line_without_a_column_has_no_caret() -> None:
    assert shown("const x = ;", None) == ["error: a.js:12: wrong", "    12 | const x = ;"]
    assert len(shown("x" * 500, None)[1]) < 120


def test_hostile_text_in_a_script_stays_text() -> None:
    lines = shown("\x1b[2J\u202e;", 3, HOSTILE)

    assert "␛[2J⟨U+202E⟩;" in lines[1]
    assert not [line for line in lines for character in "\x1b\x07\u202e" if character in line]
