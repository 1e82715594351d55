"""The talk turns of a session, one at a time: queued, at work, over; and what became of one that was broken off."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Literal

import anyio
from anyio import to_thread

from callsheet.app.plan import Surroundings
from callsheet.app.records import Where, open_runs
from callsheet.app.retelling import retold
from callsheet.app.session_book import SessionBook
from callsheet.app.session_lines import TurnBegunLine, TurnEndedLine, UsageLine
from callsheet.app.session_model import SessionQuestion
from callsheet.app.session_runs import about, clean, questions_of
from callsheet.app.session_tale import SAY_AGAIN, Tale
from callsheet.app.session_talk import LiveTurn, TurnOrder
from callsheet.app.session_transcript import RunEnded, RunStarted, Turn
from callsheet.authoring.talking import Delivered
from callsheet.errors import CallsheetError, NotFoundError, StoreError
from callsheet.model.run import RunResult
from callsheet.model.values import JsonValue
from callsheet.store.record import Record
from callsheet.views.board import Board

MOST_TEXT_CHARS = 200_000
"""So much of an answer is kept and shown."""

_STOPPED = "You stopped it."
_NO_BUDGET = "The budget of this session's turns is spent."
_RAISE = "Raise it with /budget, then say it again."
_LOOK = "Say it again; /model takes another model, and callsheet doctor looks at what is there."

Over = Literal["done", "failed", "over_budget", "stopped", "interrupted"]

MakeOrder = Callable[[str, Sequence[Delivered]], Awaitable[TurnOrder | None]]


class Talker:
    """Takes what was said, and has it answered in order."""

    def __init__(self, book: SessionBook, around: Surroundings, make_order: MakeOrder) -> None:
        """Makes it; `work` does the turns.

        Args:
            book: The session's.
            around: The machine.
            make_order: Makes of a person's words and results a turn; None where no budget is left for one.
        """
        self._book = book
        self._around = around
        self._make_order = make_order
        self._queue: deque[tuple[int, str]] = deque()
        self._more = anyio.Event()
        self._live: tuple[int, LiveTurn] | None = None

    def add(self, number: int, words: str) -> None:
        """Queues a turn: its number, and the person's words as they were said."""
        self._queue.append((number, words))
        self._more.set()

    def stop(self) -> bool:
        """Ends the turn that is at work. False where none is."""
        if self._live is None:
            return False
        self._live[1].stop()
        return True

    def questions(self) -> tuple[SessionQuestion, ...]:
        """What the turn that is at work asks the person."""
        run = None if self._live is None else self._live[1].run
        return () if run is None or self._live is None else questions_of(self._live[1].board, run.run_id, "talk")

    def asked_by(self, run_id: str) -> LiveTurn | None:
        """The turn that is at work, where it is this run."""
        live = None if self._live is None else self._live[1]
        return live if live is not None and live.run is not None and live.run.run_id == run_id else None

    async def work(self) -> None:
        """Does the turns, until it is cancelled."""
        while True:
            while self._queue:
                number, words = self._queue.popleft()
                await self._turn(number, words)
            self._more = anyio.Event()
            await self._more.wait()

    async def _turn(self, number: int, words: str) -> None:
        pending = pending_results(self._book.tale)
        live = LiveTurn(self._on_event)
        self._live = (number, live)
        try:
            line = await self._answered(number, words, pending, live)
        finally:
            self._live = None
            self._book.tell("questions")
        await self._book.write(line)

    async def _answered(self, number: int, words: str, pending: tuple[RunEnded, ...], live: LiveTurn) -> TurnEndedLine:
        """Has one turn, and gives the line that says how it was."""

        async def begun(run_id: str) -> None:
            heard = tuple(each.number for each in pending)
            await self._book.write(TurnBegunLine(number=number, run_id=run_id, heard=heard))

        try:
            order = await self._make_order(words, deliveries(self._book.tale))
            if order is None:
                return TurnEndedLine(number=number, state="over_budget", error=_NO_BUDGET, remedy=_RAISE)
            result = await live.to_end(order, self._around, on_begun=begun)
        except CallsheetError as fault:
            return TurnEndedLine(number=number, state="failed", error=clean(fault.message), remedy=_LOOK)
        if result is None:
            return TurnEndedLine(number=number, state="stopped", error=_STOPPED, remedy=SAY_AGAIN)
        return turn_line(number, result, is_stopped=live.is_stopped)

    def _on_event(self) -> None:
        """Shows how the turn at work goes on."""
        if self._live is None:
            return
        number, live = self._live
        turn = self._book.tale.turn(number)
        if turn is not None and turn.state == "working":
            shown = working(turn, live.board)
            if shown != turn:
                self._book.show(shown)
        self._book.tell("questions", "figures")


