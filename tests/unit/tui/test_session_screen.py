"""What the session shows, as text; and what its keys do."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import pytest
from textual.events import Key, Paste
from textual.pilot import Pilot

from callsheet.app.session_model import LiveRun, OpenDashboard, Refused, SessionFigures, SessionQuestion, Told
from callsheet.app.session_transcript import Note, Problem, RunEnded, RunStarted, Said, Turn
from callsheet.errors import UsageError
from callsheet.model.approval import ScriptShown
from callsheet.model.events import ApprovalAsked
from callsheet.model.outcome import Usage
from callsheet.tui import session_asking
from callsheet.tui.session_app import SessionApp
from callsheet.tui.session_prompt import Prompt
from callsheet.tui.session_transcript import Transcript
from tests.support.deadline import within
from tests.support.screens import LIMIT_S, shown, until
from tests.support.session_fake import AT, FakeSession, ended, note

pytestmark = pytest.mark.anyio

HOSTILE = "\x1b[31mred\u202e [bold]x[/bold] ‹"
SAFE = "␛[31mred⟨U+202E⟩ [bold]x[/bold] ‹"


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("callsheet.control.places.folders", lambda _environ: ())
    monkeypatch.setattr("callsheet.tui.session_screen._STILL_S", 3600.0)  # no dialog opens by itself
    yield


@asynccontextmanager
async def talking(session: FakeSession, size: tuple[int, int] = (80, 24)) -> AsyncGenerator[Pilot[Any]]:
    app = SessionApp()
    with within(60):
        async with app.run_test(size=size, notifications=True) as pilot:
            app.have(session)
            await until(pilot, "offline")
            yield pilot
    if app.fault is not None:
        raise app.fault


async def typed(pilot: Pilot[Any], text: str) -> None:
    await pilot.press(*("space" if letter == " " else "slash" if letter == "/" else letter for letter in text))


async def become(true: Any) -> None:
    """Waits until it is true."""
    ends = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < ends, "it never was"
        await anyio.sleep(0.02)


def asked(kind: str = "permission", **more: Any) -> ApprovalAsked:
    base: dict[str, Any] = {
        "id": "q1",
        "tool": "bash",
        "input": "npm test",
        "reason": "no rule",
        "rules": ("Bash(npm)",),
    }
    return ApprovalAsked(**base | {"agents": 1, "agent_ids": (), "until": None, "kind": kind} | more)


def question(kind: str = "permission", **more: Any) -> SessionQuestion:
    return SessionQuestion(id="s1", run_id="run_1", workflow="audit", asked=asked(kind, **more))


async def test_everything_that_a_session_has_stands_on_its_screen() -> None:
    session = FakeSession()
    session.put(
        Said(number=1, at=AT, text="what is here?"),
        ended(Turn(number=2, at=AT, said=1, tokens=1_200, cost_usd=0.25), text="# Files\nTwo.", run_id="run_t"),
        RunStarted(number=3, at=AT, run_id="run_1", kind="saved", workflow="audit", notes=("at most $5",)),
        RunEnded(
            number=4, at=AT, run_id="run_1", workflow="audit", status="degraded", text="All is well.",
            where="callsheet show run_1", error="1 call failed", next="/resume run_1", agents=3, ended_badly=1,
            usage=Usage(output_tokens=900, cost_usd=0.5), duration_ms=65_000,
        ),
        Problem(number=5, at=AT, text="It broke.", remedy="Say it again."),
        Note(number=6, at=AT, text="The model is sonnet now."),
    )  # fmt: skip
    session.run(
        LiveRun(run_id="run_2", workflow="fix", status="running", phase="Find", running=2, ended=1, cost_usd=0.1)
    )
    session.ask(question())
    session.spend(SessionFigures(turns_usage=Usage(cost_usd=0.25)))
    async with talking(session, (80, 34)) as pilot:
        screen = await until(pilot, "Enter answers")

    assert (
        screen
        == """\
 ▪ callsheet in /workspace

 › what is here?

 ● # Files
   Two.
   12.0 s · 1.2k tokens · $0.25
 ▸ audit started · run_1
   at most $5

 ✗ audit degraded · 3 agents, 1 not ok · 900 tokens · $0.50 · 1 m 05 s · run_1
   1 call failed
   All is well.
   all of it: callsheet show run_1
   go on: /resume run_1

 ! It broke.
   Say it again.
 · The model is sonnet now.









 ● fix · Find · 2 at work                         1/3 agents    $0.10
 ? audit: bash npm test                                           Enter answers
