from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from callsheet.model.events import Event, EventBody, RunFinished
from callsheet.model.outcome import AGENT_STATUSES
from callsheet.views import board as board_module
from callsheet.views.board import Board, PhaseKey
from callsheet.views.board_json import board_json
from tests.surfaces.events import (
    answered,
    asked,
    begun,
    budget,
    controlled,
    ended,
    log,
    phase,
    progress,
    queued,
    started,
    status,
    waiting,
)
from tests.surfaces.results import result


def feed(board: Board, *bodies: EventBody) -> Board:
    for body in bodies:
        seq = board.seq + 1
        board.apply(Event(run_id="run_1", seq=seq, at=f"2026-01-01T00:{seq // 60:02}:{seq % 60:02}.000Z", body=body))
    return board


def patched(whole: dict[str, Any] | None, patch: dict[str, Any]) -> dict[str, Any]:
    """What a reader has after a patch, as the browser puts it together."""
    if whole is None or patch["whole"]:
        return patch
    phases = {each["key"]: each for each in whole["phases"]} | {each["key"]: each for each in patch["phases"]}
    agents = {each["agent_id"]: each for each in whole["agents"]} | {each["agent_id"]: each for each in patch["agents"]}
    return patch | {
        "phases": sorted(phases.values(), key=lambda each: each["place"]),
        "agents": list(agents.values()),
        "log": [*whole["log"], *patch["log"]],
    }


def test_an_agent_is_shown_from_the_queue_to_its_end_with_what_it_used() -> None:
    board = feed(Board(), started(), queued(1), begun(1), progress(1, "read", "a.py", 20))

    agent = board.agents["a0001"]
    assert (agent.state, agent.doing, agent.usage.output_tokens, board.tokens) == ("running", "read a.py", 20, 20)
    assert agent.usage.cost_usd is None, "what it costs is not known before its end"

    feed(board, ended(1, "failed"))
    assert (agent.state, agent.status, agent.doing, agent.ended_badly) == ("ended", "failed", None, True)
    find = board.phases[(None, "Find")]
    assert (find.ended, find.ended_badly, find.usage.output_tokens, find.usage.cost_usd) == (1, 1, 50, 0.01)
    assert (board.tokens, board.ended_usage.cost_usd, board.ended_badly) == (50, 0.01, 1)


def test_all_agents_that_ended_are_kept() -> None:
    board = feed(Board(), started(), *(ended(number) for number in range(500)))

    assert len(board.agents) == 500
    assert board.phases[(None, "Find")].ended == 500


def test_it_says_what_agents_wait_for_and_until_when() -> None:
    board = feed(Board(), started(), queued(1), begun(1), waiting(1, reason="429"), queued(2), begun(2), waiting(2))

    assert board.waits() == {"rate limit": 2}
    assert (board.agents["a0001"].until, board.agents["a0001"].reason) == ("2026-01-01T00:01:00Z", "429")


def test_questions_are_open_until_they_are_answered() -> None:
    board = feed(Board(), started(), queued(1), begun(1), waiting(1, "approval"), asked(1, 1))
    assert [question["id"] for question in board_json(board)["questions"]] == ["q0001"]

    feed(board, answered(1))
    assert (board.questions, board.agents["a0001"].doing) == ({}, "its turn")


def test_what_a_person_did_to_an_agent_is_shown_until_it_is_done() -> None:
    board = feed(Board(), started(), queued(1), begun(1), controlled(1, "message", text="only the tests"))
    agent = board.agents["a0001"]
    assert [(sent.by, sent.text, sent.taken) for sent in agent.messages] == [("ada", "only the tests", False)]

    feed(board, controlled(1, "message_taken"), controlled(1, "skip"))
    assert ([sent.taken for sent in agent.messages], agent.asked_to) == ([True], "skip")

    feed(board, ended(1, "skipped"))
    assert agent.asked_to is None


def test_a_run_that_was_resumed_is_shown_as_its_last_attempt_has_it_and_nothing_counts_twice() -> None:
    first = (started(), queued(1), begun(1), ended(1), queued(2), begun(2))
    second = (started(), queued(1), ended(1, reused=True), queued(2), begun(2), ended(2))
    board = feed(feed(Board(), *first), *second)

    assert (board.attempt, board.finished, board.reused, board.tokens) == (2, 2, 1, 100)
    assert board_json(board, since=len(first))["whole"], "what was shown before is void"


