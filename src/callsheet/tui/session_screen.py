"""The session's own screen: what was said and done above, what goes on, the box to write in below."""

from __future__ import annotations

import time
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import anyio
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.events import Resize
from textual.screen import Screen
from textual.widgets import Static

from callsheet.app.naming import LAST
from callsheet.app.session_model import Change, OpenDashboard, Quit, Refused, Reply, Session, SessionQuestion, Told
from callsheet.app.session_transcript import RunStarted, Said, Turn
from callsheet.app.session_words import is_command, workflow_words
from callsheet.errors import CallsheetError
from callsheet.model.approval import PersonsVerdict
from callsheet.tui.session_asking import Asking
from callsheet.tui.session_prompt import Prompt
from callsheet.tui.session_standing import Typed, hint, standing, status
from callsheet.tui.session_transcript import Transcript
from callsheet.tui.session_typing import Completion, completion
from callsheet.tui.strips import Strips
from callsheet.views.safe_text import visible

FRAME_S = 0.1
"""Changes are shown at most so often; keys at once."""
_LEAVE_WITHIN_S = 3.0
_STILL_S = 2.0
"""A question opens its dialog by itself where nobody has pressed a key for so long, and nothing stands in the box."""
_SHORT_ROWS = 16
_STANDING_SHARE = 4
"""Runs and questions take no more than this part of the screen."""
_BEGIN = (
    "Say what you want to know or have done. With the word workflow in it, agents are set to work.",
    "Ctrl-C stops an answer, twice leaves. /help lists the commands.",
)


class _Sign(Static):
    """Stands before the box, and is no text to copy."""

    ALLOW_SELECT = False


