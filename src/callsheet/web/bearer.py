"""The door of a server for programs: who names it, shows the token, and is no page of another site, is let in."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from callsheet.views.safe_text import one_line
from callsheet.web.access import Access, header_of
from callsheet.web.faults import refusal

_LONGEST_NAME = 120


class BearerGuard:
    """Around an application that only programs use: every request shows the token as a bearer token."""

    def __init__(self, app: ASGIApp, *, access: Access, command: str) -> None:
        """Puts it there.

        Args:
            app: What is guarded.
            access: Who is let in.
            command: The command that serves it, for what is said to those who are not.
        """
        self._app = app
        self._access = access
        self._command = command

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request, or says why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        refused = self._refused(scope)
        await (self._app if refused is None else refused)(scope, receive, send)

    def _refused(self, scope: Scope) -> Response | None:
        headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        host = header_of(headers, b"host")
        server = scope.get("server")
        if not self._access.is_host(host, server[0] if server else None):
            said = "that name" if host is None else repr(one_line(host, _LONGEST_NAME))
            return refusal(
                421,
                "host",
                f"This server does not answer to {said}. Through a tunnel or proxy under another name, start "
                f"{self._command} with --allow-host NAME:PORT.",
            )
        has_origin = any(name == b"origin" for name, _ in headers)
        if has_origin and not self._access.is_origin(header_of(headers, b"origin"), host):
            return refusal(403, "foreign", "A page of another site asked for this.")
        if not self._access.is_bearer(header_of(headers, b"authorization")):
            answer = refusal(
                401, "no_token", f"Show the token that {self._command} printed: Authorization: Bearer TOKEN."
            )
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        return None
