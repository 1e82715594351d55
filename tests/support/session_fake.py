"""A session that does nothing: tests say what happens in it, and see what was asked of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import anyio

from callsheet.app.session_model import (
    Change,
    Command,
    LiveRun,
    Quit,
    Reply,
    Session,
    SessionFigures,
    SessionQuestion,
    SessionSettings,
    Told,
)
from callsheet.app.session_transcript import Entry, Note, Said, Turn
from callsheet.app.session_words import workflow_words
from callsheet.model.approval import PersonsVerdict

AT = "2026-01-01T00:00:00.000Z"

COMMANDS = (
    Command(name="help", usage="/help", said="What can be typed."),
    Command(name="effort", usage="/effort LEVEL", said="How hard it thinks.", values=("high", "low", "ultracode")),
    Command(name="workflows", usage="/workflows", said="The dashboard."),
    Command(name="save", usage="/save RUN [NAME]", said="Keeps a script."),
    Command(name="quit", usage="/quit", said="Leaves."),
    Command(name="review", usage="/review [ARGS]", said="Reviews a change.", is_workflow=True),
)


class FakeSession(Session):
    """A session of a test.

    Attributes:
        heard: What was said to it: text, and whether it is to start a workflow.
        done: Commands.
        answered: Answers: question, verdict, words.
        replies: What commands reply, by line; `Told` without words for others.
    """

    def __init__(self, *, workspace: str = "/workspace", effort: str | None = None) -> None:
        self.heard: list[tuple[str, bool | None]] = []
        self.done: list[str] = []
        self.answered: list[tuple[str, PersonsVerdict, *tuple[str | float | None, ...]]] = []
        self.stopped = 0
        self.replies: dict[str, Reply] = {"/quit": Quit(text="runs go on")}
        self._workspace = workspace
        self._entries: list[Entry] = []
        self._questions: tuple[SessionQuestion, ...] = ()
        self._runs: tuple[LiveRun, ...] = ()
        self._settings = SessionSettings(effort=effort)  # type: ignore[arg-type]
        self._figures = SessionFigures()
        self._changed: set[int] = set()
        self._news = anyio.Event()

    # --- what a test does -------------------------------------------------------------------------------------------

    def put(self, *entries: Entry) -> None:
        """Adds entries, or replaces them, by their numbers."""
        for entry in entries:
            if entry.number > len(self._entries):
                self._entries.append(entry)
            else:
                self._entries[entry.number - 1] = entry
            self._changed.add(entry.number)
        self._tell()

    def ask(self, *questions: SessionQuestion) -> None:
        self._questions = questions
        self._tell()

    def run(self, *runs: LiveRun) -> None:
        self._runs = runs
        self._tell()

    def spend(self, figures: SessionFigures) -> None:
        self._figures = figures
        self._tell()

    @property
    def next(self) -> int:
        """The number of the next entry."""
        return len(self._entries) + 1

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    # --- the session ------------------------------------------------------------------------------------------------

    id = "ses_1"
    path = "/workspace/.callsheet/sessions/ses_1.jsonl"
    is_continued = False
    orchestrator = "offline · opus · high"
    notes = ()
    commands = COMMANDS

    @property
    def workspace(self) -> str:
        return self._workspace

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entries)

    @property
    def questions(self) -> tuple[SessionQuestion, ...]:
        return self._questions

    @property
    def runs(self) -> tuple[LiveRun, ...]:
        return self._runs

    @property
    def settings(self) -> SessionSettings:
        return self._settings

    @property
    def figures(self) -> SessionFigures:
        return self._figures

    async def watch(self) -> AsyncGenerator[Change]:
        self._changed = {entry.number for entry in self._entries}
        while True:
            news, changed, self._changed = self._news, self._changed, set()
            yield Change(entries=tuple(sorted(changed)), questions=True, runs=True, settings=True, figures=True)
            if not self._changed:
                await news.wait()

    def starts_workflow(self, text: str) -> bool:
        return self._settings.effort == "ultracode" or bool(workflow_words(text))

    async def say(self, text: str, *, is_workflow: bool | None = None) -> Reply:
        self.heard.append((text, is_workflow))
        number = self.next
        self.put(Said(number=number, at=AT, text=text, is_workflow=bool(is_workflow)))
        self.put(Turn(number=number + 1, at=AT, said=number, state="working", began_at=AT))
        return Told()

    async def command(self, text: str) -> Reply:
        self.done.append(text)
        return self.replies.get(text, Told())

    async def answer(
        self, question_id: str, verdict: PersonsVerdict, *, words: str | None = None, more_usd: float | None = None
    ) -> Reply:
        amount = () if more_usd is None else (more_usd,)
        self.answered.append((question_id, verdict, words, *amount))
        self.ask(*(question for question in self._questions if question.id != question_id))
        return Told()

    def stop_turn(self) -> bool:
        self.stopped += 1
        working = [entry for entry in self._entries if isinstance(entry, Turn) and not entry.is_over]
        for entry in working:
            self.put(ended(entry, state="stopped", error=None, remedy="Say it again."))
        return bool(working)


def ended(turn: Turn, **changes: Any) -> Turn:
    """A turn that is over."""
    from dataclasses import replace

    return replace(turn, **{"state": "done", "ended_at": "2026-01-01T00:00:12.000Z", "began_at": AT} | changes)


def note(session: FakeSession, text: str) -> None:
    session.put(Note(number=session.next, at=AT, text=text))
