"""What can be done in a run, from whichever screen shows it: each is asked of the run's own process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from rich.text import Text
from textual.screen import Screen
from textual.widgets import Static

from callsheet.app.quantities import parse_more_usd
from callsheet.errors import CallsheetError
from callsheet.model.approval import ScriptShown
from callsheet.model.events import ApprovalAsked
from callsheet.tui import lines
from callsheet.tui.dialogs import Choice, Line, Option, Reading
from callsheet.tui.feed import BY, Deed, Feed
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
from callsheet.views.figures import money
from callsheet.views.safe_text import one_line, visible

_MOST_LABELS = 5


class DeedScreen(Screen[None]):
    """A screen of one run. Its deeds go on when it is left."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self.feed = feed
        self._shown: dict[str, str] = {}
        self._asking: tuple[str, Choice] | None = None

    @property
    def agent_id(self) -> str | None:
        """The agent that keys mean; None for the run."""
        return None

    def put(self, selector: str, text: Text) -> None:
        """Shows a text, where it is another than before."""
        before = self._shown.get(selector)
        if before != text.markup:
            self._shown[selector] = text.markup
            is_as_high = before is not None and selector == "#head" and before.count("\n") == text.plain.count("\n")
            self.query_one(selector, Static).update(text, layout=not is_as_high)

    def draw_said(self, now: datetime) -> None:
        """Shows what is to be known of the link, and what a person is asked."""
        said, board = self.feed.said, self.feed.board
        self.put("#said", Text(visible(said or ""), "bold red" if board.lost is not None else "yellow"))
        self.query_one("#said").set_class(said is None, "nothing")
        asked = lines.question_line(tuple(board.questions.values()), now)
        self.put("#asked", Text(asked))
        self.query_one("#asked").set_class(not asked, "nothing")
        self.close_answered()

    def tell(self, text: str, *, is_bad: bool = False) -> None:
        """Says what came of something, for a few seconds."""
        self.app.notify(visible(text), severity="error" if is_bad else "information", markup=False)

    def do(self, deed: Deed, said: Callable[[Any], str]) -> None:
        """Has something done, and says what came of it."""

        async def work() -> None:
            try:
                result = await self.feed.do(deed)
            except CallsheetError as fault:
                self.tell(fault.message, is_bad=True)
            else:
                self.tell(said(result))

        self.app.run_worker(work())

    # --- the run ----------------------------------------------------------------------------------------------------

    def action_pause(self) -> None:
        """Starts no further agent, or goes on."""
        run_id = self.feed.run_id
        if self.feed.board.status == "paused":
            self.do(lambda run: run.go_on(by=BY), lambda new: f"{run_id} goes on{'' if new else ' already'}")
        else:
            words = "is paused: those at work go on, no other starts"
            self.do(lambda run: run.pause(by=BY), lambda new: f"{run_id} {words if new else 'is paused already'}")

    def action_stop(self) -> None:
        """Stops the agent that is meant, or the run, if that is meant."""
        if (agent_id := self.agent_id) is not None:
            self._to_agent("stop_agent", agent_id, "is stopped", "was stopped already")
            return

        def go(letter: str | None) -> None:
            if letter == "y":
                self.do(lambda run: run.stop(), lambda _: f"{self.feed.run_id} has ended. {self.feed.resume}")

        body = Text("Agents at work are cancelled and the record is closed. It can be resumed.")
        options = [Option("y", "stop it"), Option("n", "leave it")]
        self.app.push_screen(Choice(f"Stop the run {self.feed.run_id}?", options, body=body, at="n"), go)

    def action_save(self) -> None:
        """Keeps the script as a command."""

        def save(name: str | None) -> None:
            if name:
                self.app.run_worker(lambda: self._save(name), thread=True)

        own = self.feed.board.workflow
        self.app.push_screen(Line("Save the script as a command. Its name:", value=one_line(own)), save)

    def _save(self, name: str) -> None:
        from callsheet.tui.saving import saved_as

        try:
            said = saved_as(self.feed.where, self.feed.run_id, name, own=self.feed.board.workflow)
        except CallsheetError as fault:
            self.app.call_from_thread(self.tell, fault.message, is_bad=True)
        else:
            self.app.call_from_thread(self.tell, said)

    # --- one agent --------------------------------------------------------------------------------------------------

    def action_skip(self) -> None:
        """Skips the agent that is meant."""
        self._to_the_agent("skip", "is skipped", "was skipped already")

    def action_restart(self) -> None:
        """Starts its call over."""
        self._to_the_agent("restart", "starts over", "starts over already")

    def action_message(self) -> None:
        """Sends it a message."""
        agent_id = self._the_agent()
        if agent_id is None:
            return

        def send(text: str | None) -> None:
            if text:
                self.do(lambda run: run.message(agent_id, text, by=BY), lambda _: f"{agent_id} has your message")

        agent = self.feed.board.agents.get(agent_id)
        if agent is not None and agent.state == "ended":  # said before anybody has written it
            self.tell(f"{agent_id} is over ({agent.status}), and no longer takes messages.", is_bad=True)
            return
        label = one_line(agent.label, 40) if agent is not None else ""
        self.app.push_screen(
            Line(f"Message to {agent_id} {label}", hint="Enter sends it, for the agent's next turn · Esc leaves it"),
            send,
        )

    def _the_agent(self) -> str | None:
        if self.agent_id is None:
            self.tell("Which agent? Go to one first: Enter on a phase, then the arrows.", is_bad=True)
        return self.agent_id

    def _to_the_agent(self, deed: str, past: str, again: str) -> None:
        agent_id = self._the_agent()
        if agent_id is not None:
            self._to_agent(deed, agent_id, past, again)

    def _to_agent(self, deed: str, agent_id: str, past: str, again: str) -> None:
        self.do(
            lambda run: getattr(run, deed)(agent_id, by=BY),
            lambda is_new: f"{agent_id} {past if is_new else again}",
        )

    # --- its questions ----------------------------------------------------------------------------------------------

    def action_answer(self) -> None:
        """Shows the oldest question and has it answered."""
        asked = next(iter(self.feed.board.questions.values()), None)
        if asked is None:
            self.tell(f"{self.feed.run_id} asks nothing now.")
        else:
            self._ask(asked)

    def _ask(self, asked: ApprovalAsked) -> None:
        def take(letter: str | None) -> None:
            self._asking = None
            if letter == "w":
                self.app.push_screen(Line(asked_for_words(asked)), lambda words: self._answer(asked, "w", words))
            elif letter == "a":
                self.app.push_screen(Line(ASKED_FOR_AMOUNT, hint=AMOUNT_HINT), lambda typed: self._allow(asked, typed))
            elif letter == "v" and asked.script is not None:
                self._view(asked, asked.script)
            elif letter is not None:
                self._answer(asked, letter, None)

        body = body_of(asked, columns=self.app.size.width, labels=self._labels(asked))
        dialog = Choice(title_of(asked), options_of(asked), body=body, at="n")
        self._asking = (asked.id, dialog)
        self.app.push_screen(dialog, take)

    def _view(self, asked: ApprovalAsked, script: ScriptShown) -> None:
        """Shows the script that is asked about, then the question again, if nobody has answered it meanwhile."""

        def again(_: None) -> None:
            if asked.id in self.feed.board.questions:
                self._ask(asked)
            else:
                self.tell(f"{asked.id} is no longer asked")

        name, body = script_of(script)
        self.app.push_screen(Reading(f"{one_line(asked.id)} · {name}", body), again)

    def _answer(self, asked: ApprovalAsked, letter: str, words: str | None) -> None:
        if letter == "w" and not words:
            return
        verdict = VERDICTS[letter]
        longer = "yes, for the whole run" if asked.script is None else "yes, and to all after it"
        said = {"once": "yes", "run": longer, "project": "yes, for this project", "deny": "no"}
        self.do(
            lambda run: run.answer(asked.id, verdict, words=words, by=BY),
            lambda _: f"{asked.id} is answered: {said[verdict]}",
        )

    def _allow(self, asked: ApprovalAsked, typed: str | None) -> None:
        """Lets the run cost so much more as was typed."""
        if typed is None:
            return
        more_usd = parse_more_usd(typed)
        if more_usd is None:
            self.tell(NO_AMOUNT, is_bad=True)
            return
        self.do(
            lambda run: run.answer(asked.id, "once", more_usd=more_usd, by=BY),
            lambda _: f"{asked.id} is answered: {money(more_usd)} more",
        )

    def _labels(self, asked: ApprovalAsked) -> list[str]:
        agents = (self.feed.board.agents.get(agent_id) for agent_id in asked.agent_ids[:_MOST_LABELS])
        return [agent.label for agent in agents if agent is not None]

    def close_answered(self) -> None:
        """Takes a question off the screen that somebody else has answered."""
        if self._asking is not None and self._asking[0] not in self.feed.board.questions:
            question_id, dialog = self._asking
            self._asking = None
            if dialog.is_current:
                dialog.dismiss(None)
                self.tell(f"{question_id} is no longer asked")
