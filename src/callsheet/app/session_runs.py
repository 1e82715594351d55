"""Following a run that a session started: how it stands, what it asks, and what it came to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import aclosing

import anyio

from callsheet.app.answer_text import told_text
from callsheet.app.records import Where
from callsheet.app.session_lines import RunEndedLine, UsageLine
from callsheet.app.session_model import LiveRun, SessionQuestion
from callsheet.app.session_transcript import RunEnded, RunStarted
from callsheet.app.watching import Watched, open_watched
from callsheet.errors import CallsheetError
from callsheet.model.outcome import Usage
from callsheet.model.run import RunResult
from callsheet.model.values import JsonValue
from callsheet.views.board import Board
from callsheet.views.figures import count, duration, money

FRAME_S = 0.5
"""What is shown of a run is brought up to date at most so often."""
MOST_TEXT_CHARS = 48_000
"""So much of a result is kept and shown."""
MOST_ERROR_CHARS = 8_000
"""So much of why a run did not complete: a script can throw text without end, and a line of the session is bounded."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.:-]{0,63}", re.ASCII)
_TRIES = 3
_AGAIN_S = 1.0


class FollowedRun:
    """One run, from its start to its end, as the session shows it.

    Attributes:
        live: How it stands.
        usage: What it has used so far.
        watched: Through which it is acted upon; None while it is not reached.
    """

    def __init__(self, started: RunStarted, where: Where, on_news: Callable[[], None]) -> None:
        self.started = started
        self.live = LiveRun(run_id=started.run_id, workflow=started.workflow)
        self.usage = Usage()
        self.watched: Watched | None = None
        self._where = where
        self._on_news = on_news

    async def to_end(self) -> RunEndedLine:
        """Follows it until it has ended or its process has, and says what it came to. Cancelling leaves the run alone.

        Raises:
            CallsheetError: It cannot be followed: its record cannot be read.
        """
        tries = 0
        while True:
            try:
                return await self._followed()
            except CallsheetError:
                tries += 1
                if tries == _TRIES:
                    raise
                await anyio.sleep(_AGAIN_S)

    def questions(self) -> tuple[SessionQuestion, ...]:
        """What it asks the person, oldest first."""
        board = None if self.watched is None else self.watched.board
        if board is None or board.is_over:
            return ()
        return questions_of(board, self.started.run_id, self.started.workflow)

    async def _followed(self) -> RunEndedLine:
        try:
            async with open_watched(self.started.run_id, self._where) as watched:
                self.watched = watched
                async with aclosing(watched.updates(FRAME_S)) as updates:
                    async for _ in updates:
                        self.live = live_run(watched.board, self.live)
                        self.usage = watched.board.ended_usage
                        self._on_news()
                return ended_line(self.started, watched.board)
        finally:
            self.watched = None


def questions_of(board: Board, run_id: str, workflow: str) -> tuple[SessionQuestion, ...]:
    """What a run asks, under names that are its own within the session."""
    return tuple(
        SessionQuestion(id=f"{run_id}:{asked.id}", run_id=run_id, workflow=workflow, asked=asked)
        for asked in board.questions.values()
    )


def live_run(board: Board, before: LiveRun) -> LiveRun:
    """How a run stands, in short."""
    return LiveRun(
        run_id=before.run_id,
        workflow=board.workflow or before.workflow,
        status=board.status,
        reason=board.reason,
        started_at=board.started_at,
        phase=next((each.title for each in reversed(board.phases.values()) if each.is_at_work), None),
        queued=board.states["queued"],
        running=board.states["running"],
        waiting=board.states["waiting"],
        ended=board.finished,
        ended_badly=board.ended_badly,
        tokens=board.tokens,
        cost_usd=board.ended_usage.cost_usd,
        questions=len(board.questions),
    )


# --- what it came to --------------------------------------------------------------------------------------------------


def ended_line(started: RunStarted, board: Board) -> RunEndedLine:
    """What a run came to, of the board of one that is over."""
    run_id, result = started.run_id, board.result
    where = f"callsheet show {run_id}"
    if result is None:
        return RunEndedLine(
            run_id=run_id,
            workflow=board.workflow or started.workflow,
            status="interrupted",
            where=where,
            error=clean(board.lost or "Its process is gone."),
            next=f"/resume {run_id}",
            agents=len(board.agents),
            ended_badly=board.ended_badly,
            usage=UsageLine.of(board.ended_usage),
        )
    text, is_markdown = result_text(result)
    return RunEndedLine(
        run_id=run_id,
        workflow=result.workflow or started.workflow,
        status=result.status,
        text=text[:MOST_TEXT_CHARS],
        is_markdown=is_markdown,
        is_cut=len(text) > MOST_TEXT_CHARS,
        where=where,
        error=_error_of(result),
        next=None if result.status == "completed" else f"/resume {run_id}",
        agents=len(result.agents),
        ended_badly=sum(agent.status != "ok" for agent in result.agents),
        problems=sum(problem.count for problem in result.problems),
        usage=UsageLine.of(result.usage),
        duration_ms=result.duration_ms,
    )


def _error_of(result: RunResult) -> str | None:
    if result.error is not None:
        return clean(result.error.message[:MOST_ERROR_CHARS])
    return "The budget is spent: raise it with /budget, then go on with the run." if result.over_budget else None


def result_text(result: RunResult) -> tuple[str, bool]:
    """A run's result for people, and whether it is Markdown: answers, scripts and texts are, all else is JSON."""
    value: JsonValue = result.result
    if (text := told_text(result)) is not None:
        return clean(text), True
    if value is None:
        return "", False
    if isinstance(value, str):
        return clean(value), True
    return clean(json.dumps(value, ensure_ascii=False, indent=2)), False


def about(ended: RunEnded) -> str:
    """Facts of a run that ended, in a line: no text of agents.

    A script says its own name, and these facts go to the orchestrator as Callsheet's word: one that could be a sentence
    is left out.
    """
    name = ended.workflow if _PLAIN_NAME.fullmatch(ended.workflow) else "a workflow"
    agents = count(ended.agents, "agent")
    bad = f", {ended.ended_badly} of them not ok" if ended.ended_badly else ""
    cost, took = money(ended.usage.cost_usd), duration(ended.duration_ms / 1000)
    return f"{name} ({ended.run_id}): {ended.status}, {agents}{bad}, {cost}, {took}"


def clean(text: str) -> str:
    """A text that every file and screen takes: what is no character of Unicode becomes `?`."""
    return text.encode("utf-8", "replace").decode("utf-8")
