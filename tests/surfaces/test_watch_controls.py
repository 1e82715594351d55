"""The dashboard's keys, pressed against a run in another process; what came of each is read in the record."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from textual.pilot import Pilot

from callsheet.app.records import Where
from callsheet.tui.app import Dashboard
from callsheet.tui.feed import BY, found
from callsheet.views.board import Board
from callsheet.views.board_json import board_json
from tests.support.deadline import within
from tests.support.played_agents import install
from tests.support.screens import StillFeed, until, utc
from tests.surfaces.command import Command
from tests.surfaces.test_cli_asking import NPM, ROOT, Asking
from tests.surfaces.test_cli_drafts import Drafting

pytestmark = pytest.mark.anyio

LONG = {"result": "x", "delay_ms": 600_000}
OTHER = {"input": "src/a.py", "tool": "edit", "reason": "it is protected"}


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TERM", "xterm-256color")
    with utc():
        yield


def place(command: Command) -> Where:
    return Where(workspace=command.folder, start=command.folder, environ=command.environ)


def feed_of(command: Command, run_id: str) -> StillFeed:
    where = place(command)
    return StillFeed(found(run_id, where), where)


@asynccontextmanager
async def watching(command: Command, feed: StillFeed) -> AsyncGenerator[Pilot[None]]:
    app = Dashboard(place(command), feed)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        yield pilot


def events(command: Command, name: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(command.folder / ".callsheet" / "callsheet.db")) as record:
        rows = record.execute("SELECT payload FROM events WHERE event = ? ORDER BY seq", (name,)).fetchall()
    return [json.loads(payload) for (payload,) in rows]


async def started(command: Command, body: str, *words: str, answers: tuple[dict[str, Any], ...] = ()) -> str:
    backend = ("--backend", command.answers(*answers)) if answers else ()
    line = ("run", command.script(body), *backend, *words, "--detach", "-q")
    done = await anyio.to_thread.run_sync(lambda: command(*line))
    assert done.status == 0, done.err
    return done.out.strip()


async def test_pause_skip_stop_restart_and_the_end_of_the_run(command: Command) -> None:
    calls = ", ".join(f"agent('p', {{ label: '{label}' }})" for label in ("one", "two", "again"))
    answers = (
        {"label": "again", "times": 1} | LONG,
        {"label": "again", "result": "second"},
        {"label": "*"} | LONG,
    )
    body = f"await Promise.all([{calls}]); return await agent('p', {{ label: 'last' }})"
    with within(60):
        run_id = await started(command, body, answers=answers)
        async with watching(command, feed_of(command, run_id)) as pilot:
            await until(pilot, "a0003")
            await pilot.press("p")
            await until(pilot, "is paused: those", "case  paused")
            await pilot.press("p")
            await until(pilot, "goes on", "case  running")
            await pilot.press("enter", "n")
            await until(pilot, "» a0001")
            await pilot.press("j", "x")
            await until(pilot, "■ a0002")
            await pilot.press("j", "r")
            await until(pilot, "✓ a0003", "● a0004")
            await pilot.press("escape", "x")
            await until(pilot, f"Stop the run {run_id}?")
            await pilot.press("n", "x", "y")
            await until(pilot, "case  cancelled", "It can be gone on with")

    deeds = [(deed["agent_id"], deed["action"], deed["by"]) for deed in events(command, "agent.controlled")]
    assert deeds == [("a0001", "skip", BY), ("a0002", "stop", BY), ("a0003", "restart", BY)]
    assert [event["status"] for event in events(command, "run.status")][:2] == ["paused", "running"]
    (end,) = events(command, "run.finished")
    assert [agent["status"] for agent in end["agents"]] == ["skipped", "cancelled", "ok", "cancelled"]
    assert end["status"] == "cancelled"


@pytest.mark.contract("L04")
async def test_how_much_more_a_run_may_cost_is_typed(command: Command, bytecode: Path) -> None:
    asking = Asking(command.folder, bytecode=bytecode)
    asking.environ["PYTHONPATH"] = str(ROOT)
    costly = {"cost_usd": 3.0}
    words = [*asking.words(costly, costly, costly), "--cost-stop", "$5", "--max-parallel", "1", "-d", "-q"]
    run_id = (await anyio.to_thread.run_sync(lambda: asking(*words))).out.strip()
    with within(60):
        async with watching(asking, feed_of(asking, run_id)) as pilot:
            await until(pilot, "may it cost more?")
            await pilot.press("a")
            await until(pilot, "yes, another amount more")
            await pilot.press("a")
            await until(pilot, "How many dollars more may it cost?")
            await pilot.press(*"lots", "enter")
            await until(pilot, "Type dollars, such as 10 or 2.50")
            await pilot.press("a")
            await until(pilot, "yes, another amount more")
            await pilot.press("a")
            await until(pilot, "How many dollars more may it cost?")
            await pilot.press(*"7.50", "enter")
            await until(pilot, "q0001 is answered: $7.50 more")
            await until(pilot, "completed")
    assert [event["more_usd"] for event in events(asking, "approval.answered")] == [7.5]


async def test_questions_are_answered(command: Command, bytecode: Path) -> None:
    asking = Asking(command.folder, bytecode=bytecode)
    asking.environ["PYTHONPATH"] = str(ROOT)
    with within(60):
        words = asking.words(NPM, OTHER)
        run_id = (await anyio.to_thread.run_sync(lambda: asking(*words, "--detach", "-q"))).out.strip()
        async with watching(asking, feed_of(asking, run_id)) as pilot:
            await until(pilot, "and 1 more question · a answers")
            await pilot.press("a")
            await until(pilot, "npm test", "why asked: no rule allows it", "who waits: agent 1")
            await pilot.press("r")
            await until(pilot, "is answered: yes, for the whole run", "src/a.py")
            await pilot.press("a")
            await until(pilot, "why asked: it is protected", without="yes, for the whole run")
            await pilot.press("w", *"not that", "enter")
            await until(pilot, "case  completed")

    answers = [(event["verdict"], event["by"]) for event in events(asking, "approval.answered")]
    assert sorted(answers) == [("deny", BY), ("run", BY)]
    (end,) = events(asking, "run.finished")
    assert end["result"] == ["run: None", "deny: not that"]


async def test_an_agent_is_sent_a_message_and_its_page_shows_what_it_did(command: Command) -> None:
    install(command)
    command.answers(LONG)
    body = """
    await agent('Hold on.', { label: 'gate', backend: 'played' })
    return await agent('Look at the checkout. sk-ant-api03-0123456789abcdef0123', { label: 'looker' })
    """
    with within(60):
        run_id = await started(command, body, "--backend", "offline")
        async with watching(command, feed_of(command, run_id)) as pilot:
            await until(pilot, "● a0001")
            await pilot.press("p")
            await until(pilot, "case  paused")
            await pilot.press("enter", "n")
            await until(pilot, "» a0001", "a0002")
            await pilot.press("j", "m")
            await until(pilot, "Message to a0002 looker")
            await pilot.press(*"Only the tests.", "enter")
            await until(pilot, "a0002 has your message")
            await pilot.press("p")
            await until(pilot, "case  degraded")
            await pilot.press("enter")
            page = await until(
                pilot, "Prompt", "checkout. ‹secret anthropic-key›", f"Message · {BY} · taken", "Tool calls"
            )
            await pilot.press("G")
            end = await until(pilot, "│ Told meanwhile: Only the tests.")  # the result above says it too, without a bar

    assert "ok · " in page
    assert "sk-ant" not in page + end
    sent = [event for event in events(command, "agent.controlled") if event["action"] == "message"]
    assert [(event["by"], event["text"]) for event in sent] == [(BY, "Only the tests.")]


async def test_a_script_is_viewed_run_and_declined_with_a_word(command: Command, bytecode: Path) -> None:
    drafting = Drafting(command.folder, bytecode=bytecode)
    drafting.environ["PYTHONPATH"] = str(ROOT)
    with within(60):
        done = await anyio.to_thread.run_sync(lambda: drafting(*drafting.words(), "--detach", "-q"))
        run_id = done.out.strip()
        async with watching(drafting, feed_of(drafting, run_id)) as pilot:
            await until(pilot, "? run the script find-bugs?", "a answers")
            await pilot.press("a")
            shown = await until(pilot, "? q0001 · run the script find-bugs?", "view the script", "phases    Find 2")
            assert "│ Looks for bugs ␛[2J⟨U+202E⟩evil" in shown
            await pilot.press("v")
            await until(pilot, "q0001 · find-bugs", "   3  const found = await parallel(", "Esc goes back")
            await pilot.press("escape")
            await until(pilot, "yes, and ask no more in this run")
            await pilot.press("y")
            await until(pilot, "? run the script other?", "q0001 is answered: yes")
            await pilot.press("a")
            await until(pilot, "no, and a word to its author")
            await pilot.press("w")
            await until(pilot, "What should its author know?")
            await pilot.press(*"not that", "enter")
            await until(pilot, "case  completed")
    answers = [(one["id"], one["verdict"], one["by"]) for one in events(drafting, "approval.answered")]
    assert answers == [("q0001", "once", BY), ("q0002", "deny", BY)]


async def test_who_joins_in_the_middle_sees_what_was_seen_from_the_start_and_saves_the_script(command: Command) -> None:
    body = """
    phase('One'); await parallel(['a', 'b', 'c'].map(label => () => agent('p', { label })))
    log('halfway'); phase('Two'); await agent('p', { label: 'held' })
    """
    answers = ({"label": "held"} | LONG, {"label": "a", "error": "no"}, {"label": "*", "result": "[bold]x"})
    screens, boards = [], []
    with within(60):
        run_id = await started(command, body, answers=answers)
        for is_saving in (False, True):
            feed = feed_of(command, run_id)
            async with watching(command, feed) as pilot:
                screens.append(await until(pilot, "halfway", "● a0004", "● Two", "? help"))
                boards.append(feed.board)
                await pilot.press("t")
                screens[-1] += await until(pilot, "? help", without="what it does")
                if is_saving:
                    await pilot.press("s")
                    await until(pilot, "Save the script as a command")
                    await pilot.press("ctrl+u", *"kept", "enter")
                    await until(pilot, "run it: callsheet /kept")
        stopped = await anyio.to_thread.run_sync(lambda: command("stop", run_id))

    assert _still(boards[0]) == _still(boards[1])
    assert screens[0] == screens[1]
    assert stopped.status == 0, "it went on when the dashboard was closed"
    assert "name: 'kept'" in (command.folder / ".claude" / "workflows" / "kept.js").read_text(encoding="utf-8")


def _still(board: Board) -> object:
    return board_json(board)


async def test_a_run_whose_process_dies_is_said_to_and_one_that_is_resumed_is_followed_on(command: Command) -> None:
    with within(60):
        run_id = await started(command, "return await agent('p', { label: 'slow' })", answers=({"label": "*"} | LONG,))
        run = found(run_id, place(command))
        assert not isinstance(run, str)
        async with watching(command, feed_of(command, run_id)) as pilot:
            await until(pilot, "● a0001")
            os.kill(run.pid, signal.SIGKILL)
            screen = await until(pilot, "process gone", f"callsheet resume {run_id}")
            assert "Traceback" not in screen
            await pilot.press("p")
            await until(pilot, "process is gone")
            command.answers({"label": "*", "result": "at last"})
            await anyio.to_thread.run_sync(lambda: command("resume", run_id, "--detach", "-q"))
            await until(pilot, "case  completed", "at last")
