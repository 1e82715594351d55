"""Work that starts a process, cancelled at each moment of the start; and what is left of it then."""

from __future__ import annotations

import gc
import subprocess
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.lowlevel
import pytest

_MOMENTS = 12
"""Turns of the event loop, from the start of a process: it is ready after about six."""


def left_by_cancelled_starts(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[], Coroutine[Any, Any, object]], *, starts: int = 1
) -> list[str]:
    """Runs work once for each moment of each start, on an event loop of its own, and cancels it then.

    Args:
        monkeypatch: To see processes being started; they are real all the same.
        work: Starts processes and waits for them.
        starts: How many of its processes are looked at.

    Returns:
        A line for each process that nobody waited for, and each resource that was not closed.
    """
    started: list[subprocess.Popen[Any]] = []

    class Seen(subprocess.Popen[Any]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self)

    async def cancelled(number: int, moment: int) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            while len(started) < number:
                await anyio.lowlevel.checkpoint()
            for _ in range(moment):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel("at this very moment")

    left = []
    monkeypatch.setattr(subprocess, "Popen", Seen)
    gc.collect()
    gc.freeze()  # all that other tests have loaded need not be gone through each time
    try:
        for moment in range(_MOMENTS):
            for number in range(1, starts + 1):
                with warnings.catch_warnings(record=True) as said:
                    warnings.simplefilter("always")
                    anyio.run(cancelled, number, moment)
                    left += [
                        f"start {number}, moment {moment}: not waited for" for p in started if p.returncode is None
                    ]
                    started.clear()
                    gc.collect()
                left += [f"start {number}, moment {moment}: {each.message}" for each in said]
    finally:
        gc.unfreeze()
    return left
