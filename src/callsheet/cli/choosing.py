"""Reading a choice from the terminal, a line as the terminal gives it; two keys end a line without Enter.

The terminal keeps its own echo and editing. All that is changed while a line is read is that Ctrl-G and Esc end it:
what a kill leaves behind of that is of no account.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from callsheet.cli.approval_lines import EDIT_KEY, ESCAPE_KEY
from callsheet.cli.report import show_lines
from callsheet.cli.streams import say

_LONGEST_LINE = 4_096
_SEQUENCE_S = 0.05
"""What follows an Esc within this time belongs to it: an arrow key, say."""
_LOOK_UP_S = 0.25
_LOCAL, _CHARACTERS = 3, 6
"""Of what `termios.tcgetattr` gives: local modes, control characters."""


def read_choice(prompt: str, *, at_end: Callable[[Callable[[], object] | None], object]) -> str | None:
    """The next line that is typed after the prompt was shown; None at Ctrl-D, or where the terminal is gone.

    Args:
        prompt: What stands before the cursor.
        at_end: Takes what puts the terminal back where a signal ends the process meanwhile, and None afterwards.
    """
    keyboard = sys.stdin.fileno()
    with suppress(termios.error):  # nobody approves what they have not seen
        termios.tcflush(keyboard, termios.TCIFLUSH)
    with _early_keys(keyboard, prompt, at_end):
        while True:
            show_lines((), prompt)
            while not select.select([keyboard], [], [], _LOOK_UP_S)[0]:
                pass  # a signal that came to another thread is seen to here
            try:
                typed = os.read(keyboard, _LONGEST_LINE).decode(errors="replace")
            except OSError:
                typed = ""
            if not typed.endswith("\n"):
                say("")
            if typed.endswith(ESCAPE_KEY) and _is_sequence(keyboard):
                continue
            return typed.removesuffix("\n") if typed else None


@contextmanager
def _early_keys(keyboard: int, prompt: str, at_end: Callable[[Callable[[], object] | None], object]) -> Iterator[None]:
    """Has Ctrl-G and Esc end a line within the block, also after it was stopped (Ctrl-Z) and brought back."""
    try:
        before = termios.tcgetattr(keyboard)
    except termios.error:
        yield
        return

    def put_back() -> None:
        with suppress(termios.error):
            termios.tcsetattr(keyboard, termios.TCSANOW, before)

    def put_on(*continued: object) -> None:
        with suppress(termios.error):
            termios.tcsetattr(keyboard, termios.TCSANOW, changed)
        if continued:
            show_lines((), prompt)

    changed = [*before[:_CHARACTERS], [*before[_CHARACTERS]]]
    changed[_CHARACTERS][termios.VEOL] = EDIT_KEY.encode()
    changed[_CHARACTERS][termios.VEOL2] = ESCAPE_KEY.encode()
    at_end(put_back)
    before_cont = signal.signal(signal.SIGCONT, put_on)
    try:
        put_on()
        yield
    finally:
        signal.signal(signal.SIGCONT, before_cont)
        put_back()
        at_end(None)


def _is_sequence(keyboard: int) -> bool:
    """Whether more came with an Esc, which is taken out: what has no line's end yet is not given while lines are."""
    with suppress(termios.error, OSError):
        before = termios.tcgetattr(keyboard)
        raw = [*before]
        raw[_LOCAL] &= ~(termios.ICANON | termios.ECHO)
        termios.tcsetattr(keyboard, termios.TCSANOW, raw)
        try:
            if select.select([keyboard], [], [], _SEQUENCE_S)[0]:
                os.read(keyboard, _LONGEST_LINE)
                return True
        finally:
            termios.tcsetattr(keyboard, termios.TCSANOW, before)
    return False
