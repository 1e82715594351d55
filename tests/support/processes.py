"""Waiting for other processes to end: by the kernel's own word, not by looking again and again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import anyio


async def ended(pids: Iterable[int]) -> None:
    """Waits until none of the processes runs any more; one that nobody has waited for yet counts as ended."""
    for pid in pids:
        with suppress(ProcessLookupError), _handle(pid) as handle:
            await anyio.wait_readable(handle)


@contextmanager
def _handle(pid: int) -> Iterator[int]:
    handle = os.pidfd_open(pid)
    try:
        yield handle
    finally:
        os.close(handle)
