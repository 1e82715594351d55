"""Asking the person at the terminal: one question after another, the run's own display held still meanwhile.

The terminal stays as it is: lines are read as it gives them, with its own echo and editing, so there is no mode that a
crash could leave behind, and a key hit by accident allows nothing.
"""

from __future__ import annotations

import os
import select
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from shutil import get_terminal_size

import anyio
from anyio import to_thread

from callsheet.cli.follower import Follower
from callsheet.cli.outside import page_meanwhile
from callsheet.cli.question import PROMPT, meaning, question_lines, script_text_lines
from callsheet.cli.report import show_lines
from callsheet.cli.summary import Line
from callsheet.model.approval import Answer, Question
from callsheet.model.events import ApprovalAnswered, ApprovalAsked, Event
from callsheet.ports import Approver, EventSink
from callsheet.views.figures import count

GATHER_S = 0.4
"""How long a first question waits for others that come with it, so that it is shown with all who ask it."""
RECOUNT_S = 3.0
"""How often at most it is said that more agents wait for the answer."""

_LONGEST_LINE = 65_536
_LAST_WORD_S = 0.5
_FOREGROUND_S = 1.0
_GONE = Answer(verdict="unanswered", words="nobody is at the terminal any more", by="the terminal is gone")


class TerminalApprover(Approver, EventSink):
    """Asks on standard error and reads standard input. Follows the run's events to know how many agents wait.

    Attributes:
        at_once: There is one terminal: the next question comes when one is answered, and has its own time then.
        takes_cost: Its person pays.
        takes_scripts: Its person says whether scripts run that nobody has seen.
    """

    at_once = 1
    takes_cost = True

    def __init__(
        self,
        shown: Sequence[Follower] = (),
        *,
        takes_scripts: bool = False,
        workspace: Path | None = None,
        recount_s: float = RECOUNT_S,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """Makes it.

        Args:
            shown: What else writes to the terminal.
            takes_scripts: As the attribute.
            workspace: No program in it is taken for the pager.
            recount_s: How often at most it is said that more agents wait.
            sleep: As `anyio.sleep`.
        """
        self.takes_scripts = takes_scripts
        self._shown = shown
        self._workspace = workspace
        self._recount_s = recount_s
        self._sleep = sleep
        self._agents: dict[str, int] = {}
        self._more_wait = False
        self._is_gone = False

    def on_event(self, event: Event) -> None:
        body = event.body
        if isinstance(body, ApprovalAsked):
            self._agents[body.id] = body.agents
        elif isinstance(body, ApprovalAnswered):
            self._agents.pop(body.id, None)

    async def answer(self, question: Question) -> Answer:
        """Asks. Cancelling takes the question off the screen, with what was typed so far."""
        try:
            if not self._more_wait:
                await self._sleep(GATHER_S)
            return _GONE if self._is_gone else await self._ask(question)
        finally:
            self._more_wait = self._others(question) > 0

    async def _ask(self, question: Question) -> Answer:
        async with AsyncExitStack() as held:
            for follower in self._shown:
                await held.enter_async_context(follower.held())
            await self._foreground()
            async with _last_word():
                return await self._converse(question)

    async def _converse(self, question: Question) -> Answer:
        """Shows the question until what is typed is an answer."""
        agents = await self._show(question)
        while True:
            typed = await self._line(question, agents)
            if typed is None:
                self._is_gone = True
                return _GONE
            match meaning(typed, question):
                case Answer() as answer:
                    return answer
                case "show":
                    agents = await self._show(question, is_whole=True)
                case "view":
                    await self._view(question)
                    agents = await self._show(question)
                case remark:
                    await _write([Line(f"  {remark}", "yellow")], PROMPT)

    async def _view(self, question: Question) -> None:
        """Shows the script that is asked about, in the pager where there is one."""
        assert question.script is not None
        lines = list(script_text_lines(question.script))
        text = "\n".join(lines) + "\n"
        if not await page_meanwhile(text, environ=os.environ, outside=self._workspace or Path.cwd()):
            await _write([Line(line) for line in lines])

    async def _show(self, question: Question, *, is_whole: bool = False) -> int:
        agents = self._waiting(question)
        width = get_terminal_size().columns
        lines = question_lines(question, agents=agents, more=self._others(question), width=width, is_whole=is_whole)
        await to_thread.run_sync(_pose, list(lines), abandon_on_cancel=True)
        return agents

    def _others(self, question: Question) -> int:
        """How many questions wait beside this one."""
        return sum(one != question.id for one in self._agents)

    def _waiting(self, question: Question) -> int:
        return self._agents.get(question.id, 1)

    async def _line(self, question: Question, agents: int) -> str | None:
        """The next line that is typed; None where the terminal is gone. Says meanwhile that more agents wait."""
        while True:
            with anyio.move_on_after(self._recount_s) as waiting:
                await anyio.wait_readable(sys.stdin.fileno())
            if waiting.cancelled_caught:
                if (now := self._waiting(question)) != agents:
                    agents = now
                    await _write([Line(""), Line(f"  {count(now, 'agent')} wait for this now", "dim")], PROMPT)
                continue
            if not _is_foreground():
                await self._foreground()
                await self._show(question)
                continue
            with suppress(OSError):
                data = os.read(sys.stdin.fileno(), _LONGEST_LINE)
                if data or not _is_hung_up():
                    return data.decode(errors="replace")
            return None

    async def _foreground(self) -> None:
        """Waits while another job has the terminal: one that reads it in the background is stopped by the system."""
        if _is_foreground():
            return
        await _write([Line("callsheet has a question for you: bring it to the foreground (fg)", "bold yellow")])
        while not _is_foreground():
            await self._sleep(_FOREGROUND_S)


@asynccontextmanager
async def _last_word() -> AsyncIterator[None]:
    """Ends the prompt's line where the question is taken away, and forgets what was typed of an answer."""
    try:
        yield
    except anyio.get_cancelled_exc_class():
        with anyio.move_on_after(_LAST_WORD_S, shield=True):
            await _write([Line(""), Line("  no longer asked", "dim")])
        _forget_typed()
        raise


def _pose(lines: Sequence[Line]) -> None:
    """Writes a question; what was typed before it stood there is no answer to it."""
    show_lines(lines)
    _forget_typed()
    show_lines((), PROMPT)


async def _write(lines: Sequence[Line], prompt: str = "") -> None:
    """Writes to standard error in a thread: a terminal that stands still (Ctrl-S) must not hold the run up."""
    await to_thread.run_sync(show_lines, lines, prompt, abandon_on_cancel=True)


def _forget_typed() -> None:
    """Drops what was typed: nobody allows what they have not seen."""
    if _is_foreground():
        with suppress(termios.error, OSError):
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def _is_foreground() -> bool:
    """Whether this job may read the terminal; True where there is no job control."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        return True


def _is_hung_up() -> bool:
    """Whether reading gave nothing because the terminal is gone, rather than because of Ctrl-D."""
    look = select.poll()
    look.register(sys.stdin.fileno(), 0)
    return bool(look.poll(0))
