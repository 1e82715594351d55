"""The runs that are watched: one reducer for each, whoever reads, shared by all readers and ended when none is left.

A reader asks the board for what changed since it last did, at its own pace. Nothing is queued for it: one that is slow
gets fewer and larger patches, and holds up nobody.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from callsheet.app.watching import FRAME_S, Watched, open_watched
from callsheet.errors import CallsheetError
from callsheet.groups import meanwhile
from callsheet.web.catalogue import Catalogue, Listing
from callsheet.web.shown import shown_json
from callsheet.web.streaming import framed, sent_event

T = TypeVar("T")

LINGER_S = 10.0
"""How long a run stays watched when its last reader has gone: a page that is loaded again finds it."""
LOOK_S = 1.0
"""How often it is looked whether the list of runs is another, while somebody reads it."""
NEWEST = 100
"""So many runs of the folder are listed where nobody says how many."""
_LOOK_ANYWAY = 5
_CAUGHT_UP_S = 10.0
_KEPT_PATCHES = 16
_THREADS = 4


def encoded(value: Any) -> bytes:
    """A value as JSON in one line of ASCII."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


class Shared:
    """A run that is watched, for all who read it.

    Attributes:
        watched: The run; there once it `is_ready`.
        frame: Set when there is something new to show, and another one put in its place.
        is_over: Whether nothing more comes.
    """

    def __init__(self) -> None:
        self.watched: Watched | None = None
        self.fault: Exception | None = None
        self.is_ready = anyio.Event()
        self.is_over = False
        self.frame = anyio.Event()
        self.readers = 0
        self.left = anyio.Event()
        self._patches: OrderedDict[tuple[int, int, int, bool], bytes] = OrderedDict()

    def run(self) -> Watched:
        """The run.

        Raises:
            NotFoundError, StoreError: As it was found when it was looked for.
            Exception: A fault of ours that ended the watching: it belongs to who reads, not to all that are served.
        """
        if self.fault is not None:
            raise self.fault
        assert self.watched is not None
        return self.watched

    def patch(self, since: int) -> bytes:
        """What changed since an event, encoded once for all who ask for the same."""
        board = self.run().board
        since = since if since <= board.seq else 0
        # A board says more when its limits are known, or its process is gone, though no event came.
        key = (since, board.seq, id(board.limits), board.is_over)
        found = self._patches.get(key)
        if found is None:
            found = self._patches[key] = encoded(shown_json(board, since=since))
        self._patches.move_to_end(key)
        while len(self._patches) > _KEPT_PATCHES:
            self._patches.popitem(last=False)
        return found

    def tell(self) -> None:
        """Lets all who wait for a frame go on."""
        self.frame.set()
        self.frame = anyio.Event()


