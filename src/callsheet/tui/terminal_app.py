"""What the applications in the terminal have in common."""

from __future__ import annotations

from textual.app import App, ReturnType

from callsheet.tui.looks import CSS, THEME


class TerminalApp(App[ReturnType]):
    """Looks, and what becomes of a fault of ours.

    Attributes:
        fault: What ended it that should not have; None for nothing.
    """

    CSS = CSS
    ENABLE_COMMAND_PALETTE = False

    def __init__(self) -> None:
        super().__init__(ansi_color=True)
        self.theme = THEME
        self.fault: Exception | None = None

    def _handle_exception(self, error: Exception) -> None:
        """A fault of ours ends it and is told by the command, as every other: Textual would print it all."""
        self.fault = self.fault or error
        super()._handle_exception(error)
        self._exit_renderables.clear()
