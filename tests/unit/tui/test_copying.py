"""Text of the dashboard is marked with the mouse, and copied."""

from __future__ import annotations

from typing import Any

import pytest
from rich.text import Text

from callsheet.app.records import Where
from callsheet.tui.app import Dashboard
from callsheet.tui.dialogs import Reading
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
            await pilot.mouse_down(offset=(x, y))
            await pilot.hover(offset=(x + 3, y))
            await pilot.mouse_up(offset=(x + 3, y))
            await pilot.press("ctrl+c")
            assert app.clipboard == "Look"
            assert app.is_running
            await pilot.press("ctrl+c")
    assert not app.is_running
