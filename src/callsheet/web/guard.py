"""The door of the server: every request passes it before anything else looks at it, and every answer on its way out."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callsheet.views.safe_text import one_line
from callsheet.web.access import HEADERS, Access, header_of
from callsheet.web.faults import refusal

API = "/api/"
OURS = b"x-callsheet"
_METHODS = ("GET", "HEAD", "POST")
_OUR_PAGE = (None, "same-origin", "none")
"""What `Sec-Fetch-Site` says of requests of our own page, of a person's, and of programs, which say nothing."""
_LONGEST_NAME = 120


class Guard:
    """Around an application: lets in who names this server, shows token or cookie, and comes from no page but ours.

    The page itself, which holds nothing of anybody's, is given to whoever names this server: so that a link to it from
    elsewhere, with which a browser sends no strict cookie, opens it all the same.
    """

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request, or says why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        send = _with_headers(send, is_api=scope["path"].startswith(API))
        refused = self._refused(scope)
        await (self._app if refused is None else refused)(scope, receive, send)

    def _refused(self, scope: Scope) -> Response | None:
        """Why a request is not let in; None where it is."""
        headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        host = header_of(headers, b"host")
        server = scope.get("server")
        if not self._access.is_host(host, server[0] if server else None):
            return _wrong_host(host)
        if scope["method"] not in _METHODS:
            return refusal(405, "method", "This server answers GET, HEAD and POST.")
        if not scope["path"].startswith(API):
            return None if scope["method"] != "POST" else refusal(405, "method", "Not with this method.")
        if header_of(headers, b"sec-fetch-site") not in _OUR_PAGE:
            return refusal(403, "foreign", "A page of another site asked for this.")
        is_bearer = self._access.is_bearer(header_of(headers, b"authorization"))
        if not is_bearer and not self._access.is_cookie(header_of(headers, b"cookie")):
            return refusal(
                401,
                "no_token",
                "Open the address that callsheet serve printed: it has the token. Programs send it as a bearer token.",
            )
        return self._refused_deed(headers, host, is_bearer=is_bearer) if scope["method"] == "POST" else None

    def _refused_deed(
        self, headers: Sequence[tuple[bytes, bytes]], host: str | None, *, is_bearer: bool
    ) -> Response | None:
        """Why nothing is done: no page of another site, nor of another port of this machine, can have it done."""
        origin = header_of(headers, b"origin")
        is_origin_missing = not any(name == b"origin" for name, _ in headers)
        if not (self._access.is_origin(origin, host) or (is_bearer and is_origin_missing)):
            return refusal(403, "foreign", "Only the page of this server, or a program with the token, can do this.")
        if header_of(headers, OURS) != "1":
            return refusal(403, "foreign", "The header X-Callsheet: 1 is missing.")
        kind = (header_of(headers, b"content-type") or "").partition(";")[0].strip().lower()
        if kind != "application/json":
            return refusal(415, "content_type", "The body is JSON, and its Content-Type application/json.")
        if not self._access.is_control:
            return refusal(
                403,
                "read_only",
                "These pages only show runs. To act on them from here, start callsheet serve with --control.",
            )
        return None


def _wrong_host(host: str | None) -> Response:
    said = "that name" if host is None else repr(one_line(host, _LONGEST_NAME))
    return refusal(
        421,
        "host",
        f"This server does not answer to {said}. Open the address that callsheet serve printed. If you come through a "
        "tunnel or a proxy under another name or port, start it with --allow-host NAME:PORT.",
    )


def _with_headers(send: Send, *, is_api: bool) -> Send:
    """Sends with the headers that every answer has, where it has no others."""

    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store" if is_api else "no-cache")
        await send(message)

    return send_with
