"""The dashboard in the browser as an ASGI application, for `callsheet serve` and for programs that embed it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from os import PathLike, fspath
from pathlib import Path

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from callsheet.app.records import Where
from callsheet.errors import CallsheetError
from callsheet.groups import lone_error
from callsheet.web.access import Access, access_for
from callsheet.web.assets import INDEX, PAGE, asset_named, load_assets
from callsheet.web.catalogue import Catalogue
from callsheet.web.deeds import Deeds
from callsheet.web.faults import NO_STORE, RequestRefusedError, on_bug, on_fault, on_http
from callsheet.web.guard import Guard
from callsheet.web.reads import Reads
from callsheet.web.watching import Hub


class Dashboard(Starlette):
    """The application. Its lifespan must be run, as every ASGI server does; of one that is mounted, by its host.

    Attributes:
        access: Who is let in.
    """

    def __init__(self, where: Where, access: Access, page: Path) -> None:
        self.access = access
        self._hub: Hub | None = None
        self._assets = load_assets(page)
        self._where = where
        super().__init__(
            routes=self._all_routes(),
            exception_handlers={CallsheetError: on_fault, HTTPException: on_http, Exception: on_bug},
            lifespan=self._lifespan,
        )
        self.router.redirect_slashes = False
        self._guard = Guard(super().__call__, access=access)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request that the guard lets in; answers to faults of ours pass it too on their way out."""
        await self._guard(scope, receive, send)

    @property
    def url(self) -> str:
        """The address to open in a browser. It holds the token."""
        return self.access.url

    @property
    def hub(self) -> Hub:
        """What is watched.

        Raises:
            RuntimeError: The lifespan is not run.
        """
        if self._hub is None:
            raise RuntimeError("the lifespan of the dashboard is not run: its host has to do that")
        return self._hub

    def end_streams(self) -> None:
        """Ends every stream, so that a server can end at once. Any number of times."""
        if self._hub is not None:
            self._hub.closing.set()

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        with lone_error():
            async with anyio.create_task_group() as tasks:
                self._hub = Hub(Catalogue(self._where), tasks)
                try:
                    yield
                finally:
                    self.end_streams()
                    self._hub = None
                    tasks.cancel_scope.cancel("the server ends")

    # --- what there is ----------------------------------------------------------------------------------------------

    def _all_routes(self) -> Sequence[BaseRoute]:
        reads = Reads(lambda: self.hub, is_control=self.access.is_control)
        deeds = Deeds(lambda: self.hub)
        run, agent = "/api/runs/{run_id}", "/api/runs/{run_id}/agents/{agent_id}"
        return [
            Route("/", self._page),
            Route("/assets/{name}", self._asset),
            Route("/api/runs", reads.runs),
            Route("/api/runs/stream", reads.runs_stream),
            Route(run, reads.board),
            Route(f"{run}/stream", reads.board_stream),
            Route(f"{run}/graph", reads.graph),
            Route(f"{run}/result", reads.result),
            Route(f"{run}/report", reads.report),
            Route(agent, reads.agent),
            *(
                Route(path, deed, methods=["POST"])
                for path, deed in (
                    (f"{run}/pause", deeds.pause),
                    (f"{run}/go_on", deeds.go_on),
                    (f"{run}/stop", deeds.stop),
                    (f"{agent}/skip", deeds.skip),
                    (f"{agent}/stop", deeds.stop_agent),
                    (f"{agent}/restart", deeds.restart),
                    (f"{agent}/message", deeds.message),
                    (f"{run}/questions/{{question_id}}/answer", deeds.answer),
                )
            ),
        ]

    async def _page(self, request: Request) -> Response:
        """`GET /`: the page; with `?token=` the cookie, and the same address without the token."""
        shown = request.query_params.get("token")
        if shown is None:
            return asset_named(self._assets, INDEX).answer(request)
        if not self.access.is_token(shown):
            raise RequestRefusedError(
                "That is not this server's token: it has a new one each time it starts. Open the address that it "
                "printed.",
                status=401,
                kind="no_token",
            )
        answer = RedirectResponse("/", status_code=303, headers=NO_STORE)
        answer.headers["Set-Cookie"] = self.access.set_cookie()
        return answer

    async def _asset(self, request: Request) -> Response:
        """`GET /assets/{name}`."""
        return asset_named(self._assets, request.path_params["name"]).answer(request)


def create_app(
    *,
    workspace: str | PathLike[str] | None = None,
    store: str | PathLike[str] | None = None,
    address: str = "127.0.0.1",
    port: int,
    allowed_hosts: Sequence[str] = (),
    token: str | None = None,
    control: bool = False,
    page: str | PathLike[str] | None = None,
) -> Dashboard:
    """The dashboard of a workspace's runs, and of all that go on on this machine, as an ASGI application.

        app = create_app(port=8450)
        print(app.url)
        uvicorn.run(app, host="127.0.0.1", port=8450)

    It lets in who shows the token, and answers to no name but its own: the loopback addresses, `address`, and
    `allowed_hosts`. It must stand at the root of its address.

    Args:
        workspace: Whose recorded runs are shown; None for the one around the current folder.
        store: The record; None for that of the workspace.
        address: The address that it will be served at.
        port: The port that browsers will say.
        allowed_hosts: Further names that it answers to, as `name` or `name:port`: of a proxy, of a tunnel.
        token: 32 ASCII characters or more; None for a new one.
        control: Runs may be acted upon, not only looked at.
        page: A folder of files to be served in place of the page's own.

    Raises:
        ValueError: The token is too short.
        UsageError: There is no such workspace.
    """
    where = Where(
        store=None if store is None else fspath(store), workspace=None if workspace is None else Path(workspace)
    )
    where.root  # noqa: B018 - that there is such a folder is said now
    access = access_for(token=token, address=address, port=port, allowed=allowed_hosts, is_control=control)
    return Dashboard(where, access, PAGE if page is None else Path(page))
