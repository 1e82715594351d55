"""The box in which a person writes to the session: several lines, what was said before, words that start a workflow."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import accumulate
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Key, Paste
from textual.message import Message
from textual.widgets import TextArea

from callsheet.app.session_words import Span, workflow_words
from callsheet.tui.session_typing import Completion, History
from callsheet.views.safe_text import visible

MOST_PASTED_CHARS = 100_000
_TRIGGER_STYLE = "bold underline magenta"
_LINE_ENDS = re.compile("\r\n?|[\v\f\x85\u2028\u2029]")


class Prompt(TextArea):
    """Enter sends; the arrows go through what was said before where there is no line to go to.

    Attributes:
        complete: What the Tab key can make of the text before the cursor.
        said: What was said before.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+j,shift+enter,alt+enter", "new_line", show=False),
        Binding("up", "back_or_up", show=False),
        Binding("down", "forth_or_down", show=False),
        Binding("ctrl+p", "recall(-1)", show=False),
        Binding("ctrl+n", "recall(1)", show=False),
        Binding("tab", "complete", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
    ]

    class Sent(Message):
        """The person has said something."""

        def __init__(self, text: str, *, is_off: bool) -> None:
            super().__init__()
            self.text, self.is_off = text, is_off

    class Empty(Message):
        """Enter was pressed, and nothing stands there."""

    class Judged(Message):
        """What the hint beside the box says may be another now."""

    class Paged(Message):
        """The person leafs through what stands above the box."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    def __init__(self, complete: Callable[[str], Completion | None]) -> None:
        """Makes an empty one."""
        super().__init__(id="prompt", compact=True, highlight_cursor_line=False, tab_behavior="focus")
        self.cursor_blink = False
        self.complete = complete
        self.said = History()
        self._is_off = False
        self._words: tuple[Span, ...] = ()
        self._line_starts: tuple[int, ...] = (0,)

    # --- what it says of its text -----------------------------------------------------------------------------------

    @property
    def is_off(self) -> bool:
        """Whether the person has said that this prompt starts no workflow."""
        return self._is_off

    @property
    def choices(self) -> tuple[str, ...]:
        """What the Tab key can make of it; none where it stands complete."""
        found = self._completion()
        return found.choices if found is not None else ()

    def get_line(self, line_index: int) -> Text:
        line = super().get_line(line_index)
        if not self._is_off:
            begins = self._line_starts[line_index] if line_index < len(self._line_starts) else 0
            for start, end in self._words:
                if begins <= start < begins + len(line):
                    line.stylize(_TRIGGER_STYLE, start - begins, end - begins)
        return line

    def put(self, text: str) -> None:
        """Puts a text in, the cursor at its end."""
        self._is_off = False
        self.load_text(visible(text))
        self.move_cursor(self.document.end)

    # --- what is pressed --------------------------------------------------------------------------------------------

    def on_key(self, event: Key) -> None:
        """Enter sends. A letter with Alt is none to be written, though terminals call it printable."""
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self._send()
        elif event.key == "alt+w":
            event.stop()
            event.prevent_default()
            self.action_switch()
        elif event.key.startswith("alt+") and event.is_printable:
            event.prevent_default()

    def on_paste(self, event: Paste) -> None:
        """What is pasted stands there as it would be sent: nothing in it acts, or hides."""
        event.stop()
        event.prevent_default()
        text = visible(_LINE_ENDS.sub("\n", event.text[:MOST_PASTED_CHARS]))
        if (over := len(event.text) - MOST_PASTED_CHARS) > 0:
            self.notify(f"{over:,} characters at its end were left out. Name the file instead.", severity="warning")
        self._replace_via_keyboard(text, *self.selection)

    def update_suggestion(self) -> None:
        """Called with each new text: finds the words in it. An empty one is switched off no more."""
        self._words = workflow_words(self.text)
        lengths = (len(line) + 1 for line in self.document.lines)
        self._line_starts = (0, *accumulate(lengths))
        self._is_off = self._is_off and bool(self.text)
        self.notify_style_update()
        self.post_message(self.Judged())

    def action_new_line(self) -> None:
        """Begins a line."""
        self._replace_via_keyboard("\n", *self.selection)

    def action_back_or_up(self) -> None:
        """A line up; from the first, to what was said before."""
        if self.navigator.is_first_wrapped_line(self.cursor_location):
            self.action_recall(-1)
        else:
            self.action_cursor_up()

    def action_forth_or_down(self) -> None:
        """A line down; from the last, to what was said after."""
        if self.navigator.is_last_wrapped_line(self.cursor_location):
            self.action_recall(1)
        else:
            self.action_cursor_down()

    def action_recall(self, by: int) -> None:
        """Takes up what was said before."""
        if (text := self.said.moved(by, self.text)) is not None:
            self.put(text)

    def action_complete(self) -> None:
        """Writes the rest of a name, as far as it is certain."""
        found = self._completion()
        if found is not None:
            word = self.text[found.start : self.cursor_location[1]]
            self.replace(found.completed(word), (0, found.start), self.cursor_location)

    def action_switch(self) -> None:
        """Has this prompt start no workflow, or start one after all."""
        self._is_off = not self._is_off
        self.notify_style_update()
        self.refresh()
        self.post_message(self.Judged())

    def action_page(self, by: int) -> None:
        """Leafs through what stands above."""
        self.post_message(self.Paged(by))

    def _completion(self) -> Completion | None:
        row, column = self.cursor_location
        return self.complete(self.document.get_line(0)[:column]) if row == 0 else None

    def _send(self) -> None:
        text = self.text.strip()
        if not text:
            self.post_message(self.Empty())
            return
        self.said.add(text)
        is_off, self._is_off = self._is_off, False
        self.clear()
        self.post_message(self.Sent(text, is_off=is_off))
