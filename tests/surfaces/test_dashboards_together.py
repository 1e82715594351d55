"""One run of 500 agents in a process of its own, watched and acted upon in the terminal and in a browser at once.

Each deed is seen on both surfaces; at the end both are held against the run's result and its record.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from playwright.async_api import Locator, Page, async_playwright, expect
from textual.pilot import Pilot

from callsheet.app.records import Where
from callsheet.tui.app import Dashboard
from callsheet.tui.feed import BY as AT_THE_TERMINAL
from callsheet.tui.feed import Feed, found
from callsheet.views.board import Board
from callsheet.views.figures import money, tokens
from callsheet.web.deeds import BY as IN_THE_BROWSER
from tests.support.browser import FLAGS, LIMIT_MS, chromium
from tests.support.deadline import within
from tests.support.played_agents import install
from tests.support.recorded import Recorded, record_of, recorded
from tests.support.screens import until
from tests.surfaces.command import Command

pytestmark = pytest.mark.anyio

AGENTS = 500
BODY = f"""
phase('Gate')
await agent('Hold on.', {{ label: 'gate', backend: 'played' }})
phase('Told')
const told = ['told here', 'told there'].map(label => agent('Look at the shop.', {{ label }}))
phase('Held')
const held = ['skip', 'stop', 'again'].flatMap(what => [what + ' here', what + ' there'])
  .map(label => agent('Hold on.', {{ label, backend: 'played' }}).catch(() => null))
phase('Many')
const many = Array.from({{ length: {AGENTS} - 9 }}, (_, n) => `many ${{n}}`)
  .map(label => agent('Be quick.', {{ label, backend: 'played' }}).catch(() => null))
