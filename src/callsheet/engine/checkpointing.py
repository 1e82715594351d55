"""When checkpoints of the workspace are taken: before the first agent, after so many that ended, and at the end."""

from __future__ import annotations

import anyio

from callsheet.engine.state import RunState
from callsheet.errors import CheckpointError, StoreError
from callsheet.model.events import AgentFinished, Event
from callsheet.model.records import CheckpointRow
from callsheet.ports import CheckpointTaker, EventSink


class Checkpointing(EventSink):
    """Counts the agents that worked, and has checkpoints taken; after one that failed no more, which is said once.

    Args:
        taker: Takes them; None for none.
        interval: Agents between two.
    """

    def __init__(self, taker: CheckpointTaker | None, *, interval: int) -> None:
        self._taker = taker
        self._interval = interval
        self._ended = 0
        self._due = anyio.Event()

    def on_event(self, event: Event) -> None:
        if self._taker is None or not isinstance(event.body, AgentFinished):
            return
        agent = event.body.agent
        if agent.reused or agent.started_at is None:
            return
        self._ended += 1
        if self._ended % self._interval == 0:
            self._due.set()

    async def run(self, state: RunState) -> None:
        """Takes one whenever one is due, until it is cancelled."""
        while True:
            await self._due.wait()
            self._due = anyio.Event()
            await self.take(state)

    async def take(self, state: RunState) -> None:
        """Takes one now, and returns when the record has it. Agents may be at work."""
        if self._taker is None:
            return
        try:
            taken = await self._taker.take()
        except CheckpointError as error:
            self._taker = None
            state.book.log("warn", f"no more checkpoints are taken: {error.message}")
            return
        staged = state.bus.stage(taken)
        row = CheckpointRow(run_id=state.run_id, n=taken.n, commit_id=taken.commit_id, at=staged.event.at)
        try:
            await state.bus.commit((row,), (staged,))
        except StoreError:
            return  # the run has been told
