"""Problems, denials and folded lines."""

from __future__ import annotations

import pytest

from callsheet.engine.problems import DenialBook, ProblemBook, SlotLines, cause_of
from callsheet.model.outcome import AGENT_STATUSES
from callsheet.model.run import Problem, ProblemCause
from callsheet.model.sandbox import SlotFailed


def slot(index: int = 3, *, cause_call: int | None = None, number: int = 2, message: str = "boom") -> SlotFailed:
    return SlotFailed(
        context=0,
        combinator="parallel",
        number=number,
        index=index,
        name="Error",
        message=message,
        line=41,
        cause_call=cause_call,
    )


def problem(cause: ProblemCause = "invalid", agent_id: str | None = "a0023") -> Problem:
    return Problem(where="agent", cause=cause, message="why", line=5, agent_id=agent_id, label="l", next="n")


def book() -> ProblemBook:
    return ProblemBook(lambda text: text)


def test_a_slot_that_threw_by_itself_is_a_problem_of_its_own() -> None:
    problems = book()
    problems.slot(slot(), workflow=None, message="TypeError: boom")
    assert problems.problems() == (Problem(where="parallel 2 [3]", cause="threw", message="TypeError: boom", line=41),)


def test_a_slot_that_a_failed_call_left_empty_is_one_problem_with_the_place_of_the_slot() -> None:
    problems = book()
    problems.call((0, 9), problem())
    problems.slot(slot(cause_call=9), workflow=None, message="SchemaError: why")
    (only,) = problems.problems()
    assert (only.where, only.line, only.agent_id, only.label, only.cause) == (
        "parallel 2 [3]",
        41,
        "a0023",
        "l",
        "invalid",
    )
    assert only.next == "n"


def test_a_call_that_empties_two_slots_is_two_problems() -> None:
    problems = book()
    problems.call((0, 9), problem())
    problems.slot(slot(0, cause_call=9), workflow=None, message="x")
    problems.slot(slot(1, cause_call=9), workflow=None, message="x")
    assert [one.where for one in problems.problems()] == ["parallel 2 [0]", "parallel 2 [1]"]


def test_a_slot_of_a_nested_workflow_says_which() -> None:
    problems = book()
    problems.slot(slot(), workflow="child", message="x")
    assert problems.problems()[0].where == "▸ child: parallel 2 [3]"


def test_a_slot_whose_call_was_no_problem_is_one_of_its_own() -> None:
    problems = book()
    problems.slot(slot(cause_call=4), workflow=None, message="TypeError: wrong")
    assert problems.problems()[0].cause == "threw"


def test_beyond_a_hundred_problems_are_folded_by_cause() -> None:
    problems = book()
    for number in range(150):
        problems.call((0, number), problem("cap"))
    for number in range(7):
        problems.call((1, number), problem("failed"))
    listed = problems.problems()
    assert len(listed) == 102
    assert [(one.where, one.cause, one.count) for one in listed[100:]] == [
        ("50 more", "cap", 50),
        ("7 more", "failed", 7),
    ]
    problems.slot(slot(cause_call=149), workflow=None, message="x")
    assert len(problems.problems()) == 102


def test_every_status_but_ok_has_a_cause() -> None:
    assert {status for status in AGENT_STATUSES if cause_of(status) is None} == {"ok"}
    assert cause_of("cancelled") == "skipped"


@pytest.mark.contract("L03")
def test_equal_failure_lines_are_folded_and_their_number_is_said_at_the_end() -> None:
    lines = SlotLines()
    shown = [lines.line(slot(index), "boom") for index in range(1_000)]
    assert [line for line in shown if line] == [
        "parallel[0] failed: boom",
        "parallel[1] failed: boom",
        "parallel[2] failed: boom",
    ]
    assert lines.line(slot(7), "other") == "parallel[7] failed: other"
    assert lines.folded(1) == []
    assert lines.folded(0) == ["parallel[…] failed 997 times more: boom"]
    assert lines.folded(0) == []


def test_lines_that_all_differ_are_not_remembered_without_end() -> None:
    lines = SlotLines()
    assert all(lines.line(slot(index), f"boom {index}") for index in range(3_000))
    assert len(lines._seen) == 1_000


def test_equal_denials_are_one_entry_with_the_number_of_agents() -> None:
    denials = DenialBook()
    for agent_id in ("a0001", "a0002", "a0002"):
        denials.add(tool="write", tool_input="x", rule="outside", agent_id=agent_id)
    denials.add(tool="read", tool_input="y", rule="outside", agent_id="a0001")
    assert [(one.tool, one.agents) for one in denials.denials()] == [("write", 2), ("read", 1)]
    for number in range(1_000):
        denials.add(tool="read", tool_input=str(number), rule="r", agent_id="a0001")
    assert len(denials.denials()) == 200


def test_a_denial_names_each_rule_once_and_no_more_than_can_be_read() -> None:
    denials = DenialBook()
    for number in range(50):
        rules = ("Bash(npm test:*)", f"Bash({number})", "Bash(" + "x" * 5_000 + ")")
        denials.add(tool="bash", tool_input="x", rule="no rule", agent_id="a0001", would_allow=rules)
    (denial,) = denials.denials()
    assert denial.would_allow == ("Bash(npm test:*)", *(f"Bash({number})" for number in range(19)))
