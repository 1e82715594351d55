"""Text of the dashboard is marked with the mouse, and copied."""

from __future__ import annotations

from typing import Any

import pytest
from rich.text import Text
from textual.app import ComposeResult
from textual.pilot import Pilot
from textual.screen import Screen

from callsheet.app.records import Where
from callsheet.tui.agent_screen import Page
from callsheet.tui.app import Dashboard
from callsheet.tui.dialogs import Reading
from callsheet.tui.page import Row
from tests.support.deadline import within
from tests.support.screens import until

pytestmark = pytest.mark.anyio


async def test_ctrl_c_copies_what_is_marked_in_a_text_and_closes_only_then(tmp_path: Any) -> None:
    app = Dashboard(Where(workspace=tmp_path))
    with within(60):
        async with app.run_test(size=(80, 24)) as pilot:
            app.push_screen(Reading("Prompt", Text("Look at a.py, please.")))
            rows = (await until(pilot, "please")).split("\n")
            y = next(at for at, row in enumerate(rows) if "please" in row)
            x = rows[y].index("Look")
            await drag(pilot, (x, y), (x + 3, y))
            await pilot.press("ctrl+c")
            assert app.clipboard == "Look"
            assert app.is_running
            await pilot.press("ctrl+c")
    assert not app.is_running


class OfPage(Screen[None]):
    """The page of an agent, by itself."""

    def compose(self) -> ComposeResult:
        yield Page()


async def test_the_page_of_an_agent_is_copied_from_wherever_the_mouse_begins(tmp_path: Any) -> None:
    app = Dashboard(Where(workspace=tmp_path))
    with within(60):
        async with app.run_test(size=(40, 10)) as pilot:
            await app.push_screen(OfPage())
            app.screen.query_one(Page).show([Row(f"row {n}") for n in range(40)])
            await until(pilot, "row 3")
            app.screen.query_one(Page).scroll_to(y=20, animate=False)
            rows = (await until(pilot, "row 21")).split("\n")
            first = next(at for at, row in enumerate(rows) if "row 21" in row)
            await drag(pilot, (0, first), (5, first + 1))
            await pilot.press("ctrl+c")
            assert app.clipboard == "row 21\nrow 2"


async def drag(pilot: Pilot[Any], begin: tuple[int, int], end: tuple[int, int]) -> None:
    """Marks text with the mouse."""
    await pilot.mouse_down(offset=begin)
    await pilot.hover(offset=end)
    await pilot.mouse_up(offset=end)
