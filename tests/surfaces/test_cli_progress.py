from __future__ import annotations

import io
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime

import anyio
import pytest

from callsheet.cli.follower import Follower, View
from callsheet.cli.jsonl import JsonLines
from callsheet.cli.live import LiveTree, question_lines, tree_lines
from callsheet.cli.plain import PlainLines
from callsheet.model.events import Event, RunFinished
from callsheet.views.progress import RunView
from tests.support.deadline import within
from tests.surfaces import events as make
from tests.surfaces.events import HOSTILE, events
from tests.surfaces.results import result

NOW = datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)
ACTING = ("\x1b", "\x07", "\u202e")


def plain(*bodies: object) -> list[str]:
    stream = io.StringIO()
    PlainLines(stream).show(events(*bodies), [])  # type: ignore[arg-type]
    return stream.getvalue().splitlines()


def tree(view: RunView, rows: int) -> list[str]:
    return [line.plain for line in tree_lines(view, rows, NOW)]


def viewed(*bodies: object) -> RunView:
    view = RunView()
    for event in events(*bodies):  # type: ignore[arg-type]
        view.apply(event)
    return view


# --- plain lines ------------------------------------------------------------------------------------------------------


def test_plain_lines_tell_a_run_in_order() -> None:
    lines = plain(
        make.started(notes=("no model is asked",)),
        make.phase("Find"),
        make.queued(1),
        make.begun(1),
        make.progress(1, "read", "a.py"),
        make.log("two\nlines", "warn"),
        make.waiting(1),
        make.ended(1),
        make.ended(2, "failed", error="why not"),
        make.budget("tokens", 500, 1_000),
        make.status("stopping", "Ctrl-C"),
    )

    assert lines == [
        "review: reviews",
        "run_X · backend: scripted · 4 agents at a time · /w",
        "note: no model is asked",
        "[    0.0 s] phase Find",
        "[    0.0 s] started a0001 label 1 (m)",
        "[    0.0 s] log: warn: two",
        "    lines",
        "[    0.0 s] waiting a0001 label 1: rate limit until 2026-01-01T00:01:00Z",
        "[    0.0 s] ok        a0001 label 1 · 2.0 s · 50 tokens · $0.0100",
        "[    0.0 s] failed    a0002 label 2 · 2.0 s · 50 tokens · $0.0100 · why not",
        "[    0.0 s] stopping: Ctrl-C",
    ]


def hostile_bodies() -> list[object]:
    return [
        make.started(workflow=HOSTILE, description=HOSTILE, workspace=HOSTILE, notes=(HOSTILE,)),
        make.phase(HOSTILE, HOSTILE),
        make.queued(1, HOSTILE, phase=HOSTILE),
        make.queued(3, HOSTILE, phase=HOSTILE),
        make.begun(1),
        make.begun(3),
        make.progress(3, HOSTILE, HOSTILE),
        make.log(HOSTILE),
        make.waiting(1, HOSTILE, reason=HOSTILE),
        make.asked(1, 1, tool=HOSTILE, tool_input=HOSTILE),
        make.answered(1, by=HOSTILE),
        make.asked(2, 1, tool=HOSTILE, tool_input=HOSTILE),
        make.ended(1, "failed", HOSTILE, phase=HOSTILE, error=HOSTILE),
        make.status(HOSTILE, HOSTILE),
    ]


def test_hostile_text_in_any_field_stays_text_in_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    lines = plain(*hostile_bodies())

    assert not [line for line in lines for character in ACTING if character in line]
    assert not [line for line in lines if line.lstrip().startswith("::")]
    assert any("␛[2J␛]0;owned␇ [bold]x[/bold] ⟨U+202E⟩gnp.exe" in line for line in lines)


def test_what_goes_wrong_at_the_service_is_said_once_and_agents_that_wait_for_the_same_are_one_line() -> None:
    three = [make.queued(number) for number in (1, 2, 3)] + [make.begun(number) for number in (1, 2, 3)]
    then, later = "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"
    lines = plain(
        *three,
        *(make.waiting(number, "service", then, "no connection") for number in (1, 2, 3)),
        make.waiting(2, "service", later, "no connection"),
        make.waiting(2, "service", later, "Overloaded"),
    )

    assert lines[3:] == [
        f"[    0.0 s] waiting 3 agents: service until {then}: no connection",
        f"[    0.0 s] waiting a0002 label 2: service until {later}",
        f"[    0.0 s] waiting a0002 label 2: service until {later}: Overloaded",
    ]


