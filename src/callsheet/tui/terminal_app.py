"""What the applications in the terminal have in common."""

from __future__ import annotations

from textual.app import App, ReturnType

from callsheet.tui.looks import CSS, THEME
from callsheet.views.figures import count


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

    def copy_marked(self) -> bool:
        """Copies what is marked with the mouse, and says so; False where nothing is.

        The terminal is asked to (OSC 52), so that it also works over ssh; some do not, or only where they are told to.
        """
        text = self.screen.get_selected_text()
        if not text:
            return False
        self.copy_to_clipboard(text)
        self.screen.clear_selection()
        self.notify(f"{count(len(text), 'character')} copied, if this terminal lets programs do so.", markup=False)
        return True

    def _handle_exception(self, error: Exception) -> None:
        """A fault of ours ends it and is told by the command, as every other: Textual would print it all."""
        self.fault = self.fault or error
        super()._handle_exception(error)
        self._exit_renderables.clear()
