"""Private folders of agents: a home for their commands, gone with them."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio import to_thread

_REMOVED_WITHIN_S = 20.0


class Scratch:
    """Where the private folders of one run's agents are made."""

    def __init__(self, base: Path | None) -> None:
        """Makes it; without a `base` a temporary folder of the run's own is made when one is needed."""
        self._base = base
        self._own: Path | None = None

    @asynccontextmanager
    async def open(self, agent_id: str) -> AsyncIterator[Path]:
        """A folder (0700) for one agent, removed with all that is in it when the context is left.

        Raises:
            OSError: It cannot be made.
        """
        folder = await to_thread.run_sync(self._make, agent_id)
        try:
            yield folder
        finally:
            await _removed(folder)

    def _make(self, agent_id: str) -> Path:
        base = self._base
        if base is None:
            if self._own is None:
                self._own = Path(tempfile.mkdtemp(prefix="callsheet-"))
            base = self._own
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = base.resolve() / f"{agent_id}-{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
        return folder

    async def aclose(self) -> None:
        """Removes the run's own folder, should there be one. Idempotent."""
        folder, self._own = self._own, None
        if folder is not None:
            await _removed(folder)


async def _removed(folder: Path) -> None:
    with anyio.move_on_after(_REMOVED_WITHIN_S, shield=True):
        await to_thread.run_sync(remove_tree, folder, abandon_on_cancel=True)


def remove_tree(folder: Path) -> None:
    """Removes a folder whatever modes its parts were given; what cannot be removed stays."""
    for here, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(here, name)
            with suppress(OSError):
                if not path.is_symlink():
                    path.chmod(stat.S_IRWXU)
    shutil.rmtree(folder, ignore_errors=True)