def test_a_question_is_a_line_when_it_is_asked_and_one_when_it_is_answered() -> None:
    lines = plain(
        make.asked(1, 1), make.waiting(1, "approval"), make.asked(1, 1, 2), make.answered(1, "deny", agents=2)
    )

    assert lines == [
        "[    0.0 s] asks q0001 bash npm test · 1 agent waiting",
        "[    0.0 s] waiting a0001 : approval",
        "[    0.0 s] denied q0001 bash npm test · a person · 2 agents",
    ]


# --- the tree ---------------------------------------------------------------------------------------------------------


def test_what_a_person_does_to_an_agent_is_a_line_and_one_that_starts_over_waits_for_nothing() -> None:
    story = (
        make.started(), make.queued(1), make.queued(2), make.begun(1), make.controlled(1, "message", text="Mind\nit."),
        make.controlled(1, "message_taken"), make.waiting(1), make.controlled(1, "restart"),
        make.controlled(2, "skip", by="bob"), make.controlled(1, "stop", by=HOSTILE, text=HOSTILE),
    )  # fmt: skip
    lines = [line.removeprefix("[    0.0 s] ") for line in plain(*story)[2:]]

    assert [line for line in lines if line.startswith(("mess", "starts", "skips"))] == [
        "message to a0001 label 1 · ada: Mind␊it.",
        "message taken by a0001 label 1 · ada",
        "starts over a0001 label 1 · ada",
        "skips a0002 label 2 · bob",
    ]
    assert not any(acting in line for line in lines for acting in ACTING)
    (agent,) = viewed(*story).at_work.values()
    assert (agent.state, agent.doing, agent.until) == ("running", None, None)


def test_a_question_that_waits_behind_others_has_no_time_yet() -> None:
    behind = replace(make.asked(2, 2), until=None)
    lines = [line.plain for line in question_lines(viewed(make.started(), make.asked(1, 1), behind), NOW)]

    assert "denied in" in lines[0]
    assert lines[1].endswith("1 agent waiting · asked after those before it")


def test_the_tree_shows_phases_with_agents_at_work_and_the_last_that_ended() -> None:
    view = viewed(
        make.started(),
        *(make.queued(number) for number in range(1, 6)),
        *(make.begun(number) for number in range(1, 4)),
        make.progress(2, "read", "a.py"),
        make.waiting(3),
        make.ended(1),
        make.ended(4, "invalid"),
    )

    assert tree(view, 20) == [
        "  Find  2/5 · 2 at work · 1 not ok · 100 tokens",
        "    ● label 2  5.0 s · 10 tokens · read a.py",
        "    ◌ label 3  5.0 s · waits 55.0 s: rate limit",
        "    ✓ label 1  2.0 s · 50 tokens",
        "    ✗ label 4  2.0 s · 50 tokens · invalid",
        "  Fix",
    ]


def test_open_questions_stand_below_the_tree_the_oldest_first() -> None:
    view = viewed(make.started(), make.asked(1, 1, 2), *(make.asked(number, number) for number in range(2, 6)))

    assert [line.plain for line in question_lines(view, NOW)] == [
        "  ? bash npm test  2 agents waiting · denied in 9 m 55 s",
        "  ? bash npm test  1 agent waiting · denied in 9 m 55 s",
        "  ? 3 more questions",
    ]


@pytest.mark.parametrize("rows", [4, 5, 8, 20, 40])
@pytest.mark.parametrize("phases", [1, 3, 50])
def test_the_tree_never_grows_beyond_the_screen(rows: int, phases: int) -> None:
    bodies: list[object] = [make.started(phases=())]
    for number in range(1_000):
        bodies += [make.queued(number, phase=f"phase {number % phases}"), make.begun(number)]
    bodies += [make.ended(number, phase=f"phase {number % phases}") for number in range(500)]

    lines = tree(viewed(*bodies), rows)

    assert 2 <= len(lines) <= rows
    if rows >= 8:
        assert any("●" in line for line in lines)


def test_hostile_text_in_any_field_stays_text_on_a_terminal() -> None:
    stream = io.StringIO()
    live = LiveTree(stream)

    live.show(events(*hostile_bodies()), [])  # type: ignore[arg-type]
    live.close()

    shown = stream.getvalue()
    assert "\x1b[2J" not in shown and "\x1b]" not in shown and "\x07" not in shown and "\u202e" not in shown
    assert "[bold]x[/bold]" in shown


# --- lines of JSON ----------------------------------------------------------------------------------------------------


