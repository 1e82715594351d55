from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from callsheet.app.refused import failed_result
from callsheet.model.events import Event, EventBody, RunFinished
from callsheet.model.run import RunError
from callsheet.views.progress import KEPT_FINISHED, RunView, seconds_between
from tests.surfaces.events import answered, asked, begun, ended, log, phase, progress, queued, started, status, waiting

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Feed:
    """A view and the events that are given to it, a second apart."""

    def __init__(self) -> None:
        self.view = RunView()
        self.seq = 0

    def now(self) -> str:
        return (BEGIN + timedelta(seconds=self.seq)).isoformat()

    def give(self, *bodies: EventBody) -> RunView:
        for body in bodies:
            self.seq += 1
            self.view.apply(Event(run_id="run_1", seq=self.seq, at=self.now(), body=body))
        return self.view


@pytest.fixture
def feed() -> Feed:
    return Feed()


def test_an_agent_goes_from_the_queue_to_work_to_the_counts(feed: Feed) -> None:
    view = feed.give(started(), queued(1), queued(2))
    find = view.phases[(None, "Find")]
    assert (len(view.queue), len(view.at_work), view.finished) == (2, 0, 0)
    assert (find.queued, find.running, find.ended, find.agents) == (2, 0, 0, 2)

    feed.give(begun(1))
    assert list(view.queue) == ["a0002"] and list(view.at_work) == ["a0001"]
    assert (find.queued, find.running, find.ended) == (1, 1, 0)

    feed.give(ended(1), ended(2, "cancelled"))
    assert (len(view.queue), len(view.at_work), view.finished, view.ended_badly) == (0, 0, 2, 1)
    assert (find.queued, find.running, find.ended, find.ended_badly, find.tokens) == (0, 0, 2, 1, 100)
    assert [agent.status for agent in view.ended] == ["ok", "cancelled"]


@pytest.mark.contract("G02", "W01")
def test_phases_are_grouped_by_workflow_and_title_in_order_of_first_use(feed: Feed) -> None:
    view = feed.give(
        started(),
        phase("Extra"),
        queued(1, phase="Fix"),
        queued(2, phase=None),
        queued(3, phase="Fix", workflow="child"),
    )

    assert list(view.phases) == [(None, "Find"), (None, "Fix"), (None, "Extra"), (None, None), ("child", "Fix")]
    assert view.phases[(None, "Extra")].is_entered
    assert view.phases[("child", "Fix")].agents == 1


def test_tokens_count_while_an_agent_works_and_once_when_it_ended(feed: Feed) -> None:
    view = feed.give(started(), queued(1), begun(1))
    feed.give(progress(1, "read", "a.py", 20))
    assert (view.tokens, view.at_work["a0001"].doing) == (20, "read a.py")

    feed.give(progress(1, None, None, 45))
    assert (view.tokens, view.at_work["a0001"].doing) == (45, "read a.py")

    feed.give(ended(1))
    assert (view.tokens, view.usage.cost_usd) == (50, 0.01)


def test_one_unknown_price_makes_the_cost_unknown(feed: Feed) -> None:
    assert feed.give(started(), ended(1), ended(2, cost=None), ended(3)).usage.cost_usd is None


def test_an_agent_that_waits_says_for_what_until_it_goes_on(feed: Feed) -> None:
    view = feed.give(started(), queued(1), waiting(1, "cache warm-up", None))
    assert (view.queue["a0001"].state, len(view.at_work)) == ("waiting", 0)

    feed.give(begun(1), waiting(1))
    agent = view.at_work["a0001"]
    assert (agent.state, agent.doing, agent.until) == ("waiting", "rate limit", "2026-01-01T00:01:00Z")

    feed.give(progress(1, "grep", None, 1))
    assert (agent.state, agent.doing, agent.until) == ("running", "grep", None)


def test_what_is_said_of_agents_that_are_not_known_is_harmless(feed: Feed) -> None:
    view = feed.give(
        started(),
        begun(9),
        progress(9, None, None, 5),
        waiting(9),
        ended(9, reused=True),
    )

    assert (view.finished, view.reused, view.tokens) == (1, 1, 50)


def test_only_the_last_ended_agents_are_remembered_and_all_are_counted(feed: Feed) -> None:
    view = feed.give(started(), *(ended(number) for number in range(500)))

    assert view.finished == 500
    assert len(view.ended) == KEPT_FINISHED
    assert view.ended[-1].agent_id == "a0499"


def test_status_and_result_are_those_of_the_events(feed: Feed) -> None:
    view = feed.give(started(), status("stopping", "Ctrl-C"))
    assert (view.status, view.reason) == ("stopping", "Ctrl-C")

    feed.give(log("x"))
    result = failed_result(
        RunError(kind="script", message="m"), run_id="run_1", script="s.js", backend="scripted", workflow="review"
    )
    feed.give(RunFinished(result=result))
    assert view.status == "failed"
    assert view.result is result


def test_elapsed_time_is_counted_from_the_start_and_never_negative(feed: Feed) -> None:
    assert feed.view.elapsed_s(BEGIN) == 0
    view = feed.give(started())
    assert view.elapsed_s(BEGIN + timedelta(seconds=91)) == 90
    assert view.elapsed_s(BEGIN - timedelta(seconds=9)) == 0
    assert seconds_between("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:02.500Z") == 2.5
    assert seconds_between(None, "2026-01-01T00:00:02.500Z") == 0


def test_a_resumed_run_asks_no_more_what_it_asked_before(feed: Feed) -> None:
    feed.give(started(), queued(1), begun(1), asked(1, 1))
    assert feed.give(started()).questions == {}


def test_open_questions_are_kept_with_their_newest_count_until_they_are_answered(feed: Feed) -> None:
    view = feed.give(started(), queued(1), begun(1), asked(1, 1), waiting(1, "approval"), asked(2, 1), asked(1, 1, 2))
    assert [(one.id, one.agents) for one in view.questions.values()] == [("q0001", 2), ("q0002", 1)]
    assert (view.at_work["a0001"].state, view.at_work["a0001"].doing) == ("waiting", "approval")

    feed.give(answered(1))
    assert list(view.questions) == ["q0002"]
    assert (view.at_work["a0001"].doing, view.at_work["a0001"].until) == ("its turn", None)
    feed.give(progress(1, "bash", "npm test"), answered(2))
    assert (view.at_work["a0001"].state, view.at_work["a0001"].doing) == ("running", "bash npm test")
    feed.give(answered(9))
    assert view.questions == {}


def test_a_run_that_is_over_asks_nothing(feed: Feed) -> None:
    error = RunError(kind="script", message="x")
    view = feed.give(
        started(), asked(1, 1), RunFinished(result=failed_result(error, run_id="r", script="s", backend="b"))
    )
    assert view.questions == {}
