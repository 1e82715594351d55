"""A record in memory, with a disk that can be slow, full or broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import anyio

from callsheet.errors import StoreError
from callsheet.model.records import AgentRow, CancelledRow, EventRow, Row
from callsheet.ports import Store

T = TypeVar("T")


class MemoryStore(Store):
    """Keeps every row in order of writing.

    Attributes:
        rows: What was written.
        durable: The transactions that were asked to be on disk.
        disk: While it is set durable writes wait for it.
        breaks_on: A write of which any row fits fails, and so does every later one.
    """

    def __init__(self, *, breaks_on: Callable[[Row], bool] | None = None) -> None:
        self.rows: list[Row] = []
        self.durable: list[tuple[Row, ...]] = []
        self.disk: anyio.Event | None = None
        self.breaks_on = breaks_on
        self._is_broken = False

    @property
    def path(self) -> str:
        return ":memory:"

    async def write(self, rows: Sequence[Row], *, durable: bool) -> None:
        if self.breaks_on is not None and any(self.breaks_on(row) for row in rows):
            self._is_broken = True
        if self._is_broken:
            raise StoreError("the disk is full: free some space")
        try:
            if durable and self.disk is not None:
                await self.disk.wait()
            await anyio.lowlevel.checkpoint()
        finally:  # who gives up waiting does not take the rows back
            self.rows.extend(rows)
        if durable:
            self.durable.append(tuple(rows))

    async def aclose(self) -> None:
        return

    def agents(self) -> dict[str, AgentRow]:
        """The last row of each agent, by its id."""
        found: dict[str, AgentRow] = {}
        for row in self.rows:
            if isinstance(row, AgentRow):
                found[row.agent_id] = row
            elif isinstance(row, CancelledRow):
                found[row.agent_id] = replace(
                    found[row.agent_id], status=row.status, error=row.error, timestamp_end=row.timestamp_end
                )
        return found

    def events(self) -> list[EventRow]:
        """All events, in order of writing."""
        return [row for row in self.rows if isinstance(row, EventRow)]

    def of(self, kind: type[T]) -> list[T]:
        """All rows of one kind."""
        return [row for row in self.rows if isinstance(row, kind)]
