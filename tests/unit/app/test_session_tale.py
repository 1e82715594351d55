"""What a session's lines tell: the same live and read back, also of one that was broken off anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from callsheet.app.session_lines import (
    ContinuedLine,
    Line,
    OpenedLine,
    ProblemLine,
    RunEndedLine,
    RunStartedLine,
    RunStartingLine,
    SaidLine,
    SetLine,
    TurnBegunLine,
    TurnEndedLine,
    UsageLine,
    line_of,
)
from callsheet.app.session_tale import Tale
from callsheet.app.session_transcript import Note, Problem, RunEnded, RunStarted, Said, Turn
from callsheet.permissions.modes import Mode

OPENED = OpenedLine(id="session_1", workspace="/w", record="/w/.callsheet/callsheet.db")
STARTING = RunStartingLine(start=1, run_id="run_1", of="saved", workflow="review", notes=("a",))
USED = UsageLine(output_tokens=10, cost_usd=0.5)


def told(*lines: Line) -> Tale:
    tale = Tale()
    for line in lines:
        tale.apply(line)
    return tale


def run(run_id: str = "run_1", **more: Any) -> tuple[Line, ...]:
    return (
        RunStartingLine(start=1, run_id=run_id, of="saved", workflow="review"),
        RunStartedLine(start=1, run_id=run_id, of="saved", workflow="review"),
        RunEndedLine(run_id=run_id, workflow="review", status="completed", text="found", usage=USED, **more),
    )


def turn(number: int, run_id: str, *, heard: tuple[int, ...] = (), state: Any = "done") -> tuple[Line, ...]:
    return (
        TurnBegunLine(number=number, run_id=run_id, heard=heard),
        TurnEndedLine(number=number, state=state, text="so", agent_id="a0001", usage=USED),
    )


def test_a_result_counts_as_given_when_the_turn_that_had_it_has_ended_well() -> None:
    before = (OPENED, *run(), SaidLine(text="and?"))
    failed = told(*before, *turn(4, "run_2", heard=(2,), state="failed"))
    assert failed.pending == [2]
    assert failed.last_turn is None

    given = told(*before, *turn(4, "run_2", heard=(2,)))
    assert given.pending == []
    assert given.last_turn == ("run_2", "a0001")
    ended = given.entries[1]
    assert isinstance(ended, RunEnded)
    assert ended.heard_in == 4
    answered = given.entries[3]
    assert isinstance(answered, Turn)
    assert (answered.state, answered.text, answered.heard) == ("done", "so", ("run_1",))


def test_a_turn_that_was_under_way_has_come_to_nothing_when_the_session_is_continued() -> None:
    tale = told(
        OPENED, *run(), SaidLine(text="and?"), TurnBegunLine(number=4, run_id="run_2", heard=(2,)), SaidLine(text="?")
    )
    assert [each.number for each in tale.open_turns()] == [4, 6]
    assert tale.apply(ContinuedLine()) == (4, 6)
    assert {each.state for each in tale.entries if isinstance(each, Turn)} == {"interrupted"}
    assert all(each.remedy for each in tale.entries if isinstance(each, Turn))
    assert tale.pending == [2]


def test_a_run_that_is_being_started_stays_so_until_it_is_known_what_became_of_it() -> None:
    tale = told(OPENED, STARTING, ContinuedLine())
    assert tale.starts == {1: STARTING}
    assert told(OPENED, STARTING, ProblemLine(start=1, text="no")).starts == {}
    started = told(OPENED, STARTING, STARTING.started)
    assert started.starts == {}
    assert list(started.going) == ["run_1"]


def test_what_runs_have_used_counts_once_also_where_one_was_gone_on_with() -> None:
    tale = told(OPENED, *run(), *run())
    assert tale.runs == 2
    assert {name: used.output_tokens for name, used in tale.runs_usage.items()} == {"run_1": 10}
    assert [type(each) for each in tale.entries] == [RunStarted, RunEnded, RunStarted, RunEnded]


def test_the_budget_of_talk_counts_from_when_it_was_set() -> None:
    tale = told(
        OPENED,
        SaidLine(text="a"),
        *turn(2, "run_1"),
        SetLine(budget="$5", mode=Mode.PLAN, effort="ultracode", model="opus", is_budget_new=True, text="Each run …"),
        SaidLine(text="b"),
        *turn(5, "run_2"),
        SetLine(budget="$5", text="another"),
    )
    assert tale.turns_usage.output_tokens == 20
    assert tale.bounded_usage.output_tokens == 10
    assert [type(each) for each in tale.entries] == [Said, Turn, Note, Said, Turn, Note]
    assert tale.settings.mode is None


def test_an_answer_without_a_known_price_does_not_make_the_budget_whole_again() -> None:
    priced, unknown = UsageLine(cost_usd=4.9), UsageLine(cost_usd=None)
    lines: list[Line] = [OPENED, SetLine(budget="$5", is_budget_new=True, text="Each run …")]
    for number, used in ((3, priced), (5, unknown)):
        begun, ended = turn(number, f"run_{number}")
        lines += [SaidLine(text="a"), begun, ended.model_copy(update={"usage": used})]
    tale = told(*lines)
    assert tale.bounded_usage.cost_usd == 4.9
    assert tale.turns_usage.cost_usd is None


def test_where_the_record_is_another_one_the_conversation_begins_anew() -> None:
    tale = told(OPENED, SaidLine(text="a"), *turn(2, "run_1"))
    tale.apply(OPENED.model_copy(update={"record": "/other.db"}))
    assert tale.last_turn is None
    assert isinstance(tale.entries[-1], Note)
    tale.apply(OPENED.model_copy(update={"record": "/other.db"}))
    assert len(tale.entries) == 3


def test_lines_that_were_lost_do_not_move_what_later_ones_speak_of() -> None:
    lines = (OPENED, *run(), SaidLine(text="and?"), *turn(4, "run_2", heard=(2,)))
    numbered: list[Line] = []
    tale = Tale()
    for line in lines:
        numbered.append(line.model_copy(update={"n": tale.next_number}))
        tale.apply(numbered[-1])

    lost = told(*numbered[:3], *numbered[4:])

    assert [type(each) for each in lost.entries] == [RunStarted, Problem, Said, Turn]
    assert lost.entries[3] == tale.entries[3] or isinstance(lost.entries[3], Turn)
    assert lost.last_turn == tale.last_turn
    assert len(told(SaidLine(text="far away", n=10**9)).entries) <= 1_002


def hostile() -> Iterable[dict[str, Any]]:
    yield {"kind": "turn.begun", "number": 99, "run_id": "run_x", "heard": [7, -3]}
    yield {"kind": "turn.ended", "number": -1, "state": "done"}
    yield {"kind": "run.ended", "run_id": "run_unknown", "workflow": "w", "status": "completed"}
    yield {"kind": "run.ended", "run_id": "run_1", "workflow": "w", "status": "great"}
    yield {"kind": "set", "mode": "everything", "text": "t"}
    yield {"kind": "set", "effort": "endless", "text": "t"}
    yield {"kind": "set", "budget": "much", "text": "t"}
    yield {"kind": "from a newer version", "text": "t"}
    yield {"kind": "said", "text": 7}
    yield {"kind": "turn.ended", "number": 2, "state": "done", "usage": {"cost_usd": float("nan")}}
    yield {}


@pytest.mark.parametrize("said", tuple(hostile()), ids=lambda said: json.dumps(said)[:40])
def test_lines_that_say_what_cannot_be_change_nothing(said: dict[str, Any]) -> None:
    tale = told(OPENED, SaidLine(text="a"))
    before = list(tale.entries)
    line = line_of(said)
    if line is not None:
        tale.apply(line)
    assert (tale.entries, tale.pending, tale.last_turn) == (before, [], None)
