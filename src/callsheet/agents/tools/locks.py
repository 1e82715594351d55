"""One at a time, for each file: reading it, looking whether it is as it was, and writing it belong together.

Among the agents of this process by a lock in memory; among processes that share a workspace by a locked file, which the
kernel lets go of with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from weakref import WeakValueDictionary

import anyio

from callsheet.agents.tools.names import ToolFailure

WAIT_S = 30.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.001, 0.02


class FileLocks:
    """Locks for the files of one workspace.

    Args:
        folder: Where the locked files lie, the same for all processes that share the workspace, and hidden from
            agents; made when first needed. None where no other process is to be expected.
    """

    def __init__(self, folder: Path | None = None, *, wait_s: float = WAIT_S) -> None:
        self._folder = folder
        self._wait_s = wait_s
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, path: Path) -> AsyncIterator[None]:
        """Holds a file, by its path without links, until the block is left. Cancelling the wait is safe.

        Raises:
            ToolFailure: Somebody else held it for too long, or it cannot be held.
        """
        async with self._held(_name(path), path):
            yield

    @asynccontextmanager
    async def hold_all(self, paths: Iterable[Path]) -> AsyncIterator[None]:
        """Holds several files, as `hold`. Two who hold several at a time never wait for each other."""
        # Files share locks, which are taken once each, and by all in the same order.
        names = {_name(path): path for path in paths}
        async with AsyncExitStack() as held:
            for name, path in sorted(names.items()):
                await held.enter_async_context(self._held(name, path))
            yield

    @asynccontextmanager
    async def _held(self, name: str, path: Path) -> AsyncIterator[None]:
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = anyio.Lock()
        async with lock:
            if self._folder is None:
                yield
                return
            descriptor = await self._locked(self._folder, name, path)
            try:
                yield
            finally:
                os.close(descriptor)

    async def _locked(self, folder: Path, name: str, path: Path) -> int:
        """A descriptor that holds the lock; looked for again and again, so that neither loop nor thread is held up."""
        descriptor = _opened(folder, name)
        try:
            wait_s = _FIRST_WAIT_S
            until = anyio.current_time() + self._wait_s
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if anyio.current_time() >= until:
                        raise ToolFailure(f"{path.name} is held by another run; try again later") from None
                    await anyio.sleep(wait_s)
                    wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
                else:
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise


def _name(path: Path) -> str:
    """Of the lock that a file shares with others."""
    return hashlib.blake2b(os.fsencode(path), digest_size=1).hexdigest()


def _opened(folder: Path, name: str) -> int:
    # A fixed number of files, never removed: one that is removed while somebody waits for it would be two.
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ToolFailure(f"files cannot be held against other runs ({error.strerror}: {folder})") from None
