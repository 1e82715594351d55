"""Agents that wait for a person: each gives its place at work to another, and takes one again before it goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from callsheet.engine.call import Call
from callsheet.engine.scheduler import Scheduler


class Pauses:
    """Who has stepped aside. The cap on agents at work holds all the while (CONTRACT A12, L01)."""

    def __init__(self, scheduler: Scheduler, pump: Callable[[], None]) -> None:
        """Makes it; `pump` gives free places to whoever may have them, and calls `seat` first."""
        self._scheduler = scheduler
        self._pump = pump
        self._waits: Counter[int] = Counter()
        self._seated: dict[int, anyio.Event] = {}

    @asynccontextmanager
    async def aside(self, call: Call) -> AsyncIterator[None]:
        """Inside the block the call holds no place, and its `timeout` stands still; leaving it waits for a place.

        A call may wait for several things at once: it has its place again as soon as it has one of them.

        Cancelling, or an error, does not wait: the call is then put in line for a place, and goes on to its end.
        """
        number = call.task.call
        self._waits[number] += 1
        if self._waits[number] == 1 and self._scheduler.is_working(number):
            self._scheduler.park(number)
            call.stop_clock()
            self._pump()
        try:
            try:
                yield
            finally:
                self._waits[number] -= 1
                if not self._waits[number]:
                    del self._waits[number]
                self._come_back(number)
            await self._seat_of(number)
        finally:
            call.start_clock()

    async def regain(self, call: Call) -> None:
        """Waits until a call that begins anew has a place, which it may have given away before."""
        number = call.task.call
        if not self._scheduler.is_working(number):
            self._come_back(number)
            await self._seat_of(number)

    def seat(self) -> None:
        """Gives places to those who come back, as far as there are any."""
        while (number := self._scheduler.take_back()) is not None:
            if (seated := self._seated.pop(number, None)) is not None:
                seated.set()

    def forget(self, call: Call) -> None:
        """The call is over."""
        if (seated := self._seated.pop(call.task.call, None)) is not None:
            seated.set()

    def _come_back(self, number: int) -> None:
        if self._scheduler.has_begun(number) and not self._scheduler.is_working(number):
            self._scheduler.want_back(number)
            self._pump()

    async def _seat_of(self, number: int) -> None:
        """Waits until the call has a place, or is over."""
        if self._scheduler.has_begun(number) and not self._scheduler.is_working(number):
            await self._seated.setdefault(number, anyio.Event()).wait()
