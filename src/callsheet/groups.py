"""Task groups that nobody sees from outside."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio


@contextmanager
def lone_error() -> Iterator[None]:
    """Lets the first error of a group through by itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        fault: BaseException = group
        while isinstance(fault, BaseExceptionGroup):
            fault = fault.exceptions[0]
        raise fault from fault.__cause__


@asynccontextmanager
async def meanwhile(work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncGenerator[None]:
    """Has something done while the block goes on; at the block's end it is cancelled.

    Raises:
        BaseException: What the block or the work raised, by itself, never in a group.
    """
    with lone_error():
        async with anyio.create_task_group() as group:
            group.start_soon(work)
            yield
            group.cancel_scope.cancel("the run is over")