def test_an_event_that_comes_twice_changes_nothing() -> None:
    board = Board()
    event = Event(run_id="run_1", seq=1, at="2026-01-01T00:00:00.000Z", body=ended(1))
    board.apply_all([event, event])

    assert board.finished == 1


def test_lines_of_the_log_that_a_reader_missed_for_good_have_it_begin_anew() -> None:
    board = feed(Board(), started(), *(log(f"line {number}") for number in range(board_module.KEPT_LOG_LINES + 5)))

    patch = board_json(board, since=3)
    assert patch["whole"] and len(patch["log"]) == board_module.KEPT_LOG_LINES
    assert patch["log_lines"] == board_module.KEPT_LOG_LINES + 5
    assert [line["message"] for line in board_json(board, since=board.seq - 2)["log"]] == ["line 2003", "line 2004"]


numbers = st.integers(1, 6)
bodies: st.SearchStrategy[EventBody] = st.one_of(
    st.builds(queued, numbers, phase=st.sampled_from(["Find", "Fix", None, "Other"])),
    st.builds(begun, numbers),
    st.builds(progress, numbers, st.sampled_from(["read", None]), st.none(), st.integers(0, 100)),
    st.builds(waiting, numbers),
    st.builds(ended, numbers, st.sampled_from(AGENT_STATUSES), reused=st.booleans()),
    st.builds(asked, numbers, numbers),
    st.builds(answered, numbers),
    st.builds(controlled, numbers, st.sampled_from(["message", "message_taken", "skip", "stop", "restart"])),
    st.builds(log, st.text(max_size=3)),
    st.builds(phase, st.sampled_from(["Find", "Late"])),
    st.builds(status, st.sampled_from(["paused", "running"])),
    st.builds(budget, st.sampled_from(["tokens", "usd"]), st.just(1.0), st.just(2.0)),
    st.builds(started),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(bodies, max_size=40), st.lists(st.integers(1, 5), max_size=40))
def test_patches_at_any_moments_come_to_the_same_as_the_whole(said: list[EventBody], gaps: list[int]) -> None:
    board = feed(Board(), started())
    shown: dict[str, Any] | None = None
    for place, body in enumerate(said):
        feed(board, body)
        if gaps and place % gaps[place % len(gaps)] == 0:
            shown = patched(shown, board_json(board, since=0 if shown is None else shown["seq"]))
    shown = patched(shown, board_json(board, since=0 if shown is None else shown["seq"]))

    whole = board_json(board)
    by_id = {each["agent_id"]: each for each in whole["agents"]}
    assert {each["agent_id"]: each for each in shown["agents"]} == by_id
    assert {name: shown[name] for name in whole if name not in {"agents", "whole"}} == {
        name: whole[name] for name in whole if name not in {"agents", "whole"}
    }
    json.dumps(whole)


@settings(max_examples=60, deadline=None)
@given(st.lists(bodies.filter(lambda body: type(body) is not type(started())), max_size=40))
def test_counts_of_phases_and_of_the_run_are_those_of_their_agents(said: list[EventBody]) -> None:
    board = feed(Board(), started(), *said)
    agents: dict[PhaseKey, list[str]] = {}
    for agent in board.agents.values():
        agents.setdefault(agent.key, []).append(agent.state)
    for key, found in board.phases.items():
        states = agents.get(key, [])
        assert (found.queued, found.running, found.waiting, found.ended) == tuple(
            map(states.count, ("queued", "running", "waiting", "ended"))
        )
        assert found.usage.output_tokens == sum(
            agent.usage.output_tokens for agent in board.agents.values() if agent.key == key
        )
    assert board.tokens == sum(agent.usage.output_tokens for agent in board.agents.values())


def test_the_end_of_the_run_is_shown_with_its_result() -> None:
    board = feed(Board(), started(), queued(1), ended(1), RunFinished(result=result(result={"found": 3})))

    assert board.is_over
    assert board_json(board)["result"]["result"] == {"found": 3}
    assert "agents" not in board_json(board)["result"]