def working(turn: Turn, board: Board) -> Turn:
    """A turn as it goes on."""
    agent = next(iter(board.agents.values()), None)
    doing = board.reason if board.status == "waiting" else None if agent is None else agent.doing
    return replace(turn, doing=doing, tokens=board.tokens, model=None if agent is None else agent.model)


def pending_results(tale: Tale) -> tuple[RunEnded, ...]:
    """What the orchestrator was not given."""
    return tuple(each for each in (tale.entries[number - 1] for number in tale.pending) if isinstance(each, RunEnded))


def deliveries(tale: Tale) -> tuple[Delivered, ...]:
    """The same as the orchestrator is given it."""
    tasks = {each.run_id: each.task for each in tale.entries if isinstance(each, RunStarted)}
    return tuple(
        Delivered(
            about=about(each),
            text=each.text,
            error=each.error,
            where=each.where,
            is_cut=each.is_cut,
            task=tasks.get(each.run_id),
        )
        for each in pending_results(tale)
    )


def turn_line(number: int, result: RunResult, *, is_stopped: bool = False) -> TurnEndedLine:
    """How a turn was, of the result of its run."""
    agent = next(iter(result.agents), None)
    usage = UsageLine.of(result.usage)
    if agent is not None and agent.status == "ok" and result.result is not None:
        text = _text(result.result)
        return TurnEndedLine(
            number=number, state="done", text=text, agent_id=agent.agent_id, model=agent.model, usage=usage
        )
    state, error, remedy = _why_not(result, None if agent is None else agent.error, is_stopped=is_stopped)
    model = None if agent is None else agent.model
    return TurnEndedLine(number=number, state=state, model=model, usage=usage, error=error, remedy=remedy)


def _why_not(result: RunResult, said: str | None, *, is_stopped: bool) -> tuple[Over, str, str]:
    if is_stopped or result.stopped_by_person:
        return "stopped", _STOPPED, SAY_AGAIN
    error = clean(
        said or (None if result.error is None else result.error.message) or f"The turn ended {result.status}."
    )
    if result.over_budget:
        return "over_budget", error, _RAISE
    return "failed", error, _LOOK


def _text(value: JsonValue) -> str:
    text = clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2))
    return text if len(text) <= MOST_TEXT_CHARS else f"{text[:MOST_TEXT_CHARS]}\n\n… (cut: {len(text):,} characters)"


# --- turns that were broken off ---------------------------------------------------------------------------------------


async def broken_off(turn: Turn, where: Where) -> TurnEndedLine | None:
    """How a turn was whose session ended meanwhile, as the record of its run has it; None where that says nothing.

    An answer that was on record is one: it was paid for, and the conversation goes on from there.
    """
    if turn.run_id is None:
        return None
    try:
        return await to_thread.run_sync(_recorded, turn.number, turn.run_id, where)
    except (NotFoundError, StoreError):
        return None


def _recorded(number: int, run_id: str, where: Where) -> TurnEndedLine:
    with open_runs(where, is_checked=False) as runs:
        result = retold(runs.record, runs.find(run_id))
        agent = next(iter(result.agents), None)
        if agent is not None and agent.status == "ok" and result.result is None:
            result = replace(result, result=_answer(runs.record, run_id, agent.agent_id))
    line = turn_line(number, result)
    if line.state == "done":
        return line
    error = "The session ended before it was answered."
    return line.model_copy(update={"state": "interrupted", "error": error, "remedy": SAY_AGAIN})


def _answer(record: Record, run_id: str, agent_id: str) -> JsonValue:
    """What an agent answered, whose run could not say it any more."""
    found = record.agent(run_id, agent_id)
    said = None if found is None else found.agent.result
    return None if said is None else json.loads(said)
