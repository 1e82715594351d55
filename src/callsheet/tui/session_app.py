"""The session in the terminal, and over it the dashboard. Runs that were started in it go on when it is left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

import anyio
from rich.text import Text
from textual.binding import Binding, BindingType

from callsheet.app.session_model import Session
from callsheet.errors import CallsheetError
from callsheet.groups import lone_error
from callsheet.tui.dialogs import Reading
from callsheet.tui.session_screen import SessionScreen
from callsheet.tui.terminal_app import TerminalApp

Opener = Callable[[], AbstractAsyncContextManager[Session]]
"""Opens the session; leaving it lets runs go on."""


class SessionApp(TerminalApp[str]):
    """Its own screen at the bottom, the dashboard's over it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "explain", "Help"),
        Binding("q", "close", "Close"),
        Binding("escape", "close", show=False),
        Binding("ctrl+c", "stop", show=False, priority=True),
    ]

    def __init__(self, *, store: str | None = None) -> None:
        """Makes it; `store` as `SessionScreen` takes it."""
        super().__init__()
        self._own = SessionScreen(store)
        self._opened = anyio.Event()
        self._session: Session | None = None

    def have(self, session: Session | CallsheetError) -> None:
        """Gives it its session, or why there is none, which ends it. From any task."""
        if isinstance(session, CallsheetError):
            self.fault = session
        else:
            self._session = session
        self._opened.set()

    async def on_mount(self) -> None:
        """Shows the session's screen at once, and the session when it is open."""
        await self.push_screen(self._own)
        self.run_worker(self._show())

    async def _show(self) -> None:
        await self._opened.wait()
        if self._session is None:
            self.exit()
        else:
            self._own.have(self._session)

    def action_explain(self) -> None:
        """Says what the dashboard's keys do; the session has `/help`."""
        from callsheet.tui.app import HELP

        if self.screen is not self._own and not isinstance(self.screen, Reading):
            self.push_screen(Reading("Keys", Text(HELP)))

    def action_close(self) -> None:
        """Comes back to the session's screen."""
        while self._own in self.screen_stack and self.screen is not self._own:
            self.pop_screen()

    async def action_stop(self) -> None:
        """Copies what is marked; else stops the turn, and at the second time leaves."""
        if self.copy_marked():
            return
        if self.screen is self._own:
            await self._own.stop()
        else:
            self.action_close()


def converse(opener: Opener, *, store: str | None = None) -> str:
    """Shows a session until the person leaves it; gives what is then to be said.

    Args:
        opener: Opens it, while its screen is there already.
        store: Where runs are on record; None for the workspace's record.

    Raises:
        CallsheetError: It could not be opened.
    """
    app = SessionApp(store=store)
    said: str | None = anyio.run(_converse, app, opener)
    if app.fault is not None:
        raise app.fault
    return said or ""


async def _converse(app: SessionApp, opener: Opener) -> str | None:
    is_left = anyio.Event()

    async def hold() -> None:
        try:
            async with opener() as session:
                app.have(session)
                await is_left.wait()
        except CallsheetError as fault:
            app.have(fault)

    said: str | None = None
    with lone_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            try:
                said = await app.run_async()
            finally:
                is_left.set()
    return said
