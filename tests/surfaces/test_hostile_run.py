"""One run that says hostile things in every place, on every surface: it is text there, and nothing else."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from callsheet.app.records import Where
from callsheet.tui.app import Dashboard
from callsheet.tui.feed import found
from tests.support.browser import Seen, go, new_page, open_browser, open_report
from tests.support.deadline import within
from tests.support.hostile import ANSWERS, BODY, HOSTILE, META, only_text
from tests.support.screens import StillFeed, until
from tests.surfaces.command import Command
from tests.surfaces.terminal import Terminal
from tests.surfaces.test_cli_asking import ROOT, Asking

VIEWS = ("overview", "graph", "timeline", "agents", "log", "problems", "result")
ALIVE = "img, iframe, object, embed, form, main script, [onerror], a[href^='http'], a[href^='//'], a[href^='java' i]"
"""What would be there had the run's text been taken for markup."""
MARKS = ("␛[2J", "⟨U+202E⟩gnp.exe", "<img src=x onerror=alert(1)>", "[bold]x[/bold]")
"""Some of it as it may be seen."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, bytecode: Path) -> tuple[Command, str]:
    """The command, in a folder in which the run has taken place, and what was said of it on the way."""
    folder = tmp_path_factory.mktemp("hostile")
    for name in ("workspace", "home"):
        (folder / name).mkdir()
    command = Command(folder / "workspace", bytecode=bytecode)
    (command.folder / "case.js").write_text(META + BODY, encoding="utf-8")
    done = command("run", "case.js", "--backend", command.answers(*ANSWERS), environ={"GITHUB_ACTIONS": "true"})
    assert done.json, done.err
    assert done.status == 3, "an agent failed"
    return command, done.err


def test_in_plain_lines(hostile: tuple[Command, str]) -> None:
    _, said = hostile

    assert only_text(said)
    commands = [line for line in said.splitlines() if line.lstrip().startswith("::") or "##[" in line]
    assert [command[:20] for command in commands] == ["::error file=case.js"], "one is ours"
    assert all(mark in said for mark in MARKS)


def test_by_the_commands_that_look_at_a_run(hostile: tuple[Command, str]) -> None:
    command, _ = hostile
    for words in (
        ("show", "last"),
        ("show", "last", "a0001", "--full"),
        ("show", "last", "a0002"),
        ("logs", "last"),
        ("runs",),
        ("graph", "last"),
        ("cost", "last"),
        ("check", "case.js"),
        ("rehearse", "case.js"),
    ):
        done = command(*words)
        assert done.status == 0, done.err
        assert only_text(done.out + done.err), words


def test_in_the_tree_on_a_terminal(hostile: tuple[Command, str]) -> None:
    command, _ = hostile
    with Terminal(command, "run", "case.js", "--backend", "scripted:answers.json") as terminal:
        shown = terminal.end()

    assert "\x1b[2J" not in shown and "\x1b]" not in shown and "\x07" not in shown and "\u202e" not in shown
    assert all(mark in shown for mark in MARKS)


@pytest.mark.anyio
async def test_in_the_dashboard_of_the_terminal(hostile: tuple[Command, str], monkeypatch: pytest.MonkeyPatch) -> None:
    command, _ = hostile
    monkeypatch.setenv("TERM", "xterm-256color")
    where = Where(workspace=command.folder, start=command.folder, environ=command.environ)
    screens = []
    with within(60):
        app = Dashboard(where, StillFeed(found("last", where), where))
        async with app.run_test(size=(200, 50), notifications=True) as pilot:
            screens.append(await until(pilot, "a0002", "degraded", "<img src=x"))
            for keys in (("t",), ("t", "enter", "enter"), ("escape", "j", "enter"), ("escape", "o", "enter")):
                await pilot.press(*keys)
                screens.append(await until(pilot, "<img src=x"))
            for strip in app.screen._compositor.render_strips():
                for one in strip:
                    assert one.style is None or (one.style.link is None and "@click" not in one.style.meta)

    assert all(only_text(screen) for screen in screens)
    assert all(mark in "".join(screens) for mark in MARKS)


def test_in_a_report(hostile: tuple[Command, str], browser: Browser) -> None:
    command, _ = hostile
    done = command("report", "last", "--output", "report.html", "--force")
    assert done.status == 0 and only_text(done.out + done.err)
    file = command.folder / "report.html"
    assert file.read_bytes().count(b"</script>") == 2
    page, seen = new_page(browser)
    open_report(page, file)
    _every_view_is_text(page)
    assert {address.partition("#")[0] for address in seen.requests} <= {file.resolve().as_uri(), "about:blank"}
    _did_nothing(page, seen)


def test_in_the_browser(hostile: tuple[Command, str], browser: Browser) -> None:
    command, _ = hostile
    run = command("runs", "--json").json["runs"][0]
    page, seen = new_page(browser)
    with served(command) as url:
        page.goto(url)
        ours = page.get_by_role("row").filter(has_text=run["run_id"])  # others of this machine are shown too
        ours.wait_for()
        assert only_text(page.locator("body").inner_text())
        ours.get_by_role("link", name="case").click()
        page.locator(".run-head h1").wait_for()
        _every_view_is_text(page)
    base = url.partition("?")[0]
    assert all(address.startswith((base, "data:")) for address in seen.requests), seen.requests
    _did_nothing(page, seen)


def test_a_question_in_the_browser(command: Command, bytecode: Path, browser: Browser) -> None:
    asking = Asking(command.folder, bytecode=bytecode)
    asking.environ["PYTHONPATH"] = str(ROOT)
    hostile = {"input": HOSTILE, "reason": HOSTILE, "rules": [f"Bash({HOSTILE})"]}
    run_id = asking(*asking.words(hostile), "--detach", "-q").out.strip()
    page, seen = new_page(browser)
    try:
        with served(asking) as url:
            page.goto(url)
            page.goto(f"{url.partition('?')[0]}#/run/{run_id}/overview")
            question = page.get_by_role("article", name="Question q0001")
            expect(question).to_contain_text("␛[2J")
            assert page.locator(ALIVE).count() == 0
            assert only_text(page.locator("body").inner_text())
            assert all(mark in question.inner_text() for mark in MARKS)
    finally:
        asking("stop", run_id, "--now")
    _did_nothing(page, seen)


@contextmanager
def served(command: Command) -> Iterator[str]:
    """The dashboard in a process of its own; its address, with the token."""
    process = command.start("serve", "--port", "0", "--json", "--control", stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.communicate(timeout=120)


def _every_view_is_text(page: Page) -> None:
    shown = ""
    for view in VIEWS:
        for agent in ("a0001", "a0002"):
            go(page, f"{view}?agent={agent}")
            page.locator(".panel").get_by_text(agent).first.wait_for()
            page.locator(".panel").get_by_role(
                "heading", name="Prompt"
            ).wait_for()  # what is read from the record is there
            assert page.locator(ALIVE).count() == 0
            shown += page.locator("body").inner_text()
    titles = page.evaluate("() => [document, ...document.querySelectorAll('[title]')].map((one) => one.title).join('')")
    assert only_text(shown)
    assert only_text(titles)
    assert all(mark in shown for mark in MARKS)


def _did_nothing(page: Page, seen: Seen) -> None:
    assert seen.dialogs == []
    assert seen.faults == []
    page.context.close()