class Hub:
    """Watches runs, and their list, for as long as somebody reads them.

    Attributes:
        catalogue: Which runs there are.
        closing: Set when the server ends: streams end then.
    """

    def __init__(self, catalogue: Catalogue, tasks: TaskGroup) -> None:
        self.catalogue = catalogue
        self.closing = anyio.Event()
        self._tasks = tasks
        self._threads = anyio.CapacityLimiter(_THREADS)
        self._shared: dict[str, Shared] = {}
        self._looking = anyio.Lock()
        self._looks = 0
        self._looked_at_s = -LOOK_S
        self._places: tuple[object, ...] = ()
        self._newest: Listing | None = None

    @property
    def watched(self) -> frozenset[str]:
        """The runs that are watched now."""
        return frozenset(self._shared)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Does what looks at files, or takes its time, beside the event loop; a few at a time."""
        return await to_thread.run_sync(work, limiter=self._threads)

    # --- one run ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def reading(self, run_id: str) -> AsyncGenerator[Shared]:
        """A run, its board as things stand; watched at least while the block goes on.

        Raises:
            NotFoundError: There is no such run.
            StoreError: Its record cannot be read.
        """
        shared = self._shared.get(run_id)
        if shared is None or await self._is_stale(run_id, shared):
            shared = self._shared[run_id] = Shared()
            self._tasks.start_soon(self._watch, run_id, shared)
        shared.readers += 1
        try:
            await shared.is_ready.wait()
            shared.run()
            yield shared
        finally:
            shared.readers -= 1
            if shared.readers == 0:
                shared.left.set()

    async def events(self, run_id: str, after: int) -> AsyncGenerator[bytes]:
        """The board, then what changes in it, as server-sent events; `end` or `lost` at last.

        Args:
            run_id: The run.
            after: The `seq` of what the reader has; 0 for nothing.
        """
        async with self.reading(run_id) as shared:
            board = shared.run().board
            while True:
                frame, is_over = shared.frame, shared.is_over
                patch, seq = shared.patch(after), board.seq
                yield framed("board", patch, number=seq)
                after = seq
                if is_over:
                    break
                await frame.wait()
            why = board.lost
            if shared.fault is not None:
                if not isinstance(shared.fault, CallsheetError):
                    raise shared.fault
                why = shared.fault.message
            yield sent_event("end", {"status": board.status}) if why is None else sent_event("lost", {"message": why})

    async def _watch(self, run_id: str, shared: Shared) -> None:
        """Watches a run until nobody has read it for a while."""
        try:
            found = await self.in_thread(partial(self.catalogue.find, run_id))
            async with open_watched(found.reach or run_id, found.where) as watched:
                last = await self.in_thread(partial(self.catalogue.last_seq, run_id, watched.where))
                shared.watched = watched
                watched.board.run_id = watched.board.run_id or run_id  # before its first event, or without any
                async with meanwhile(partial(self._frames, shared, watched, last)):
                    with anyio.move_on_after(_CAUGHT_UP_S):
                        await shared.is_ready.wait()
                    shared.is_ready.set()
                    await _until_unread(shared)
                    self._forget(run_id, shared)
        except Exception as fault:  # noqa: BLE001 - raised where the run is read: `Shared.run`
            shared.fault = fault
        finally:
            self._forget(run_id, shared)
            shared.is_over = True
            shared.is_ready.set()
            shared.tell()

    async def _frames(self, shared: Shared, watched: Watched, last: int) -> None:
        """Tells readers of what is new: when the board has caught up with the record, then at most once a frame."""
        try:
            async with aclosing(watched.updates(0)) as updates:
                async for seq in updates:
                    if not shared.is_ready.is_set():
                        if seq < last:
                            continue
                        shared.is_ready.set()
                    shared.tell()
                    if not watched.is_done:
                        await anyio.sleep(FRAME_S)
        except Exception as fault:  # noqa: BLE001 - as in `_watch`
            shared.fault = fault
        shared.is_over = True
        shared.is_ready.set()
        shared.tell()

    def _forget(self, run_id: str, shared: Shared) -> None:
        if self._shared.get(run_id) is shared:
            del self._shared[run_id]

    async def _is_stale(self, run_id: str, shared: Shared) -> bool:
        """Whether a run that was over has been gone on with since."""
        if shared.fault is not None:
            return True
        if shared.watched is None or not shared.is_over:
            return False
        watched = shared.watched
        return await self.in_thread(partial(self.catalogue.has_more, run_id, watched.where, watched.board.seq))

    # --- all runs ---------------------------------------------------------------------------------------------------

    async def listings(self) -> AsyncGenerator[Listing]:
        """The newest runs, then again whenever that list is another; looked at once for all who read it."""
        said: Listing | None = None
        while True:
            listing = await self._look()
            if listing is not said:
                yield listing
                said = listing
            await anyio.sleep(LOOK_S)

    async def _look(self) -> Listing:
        async with self._looking:
            if self._newest is None or anyio.current_time() - self._looked_at_s >= LOOK_S * 0.9:
                places = await self.in_thread(self.catalogue.places)
                # That a process without a socket is gone shows in no file.
                if self._newest is None or places != self._places or self._looks % _LOOK_ANYWAY == 0:
                    listing = await self.in_thread(partial(self.catalogue.listing, limit=NEWEST))
                    self._newest = listing if listing != self._newest else self._newest
                self._places = places
                self._looks += 1
                self._looked_at_s = anyio.current_time()
            return self._newest


async def _until_unread(shared: Shared) -> None:
    while True:
        await shared.left.wait()
        shared.left = anyio.Event()
        await anyio.sleep(LINGER_S)
        if shared.readers == 0:
            return
