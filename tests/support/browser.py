"""A real browser: Debian's Chromium, and what a page may not do in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-background-networking"]
LIMIT_MS = 40_000
"""Every wait for the page ends by then."""


def chromium() -> str:
    """Where Chromium is: `CALLSHEET_CHROMIUM`, or one of its usual names. Without one the test fails, and says why."""
    named = os.environ.get("CALLSHEET_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.fail(
            "these tests look at the page in a real browser, and there is none: install Chromium (Debian: apt-get "
            "install chromium), or name one with CALLSHEET_CHROMIUM.",
            pytrace=False,
        )
    return found


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A browser of its own, ended with the block."""
    expect.set_options(timeout=LIMIT_MS)  # five seconds are little for a small machine with much to do
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS, timeout=4 * LIMIT_MS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass(slots=True)
class Seen:
    """What a page did.

    Attributes:
        requests: The addresses that it asked for.
        faults: Errors of its scripts, and what its policy forbade.
        dialogs: What it asked the reader with a dialog of the browser's.
    """

    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


def new_page(browser: Browser, *, dark: bool = False, width: int = 1280, height: int = 800) -> tuple[Page, Seen]:
    """A page that nothing has been looked at in, and what it does."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
    )
    context.set_default_timeout(LIMIT_MS)
    page, seen = context.new_page(), Seen()
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("pageerror", lambda fault: seen.faults.append(str(fault)))
    page.on("console", lambda said: seen.faults.append(said.text) if said.type in ("error", "warning") else None)

    def asked(dialog: object) -> None:
        seen.dialogs.append(str(dialog))

    page.on("dialog", asked)
    return page, seen


def open_report(page: Page, file: Path, *, to: str = "") -> None:
    """Opens a report, at an address within it."""
    page.goto("about:blank")
    page.goto(file.resolve().as_uri() + to)
    page.get_by_role("heading", level=1).wait_for()


def go(page: Page, place: str) -> None:
    """Goes to a view of the run that is shown: `agents?status=failed`."""
    page.evaluate(
        "(place) => { location.hash = `#/run/${location.hash.split('/')[2].split('?')[0]}/${place}`; }", place
    )
    page.locator(f'.tabs a[aria-current="page"][href*="/{place.partition("?")[0]}"]').wait_for()
