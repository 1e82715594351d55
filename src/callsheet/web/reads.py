"""What is asked of the server, and nothing changes by it: runs, boards, graphs, agents, results."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import anyio
from starlette.requests import Request
from starlette.responses import Response

import callsheet
from callsheet.app.agent_page import agent_page, agent_page_json
from callsheet.app.graph import graph_json, graph_of
from callsheet.app.records import Listed, Where, open_runs
from callsheet.app.retelling import retold_json
from callsheet.errors import NotFoundError
from callsheet.model.dataclass import dataclass
from callsheet.store.record import Record
from callsheet.web.catalogue import MOST_LISTED, Listing
from callsheet.web.clock import utc_now
from callsheet.web.faults import NO_STORE, RequestRefusedError
from callsheet.web.report import report_html
from callsheet.web.streaming import EventStream, framed
from callsheet.web.watching import NEWEST, Hub, encoded

T = TypeVar("T")

_RUN_ID = re.compile(r"run_[A-Za-z0-9_]{1,100}")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_KEPT_GRAPHS = 8
_GRAPH_SHARE = 4
"""Of a run that goes on a graph is made anew when four times as long has passed as it took to make it."""


def path_run(request: Request) -> str:
    """The run that the path names.

    Raises:
        NotFoundError: It is no name of a run.
    """
    return _checked(request.path_params["run_id"], _RUN_ID)


def path_name(request: Request, key: str) -> str:
    """What else the path names: an agent, a question.

    Raises:
        NotFoundError: It cannot be a name.
    """
    return _checked(request.path_params[key], _NAME)


def _checked(name: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(name):
        raise NotFoundError("There is nothing of that name.", name=name)
    return name


def _number(said: str | None, name: str, *, default: int, most: int = 2**53, least: int = 0) -> int:
    """A number of the query.

    Raises:
        RequestRefusedError: It is none.
    """
    if said is None or said == "":
        return default
    if not (said.isascii() and said.isdigit() and len(said) <= 16 and least <= int(said) <= most):
        raise RequestRefusedError(f"{name} is a number from {least} to {most}.", status=400, kind="usage")
    return int(said)


def _json(data: bytes) -> Response:
    return Response(data, media_type="application/json", headers=NO_STORE)


class Reads:
    """Answers questions about runs."""

    def __init__(self, hub: Callable[[], Hub], *, is_control: bool) -> None:
        self._hub = hub
        self._is_control = is_control
        self._graphs = _Graphs()

    # --- all runs ---------------------------------------------------------------------------------------------------

    async def runs(self, request: Request) -> Response:
        """`GET /api/runs?limit=&before=`."""
        query = request.query_params
        limit = _number(query.get("limit"), "limit", default=NEWEST, least=1, most=MOST_LISTED)
        before = query.get("before") or None
        if before is not None:
            before = _checked(before, _RUN_ID)
        hub = self._hub()
        listing = await hub.in_thread(partial(hub.catalogue.listing, limit=limit, before=before))
        return _json(self._listed(listing))

    async def runs_stream(self, request: Request) -> Response:
        """`GET /api/runs/stream`: the list, whole, at first and whenever it is another."""
        hub = self._hub()

        async def events() -> AsyncGenerator[bytes]:
            async for listing in hub.listings():
                yield framed("runs", self._listed(listing))

        return EventStream(events(), closing=hub.closing)

    def _listed(self, listing: Listing) -> bytes:
        return encoded(
            {
                "version": callsheet.__version__,
                "control": self._is_control,
                "note": listing.note,
                "runs": listing.runs,
            }
        )

    # --- one run ----------------------------------------------------------------------------------------------------

    async def board(self, request: Request) -> Response:
        """`GET /api/runs/{run_id}`: its board, whole."""
        async with self._hub().reading(path_run(request)) as shared:
            return _json(shared.patch(0))

    async def board_stream(self, request: Request) -> Response:
        """`GET /api/runs/{run_id}/stream?after=SEQ`, or `Last-Event-ID`: the board, then what changes in it."""
        hub = self._hub()
        run_id = path_run(request)
        said = request.headers.get("last-event-id") or request.query_params.get("after")
        after = _number(said, "after", default=0)
        return EventStream(hub.events(run_id, after), closing=hub.closing)

    async def graph(self, request: Request) -> Response:
        """`GET /api/runs/{run_id}/graph`."""
        run_id, hub = path_run(request), self._hub()
        async with hub.reading(run_id) as shared:
            watched = shared.run()
            make = partial(_of_record, watched.where, run_id, _graph)
            graph = self._graphs.of(
                run_id, watched.board.seq, partial(hub.in_thread, make), is_over=watched.board.is_over
            )
            return _json(await graph)

    async def agent(self, request: Request) -> Response:
        """`GET /api/runs/{run_id}/agents/{agent_id}?after=N`: with `after`, of its messages only later ones."""
        agent_id = path_name(request, "agent_id")
        after = _number(request.query_params.get("after"), "after", default=0)
        return await self._recorded(request, partial(_agent, agent_id=agent_id, after=after))

    async def result(self, request: Request) -> Response:
        """`GET /api/runs/{run_id}/result`: how it ended (FORMATS 1), or what is recorded so far."""
        return await self._recorded(request, _result)

    async def _recorded(self, request: Request, make: Callable[[Record, Listed], bytes]) -> Response:
        hub, run_id = self._hub(), path_run(request)

        def work() -> bytes:
            found = hub.catalogue.find(run_id)
            return _of_record(found.where, run_id, make)

        return _json(await hub.in_thread(work))

    async def report(self, request: Request) -> Response:
        """`GET /api/runs/{run_id}/report`: the run as one HTML file, to be kept (`callsheet report`)."""
        hub, run_id = self._hub(), path_run(request)

        def work() -> bytes:
            found = hub.catalogue.find(run_id)
            return _of_record(found.where, run_id, _report)

        headers = NO_STORE | {"Content-Disposition": f'attachment; filename="{run_id}.html"'}
        return Response(await hub.in_thread(work), media_type="text/html", headers=headers)


# --- in a worker thread -----------------------------------------------------------------------------------------------


def _of_record(where: Where, run_id: str, make: Callable[[Record, Listed], T]) -> T:
    """Something of a run's record.

    Raises:
        NotFoundError: The run is not on record, or not yet.
        StoreError: The record cannot be read.
    """
    if not where.record.is_file():
        raise NotFoundError(f"Nothing of {run_id} is on record yet.", name=run_id)
    with open_runs(where, is_checked=False) as runs:
        return make(runs.record, runs.find(run_id))


def _graph(record: Record, run: Listed) -> bytes:
    return encoded(graph_json(graph_of(record, run)))


def _agent(record: Record, run: Listed, *, agent_id: str, after: int) -> bytes:
    page: dict[str, Any] = agent_page_json(agent_page(record, run.run_id, agent_id))
    page["messages"] = [message for message in page["messages"] if message["n"] > after]
    return encoded(page)


def _report(record: Record, run: Listed) -> bytes:
    return report_html(record, run, written_at=utc_now()).encode()


def _result(record: Record, run: Listed) -> bytes:
    return encoded(retold_json(record, run))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Graph:
    """A graph as it was at an event; `good_until_s` by the loop's clock, while its run goes on."""

    seq: int
    data: bytes
    good_until_s: float


class _Graphs:
    """Graphs that were made, each once for all who ask."""

    def __init__(self) -> None:
        self._made: OrderedDict[str, _Graph] = OrderedDict()
        self._lock = anyio.Lock()

    async def of(self, run_id: str, seq: int, make: Callable[[], Awaitable[bytes]], *, is_over: bool) -> bytes:
        """The graph of a run as it was at an event, of one that goes on perhaps a little before."""
        async with self._lock:
            found, now = self._made.get(run_id), anyio.current_time()
            if found is None or (found.seq != seq and (is_over or now >= found.good_until_s)):
                data, done = await make(), anyio.current_time()
                found = _Graph(seq=seq, data=data, good_until_s=done + _GRAPH_SHARE * (done - now))
            self._made[run_id] = found
            self._made.move_to_end(run_id)
            while len(self._made) > _KEPT_GRAPHS:
                self._made.popitem(last=False)
            return found.data
