"""The last row: what keys do here, as many of them as there is room for. A click on one presses it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from textual.events import Click
from textual.strip import Strip
from textual.widget import Widget

from callsheet.tui.cells import style_of

HELP, CLOSE = ("question_mark", "help"), ("q", "close")
_SHOWN = {"question_mark": "?", "escape": "Esc", "enter": "Enter", "tab": "Tab"}
OF_RUN, OF_AGENT = "p", "xrnm"
"""What can be done in a run that goes on, and to an agent that has not ended."""
_GAP = "  "


class Hints(Widget):
    """Keys and words. Textual's own footer is made anew with every move of the focus, at a cost above all else."""

    DEFAULT_CSS = "Hints { height: 1; padding: 0 1; }"

    def __init__(self, hints: Sequence[tuple[str, str]]) -> None:
        """Makes it; `hints` are keys as Textual names them and what they do, the most needed first."""
        super().__init__()
        self._hints = hints
        self._vain = ""

    def leave_out(self, keys: str) -> None:
        """Says nothing of keys that would do nothing as things stand; those left out before come back."""
        if keys != self._vain:
            self._vain = keys
            self.refresh()

    def render_line(self, y: int) -> Strip:
        segments: list[Segment] = []
        for key, word, _start, _end in self._placed() if y == 0 else []:
            if segments:
                segments.append(Segment(_GAP, style_of("")))
            segments += (Segment(key, style_of("bold")), Segment(f" {word}", style_of("dim")))
        return Strip(segments).adjust_cell_length(self.size.width, style_of(""))

    def on_click(self, event: Click) -> None:
        """Presses the key."""
        for key, _word, start, end in self._placed():
            if start <= event.x - 1 < end:
                named = {shown: name for name, shown in _SHOWN.items()}
                self.app.simulate_key(named.get(key, key))

    def _placed(self) -> list[tuple[str, str, int, int]]:
        """Those that fit, and the columns they take."""
        found, at = [], 0
        for key, word in self._hints:
            if key in self._vain:
                continue
            shown = _SHOWN.get(key, key)
            end = at + len(shown) + 1 + len(word)
            if end > self.size.width:
                break
            found.append((shown, word, at, end))
            at = end + len(_GAP)
        return found
