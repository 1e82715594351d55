"""A question of a session, put to the person in a dialog."""

from __future__ import annotations

import time
from collections.abc import Callable

from textual.app import App
from textual.events import Key

from callsheet.app.quantities import parse_more_usd
from callsheet.app.session_model import SessionQuestion
from callsheet.model.approval import PersonsVerdict
from callsheet.tui.dialogs import Choice, Line, Reading
from callsheet.tui.questions import (
    AMOUNT_HINT,
    ASKED_FOR_AMOUNT,
    NO_AMOUNT,
    VERDICTS,
    asked_for_words,
    body_of,
    options_of,
    script_of,
    title_of,
)
from callsheet.tui.rows import Rows

DEAF_S = 0.6
"""A dialog that opens by itself takes no answer at first: the key may have been meant for something else."""

Take = Callable[[SessionQuestion, PersonsVerdict, str | None, float | None], None]


class QuestionDialog(Choice):
    """A question and what can be said to it."""

    def __init__(self, question: SessionQuestion, *, columns: int, is_by_itself: bool) -> None:
        """Makes it.

        Args:
            question: What is asked.
            columns: Of the terminal.
            is_by_itself: It opens though no key was pressed for it.
        """
        asked = question.asked
        title = title_of(asked, whose=question.workflow)
        options = options_of(asked, is_before_start=question.run_id is None)
        super().__init__(title, options, body=body_of(asked, columns=columns), at="n")
        self.question = question
        opened = time.monotonic()
        self._deaf_until = opened + DEAF_S if is_by_itself else 0.0
        self._enter_deaf_until = opened + DEAF_S

    def on_key(self, event: Key) -> None:
        """A letter chooses, once the dialog has been seen; Esc leaves it at any time."""
        if time.monotonic() < self._deaf_until and event.key != "escape":
            event.stop()
            event.prevent_default()

    def on_rows_chosen(self, event: Rows.Chosen) -> None:
        """So does Enter, but not the one that opened it while it is held down."""
        pressed = time.monotonic()
        if pressed < max(self._deaf_until, self._enter_deaf_until):
            self._enter_deaf_until = pressed + DEAF_S
            event.stop()
            event.prevent_default()


class Asking:
    """The dialogs of a session's questions, one at a time.

    Attributes:
        seen: Questions that had their dialog, by id; one that was left there stands until it is answered.
    """

    def __init__(self, app: App[str], take: Take) -> None:
        """Makes it.

        Args:
            app: On whose screen.
            take: Is given an answer: its words, and the dollars that it names.
        """
        self.seen: set[str] = set()
        self._app, self._take = app, take
        self._dialog: QuestionDialog | None = None
        self._open: frozenset[str] = frozenset()

    def ask(self, question: SessionQuestion, *, is_by_itself: bool = False) -> None:
        """Puts a question on the screen; Esc leaves it standing."""
        self.seen.add(question.id)
        self._open |= {question.id}
        app, asked = self._app, question.asked

        def chosen(letter: str | None) -> None:
            if letter == "v" and asked.script is not None:
                app.push_screen(Reading(*script_of(asked.script)), again)
            elif letter == "w":
                app.push_screen(Line(asked_for_words(asked)), said)
            elif letter == "a":
                app.push_screen(Line(ASKED_FOR_AMOUNT, hint=AMOUNT_HINT), named)
            elif letter is not None:
                self._take(question, VERDICTS[letter], None, None)

        def again(_: None) -> None:
            if question.id in self._open:
                self.ask(question)
            else:
                self._gone()

        def said(words: str | None) -> None:
            if words:
                self._take(question, "deny", words, None)

        def named(typed: str | None) -> None:
            more_usd = None if typed is None else parse_more_usd(typed)
            if more_usd is not None:
                self._take(question, "once", None, more_usd)
            elif typed is not None:
                app.notify(NO_AMOUNT, severity="error", markup=False)

        self._dialog = QuestionDialog(question, columns=app.size.width, is_by_itself=is_by_itself)
        app.push_screen(self._dialog, chosen)

    def stand(self, questions: frozenset[str]) -> None:
        """Takes a question off the screen that is open no more: somebody else has answered it, or its time is over."""
        self._open = questions
        dialog = self._dialog
        if dialog is not None and dialog.is_current and dialog.question.id not in questions:
            dialog.dismiss(None)
            self._gone()

    def _gone(self) -> None:
        self._app.notify("It is no longer asked.", markup=False)
