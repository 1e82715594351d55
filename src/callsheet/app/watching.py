"""A run as dashboards watch it: its board, kept true while the run goes on, in whatever process; or as recorded.

    async with open_watched("last") as watched:
        async for _ in watched.updates():
            draw(watched.board)

The run goes on when the watching ends.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
from anyio import to_thread

from callsheet.app.control import RunControl, find_run, open_control
from callsheet.app.records import RUNNING, Listed, Where, open_runs
from callsheet.control.places import Reach
from callsheet.errors import CallsheetError, ControlLostError, ControlRefusedError, NotFoundError
from callsheet.groups import meanwhile
from callsheet.model.events import Event
from callsheet.model.recorded import recorded_event
from callsheet.model.spending import Budget
from callsheet.store.record import Record
from callsheet.views.board import Board, RunLimits

FRAME_S = 0.2
"""A dashboard is told of changes at most so often."""
_POLL_S = 0.5
"""How often the record is looked at, of a run that serves no socket."""
_RECORDED_WITHIN_S = 10.0
"""How long what was heard of a run may take to its place in the record."""
_LIMITS_WITHIN_S = 1.0
_LOOK_AGAIN_S = 0.02
_BATCH = 2_000
_BREATH = 50


class Watched:
    """One run that is watched, by one or many.

    Attributes:
        board: What is known of it; changes while `updates` is iterated by anybody, or `follow` runs.
        where: Whose record it is in.
        control: To act upon it; None where it is over, gone, or cannot be reached (`why_no_control` says which).
    """

    def __init__(self, where: Where, run_id: str, control: RunControl | None, why_no_control: str | None) -> None:
        self.where = where
        self.run_id = run_id
        self.control = control
        self.why_no_control = why_no_control
        self.board = Board()
        self._news = anyio.Event()
        self._limits_of_seq = 0
        self._is_done = False
        self._fault: BaseException | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing more will change."""
        return self._is_done

    async def updates(self, frame_s: float = FRAME_S) -> AsyncGenerator[int]:
        """The board's `seq`, first as it stands, then whenever it changed, at most once a frame; ends with the run.

        Where its process is gone before its end, `board.lost` says so. Any number of readers; none holds up another.

        Raises:
            StoreError: The record cannot be read.
        """
        while True:
            news, is_done = self._news, self._is_done
            yield self.board.seq
            if is_done:
                if self._fault is not None:
                    raise self._fault
                return
            await news.wait()
            if not self._is_done:
                await anyio.sleep(frame_s)

    async def follow(self) -> None:
        """Keeps the board true until the run is over. `open_watched` runs it; cancelling ends it, not the run."""
        try:
            if self.control is not None:
                await self._follow_live(self.control)
            if self.control is None:
                await self._follow_record()
        except (ControlLostError, NotFoundError) as fault:
            self.board.lost = self.board.lost or fault.message
        except CallsheetError as fault:
            self._fault = fault
        finally:
            self._is_done = True
            if self.board.is_over:
                self.control = None
            self._tell()

    async def _follow_live(self, control: RunControl) -> None:
        """To the run's end, or as long as it can be reached; then `control` is None, and its record says the rest."""
        try:
            async with aclosing(control.events()) as events:
                async for event in events:
                    await self._take((event,))
                    if self.board.seq % _BREATH == 0:  # a long record is no reason for keys and other readers to wait
                        await anyio.lowlevel.checkpoint()
        except ControlLostError as fault:
            self.control, self.why_no_control = None, fault.message
            self._tell()

    async def _follow_record(self) -> None:
        """Reads on until the run has ended, or its process has: what it wrote last is read after that was seen."""
        until_s = anyio.current_time() + _RECORDED_WITHIN_S
        while True:
            try:
                status, found = await to_thread.run_sync(partial(_read_on, self.where, self.run_id, self.board.seq))
            except NotFoundError:
                if self.board.seq == 0 or anyio.current_time() > until_s:
                    raise
                await anyio.sleep(_LOOK_AGAIN_S)  # it was heard of, and is about to be written down
                continue
            if found:
                await self._take([event for _, event in found if event is not None])
                self.board.seq = max(self.board.seq, found[-1][0])
            elif status != RUNNING:
                if self.board.result is None:
                    self.board.lost = _gone(self.run_id, status)
                return
            else:
                await anyio.sleep(_POLL_S)

    async def _take(self, events: Sequence[Event]) -> None:
        """Shows what happened; with each start of the run also what it was started with, as its record has it then."""
        before = self.board.began_at_seq
        self.board.apply_all(events)
        self._tell()
        began = self.board.began_at_seq
        if self._limits_of_seq == began:
            return
        # Whoever waited in vain when the run began looks again with each event: it is about to be written down.
        until_s = anyio.current_time() + (_LIMITS_WITHIN_S if began != before else 0)
        while (limits := await to_thread.run_sync(partial(_read_limits, self.where, self.run_id))) is None:
            if anyio.current_time() >= until_s:
                return
            await anyio.sleep(_LOOK_AGAIN_S)
        self.board.limits, self._limits_of_seq = limits, began
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()


