"""What is asked of the person at the dashboard: to choose, to write a line, to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.events import Key, Resize
from textual.screen import ModalScreen, ScreenResultType
from textual.widgets import Input, Static

from callsheet.model.dataclass import dataclass
from callsheet.tui.cells import Cell
from callsheet.tui.rows import Rows

_AROUND_ROWS = 7
"""Of a dialog, besides its body and options: borders, its title, space."""


_AROUND_TEXT_ROWS = 5


@dataclass(frozen=True, slots=True)
class Option:
    """One that can be chosen: by its letter, by the cursor, by a click."""

    letter: str
    text: str
    style: str = ""


class Dialog(ModalScreen[ScreenResultType]):
    """A dialog that takes one answer: keys come faster than it goes, and the next one is for nobody."""

    _is_over = False

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Goes, the first time; textual would take a second answer, and the screen below with it."""
        if self._is_over or self.app.screen is not self:
            return AwaitComplete()
        self._is_over = True
        return super().dismiss(result)


class Choice(Dialog[str | None]):
    """Has one of a few chosen; gives its letter, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,left,h", "dismiss(None)", "Back"),
        Binding("pageup", "scroll_body(-1)", show=False),
        Binding("pagedown", "scroll_body(1)", show=False),
    ]

    def __init__(self, title: str, options: Sequence[Option], *, body: Text | None = None, at: str = "") -> None:
        """Makes it.

        Args:
            title: One line, made safe.
            options: What can be chosen.
            body: What is to be known for it, made safe.
            at: The letter that the cursor stands on first.
        """
        super().__init__()
        self._title, self._body, self._at = title, body, at
        self._options = {option.letter: option for option in options}

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text(self._title, "bold"), classes="title")
            if self._body is not None:
                with VerticalScroll(classes="body", can_focus=False):
                    yield Static(self._body)
            yield Rows(self._cells, id="options", is_menu=True)

    def on_mount(self) -> None:
        """Shows the options."""
        rows = self.query_one(Rows)
        rows.styles.height = len(self._options)
        self._fit()
        rows.show(tuple(self._options))
        if self._at:
            rows.put_cursor(self._at)
        rows.focus()

    def on_resize(self, _event: Resize) -> None:
        """The options stay in sight."""
        self._fit()

    def _fit(self) -> None:
        for body in self.query(VerticalScroll):
            body.styles.max_height = max(1, self.app.size.height - len(self._options) - _AROUND_ROWS)

    def on_key(self, event: Key) -> None:
        """A letter chooses at once."""
        if event.character in self._options:
            event.stop()
            self.dismiss(event.character)

    def on_rows_chosen(self, event: Rows.Chosen) -> None:
        """So does Enter."""
        event.stop()
        self.dismiss(event.key)

    def action_scroll_body(self, by: int) -> None:
        """Scrolls what is to be known."""
        for body in self.query(VerticalScroll):
            if by < 0:
                body.scroll_page_up(animate=False)
            else:
                body.scroll_page_down(animate=False)

    def _cells(self, letter: str, _width: int) -> list[Cell]:
        option = self._options[letter]
        return [Cell(option.letter, 1, "bold"), Cell(option.text, style=option.style)]


class Line(Dialog[str | None]):
    """Has a line written; gives it, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]

    def __init__(self, title: str, *, value: str = "", hint: str = "", may_be_empty: bool = False) -> None:
        """Makes it; `title`, `value` and `hint` made safe."""
        super().__init__()
        self._title, self._value, self._hint, self._may_be_empty = title, value, hint, may_be_empty

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text(self._title, "bold"), classes="title")
            yield Input(value=self._value)
            yield Static(Text(self._hint or "Enter sends · Esc leaves it", "dim"))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Gives the line."""
        event.stop()
        if event.value.strip() or self._may_be_empty:
            self.dismiss(event.value.strip())


class Reading(Dialog[None]):
    """Shows a text that does not fit where it stood."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,left,h,enter,question_mark", "dismiss(None)", "Back"),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]

    def __init__(self, title: str, text: Text) -> None:
        """Makes it; both made safe."""
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text(self._title, "bold"), classes="title")
            with VerticalScroll(classes="body"):
                yield Static(self._text)
            yield Static(Text("Esc goes back", "dim"))

    def on_mount(self) -> None:
        """Keys scroll it."""
        self.query_one(VerticalScroll).focus()
        self._fit()

    def on_resize(self, _event: Resize) -> None:
        """All of the dialog stays in sight."""
        self._fit()

    def _fit(self) -> None:
        self.query_one(VerticalScroll).styles.max_height = max(1, self.app.size.height - _AROUND_TEXT_ROWS)

    def action_scroll(self, by: int) -> None:
        """Scrolls by a row."""
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)
