"""Screens of the dashboard as text, without a terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
from textual.app import App
from textual.pilot import Pilot

from callsheet.app.records import Where
from callsheet.control.places import Reach
from callsheet.tui.feed import Feed
from callsheet.views.board import Board

LIMIT_S = 80.0
NOON = datetime(2026, 1, 1, 0, 1, 0, tzinfo=UTC)


class StillFeed(Feed):
    """A feed for which no time passes; without a run it shows the board that it is given."""

    def __init__(self, run: str | Reach = "run_X", where: Where | None = None, *, board: Board | None = None) -> None:
        super().__init__(run, where or Where())
        self._is_given = board is not None
        self.board = board or self.board

    def now(self) -> datetime:
        return NOON

    async def follow(self) -> None:
        if self._is_given:
            self.version += 1
            await anyio.sleep_forever()
        await super().follow()


def shown(app: App[Any]) -> str:
    """What is on the screen, a line for each row, without what is blank at their ends."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips).rstrip("\n")


async def until(pilot: Pilot[Any], *words: str, without: str | None = None) -> str:
    """Waits until all these words are on the screen, and this is not; gives the screen.

    Raises:
        AssertionError: They never were.
    """
    ends = time.monotonic() + LIMIT_S
    while True:
        await anyio.sleep(0.02)
        text = shown(pilot.app)
        if all(word in text for word in words) and (without is None or without not in text):
            return text
        assert time.monotonic() < ends, f"{words} never shown:\n{text}"


@contextmanager
def utc() -> Iterator[None]:
    """Local times are those of UTC."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()