def test_lines_of_json_are_the_public_events_in_ascii() -> None:
    stream = io.StringIO()
    JsonLines(stream).show(events(make.started(), make.log("ü " + HOSTILE)), ["a remark for people"])

    lines = stream.getvalue().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["run.started", "log"]
    assert json.loads(lines[1])["message"] == "ü " + HOSTILE
    assert stream.getvalue().isascii() and "\x1b" not in stream.getvalue()


def test_a_run_that_broke_off_still_ends_its_lines() -> None:
    stream = io.StringIO()
    lines = JsonLines(stream)
    lines.show(events(make.started()), [])

    lines.finish(result(status="failed"), "2026-01-01T00:00:09.000Z")
    lines.finish(result(status="failed"), "2026-01-01T00:00:09.000Z")

    last = json.loads(stream.getvalue().splitlines()[-1])
    assert (last["event"], last["seq"], last["status"]) == ("run.finished", 2, "failed")
    assert len(stream.getvalue().splitlines()) == 2


def test_a_run_that_ended_by_itself_is_not_ended_again() -> None:
    stream = io.StringIO()
    lines = JsonLines(stream)
    lines.show(events(make.started(), RunFinished(result=result())), [])

    lines.finish(result(), "2026-01-01T00:00:09.000Z")

    assert len(stream.getvalue().splitlines()) == 2


# --- the thread between -----------------------------------------------------------------------------------------------


class Recorder(View):
    """Keeps what it was shown; fails at a given event."""

    frame_s = 0.0

    def __init__(self, fails_at: int = 0) -> None:
        self.seqs: list[int] = []
        self.remarks: list[str] = []
        self.is_closed = False
        self.pauses: list[int] = []
        self._fails_at = fails_at

    def show(self, events: list[Event], remarks: list[str]) -> None:
        self.seqs += [event.seq for event in events]
        self.remarks += remarks
        if self._fails_at in self.seqs:
            raise BrokenPipeError

    def tick(self) -> None:
        pass

    def pause(self) -> None:
        self.pauses.append(len(self.seqs))

    def close(self) -> None:
        self.is_closed = True


def test_a_follower_shows_everything_in_order_before_it_closes() -> None:
    view = Recorder()
    follower = Follower(view)
    for event in events(*(make.log(str(number)) for number in range(2_000))):
        follower.on_event(event)
    follower.remark("stopping")
    follower.close()

    assert view.seqs == list(range(1, 2_001))
    assert view.remarks == ["stopping"]
    assert view.is_closed and follower.fault is None


@pytest.mark.anyio
async def test_a_follower_that_is_held_shows_what_came_before_and_the_rest_afterwards() -> None:
    view = Recorder()
    follower = Follower(view)
    first, second = events(make.log("before"), make.log("meanwhile"))
    follower.on_event(first)
    with within():
        async with follower.held():
            assert (view.seqs, view.pauses) == ([1], [1])
            follower.on_event(second)
            follower.remark("meanwhile")
            assert view.seqs == [1]
    follower.close()

    assert view.seqs == [1, 2]
    assert view.remarks == ["meanwhile"]


@pytest.mark.anyio
async def test_a_hold_that_is_cancelled_before_it_began_gives_the_view_free() -> None:
    class Stuck(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.is_free = threading.Event()

        def show(self, events: list[Event], remarks: list[str]) -> None:
            self.is_free.wait(10)
            super().show(events, remarks)

    view = Stuck()
    follower = Follower(view)
    follower.remark("stuck")
    with within(), anyio.move_on_after(0.05):
        async with follower.held():
            raise AssertionError("the view is not free yet")
    view.is_free.set()
    follower.remark("goes on")
    follower.close()

    assert view.remarks == ["stuck", "goes on"]


def test_a_follower_whose_reader_is_gone_takes_events_and_stays_quiet() -> None:
    view = Recorder(fails_at=1)
    follower = Follower(view)
    for event in events(*(make.log(str(number)) for number in range(100))):
        follower.on_event(event)
    follower.close(wait_s=None)

    assert isinstance(follower.fault, BrokenPipeError)
    assert not view.is_closed


class Stuck(Recorder):
    """A terminal that takes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.is_free = threading.Event()

    def show(self, events: list[Event], remarks: list[str]) -> None:
        self.is_free.wait(30)


def test_a_terminal_that_takes_nothing_holds_nobody_up() -> None:
    view = Stuck()
    follower = Follower(view)
    for event in events(make.log("a"), make.log("b")):
        follower.on_event(event)

    follower.close(wait_s=0.05)

    assert not view.is_closed
    view.is_free.set()
    follower.close()
