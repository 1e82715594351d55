"""One run for the screens that show it: its board, what may be done in it, and what is to be said of the link to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeAlias

import anyio
from anyio import to_thread

from callsheet.app.control import RunControl, find_run, live_runs
from callsheet.app.records import Where, open_runs
from callsheet.app.watching import Watched, open_watched
from callsheet.control.places import Reach
from callsheet.errors import CallsheetError, ControlLostError, ControlRefusedError
from callsheet.views.board import Board

BY = "a person at the dashboard"

_LOOK_AGAIN_S = 1.0

Deed: TypeAlias = Callable[[RunControl], Awaitable[object]]


def found(name: str, where: Where) -> str | Reach:
    """The run that a name means, on this machine or in the record: how it is reached, or its id.

    Raises:
        NotFoundError: There is none.
        UsageError: Several begin so.
        StoreError: The record cannot be read.
    """
    try:
        return find_run(name, where)
    except (ControlRefusedError, ControlLostError):
        with open_runs(where, is_checked=False) as runs:
            return runs.find(name).run_id


class Feed:
    """Keeps a board in step with its run while `follow` is awaited, over its end too: it may be resumed.

    Attributes:
        board: What is known of the run.
        where: Whose record it is in.
        version: Grows whenever anything here has changed.
    """

    def __init__(self, run: str | Reach, where: Where) -> None:
        """Makes it; nothing is read yet.

        Args:
            run: As `found` gives it.
            where: Whose record an id is looked up in.
        """
        self.run_id = run if isinstance(run, str) else run.run_id
        self.where = where
        self.board = Board()
        self.version = 0
        self._run = run
        self._watched: Watched | None = None
        self._fault: str | None = None
        self._stopped_at: datetime | None = None

    @property
    def resume(self) -> str:
        """The command that goes on with it."""
        return f"callsheet resume {self.run_id}"

    @property
    def said(self) -> str | None:
        """What a person is to know of the link: that the run's process is gone, or that nothing can be done in it."""
        if self._fault is not None:
            return self._fault
        if self.board.lost is not None:
            remedy = "" if self.resume in self.board.lost else f" Go on with it: {self.resume}"
            return f"{self.board.lost}{remedy}"
        if self.board.result is not None:
            is_resumable = self.board.result.status in ("cancelled", "interrupted")
            return f"It can be gone on with: {self.resume}" if is_resumable else None
        if self._watched is not None and self._watched.control is None:
            return self._watched.why_no_control
        return None

    @property
    def is_live(self) -> bool:
        """Whether it goes on, as far as is known."""
        return not self.board.is_over

    def now(self) -> datetime:
        """The time that durations are told to: of a run whose process is gone, that of the last thing it said."""
        if self.board.lost is None:
            return datetime.now(UTC)
        if self._stopped_at is None:
            self._stopped_at = last_sign(self.board)
        return self._stopped_at

    async def follow(self) -> None:
        """Follows the run. Ends by being cancelled; the run goes on."""
        while True:
            process = None if isinstance(self._run, str) else self._run.process_start
            try:
                await self._watch()
            except CallsheetError as fault:
                self._fault, process = fault.message, None  # the record may be readable again: the same process will do
            self.version += 1
            self._run = await self._taken_up(unless=process)

    async def do(self, deed: Deed) -> object:
        """Has something done in the run.

        Raises:
            ControlLostError: It cannot be reached.
            NotFoundError, ControlRefusedError, UsageError: As `RunControl` has them.
        """
        control = None if self._watched is None else self._watched.control
        if control is not None:
            return await deed(control)
        if self.board.result is not None:
            raise ControlRefusedError(f"{self.run_id} is over: nothing more can be done in it.", why="run_over")
        raise ControlLostError(self.said or f"{self.run_id} is not reached yet.", why="gone")

    async def _watch(self) -> None:
        """Until nothing more happens. What was known stays on the screen until as much is known again."""
        async with open_watched(self._run, self.where) as watched:
            self._fault = None
            async for _ in watched.updates():
                if self.board is not watched.board and (watched.board.seq >= self.board.seq or watched.is_done):
                    self.board, self._stopped_at = watched.board, None
                self._watched, self.where = watched, watched.where
                self.version += 1

    async def _taken_up(self, *, unless: str | None) -> str | Reach:
        """Waits until a process serves the run, other than the one that did; or one has done so and ended it."""
        while True:
            await anyio.sleep(_LOOK_AGAIN_S)
            for reach in await to_thread.run_sync(live_runs, self.where):
                if reach.run_id == self.run_id and reach.process_start != unless:
                    return reach
            if self.board.lost is not None and await to_thread.run_sync(self._has_ended):
                return self.run_id

    def _has_ended(self) -> bool:
        try:
            with open_runs(self.where, is_checked=False) as runs:
                return runs.find(self.run_id).is_over
        except CallsheetError:
            return False


def last_sign(board: Board) -> datetime:
    """When a run was last heard of, as far as its board says."""
    times = [board.started_at, board.log[-1].at if board.log else None]
    for agent in board.agents.values():
        times += (agent.queued_at, agent.started_at, agent.ended_at)
    known = max((at for at in times if at is not None), default=None)
    return datetime.now(UTC) if known is None else datetime.fromisoformat(known)
