"""What can be done in a run, from whichever screen shows it: each is asked of the run's own process."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from datetime import datetime
from typing import Any

from rich.cells import chop_cells
from rich.text import Text
from textual.screen import Screen
from textual.widgets import Static

from callsheet.errors import CallsheetError
from callsheet.model.approval import PersonsVerdict, ScriptShown
from callsheet.model.events import ApprovalAsked
from callsheet.tui import lines
from callsheet.tui.dialogs import Choice, Line, Option, Reading
from callsheet.tui.feed import BY, Deed, Feed
from callsheet.tui.looks import DIALOG_COLUMNS
from callsheet.views.figures import count, money
from callsheet.views.safe_text import indented, one_line, visible

_INPUT_CHARS = 16_384
_MOST_DESCRIBED = 400
_ABOUT_COLUMNS = 10
"""A line of a plan begins with what it is about, so wide."""
_FEWEST_COLUMNS = 10
_AROUND_INPUT = 8
"""Columns of a dialog that its body has not: border, padding, a bar, a scrollbar."""
_ANSWERS: dict[str, PersonsVerdict] = {"y": "once", "r": "run", "p": "project", "n": "deny", "w": "deny"}


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
                who = "the agent" if asked.script is None else "its author"
                self.app.push_screen(
                    Line(f"No. What should {who} know?"), lambda words: self._answer(asked, "w", words)
                )
            elif letter == "v" and asked.script is not None:
                self._view(asked, asked.script)
            elif letter is not None:
                self._answer(asked, letter, None)

        body = self._question_body(asked)
        dialog = Choice(_question_title(asked), _question_options(asked), body=body, at="n")
        self._asking = (asked.id, dialog)
        self.app.push_screen(dialog, take)

    def _view(self, asked: ApprovalAsked, script: ScriptShown) -> None:
        """Shows the script that is asked about, then the question again, if nobody has answered it meanwhile."""

        def again(_: None) -> None:
            if asked.id in self.feed.board.questions:
                self._ask(asked)
            else:
                self.tell(f"{asked.id} is no longer asked")

        lines = visible(script.text.removesuffix("\n")).expandtabs(4).split("\n")
        body = Text("\n".join(f"{number:>4}  {line}" for number, line in enumerate(lines, start=1)))
        if script.left_out:
            body.append(f"\n… {script.left_out:,} characters more, which are on record and not shown here", "bold red")
        self.app.push_screen(Reading(f"{one_line(asked.id)} · {one_line(script.name, 60)}", body), again)

    def _answer(self, asked: ApprovalAsked, letter: str, words: str | None) -> None:
        if letter == "w" and not words:
            return
        verdict = _ANSWERS[letter]
        longer = "yes, for the whole run" if asked.script is None else "yes, and to all after it"
        said = {"once": "yes", "run": longer, "project": "yes, for this project", "deny": "no"}
        self.do(
            lambda run: run.answer(asked.id, verdict, words=words, by=BY),
            lambda _: f"{asked.id} is answered: {said[verdict]}",
        )

    def close_answered(self) -> None:
        """Takes a question off the screen that somebody else has answered."""
        if self._asking is not None and self._asking[0] not in self.feed.board.questions:
            question_id, dialog = self._asking
            self._asking = None
            if dialog.is_current:
                dialog.dismiss(None)
                self.tell(f"{question_id} is no longer asked")

    def _question_body(self, asked: ApprovalAsked) -> Text:
        width = max(_FEWEST_COLUMNS, min(DIALOG_COLUMNS, self.app.size.width) - _AROUND_INPUT)
        if asked.script is not None:
            return _script_body(asked, asked.script, width)
        said = visible(asked.input[:_INPUT_CHARS]).expandtabs(4)
        rows = [row for line in said.split("\n") for row in chop_cells(line, width) or [""]]
        # Each row behind a bar, so that none of what an agent wrote looks like a line of ours.
        body = Text("\n".join(f"│ {row}" for row in rows))
        if len(asked.input) > _INPUT_CHARS:
            body.append(f"\n… {len(asked.input) - _INPUT_CHARS:,} characters more", "bold red")
        body.append(f"\n\nwhy asked: {indented(visible(asked.reason))}", "dim")
        for rule in asked.rules:
            body.append(f"\nalways would add: {one_line(rule)}", "dim")
        labels = [
            one_line(agent.label, 40)
            for agent_id in asked.agent_ids[:5]
            if (agent := self.feed.board.agents.get(agent_id)) is not None
        ]
        if labels:
            more = f" and {len(asked.agent_ids) - len(labels)} more" if len(asked.agent_ids) > len(labels) else ""
            body.append(f"\nwho waits: {', '.join(labels)}{more}", "dim")
        return body


def _script_body(asked: ApprovalAsked, script: ScriptShown, width: int) -> Text:
    """What a script says of itself, behind a bar, and what a rehearsal told of it."""
    said = textwrap.wrap(one_line(script.description, _MOST_DESCRIBED), width)
    rows = [row for line in said for row in chop_cells(line, width)]
    body = Text("\n".join(f"│ {row}" for row in rows))
    for line in script.plan:
        told = textwrap.wrap(one_line(line, _MOST_DESCRIBED), width, subsequent_indent=" " * _ABOUT_COLUMNS)
        body.append("".join(f"\n{row}" for row in told))
    lines = script.text.count("\n") + (not script.text.endswith("\n"))
    cut = f", and {script.left_out:,} characters more" if script.left_out else ""
    body.append(f"\n{'script':<{_ABOUT_COLUMNS}}{count(lines, 'line')}{cut} · sha256 {script.sha256[:12]}")
    return body.append(f"\n\nwhy asked: {indented(visible(asked.reason))}", "dim")


def _question_title(asked: ApprovalAsked) -> str:
    if asked.script is not None:
        return f"? {one_line(asked.id)} · run the script {one_line(asked.script.name, 60)}?"
    if asked.kind == "cost":
        return f"? {one_line(asked.id)} · may the run cost more?"
    who = f"{count(asked.agents, 'agent')} {'waits' if asked.agents == 1 else 'wait'}"
    return f"? {one_line(asked.id)} · {one_line(asked.tool, 40)} · {who}"


def _question_options(asked: ApprovalAsked) -> list[Option]:
    if asked.kind == "cost":
        more = [] if asked.more_usd is None else [Option("y", f"yes, {money(asked.more_usd)} more")]
        return [*more, Option("r", "yes, without a limit"), Option("n", "no: stop here, to be resumed")]
    if asked.kind == "script":
        return [
            Option("y", "yes, run it"),
            Option("r", "yes, and ask no more in this run"),
            Option("v", "view the script"),
            Option("n", "no"),
            Option("w", "no, and a word to its author"),
        ]
    longer = [Option("r", "yes, for the whole run"), Option("p", "yes, for this project from now on")]
    return [
        Option("y", "yes, this once"),
        *(longer if asked.rules else []),
        Option("n", "no"),
        Option("w", "no, and a word to the agent"),
    ]