const answers = await Promise.all([...told, ...held, ...many])
return answers.filter(answer => answer !== null).length
"""
LONG = {"result": "late", "delay_ms": 600_000}
ANSWERS: tuple[dict[str, Any], ...] = (
    {"label": "again here", "times": 1} | LONG,
    {"label": "again there", "times": 1} | LONG,
    {"label": "again *", "result": "at last"},
    {"label": "many *7", "error": "the tool broke", "status": "failed", "delay_ms": 250},
    {"label": "many *", "result": "done", "delay_ms": 250, "usage": {"input_tokens": 700, "output_tokens": 41}},
    {"label": "*"} | LONG,
)
DEEDS = {
    ("gate", "skip", AT_THE_TERMINAL),
    ("told here", "message", AT_THE_TERMINAL),
    ("told here", "message_taken", AT_THE_TERMINAL),
    ("told there", "message", IN_THE_BROWSER),
    ("told there", "message_taken", IN_THE_BROWSER),
    ("skip here", "skip", AT_THE_TERMINAL),
    ("skip there", "skip", IN_THE_BROWSER),
    ("stop here", "stop", AT_THE_TERMINAL),
    ("stop there", "stop", IN_THE_BROWSER),
    ("again here", "restart", AT_THE_TERMINAL),
    ("again there", "restart", IN_THE_BROWSER),
}


# --- the surfaces -----------------------------------------------------------------------------------------------------


def where(command: Command) -> Where:
    return Where(workspace=command.folder, start=command.folder, environ=command.environ)


@asynccontextmanager
async def in_the_terminal(command: Command, run_id: str) -> AsyncGenerator[tuple[Pilot[None], Feed]]:
    feed = Feed(found(run_id, where(command)), where(command))
    async with Dashboard(where(command), feed).run_test(size=(130, 40), notifications=True) as pilot:
        yield pilot, feed


@asynccontextmanager
async def in_the_browser(command: Command, run_id: str) -> AsyncGenerator[Page]:
    """The run's table of agents, in a browser of its own, served by a process of its own."""
    server = command.start("serve", "--port", "0", "--json", "--control", stderr=subprocess.DEVNULL)
    try:
        assert server.stdout is not None
        url = json.loads(await anyio.to_thread.run_sync(server.stdout.readline))["url"]
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS, timeout=4 * LIMIT_MS)
            page = await browser.new_page(viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
            page.set_default_timeout(LIMIT_MS)
            await page.goto(url)
            await page.goto(f"{url.partition('?')[0]}#/run/{run_id}/agents")
            yield page
            await browser.close()
    finally:
        server.kill()
        await anyio.to_thread.run_sync(lambda: server.communicate(timeout=120))


async def press_in_the_browser(page: Page, agent_id: str, button: str, confirm: str, words: str | None = None) -> None:
    """Opens an agent, presses a button of its, and says yes."""
    await page.evaluate("(agent) => { location.hash = location.hash.split('?')[0] + '?agent=' + agent; }", agent_id)
    panel = page.get_by_role("complementary")
    await expect(panel).to_contain_text(agent_id)
    await panel.get_by_role("button", name=button).click()
    if words is not None:
        await page.get_by_label("Message", exact=True).fill(words)
    await page.get_by_role("dialog").get_by_role("button", name=confirm, exact=True).click()


def row_of(page: Page, agent_id: str) -> Locator:
    return page.locator(".grid .v-row").filter(has_text=agent_id)


async def cells_of(page: Page, agent_id: str) -> list[str]:
    cells = row_of(page, agent_id).locator('[role="gridcell"]')  # also those that there is no room for
    return [text.strip() for text in await cells.all_text_contents()]


# --- what is done -----------------------------------------------------------------------------------------------------


async def before_it_goes_on(pilot: Pilot[None], page: Page) -> None:
    """The run is paused, and its agents are told something before they begin."""
    await until(pilot, "● a0001")
    await pilot.press("p")
    await until(pilot, "case  paused")
    await expect(page.locator(".run-head .status").first).to_have_text("paused")
    await pilot.press("enter", "n")
    await until(pilot, "» a0001", f"1/{AGENTS} agents · {AGENTS - 1} queued")
    await expect(page.get_by_role("list", name="Agents by status")).to_contain_text(f"{AGENTS - 1} queued")
    await pilot.press("j", "m")
    await until(pilot, "Message to a0002 told here")
    await pilot.press(*"Only src.", "enter")
    await until(pilot, "a0002 has your message")
    await press_in_the_browser(page, "a0003", "Message …", "Send", "Only tests.")
    await expect(page.get_by_role("complementary")).to_contain_text("Only tests.")
    await page.get_by_role("button", name="Go on").click()
    await until(pilot, "case  running", "● a0004")


async def while_hundreds_work(pilot: Pilot[None], page: Page) -> None:
    """What is done on either surface is seen on both."""
    await pilot.press("j", "j", "n")
    await press_in_the_browser(page, "a0005", "Skip …", "Skip it")
    await pilot.press("j", "j", "x")
    await press_in_the_browser(page, "a0007", "Stop …", "Stop it")
    await pilot.press("j", "j", "r")
    await press_in_the_browser(page, "a0009", "Restart …", "Start it over")
    await until(pilot, "» a0004", "» a0005", "■ a0006", "■ a0007", "✓ a0008", "✓ a0009")
    for number, status in zip(range(4, 10), ("skipped", "skipped", "cancelled", "cancelled", "ok", "ok"), strict=True):
        await expect(row_of(page, f"a{number:04}")).to_contain_text(status)


async def shown_by(page: Page) -> tuple[dict[str, str], dict[str, int], dict[str, list[str]]]:
    """The figures of the run, its agents by status, and the rows of those that were touched."""
    names = await page.locator(".facts .fact dt").all_text_contents()
    values = await page.locator(".facts .fact dd").evaluate_all("all => all.map(each => each.firstChild.textContent)")
    legend = await page.get_by_role("list", name="Agents by status").get_by_role("listitem").all_inner_texts()
    by_status = {words.split(maxsplit=1)[1]: int(words.split()[0]) for words in legend}
    rows = {f"a{number:04}": await cells_of(page, f"a{number:04}") for number in range(1, 10)}
    return dict(zip(names, values, strict=True)), by_status, rows


# --- what came of it --------------------------------------------------------------------------------------------------


def the_result(record: Recorded) -> dict[str, Any]:
    """As it was said by the run's last event."""
    last = record.events[-1]
    assert last.event == "run.finished"
    return last.payload


def assert_the_result_is_the_record(result: dict[str, Any], record: Recorded) -> None:
    assert record.end is not None
    assert (result["status"], result["result"]) == (record.end.status, json.loads(record.end.result or ""))
    said = {agent["label"]: (agent["agent_id"], agent["status"]) for agent in result["agents"]}
    assert said == {agent.label: (agent.agent_id, agent.status) for agent in record.agents.values()}
    every = record.agents.values()
    for name in ("input_tokens", "output_tokens"):
        assert result["usage"][name] == sum(getattr(agent, name) for agent in every)
    assert result["usage"]["cost_usd"] == pytest.approx(sum(agent.cost_usd or 0.0 for agent in every))


def assert_the_board_is_the_record(board: Board, record: Recorded) -> None:
    shown = {
        agent.label: (agent.agent_id, agent.status, agent.usage.output_tokens, agent.usage.cost_usd)
        for agent in board.agents.values()
    }
    assert shown == {
        agent.label: (agent.agent_id, agent.status, agent.output_tokens, agent.cost_usd)
        for agent in record.agents.values()
    }
    assert dict(board.outcomes) == Counter(agent.status for agent in record.agents.values())


def assert_the_deeds_are_recorded(record: Recorded) -> None:
    labels = {agent.agent_id: agent.label for agent in record.agents.values()}
    deeds = [event.payload for event in record.events if event.event == "agent.controlled"]
    done = Counter((labels[str(deed["agent_id"])], deed["action"], deed["by"]) for deed in deeds)
    assert done == Counter(DEEDS)
    for label, words in (("told here", "Only src."), ("told there", "Only tests.")):
        assert words in (record.agents[label].result or "")


# --- the run ----------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def played(command: Command) -> Command:
    """The command, with the package."""
    install(command)
    command.answers(*ANSWERS)
    return command


async def test_a_run_of_500_agents_is_the_same_in_both_dashboards_its_result_and_its_record(played: Command) -> None:
    command = played
    words = ("run", command.script(BODY), "--backend", "offline", "--max-parallel", "24", "--detach", "--quiet")
    with within(90):
        done = await anyio.to_thread.run_sync(lambda: command(*words))
        assert done.status == 0, done.err
        run_id = done.out.strip()
        try:
            async with in_the_terminal(command, run_id) as (pilot, feed), in_the_browser(command, run_id) as page:
                await before_it_goes_on(pilot, page)
                await while_hundreds_work(pilot, page)
                screen = await until(pilot, "case  degraded", f"{AGENTS}/{AGENTS} agents")
                await expect(page.locator(".run-head .status").first).to_have_text("degraded", timeout=LIMIT_MS)
                facts, legend, rows = await shown_by(page)
                board = feed.board
        finally:
            await anyio.to_thread.run_sync(lambda: command("stop", run_id, "--now"))

    record = recorded(record_of(command), run_id)
    result = the_result(record)
    assert_the_result_is_the_record(result, record)
    assert_the_board_is_the_record(board, record)
    assert_the_deeds_are_recorded(record)

    usage, by_status = result["usage"], Counter(agent.status for agent in record.agents.values())
    used, cost = tokens(usage["output_tokens"]), money(usage["cost_usd"])
    assert f" {used} tokens · {cost} · {AGENTS}/{AGENTS} agents · {AGENTS - by_status['ok']} not ok" in screen
    assert facts == {"Time": facts["Time"], "Agents": str(AGENTS), "Tokens out": used, "Cost": cost}
    assert legend == by_status
    by_id = {agent.agent_id: agent for agent in record.agents.values()}
    for agent_id, (status, label, _, _, _, out, paid, _) in rows.items():
        agent = by_id[agent_id]
        assert (status, label) == (agent.status, f"{agent.label}{agent_id}")
        assert out == (tokens(agent.output_tokens) if agent.output_tokens else "")
        assert paid == ("unknown" if agent.cost_usd is None else money(agent.cost_usd))