────────────────────────────────────────────────────────────────────────────────
 ›
 Enter sends · Ctrl-J new line · Shift-Tab to the runs · /help
 offline · opus · high · $0.25 so far · 1 run at work"""
    )


async def test_what_others_wrote_shows_as_text_in_every_entry() -> None:
    session = FakeSession(workspace=f"/{HOSTILE}")
    session.put(
        Said(number=1, at=AT, text=f"{HOSTILE}1"),
        ended(Turn(number=2, at=AT, said=1), text=f"{HOSTILE}2"),
        Turn(number=3, at=AT, said=1, state="working", doing=f"{HOSTILE}3"),
        Turn(number=4, at=AT, said=1, state="failed", error=f"{HOSTILE}4", remedy=f"{HOSTILE}5"),
        RunStarted(number=5, at=AT, run_id="run_1", kind="task", workflow=f"{HOSTILE}6", notes=(f"{HOSTILE}7",)),
        RunEnded(number=6, at=AT, run_id="r", workflow="w", status="failed", text=f"{HOSTILE}8", error=f"{HOSTILE}9"),
        Problem(number=7, at=AT, text=f"{HOSTILE}a", remedy=f"{HOSTILE}b"),
        Note(number=8, at=AT, text=f"{HOSTILE}c"),
    )
    session.run(LiveRun(run_id="run_2", workflow=f"{HOSTILE}d", status="running", phase=f"{HOSTILE}e"))
    session.ask(question(tool=f"{HOSTILE}f", input=f"{HOSTILE}g"))
    session.replies["/help"] = Told(text=f"{HOSTILE}h")
    async with talking(session, (150, 60)) as pilot:
        await typed(pilot, "/help")
        await pilot.press("enter")
        screen = await until(pilot, f"{SAFE}h", f"{SAFE}c")
        await pilot.press("enter")
        dialog = await until(pilot, "yes, this once")
        strips = [segment.text for strip in pilot.app.screen._compositor.render_strips() for segment in strip]

    for mark in "123456789abcdefgh":
        assert f"{SAFE}{mark}" in screen
    assert f"│ {SAFE}g" in dialog
    assert not any("\x1b" in text or "\u202e" in text for text in strips)


async def test_what_is_typed_is_said_and_a_new_line_is_none_of_the_end() -> None:
    session = FakeSession()
    async with talking(session) as pilot:
        await typed(pilot, "one")
        await pilot.press("ctrl+j")
        await typed(pilot, "two")
        await pilot.press("enter")
        await until(pilot, "› one", "two", "the orchestrator works")
        await pilot.press("up")
        assert pilot.app.screen.query_one(Prompt).text == "one\ntwo"

    assert session.heard == [("one\ntwo", None)]


async def test_a_word_that_starts_a_workflow_is_seen_and_switched_off() -> None:
    session = FakeSession()
    async with talking(session) as pilot:
        await typed(pilot, "a workflow")
        await until(pilot, "this starts a workflow · Alt-W: not this time")
        styles = {
            segment.text: str(segment.style)
            for strip in pilot.app.screen._compositor.render_strips()
            for segment in strip
        }
        await pilot.press("alt+w")
        await until(pilot, "this starts no workflow")
        await pilot.press("enter")
        await typed(pilot, "my workflow")
        await pilot.press("enter")
        await become(lambda: len(session.heard) == 2)

    assert "underline" in styles["workflow"]
    assert "underline" not in styles["a "]
    assert session.heard == [("a workflow", False), ("my workflow", None)]


async def test_under_ultracode_every_prompt_says_that_it_starts_a_workflow() -> None:
    async with talking(FakeSession(effort="ultracode")) as pilot:
        await typed(pilot, "hello")
        await until(pilot, "ultracode: this starts a workflow · Alt-W", "high · ultracode · $0")


async def test_commands_are_completed_done_and_answered_in_their_place() -> None:
    session = FakeSession()
    session.replies |= {
        "/effort high": Told(text="effort is high"),
        "/wrkflows": Refused(text="none", near=("/workflows",)),
    }
    async with talking(session) as pilot:
        await typed(pilot, "/e")
        await pilot.press("tab")
        await until(pilot, "Tab: high  low  ultracode")
        await typed(pilot, "h")
        await pilot.press("tab", "enter")
        await until(pilot, "› /effort high", "effort is high")
        await typed(pilot, "/wrkflows")
        await pilot.press("enter")
        await until(pilot, "Did you mean /workflows?")

    assert session.done == ["/effort high", "/wrkflows"]
    assert session.heard == []


async def test_what_is_pasted_stands_there_as_it_is_sent_and_sends_nothing_by_itself() -> None:
    session = FakeSession()
    async with talking(session) as pilot:
        pilot.app.post_message(Paste("one\r\ntwo\x1b[2J\rthree\n"))
        await until(pilot, "two␛[2J", "three")
        assert session.heard == []
        await pilot.press("enter")
        await become(lambda: session.heard)

    assert session.heard == [("one\ntwo␛[2J\nthree", None)]


async def test_ctrl_c_stops_the_turn_and_twice_leaves() -> None:
    session = FakeSession()
    async with talking(session) as pilot:
        await typed(pilot, "go")
        await pilot.press("enter")
        await until(pilot, "the orchestrator works")
        await pilot.press("ctrl+c")
        await until(pilot, "■ stopped", "Ctrl-C again leaves; runs go on", without="the orchestrator works")
        await pilot.press("ctrl+c")
        await become(lambda: pilot.app.return_value is not None)

    assert session.stopped == 1
    assert pilot.app.return_value == "runs go on"


async def test_a_question_opens_by_itself_takes_no_key_at_once_and_stands_until_it_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_asking, "DEAF_S", 3600.0)
    monkeypatch.setattr("callsheet.tui.session_screen._STILL_S", 0.0)
    session = FakeSession()
    async with talking(session) as pilot:
        session.ask(question())
        await until(pilot, "yes, this once", "always would add: Bash(npm)")
        await pilot.press("y", "enter")
        await until(pilot, "yes, this once")
        await pilot.press("escape")
        await until(pilot, "Enter answers", without="yes, this once")
        assert session.answered == []
        await pilot.press("enter")
        await until(pilot, "yes, this once")
        await pilot.press("r")
        await until(pilot, "Enter sends", without="Enter answers")

    assert session.answered == [("s1", "run", None)]


async def test_enter_that_is_held_down_opens_a_question_and_answers_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_asking, "DEAF_S", 3600.0)
    session = FakeSession()
    async with talking(session) as pilot:
        session.ask(question())
        await until(pilot, "Enter answers")
        await pilot.press("enter", "enter", "enter")
        await until(pilot, "yes, this once")
        assert session.answered == []
        await pilot.press("y")
        await become(lambda: session.answered)

    assert session.answered == [("s1", "once", None)]


@pytest.mark.parametrize("keys", ["yn", "nn", "yyy"])
async def test_keys_that_come_faster_than_a_dialog_goes_answer_once(keys: str) -> None:
    session = FakeSession()
    async with talking(session) as pilot:
        session.ask(question())
        await until(pilot, "Enter answers")
        await pilot.press("f2")
        await until(pilot, "yes, this once")
        dialog = pilot.app.screen
        for key in keys:
            dialog.post_message(Key(key, key))
        await become(lambda: session.answered)
        await until(pilot, "Enter sends", without="yes, this once")

    assert session.answered == [("s1", "once" if keys[0] == "y" else "deny", None)]


async def test_who_types_is_not_interrupted_by_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callsheet.tui.session_screen._STILL_S", 0.0)
    session = FakeSession()
    async with talking(session) as pilot:
        await typed(pilot, "yes")
        session.ask(question())
        await until(pilot, "? audit: bash npm test")
        cast(Any, pilot.app.screen)._tick()
        await pilot.press("y")
        await pilot.press("enter")
        await become(lambda: session.heard)

    assert session.heard == [("yesy", None)]
    assert session.answered == []


async def test_the_yes_to_a_saved_workflow_can_be_kept_for_the_folder() -> None:
    script = ScriptShown(name="audit", description="Audits", plan=(), text="log(1)", sha256="ab" * 32)
    session = FakeSession()
    async with talking(session) as pilot:
        own = SessionQuestion(id="start1", run_id=None, workflow="audit", asked=asked("script", script=script))
        session.ask(own)
        await until(pilot, "run the script audit?")
        await pilot.press("enter")
        await until(pilot, "do not ask again for it in this folder", without="a word to its author")
        await pilot.press("p")
        await become(lambda: session.answered)

    assert session.answered == [("start1", "project", None)]


async def test_a_cost_is_answered_with_dollars() -> None:
    session = FakeSession()
    async with talking(session) as pilot:
        session.ask(question(tool="cost stop", kind="cost"))
        await pilot.press("f2")
        await until(pilot, "yes, another amount more")
        await pilot.press("a")
        await until(pilot, "How many dollars more may it cost?")
        await typed(pilot, "1,000")
        await pilot.press("enter")
        await become(lambda: session.answered)
    assert session.answered == [("s1", "once", None, 1_000.0)]


async def test_a_script_is_viewed_declined_with_words_and_gone_when_another_has_answered() -> None:
    script = ScriptShown(
        name="sweep", description="Sweeps", plan=("agents    3",), text=f"log('{HOSTILE}')", sha256="ab" * 32
    )
    session = FakeSession()
    async with talking(session) as pilot:
        session.ask(question("script", tool="workflow", script=script))
        await until(pilot, "run the script sweep?")
        await pilot.press("enter")
        await until(pilot, "agents    3", "view the script")
        await pilot.press("v")
        await until(pilot, f"1  log('{SAFE}')")
        await pilot.press("escape")
        await until(pilot, "view the script")
        await pilot.press("w")
        await until(pilot, "What should its author know?")
        await typed(pilot, "no")
        await pilot.press("enter")
        await become(lambda: session.answered)
        session.ask(question(id="q2"))
        await pilot.press("f2")
        await until(pilot, "yes, this once")
        session.ask()
        await until(pilot, "It is no longer asked.", without="yes, this once")

    assert session.answered == [("s1", "deny", "no")]


async def test_the_dashboard_opens_over_the_session_and_esc_comes_back(tmp_path: Any) -> None:
    session = FakeSession(workspace=str(tmp_path))
    session.replies["/workflows"] = OpenDashboard()
    async with talking(session) as pilot:
        await typed(pilot, "/workflows")
        await pilot.press("enter")
        await until(pilot, "No run yet", without="Enter sends")
        await pilot.press("escape")
        await until(pilot, "Enter sends")
        await typed(pilot, "/workflows")
        await pilot.press("enter")
        await until(pilot, "No run yet")
        await pilot.press("ctrl+c")
        await until(pilot, "Enter sends")


async def test_a_long_transcript_keeps_its_end_in_sight_and_its_place_for_who_reads_further_up() -> None:
    session = FakeSession()
    for number in range(1, 2_001):
        session.put(ended(Turn(number=number, at=AT, said=1), text=f"answer {number}\n" + "words and words " * 20))
    async with talking(session) as pilot:
        await until(pilot, "answer 2000")
        await pilot.press("pageup", "pageup")
        await until(pilot, "more below", without="answer 2000")
        before = shown(pilot.app).split("\n")[:15]
        note(session, "the last")
        await become(lambda: len(pilot.app.screen.query_one(Transcript)._blocks) == 2_002)
        assert shown(pilot.app).split("\n")[:15] == before
        await pilot.resize_terminal(40, 24)
        await until(pilot, "answer 199")
        for _ in range(6):
            await pilot.press("pagedown")
        await until(pilot, "the last", "Enter sends")


@pytest.mark.parametrize(("width", "height"), [(40, 12), (20, 6), (200, 50)])
async def test_it_fits_any_terminal(width: int, height: int) -> None:
    session = FakeSession()
    session.put(ended(Turn(number=1, at=AT, said=1), text="words " * 100))
    session.run(*(LiveRun(run_id=f"run_{n}", workflow="audit " * 9) for n in range(9)))
    session.ask(question())
    async with talking(session, (width, height)) as pilot:
        for key in ("a", "ctrl+j", "b", "shift+tab", "escape", "pageup", "ctrl+c", "f2", "escape"):
            await pilot.press(key)
        screen = shown(pilot.app)

    assert all(len(line) <= width for line in screen.split("\n"))
    assert "›" in screen


async def test_a_session_that_cannot_be_opened_ends_it_with_the_reason() -> None:
    app = SessionApp()
    with within(30):
        async with app.run_test(size=(80, 24)) as pilot:
            app.have(UsageError("there is no session ses_x here"))
            await become(lambda: not app.is_running or app.fault is not None)
            await pilot.pause()

    assert isinstance(app.fault, UsageError)


async def drag(pilot: Pilot[Any], begin: tuple[int, int], end: tuple[int, int]) -> None:
    """Marks text with the mouse."""
    await pilot.mouse_down(offset=begin)
    await pilot.hover(offset=end)
    await pilot.mouse_up(offset=end)


async def test_text_is_marked_with_the_mouse_and_copied_as_it_is_shown_and_ctrl_c_stops_nothing_then() -> None:
    session = FakeSession()
    session.put(
        Said(number=1, at=AT, text="what is here?"),
        ended(Turn(number=2, at=AT, said=1, tokens=10, cost_usd=0.0), text=f"First {HOSTILE}\nsecond\nthird"),
    )
    async with talking(session) as pilot:
        rows = (await until(pilot, "third")).split("\n")
        top, last = (next(y for y, row in enumerate(rows) if word in row) for word in ("First", "third"))
        await drag(pilot, (0, top), (4, last))
        await until(pilot, "Ctrl-C copies")
        note(session, "Something is said meanwhile.")
        await until(pilot, "Something is said")
        await pilot.press("ctrl+c")
        assert pilot.app.clipboard == f"First {SAFE}\nsecond\nth"
        assert session.stopped == 0
        await until(pilot, "characters copied", without="Ctrl-C copies")

        await drag(pilot, (10, last), (3, last))
        await pilot.press("ctrl+c")
        assert pilot.app.clipboard == "third"
        await pilot.press("ctrl+c")
        assert session.stopped == 1


async def test_a_double_click_marks_an_entry_and_what_is_typed_then_goes_to_the_box() -> None:
    session = FakeSession()
    session.put(Said(number=1, at=AT, text="what is here?"), Note(number=2, at=AT, text="The model is sonnet now."))
    async with talking(session) as pilot:
        rows = (await until(pilot, "sonnet")).split("\n")
        place = next(y for y, row in enumerate(rows) if "sonnet" in row)
        await pilot.click(offset=(5, place), times=2)
        await pilot.press("ctrl+c")
        assert pilot.app.clipboard == "The model is sonnet now."
        await pilot.press("j", "enter")
        assert session.heard == [("j", None)]
