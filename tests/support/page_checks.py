"""Whether a page can be used without eyes, mouse or good light: a few checks of our own, made in the page itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

_CHECKS = (Path(__file__).parent / "page_checks.js").read_text(encoding="utf-8")


def _check(page: Page, name: str) -> Any:
    return page.evaluate(f"() => {_CHECKS.split(chr(10), 1)[1].strip()}.{name}()")


def accessibility_faults(page: Page) -> list[str]:
    """What lacks a name, a landmark, an order; and text with a contrast below 4.5 : 1."""
    return [*_check(page, "lacks"), *_check(page, "contrast")]


def cut_off(page: Page) -> list[str]:
    """What lies to the right of what is seen, where nothing says so: only the graph may, which is dragged."""
    return list(_check(page, "cutOff"))


def tab_stops(page: Page, most: int = 60) -> list[str]:
    """What Tab comes to from the top of the page, by name, in order; an outline must be seen at each."""
    page.evaluate("() => { document.activeElement?.blur(); scrollTo(0, 0); }")
    stops: list[str] = []
    for _ in range(most):
        page.keyboard.press("Tab")
        name, outline = _check(page, "focused")
        if not name:
            break
        assert outline != "none", f"the focus on {name} is not seen"
        stops.append(" ".join(str(name).split())[:60])
    return stops
