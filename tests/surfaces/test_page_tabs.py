"""Many tabs of one browser at one server, of which a browser makes no more than six connections to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import LIMIT_MS, open_browser
from tests.surfaces.command import Command
from tests.surfaces.test_page_live import going_on, serving

TABS = 4
HIDEABLE = "Object.defineProperty(document, 'hidden', { get: () => window.isHidden === true });"
SWITCH = "(hidden) => { window.isHidden = hidden; document.dispatchEvent(new Event('visibilitychange')); }"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


def test_tabs_that_nobody_sees_leave_the_lines_to_the_server_to_the_one_that_is_seen(
    browser: Browser, command: Command
) -> None:
    context = browser.new_context()
    context.set_default_timeout(LIMIT_MS)
    context.add_init_script(HIDEABLE)
    with going_on(command) as run_id, serving(command, "--control") as url:
        tabs: list[Page] = []
        for _ in range(TABS):
            for tab in tabs:
                tab.evaluate(SWITCH, True)
            page = context.new_page()
            page.goto(f"{url}#/run/{run_id}")
            expect(page.get_by_role("list", name="Agents by status")).to_contain_text("4 running")
            tabs.append(page)
        command("agent", "skip", run_id, "a0002")
        expect(tabs[-1].get_by_role("list", name="Agents by status")).to_contain_text("3 running")
        tabs[-1].evaluate(SWITCH, True)
        tabs[0].evaluate(SWITCH, False)
        expect(tabs[0].get_by_role("list", name="Agents by status")).to_contain_text("3 running")
        command("agent", "skip", run_id, "a0003")
        expect(tabs[0].get_by_role("list", name="Agents by status")).to_contain_text("2 running")
    context.close()
