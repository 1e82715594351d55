"""What the dashboard shows, as text; and what its keys and the mouse do where nothing has to be done in a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from textual.pilot import Pilot

from callsheet.app.records import Where
from callsheet.model.events import Event, EventBody, RunFinished
from callsheet.tui.app import Dashboard
from callsheet.tui.rows import Rows
from callsheet.views.board import Board
from tests.support.deadline import within
from tests.support.screens import StillFeed, until, utc
from tests.surfaces.events import HOSTILE, asked, begun, ended, log, phase, progress, queued, started, status, waiting
from tests.surfaces.results import result

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _no_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Iterator[None]:
    monkeypatch.setattr(
        "callsheet.control.places.folders", lambda _environ: ()
    )  # whoever tests may have runs of his own
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.chdir(str(tmp_path))
    with utc():
        yield


def board(*bodies: EventBody) -> Board:
    made = Board()
    for seq, body in enumerate(bodies, 1):
        made.apply(Event(run_id="run_X", seq=seq, at=f"2026-01-01T00:00:{seq:02}.000Z", body=body))
    return made


UNDER_WAY = (
    started(),
    phase("Find"),
    queued(1),
    queued(2, "look at the tests"),
    queued(3),
    queued(4, phase="Fix"),
    begun(1),
    begun(2),
    begun(3),
    progress(1, "read", "src/a.py", 1_234),
    waiting(3, until="2026-01-01T00:05:00Z"),
    ended(2, "failed", "look at the tests", error="the service was away"),
    log("half of it is done"),
)


def dashboard(shows: Board) -> Dashboard:
    return Dashboard(Where(), StillFeed(board=shows))


async def test_a_run_is_shown_with_its_phases_agents_waits_and_log() -> None:
    app = dashboard(board(*UNDER_WAY))
    with within(30):
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            screen = await until(pilot, "half of it is done", "? help")

    assert (
        screen
        == """\
 review  running · 59.0 s · scripted · run_X
 1.3k tokens · $0.0100 · 1/4 agents · 1 at work · 1 waiting · 1 queued · 1 not…
 1 agent waits for rate limit, the first until 00:05:00 (4 m 00 s left)
   phase                     agents  at work  not ok tokens     cost      time
 ● all agents                   1/4        2       1   1.3k  $0.0100    59.0 s
 ● Find                         1/3        2       1   1.3k  $0.0100    59.0 s
 ● Fix                          0/1                       0       $0

   id     agent                 what it does         tokens     cost      time
 ● a0001  label 1               read src/a.py          1.2k             53.0 s
 ✗ a0002  look at the tests     failed: the service…     50  $0.0100     2.0 s
 ◌ a0003  label 3               waits 4 m 00 s left…      0             51.0 s
 · a0004  label 4               queued





 time     log
 00:00:13 half of it is done



 ? help  q close  p pause  x stop  r restart  n skip  m message  f filter"""
    )


@pytest.mark.parametrize(("width", "height"), [(80, 16), (40, 12), (20, 6), (200, 50)])
async def test_it_fits_any_terminal(width: int, height: int) -> None:
    app = dashboard(board(*UNDER_WAY, asked(1, 1)))
    with within(30):
        async with app.run_test(size=(width, height)) as pilot:
            screen = await until(pilot, "review")
            for key in ("enter", "t", "enter", "escape", "f", "escape", "a", "escape", "x", "escape", "question_mark"):
                await pilot.press(key)

    assert all(len(line) <= width for line in screen.split("\n"))


async def test_the_timeline_shows_where_agents_waited_and_worked() -> None:
    app = dashboard(board(*UNDER_WAY))
    with within(30):
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await until(pilot, "a0001")
            await pilot.press("t")
            screen = await until(pilot, "29.5 s")

    assert screen.split("\n")[8:13] == [
        "   agent                     0               29.5 s           59.0 s      time",
        " ● label 1                    ┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━    53.0 s",
        " ✗ look at the tests         ━                                           2.0 s",
        " ◌ label 3                     ┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━    51.0 s",
        " · label 4                      ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄",
    ]


async def test_a_phase_lists_its_agents_and_a_filter_those_of_a_kind() -> None:
    app = dashboard(board(*UNDER_WAY))
    with within(30):
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await until(pilot, "a0001")
            await pilot.press("j", "j")
            await until(pilot, "label 4", without="label 1")
            await pilot.press("k", "k", "f", "b")
            await until(pilot, "agent (ended badly)", "a0002", without="a0001")
            await pilot.press("f", "a")
            await until(pilot, "a0001", "a0004")


async def test_the_mouse_goes_where_keys_go() -> None:
    app = dashboard(board(*UNDER_WAY))
    with within(30):
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await until(pilot, "a0001")
            await pilot.click("#agents", offset=(10, 2))
            await pilot.press("f")
            await until(pilot, "Which agents?")
            await pilot.click("#options", offset=(3, 4))
            await until(pilot, "agent (ended)", "a0002", without="a0001")
            await pilot.click("#agents", offset=(10, 1), times=2)
            await until(pilot, "the service was away", "What went wrong")


async def test_what_the_run_and_its_agents_say_is_shown_as_text() -> None:
    shows = board(
        started(workflow=HOSTILE, backend=HOSTILE),
        phase("[red]P[/red]"),
        queued(1, HOSTILE, phase="[red]P[/red]"),
        begun(1),
        progress(1, HOSTILE, "[link=https://evil.example]click[/link]"),
        queued(2, "[@click=app.quit]x[/]", phase="[red]P[/red]"),
        log(HOSTILE),
        asked(1, 1, tool="[b]bash", tool_input=HOSTILE),
        status("paused", HOSTILE),
    )
    app = dashboard(shows)
    with within(30):
        async with app.run_test(size=(160, 30)) as pilot:
            screens = [await until(pilot, "[@click=app.quit]x[/]", "[red]P[/red]", "[bold]x[/bold]")]
            await pilot.press("a")
            screens.append(await until(pilot, "[b]bash", "␛[2J", "⟨U+202E⟩gnp.exe"))
            await pilot.press("escape", "o", "enter")
            screens.append(await until(pilot, "::error::forged"))
            await pilot.press("escape", "o", "tab", "enter")
            screens.append(await until(pilot, "[link=https://evil.example]click[/link]"))
            await pilot.press("m")
            screens.append(await until(pilot, "Message to a0001"))
            for strip in app.screen._compositor.render_strips():
                for segment in strip:
                    assert segment.style is None or segment.style.link is None or "evil" not in segment.style.link

    for screen in screens:
        assert "\x1b" not in screen
        assert "\x07" not in screen
        assert "\u202e" not in screen


async def test_a_text_that_grows_beyond_the_screen_on_an_agents_page_is_broken_anew_and_nothing_of_it_is_cut() -> None:
    shows = board(started(), queued(1), begun(1), ended(1, "failed", error="short"), RunFinished(result=result()))
    feed = StillFeed(board=shows)
    app = Dashboard(Where(), feed)
    with within(30):
        async with app.run_test(size=(60, 20), notifications=True) as pilot:
            await until(pilot, "label 1")
            await pilot.press("enter", "enter")
            await until(pilot, "What went wrong", "short")
            shows.agents["a0001"].error = "x" * 3_000
            feed.version += 1
            await until(pilot, "x" * 40, without="…")


async def test_nobody_writes_a_message_to_an_agent_that_takes_none() -> None:
    app = dashboard(board(*UNDER_WAY))
    with within(30):
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await until(pilot, "a0002")
            await pilot.press("tab", "j", "m")
            await until(pilot, "a0002 is over (failed), and no longer takes messages", without="Message to")
            await pilot.press("k", "m")
            await until(pilot, "Message to a0001")


async def test_a_question_that_somebody_else_answers_is_taken_off_the_screen() -> None:
    shows = board(started(), queued(1), begun(1), asked(1, 1))
    feed = StillFeed(board=shows)
    app = Dashboard(Where(), feed)
    with within(30):
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await until(pilot, "a answers")
            await pilot.press("a")
            screen = await until(pilot, "? q0001 · bash · 1 agent waits", "npm test", "yes, for the whole run")
            assert "always would add: Bash(npm test:*)" in screen
            shows.questions.clear()
            feed.version += 1
            await until(pilot, "q0001 is no longer asked", without="yes, this once")


async def test_it_is_asked_whether_a_run_may_cost_more_and_enter_alone_is_no_yes() -> None:
    question = replace(asked(1), kind="cost", input="It has cost $25.00.", more_usd=25.0, rules=())
    app = dashboard(board(started(), queued(1), question))
    with within(30):
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await until(pilot, "? may it cost more? · 9 m 00 s left · a answers")
            await pilot.press("a")
            await until(pilot, "│ It has cost $25.00.", "yes, $25.00 more", "yes, without a limit", "to be resumed")
            assert pilot.app.screen.query_one(Rows).key == "n"


async def test_a_run_that_is_over_says_so_and_that_nothing_more_can_be_done() -> None:
    shows = board(*UNDER_WAY, RunFinished(result=result(status="cancelled", duration_ms=61_000)))
    app = dashboard(shows)
    with within(30):
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await until(pilot, "review  cancelled · 1 m 01 s", "callsheet resume run_X", "f filter", without="p pause")
            await pilot.press("p")
            await until(pilot, "run_X is over: nothing more can be")


async def test_new_agents_do_not_move_what_is_read() -> None:
    shows = board(started(), *(queued(number) for number in range(1, 40)))
    feed = StillFeed(board=shows)
    app = Dashboard(Where(), feed)
    with within(30):
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await until(pilot, "a0001")
            await pilot.press("tab", "G")
            await until(pilot, "a0039", without="a0001")
            for number in (1, 2):
                shows.apply(Event(run_id="run_X", seq=50 + number, at="2026-01-01T00:00:59.000Z", body=ended(number)))
            feed.version += 1
            await pilot.press("f", "u")
            await until(pilot, "a0039", "agent (queued)")
            await pilot.press("g")
            await until(pilot, "a0003", without="a0002")


async def test_help_says_what_the_keys_do_and_q_closes() -> None:
    app = dashboard(board(*UNDER_WAY))
    with within(30):
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await until(pilot, "a0001")
            await pilot.press("question_mark")
            screen = await until(pilot, "s   save the script as a command", "q   close; runs go on")
            await pilot.press("escape", "escape")
            await until(pilot, "callsheet  0 runs on this machine", "No run yet. callsheet run SCRIPT starts one.")
            await pilot.press("q")
    assert "■ cancelled" in screen


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "linux"}])
async def test_without_colours_all_is_told_by_signs_and_words(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    app = dashboard(board(*UNDER_WAY))
    with within(30):
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            screen = await until(pilot, "a0001")
            colours = _colours(pilot)
    assert "✗ a0002" in screen
    assert "failed: the service" in screen
    assert all("#" not in colour for colour in colours), "only the terminal's own colours"


def _colours(pilot: Pilot[None]) -> set[str]:
    segments = (segment for strip in pilot.app.screen._compositor.render_strips() for segment in strip)
    styles = [segment.style for segment in segments if segment.style is not None]
    return {colour.name for style in styles for colour in (style.color, style.bgcolor) if colour is not None}