@asynccontextmanager
async def open_watched(run: str | Reach, where: Where | None = None) -> AsyncGenerator[Watched]:
    """Watches a run: one that goes on anywhere on this machine, or one on record.

    Args:
        run: An id, the beginning of one, `last`, or what `live_runs` gave.
        where: Whose record names are looked up in; that of the current folder without it.

    Raises:
        NotFoundError: There is no such run.
        UsageError: Several begin so.
        StoreError: The record cannot be read.
    """
    where = where or Where()
    async with AsyncExitStack() as stack:
        control, why = None, None
        reach = None if isinstance(run, str) else run
        try:
            if isinstance(run, str):
                reach = await to_thread.run_sync(find_run, run, where)
            assert reach is not None
            control = await stack.enter_async_context(open_control(reach, where))
        except (ControlLostError, ControlRefusedError) as fault:
            why = fault.message
        if reach is not None:  # also of one that ended meanwhile: it may be on the record of another folder
            run_id, where = reach.run_id, _of(reach, where)
        else:
            assert isinstance(run, str)
            run_id = (await to_thread.run_sync(_find, where, run)).run_id
        watched = Watched(where, run_id, control, why)
        await stack.enter_async_context(meanwhile(watched.follow))
        yield watched


def recorded_board(record: Record, run: Listed) -> Board:
    """The board of a run as its record has it now.

    Raises:
        StoreError: The record cannot be read.
    """
    board = Board(limits=limits_of(record, run.run_id))
    after = 0
    while found := record.events(run.run_id, after=after, limit=_BATCH):
        board.apply_all(event for each in found if (event := recorded_event(each.payload)) is not None)
        after = found[-1].seq
    if board.result is None and run.status != RUNNING:
        board.lost = _gone(run.run_id, run.status)
    return board


def limits_of(record: Record, run_id: str) -> RunLimits:
    """What a run was started with, as its record has it; defaults where that does not say."""
    row = record.run(run_id)
    try:
        said = json.loads("{}" if row is None else row.run.settings)
    except ValueError:
        said = {}
    said = said if isinstance(said, dict) else {}
    phases = said.get("phase_budgets")
    stop = said.get("cost_stop_usd")
    model = said.get("model")
    return RunLimits(
        budget=Budget(tokens=_whole(said.get("budget_tokens")), usd=_dollars(said.get("budget_usd"))),
        cost_stop_usd=_dollars(stop) or 0.0,
        phase_budgets={str(name): _budget(each) for name, each in phases.items()} if isinstance(phases, dict) else {},
        max_parallel=_whole(said.get("max_parallel")) or 0,
        max_agents=_whole(said.get("max_agents")) or 0,
        model=model if isinstance(model, str) else None,
    )


def _budget(said: Any) -> Budget:
    known: Mapping[str, Any] = said if isinstance(said, dict) else {}
    return Budget(tokens=_whole(known.get("tokens")), usd=_dollars(known.get("usd")))


def _whole(said: Any) -> int | None:
    return said if isinstance(said, int) and not isinstance(said, bool) else None


def _dollars(said: Any) -> float | None:
    is_number = isinstance(said, int | float) and not isinstance(said, bool)
    return float(said) if is_number and math.isfinite(said) else None


def _gone(run_id: str, status: str) -> str:
    if status == "interrupted":
        return f"Its process is gone. Go on: callsheet resume {run_id}"  # in one line of 80 columns
    return f"It is over ({status}); how it ended is not on record."


def _of(reach: Reach, where: Where) -> Where:
    return replace(where, store=reach.record, workspace=Path(reach.workspace))


def _find(where: Where, name: str) -> Listed:
    with open_runs(where, is_checked=False) as runs:
        return runs.find(name)


def _read_limits(where: Where, run_id: str) -> RunLimits | None:
    """None while the run is not on record: what it says is heard before that is written."""
    with open_runs(where, is_checked=False) as runs:
        return None if runs.record.run(run_id) is None else limits_of(runs.record, run_id)


def _read_on(where: Where, run_id: str, after: int) -> tuple[str, list[tuple[int, Event | None]]]:
    """How things stand with the run, looked at first; then what it has said since."""
    with open_runs(where, is_checked=False) as runs:
        status = runs.find(run_id).status
        found = runs.record.events(run_id, after=after, limit=_BATCH)
    return status, [(each.seq, recorded_event(each.payload)) for each in found]
