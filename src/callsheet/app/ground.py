"""The ground that a run's agents work on: the workspace, alone or shared, or a worktree of its own (DESIGN 17)."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from callsheet.app import compose
from callsheet.app.groups import lone_error
from callsheet.errors import LeaseHeldError, StoreError, UsageError
from callsheet.model.run import WorkspaceUse

Patience: TypeAlias = Callable[[LeaseHeldError], Awaitable[None]]
"""Waits a moment while others hold the workspace, and is told who; raising gives the waiting up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a run wants to stand to others on its workspace.

    Attributes:
        wait_s: How long it waits for others to end; 0 not at all, infinite without an end.
    """

    use: WorkspaceUse = "alone"
    wait_s: float = 0.0


def terms_of(*, share: bool, wait: bool | float | None, worktree: bool) -> Terms:
    """What was asked for, as terms.

    Args:
        share: Work beside others that share the workspace too.
        wait: Seconds to wait for others, True for as long as it takes.
        worktree: Work in a worktree of the run's own.

    Raises:
        UsageError: Two that exclude each other, or a time that is none.
    """
    wait_s = math.inf if wait is True else float(wait or 0)
    if not wait_s >= 0:
        raise UsageError(f"--wait is {wait_s:g}; it is a number of seconds, 0 or more.")
    if worktree and (share or wait_s):
        other = "--share" if share else "--wait"
        raise UsageError(f"--worktree and {other} exclude each other: a worktree of its own is nobody else's.")
    return Terms(use="worktree" if worktree else "share" if share else "alone", wait_s=wait_s)


@asynccontextmanager
async def hold_workspace(
    root: Path, terms: Terms, *, run_id: str, environ: Mapping[str, str], patience: Patience | None = None
) -> AsyncGenerator[None]:
    """Holds the workspace's lease, for as long as the context lasts or the process lives.

    Raises:
        LeaseHeldError: Others hold it, and the time is up.
        StoreError: There is no place where it can be taken.
    """
    folder = compose.state_folder(root, environ)
    lease = compose.lease(folder, run_id=run_id, is_shared=terms.use == "share", wait_s=terms.wait_s, patience=patience)
    with lone_error():
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(lease)
            except OSError as fault:
                raise StoreError(
                    f"The lease on the workspace cannot be taken in {folder} ({fault.strerror or fault}): runs that "
                    "write need to know of each other. Make that folder writable."
                ) from None
            yield
