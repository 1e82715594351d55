"""The page of `callsheet serve` in a real browser, with runs that go on in other processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from callsheet.store.reader import read_agents, read_events, read_run
from tests.support.browser import Seen, go, new_page, open_browser
from tests.support.page_checks import accessibility_faults, cut_off
from tests.support.recorded import record_of
from tests.surfaces.command import Command
from tests.surfaces.test_cli_asking import NPM, ROOT, Asking
from tests.surfaces.test_cli_drafts import Drafting

EVIL = "<img src=x onerror=alert(1)>\x1b[31m\u202e"
BODY = f"""
log('begun')
await agent('Be quick.', {{ label: 'quick', phase: 'One' }})
const late = ['held', 'other', 'third', {json.dumps(EVIL)}]
return await Promise.all(late.map(label => agent('Hold on.', {{ label, phase: 'Two' }})))
"""
HELD: tuple[dict[str, Any], ...] = (
    {"label": "quick", "result": "soon"},
    {"label": "*", "result": "late", "delay_ms": 600_000},
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@contextmanager
def serving(command: Command, *words: str) -> Iterator[str]:
    """`callsheet serve` in a process of its own; its address, with the token."""
    process = command.start("serve", "--port", "0", "--json", *words, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.communicate(timeout=120)


@contextmanager
def going_on(command: Command) -> Iterator[str]:
    """A run whose agents do not end by themselves; its id. Stopped at the end, if it still goes on."""
    script, backend = command.script(BODY), command.answers(*HELD)
    done = command("run", script, "--backend", backend, "--detach", "--quiet")
    assert done.status == 0, done.err
    run_id = done.out.strip()
    try:
        yield run_id
    finally:
        command("stop", run_id, "--now")


def row(page: Page, label: str) -> Any:
    """The line of an agent in the table."""
    return page.locator(".grid .v-row").filter(has=page.get_by_role("link", name=label, exact=True))


def confirm(page: Page, words: str) -> None:
    """Presses a button of the dialog that asks."""
    page.get_by_role("dialog").get_by_role("button", name=words, exact=True).click()


def test_a_run_of_another_process_is_watched_and_acted_upon_in_the_browser(browser: Browser, command: Command) -> None:
    page, seen = new_page(browser)
    with going_on(command) as run_id, serving(command, "--control") as url:
        page.goto(url)
        assert "token" not in page.url
        page.get_by_role("row").filter(has_text=run_id).get_by_role("link", name="case").click()
        expect(page.get_by_role("list", name="Agents by status")).to_contain_text("4 running")
        assert accessibility_faults(page) == []
        _act_on_agents(page)
        _act_on_the_run(page)
        assert page.locator("img").count() == 0
    _saw_nothing_but_ours(seen, url)
    record = record_of(command)
    run = read_run(record, run_id)
    assert run is not None and run.end is not None
    assert run.end.status == "cancelled"
    ended = {found.agent.label: found.agent.status for found in read_agents(record, run_id)}
    assert ended == {"quick": "ok", "held": "skipped", "other": "cancelled", "third": "cancelled", EVIL: "cancelled"}
    said = [(event.payload.get("action"), event.payload.get("by")) for event in read_events(record, run_id)]
    deeds = [deed for deed in said if deed[0] is not None]
    assert [action for action, _ in deeds] == ["skip", "stop", "restart"]
    assert {by for _, by in deeds} == {"a person in the browser"}
    page.context.close()


def _act_on_agents(page: Page) -> None:
    go(page, "agents")
    expect(page.locator(".grid .v-row")).to_have_count(5)
    page.get_by_role("link", name="held", exact=True).click()
    panel = page.get_by_role("complementary")
    expect(panel).to_contain_text("Hold on.")
    panel.get_by_role("button", name="Skip …").click()
    page.keyboard.press("Escape")  # not after all
    expect(row(page, "held")).to_contain_text("running")
    panel.get_by_role("button", name="Skip …").click()
    confirm(page, "Skip it")
    expect(row(page, "held")).to_contain_text("skipped")
    expect(panel.get_by_role("button", name="Skip …")).to_have_count(0)
    page.get_by_role("link", name="other", exact=True).click()
    panel.get_by_role("button", name="Stop …").click()
    confirm(page, "Stop it")
    expect(row(page, "other")).to_contain_text("cancelled")
    page.get_by_role("link", name="third", exact=True).click()
    panel.get_by_role("button", name="Restart …").click()
    confirm(page, "Start it over")
    expect(panel).to_contain_text("Attempt")
    panel.get_by_role("button", name="Message …").click()
    page.get_by_label("Message", exact=True).fill("hello")
    confirm(page, "Send")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("takes no messages")
    confirm(page, "Not now")


def _act_on_the_run(page: Page) -> None:
    page.get_by_role("button", name="Pause").click()
    head = page.locator(".run-head")
    expect(head).to_contain_text("paused")
    page.get_by_role("button", name="Go on").click()
    expect(head.locator(".status").first).to_have_text("running")
    head.get_by_role("button", name="Stop …").click()
    confirm(page, "Stop the run")
    expect(head.locator(".status").first).to_have_text("cancelled")
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    with page.expect_download() as download:
        page.get_by_role("link", name="Report").click()
    assert "report-data" in Path(download.value.path()).read_text("utf-8")


def _saw_nothing_but_ours(seen: Seen, url: str) -> None:
    base = url.partition("?")[0]
    assert all(address.startswith((base, "data:")) for address in seen.requests), seen.requests
    assert [fault for fault in seen.faults if "409" not in fault] == []
    assert seen.dialogs == []


def test_a_question_is_answered_in_the_browser(browser: Browser, command: Command, bytecode: Path) -> None:
    asking = Asking(command.folder, bytecode=bytecode)
    asking.environ["PYTHONPATH"] = str(ROOT)
    page, _ = new_page(browser, width=420)
    run_id = asking(*asking.words(NPM, NPM), "--detach", "-q").out.strip()
    try:
        with serving(asking, "--control") as url:
            page.goto(url + f"#/run/{run_id}")
            page.goto(url.partition("?")[0] + f"#/run/{run_id}/overview")
            asked = page.get_by_role("article", name="Question q0001: bash")
            expect(asked).to_contain_text("npm test")
            expect(asked).to_contain_text("2 agents wait")
            assert accessibility_faults(page) == []
            asked.get_by_role("button", name="Deny …").click()
            page.get_by_label("A word to the agent").fill("not today")
            confirm(page, "Deny")
            expect(asked).to_have_count(0)
            expect(page.locator(".run-head .status").first).not_to_have_text("running")
    finally:
        asking("stop", run_id, "--now")
    answered = [one.payload for one in read_events(record_of(asking), run_id) if one.event == "approval.answered"]
    assert [(one["verdict"], one["by"]) for one in answered] == [("deny", "a person in the browser")]
    assert json.loads(read_run(record_of(asking), run_id).end.result) == ["deny: not today"] * 2  # type: ignore[union-attr, arg-type]
    page.context.close()


@pytest.mark.contract("L04")
def test_how_much_more_a_run_may_cost_is_said_in_the_browser(
    browser: Browser, command: Command, bytecode: Path
) -> None:
    asking = Asking(command.folder, bytecode=bytecode)
    asking.environ["PYTHONPATH"] = str(ROOT)
    page, _ = new_page(browser, width=420)
    costly = {"cost_usd": 3.0}
    words = [*asking.words(costly, costly, costly), "--cost-stop", "$5", "--max-parallel", "1", "--detach", "-q"]
    run_id = asking(*words).out.strip()
    try:
        with serving(asking, "--control") as url:
            page.goto(url + f"#/run/{run_id}")
            page.goto(url.partition("?")[0] + f"#/run/{run_id}/overview")
            asked = page.get_by_role("article", name="Question q0001: cost stop")
            asked.get_by_role("button", name="Another amount …").click()
            assert accessibility_faults(page) == []
            amount = page.get_by_label("Dollars more")
            expect(amount).to_be_focused()
            amount.press("Enter")
            expect(amount).to_be_visible()  # of nothing nothing is sent
            amount.fill("7.5")
            amount.press("Enter")
            expect(asked).to_have_count(0)
            expect(page.locator(".run-head .status").first).to_have_text("completed")
    finally:
        asking("stop", run_id, "--now")
    answered = [one.payload for one in read_events(record_of(asking), run_id) if one.event == "approval.answered"]
    assert [(one["verdict"], one["more_usd"]) for one in answered] == [("once", 7.5)]
    page.context.close()


def test_a_script_is_looked_at_and_declined_with_the_keyboard(
    browser: Browser, command: Command, bytecode: Path
) -> None:
    drafting = Drafting(command.folder, bytecode=bytecode)
    drafting.environ["PYTHONPATH"] = str(ROOT)
    page, _ = new_page(browser, width=420)
    run_id = drafting(*drafting.words(), "--detach", "-q").out.strip()
    try:
        with serving(drafting, "--control") as url:
            page.goto(url + f"#/run/{run_id}")
            page.goto(url.partition("?")[0] + f"#/run/{run_id}/overview")
            asked = page.get_by_role("article", name="Question q0001: run the script find-bugs?")
            expect(asked).to_contain_text("Looks for bugs ␛[2J⟨U+202E⟩evil")
            expect(asked.get_by_label("What it would do")).to_contain_text("phases    Find 2")
            plan = asked.get_by_label("What it would do")
            assert plan.evaluate("box => box.scrollHeight <= box.clientHeight"), "all that is approved is seen at once"
            expect(asked.get_by_label("The script find-bugs")).not_to_be_visible()
            asked.get_by_text("View the script").focus()
            page.keyboard.press("Enter")
            expect(asked.get_by_label("The script find-bugs")).to_contain_text("const found = await parallel(")
            assert accessibility_faults(page) == []
            asked.get_by_role("button", name="Run it", exact=True).focus()
            page.keyboard.press("Enter")
            other = page.get_by_role("article", name="Question q0002: run the script other?")
            other.get_by_role("button", name="Decline …").click()
            page.get_by_label("A word to its author").fill("not today")
            confirm(page, "Decline")
            expect(page.locator(".run-head .status").first).to_have_text("completed")
    finally:
        drafting("stop", run_id, "--now")
    ended = read_run(record_of(drafting), run_id).end  # type: ignore[union-attr]
    assert json.loads(ended.result)[1] == "DeclinedError: declined: not today"  # type: ignore[union-attr, arg-type]
    page.context.close()


def test_on_a_phone_a_run_of_the_list_is_seen_whole(browser: Browser, command: Command) -> None:
    done = command.run("return await agent('Hi.', { label: 'one' })", "--yes", "--output", "json")
    with going_on(command), serving(command) as url:
        page, _ = new_page(browser, width=360)
        page.goto(url)
        for table, shown in (("Going on", "running"), ("Over", "completed")):
            line = page.get_by_role("table", name=table).get_by_role("row").filter(has_text=shown).first
            expect(line).to_be_visible()
            assert cut_off(page) == []
        line = page.get_by_role("row").filter(has_text=done.json["run_id"])
        for words in ("case", "completed", "ago", "1", "$0"):
            expect(line.get_by_role("cell").filter(has_text=words).first).to_be_in_viewport()
        assert accessibility_faults(page) == []
        page.context.close()


def test_without_control_there_is_nothing_to_press(browser: Browser, command: Command) -> None:
    page, seen = new_page(browser)
    with going_on(command) as run_id, serving(command) as url:
        page.goto(url)
        page.get_by_role("row").filter(has_text=run_id).get_by_role("link", name="case").click()
        expect(page.get_by_role("list", name="Agents by status")).to_contain_text("4 running")
        go(page, "agents?agent=a0002")
        expect(page.get_by_role("complementary")).to_contain_text("Hold on.")
        words = page.get_by_role("button").all_inner_texts()
        assert not [word for word in words if word.startswith(("Stop", "Pause", "Skip", "Restart", "Message"))]
        command("agent", "skip", run_id, "a0002")
        expect(row(page, "held")).to_contain_text("skipped")  # what is done elsewhere is seen here
    _saw_nothing_but_ours(seen, url)
    page.context.close()