class SessionScreen(Screen[None]):
    """Shows a session. What is done in it goes to the session; what changes comes from there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("shift+tab", "runs", show=False),
        Binding("f2", "answer", show=False),
    ]
    DEFAULT_CSS = """
    SessionScreen { layout: vertical; }
    #box { height: auto; border-top: solid ansi_blue; padding: 0 1; }
    #sign { width: 2; height: 1; }
    #prompt {
        height: auto; max-height: 8; width: 1fr; border: none; padding: 0;
        background: ansi_default; color: ansi_default; scrollbar-size-vertical: 1;
    }
    .short #prompt { max-height: 3; }
    """

    def __init__(self, store: str | None = None) -> None:
        """Makes it. One can write already; what is sent waits until it is given its session (`have`).

        Args:
            store: Where runs are on record; None for the workspace's record.
        """
        super().__init__()
        self._store = store
        self._session: Session | None = None
        self._open_turns: dict[int, Turn] = {}
        self._opened = anyio.Event()
        self._rung: set[str] = set()
        self._leaving_until = 0.0
        self._typed_at = time.monotonic()

    def compose(self) -> ComposeResult:
        yield Transcript()
        yield Strips(id="standing")
        with Horizontal(id="box"):
            yield _Sign("›", id="sign")
            yield Prompt(self._complete)
        yield Strips(id="hint")
        yield Strips(id="status")

    def on_mount(self) -> None:
        """Shows how things stand, and goes on doing so."""
        self._asking = Asking(self.app, self._answer)
        self._transcript, self._prompt = self.query_one(Transcript), self.query_one(Prompt)
        self._standing, self._hint, self._status = (
            self.query_one(f"#{name}", Strips) for name in ("standing", "hint", "status")
        )
        self._prompt.focus()
        self._draw_hint()
        self.set_interval(1.0, self._tick)

    def have(self, session: Session) -> None:
        """Shows this session from now on."""
        self._session = session
        for entry in session.entries:
            if isinstance(entry, Said):
                self._prompt.said.add(entry.text)
        self._transcript.greet(
            [f"callsheet in {session.workspace}", *session.notes, *([] if session.entries else _BEGIN)]
        )
        self._opened.set()
        self.run_worker(self._follow(session))

    # --- what changes -----------------------------------------------------------------------------------------------

    async def _follow(self, session: Session) -> None:
        async with aclosing(session.watch()) as changes:
            async for change in changes:
                self._take(session, change)
                if change.is_closed:
                    return
                await anyio.sleep(FRAME_S)

    def _take(self, session: Session, change: Change) -> None:
        if change.entries:
            entries = session.entries
            self._transcript.take(entries, change.entries)
            for number in change.entries:
                entry = entries[number - 1]
                if isinstance(entry, Turn):
                    self._open_turns[number] = entry
                    if entry.is_over:
                        del self._open_turns[number]
        if change.questions:
            self._asking.stand(frozenset(question.id for question in session.questions))
            self._ring(session)
        self._draw_standing()
        self._draw_status()

    def _ring(self, session: Session) -> None:
        """Rings the terminal's bell for what is asked anew: the person may look elsewhere."""
        asked = {question.id for question in session.questions}
        if asked - self._rung:
            self.app.bell()
        self._rung |= asked

    def _tick(self) -> None:
        """Draws what changes though nothing happens."""
        self._draw_standing()
        if self._leaving_until and time.monotonic() > self._leaving_until:
            self._leaving_until = 0.0
            self._draw_hint()
        self._ask_by_itself()

    def _draw_standing(self) -> None:
        session = self._session
        if session is None or not self.is_mounted:
            return
        at_work = next((turn for turn in self._open_turns.values() if turn.state == "working"), None)
        rows = standing(
            session.runs,
            at_work,
            len(self._open_turns) - (at_work is not None),
            session.questions,
            width=self._standing.size.width or self.size.width,
            most=max(1, self.size.height // _STANDING_SHARE),
            now=datetime.now(UTC),
        )
        self._standing.show(rows)

    def _draw_status(self) -> None:
        session = self._session
        if session is not None:
            width = self._status.size.width or self.size.width
            self._status.show(
                [status(session.orchestrator, session.settings, session.figures, session.runs, width=width)]
            )

    def _draw_hint(self) -> None:
        prompt, session = self._prompt, self._session
        typed = Typed(
            is_workflow=bool(prompt.text) and session is not None and session.starts_workflow(prompt.text),
            is_off=prompt.is_off,
            has_word=bool(workflow_words(prompt.text)),
            is_command=is_command(prompt.text),
            choices=prompt.choices,
        )
        is_at_end, width = self._transcript.is_at_end, self.size.width
        is_leaving, is_marked = bool(self._leaving_until), bool(self.selections)
        self._hint.show([hint(typed, is_leaving=is_leaving, is_marked=is_marked, is_at_end=is_at_end, width=width)])

    def on_resize(self, event: Resize) -> None:
        """Shares out the rows anew."""
        self.set_class(event.size.height < _SHORT_ROWS, "short")
        self.call_after_refresh(self._draw_all)

    def _draw_all(self) -> None:
        self._draw_standing()
        self._draw_status()
        self._draw_hint()

    # --- what is said -----------------------------------------------------------------------------------------------

    def on_prompt_sent(self, event: Prompt.Sent) -> None:
        """Gives it to the session: a command to be done, all else to be answered."""
        self._transcript.scroll_end(animate=False)
        self.run_worker(self._send(event.text, is_off=event.is_off))

    async def _send(self, text: str, *, is_off: bool) -> None:
        place = self._transcript.begin(text) if is_command(text) else None
        await self._opened.wait()
        session = self._session
        assert session is not None
        if place is not None:
            self._have_reply(text, await session.command(text), place)
        else:
            self._have_reply(text, await session.say(text, is_workflow=False if is_off else None), place)

    def _have_reply(self, line: str, reply: Reply, place: int | None) -> None:
        """Shows what came of a line: of a command at its place, which is None where it was none."""
        shown = reply if isinstance(reply, Told | Refused) else Told()
        if place is not None:
            self._transcript.tell(place, line, shown)
        elif shown.text:
            self._transcript.tell(self._transcript.begin(line), line, shown)
        if isinstance(reply, OpenDashboard):
            self.open_dashboard(reply.run_id)
        elif isinstance(reply, Quit):
            self.app.exit(reply.text)
        self._draw_all()

    def on_prompt_judged(self) -> None:
        """What the next key would do may be another."""
        self._typed_at = time.monotonic()
        self._draw_hint()

    def on_prompt_paged(self, event: Prompt.Paged) -> None:
        """Leafs through the transcript."""
        self._transcript.action_page(event.by)
        self.call_after_refresh(self._draw_hint)

    def on_prompt_empty(self) -> None:
        """Enter without a word answers what is asked."""
        if self._session is not None and self._session.questions:
            self.action_answer()

    def _complete(self, line: str) -> Completion | None:
        session = self._session
        if session is None or not line.startswith("/"):
            return None
        runs = dict.fromkeys(entry.run_id for entry in reversed(session.entries) if isinstance(entry, RunStarted))
        return completion(line, session.commands, (LAST, *runs))

    # --- what is asked ----------------------------------------------------------------------------------------------

    def action_answer(self) -> None:
        """Has the oldest question answered."""
        questions = self._session.questions if self._session is not None else ()
        if questions:
            self._asking.ask(questions[0])

    def _ask_by_itself(self) -> None:
        """Asks what was not asked yet, where that interrupts nobody."""
        if self._session is None or not self.is_current or self._prompt.text:
            return
        if time.monotonic() - self._typed_at < _STILL_S:
            return
        question = next((each for each in self._session.questions if each.id not in self._asking.seen), None)
        if question is not None:
            self._asking.ask(question, is_by_itself=True)

    def _answer(
        self, question: SessionQuestion, verdict: PersonsVerdict, words: str | None, more_usd: float | None
    ) -> None:
        async def work() -> None:
            assert self._session is not None
            reply = await self._session.answer(question.id, verdict, words=words, more_usd=more_usd)
            if isinstance(reply, Refused):
                self.app.notify(visible(reply.text), severity="error", markup=False)

        self.run_worker(work())

    # --- where one goes ---------------------------------------------------------------------------------------------

    def open_dashboard(self, run_id: str | None) -> None:
        """Opens the dashboard, of one run or of all, over this screen."""
        from callsheet.app.records import Where
        from callsheet.tui.feed import Feed, found
        from callsheet.tui.run_screen import RunScreen
        from callsheet.tui.runs_screen import RunsScreen

        assert self._session is not None
        where = Where(store=self._store, workspace=Path(self._session.workspace))
        if run_id is None:
            self.app.push_screen(RunsScreen(where))
            return
        try:
            self.app.push_screen(RunScreen(Feed(found(run_id, where), where)))
        except CallsheetError as fault:
            self.app.notify(visible(fault.message), severity="error", markup=False)

    def on_transcript_opened(self, event: Transcript.Opened) -> None:
        """Opens the run."""
        self.open_dashboard(event.run_id)

    def text_select_all(self) -> None:
        """Nothing on it is marked as a whole."""

    def on_transcript_marked(self) -> None:
        """Says what can be done with it."""
        self._draw_hint()

    def on_transcript_left(self, event: Transcript.Left) -> None:
        """Goes back to the box."""
        self._prompt.focus()
        if event.typed:
            self._prompt.insert(event.typed)

    async def stop(self) -> None:
        """Ends the turn that is at work; once more, or where there is none, leaves the session."""
        if time.monotonic() < self._leaving_until:
            await self.leave()
            return
        self._leaving_until = time.monotonic() + _LEAVE_WITHIN_S
        if self._session is None or not self._session.stop_turn():
            self._prompt.put("")
        self._draw_hint()

    async def leave(self) -> None:
        """Leaves the session; runs go on."""
        if self._session is None:
            self.app.exit()
        else:
            self._have_reply("/quit", await self._session.command("/quit"), None)

    def action_runs(self) -> None:
        """Goes to the transcript, to open a run."""
        self._transcript.enter()
