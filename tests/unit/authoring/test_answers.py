"""What an answer to a task is held to, by the agents that ran."""

from __future__ import annotations

from typing import Any

import pytest

from callsheet.authoring.answering import Witness, answer_of, faults_of

RAN = {
    "a0002": Witness(label="read a", status="ok"),
    "a0003": Witness(label="read b", status="ok"),
    "a0004": Witness(label="read c", status="failed"),
    "a0005": Witness(label="twice", status="ok"),
    "a0006": Witness(label="twice", status="ok"),
    "a0007": Witness(label="late", status=None),
}


def cites(*agents: str, where: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"claim": "it is so", "agents": list(agents), "where": list(where)}


def conflict(*agents: str, taken: str | None) -> dict[str, Any]:
    said = [{"agent": agent, "what": f"what {agent} says"} for agent in agents]
    return {"about": "the limit", "said": said, "taken": taken, "why": "it quotes the line"}


def faults(*evidence: dict[str, Any], conflicts: tuple[dict[str, Any], ...] = (), ran: Any = RAN) -> list[str]:
    value: dict[str, Any] = {
        "answer": "So.",
        "evidence": [*evidence],
        "conflicts": [*conflicts],
        "left_out": [],
        "ended": "answered",
    }
    answer = answer_of(value)
    assert answer is not None
    return list(faults_of(answer, ran))


def test_an_answer_that_cites_agents_by_id_or_by_label_is_taken() -> None:
    assert faults(cites("a0002", "read b"), conflicts=(conflict("a0002", "a0003", taken="read b"),)) == []


@pytest.mark.parametrize(
    ("cited", "told"),
    [
        ("a0001", "'a0001' is cited and is no agent of a workflow of this run"),
        ("nobody", "'nobody' is cited and is no agent"),
        ("a0004", "a0004 (read c) is cited and ended failed"),
        ("read c", "a0004 (read c) is cited and ended failed"),
        ("a0007", "a0007 (late) is cited and has not ended"),
        ("twice", "'twice' is the label of a0005, a0006: cite by id which of them you mean"),
    ],
)
def test_an_agent_that_cannot_be_cited_is_named(cited: str, told: str) -> None:
    found = faults(cites("a0002"), cites(cited))
    assert told in found[0]


def test_who_cites_a_stranger_is_told_whom_there_is() -> None:
    assert "There are a0002 (read a), a0003 (read b), " in faults(cites("x", "a0002"))[-1]
    assert "none of a workflow has ended ok" in faults(cites("x"), ran={})[-1]


def test_what_agents_found_must_be_cited_and_a_claim_rests_on_something() -> None:
    assert faults(cites(where=("src/a.py:3",)), ran={}) == [], "what it read itself, where no workflow has run"
    assert "cite those that the answer rests on" in faults(cites(where=("src/a.py:3",)))[0]
    assert "names no agent and no place" in faults(cites(), ran={})[0]


@pytest.mark.parametrize(
    ("said", "taken", "told"),
    [
        (("a0002",), "a0002", "names 1 of the agents"),
        (("a0002", "read a"), None, "names 1 of the agents"),
        (("a0002", "a0003"), "a0005", "`taken` is 'a0005', and it said nothing there. Give one of a0002, a0003"),
        (("a0002", "a0004"), None, "a0004 (read c) is cited and ended failed"),
    ],
)
def test_a_conflict_is_between_two_that_can_be_cited_and_one_of_them_is_taken(
    said: tuple[str, ...], taken: str | None, told: str
) -> None:
    assert told in faults(cites("a0002"), conflicts=(conflict(*said, taken=taken),))[0]


def test_a_conflict_may_stay_open() -> None:
    assert faults(cites("a0002"), conflicts=(conflict("a0002", "a0003", taken=None),)) == []


def test_what_is_no_answer_to_a_task_is_none() -> None:
    values: list[Any] = [None, "text", [], {}, {"answer": "x"}, {"answer": "x", "ended": "somehow"}]
    for value in values:
        assert answer_of(value) is None


def test_an_answer_of_no_word_is_none() -> None:
    answer = answer_of({"answer": " \n", "ended": "answered"})
    assert answer is not None
    assert next(faults_of(answer, {})).startswith("`answer` is empty")
