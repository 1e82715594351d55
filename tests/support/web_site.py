"""A web server on loopback that answers byte for byte what a test says.

::

    async with open_site({"/": html("<p>hello")}) as site:
        await fetcher.fetch(site.url("/"), allowed=site.is_local)
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import anyio
import anyio.lowlevel
import httpcore2
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener

from callsheet.agents.tools.names import ToolFailure

Served: TypeAlias = Callable[[ByteStream], Awaitable[None]]
"""Writes an answer by hand; the connection is closed when it returns."""


def answer(
    body: bytes, content_type: str | None = "text/plain; charset=utf-8", status: str = "200 OK", **headers: str
) -> bytes:
    """A whole answer; `content_encoding="gzip"` becomes a header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type is not None:
        named["Content-Type"] = content_type
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "Connection: close", "", ""]).encode("latin-1") + body


def html(page: str, **headers: str) -> bytes:
    """An HTML page."""
    return answer(page.encode(), "text/html; charset=utf-8", **headers)


def redirect(location: str, status: str = "302 Found") -> bytes:
    """A redirect."""
    return answer(b"", status=status, Location=location)


class Site:
    """A server at work.

    Attributes:
        requests: The head of each request, as text.
        names: The TLS server name of each connection.
        closed: How many connections have ended.
    """

    def __init__(self, routes: Mapping[str, bytes | Served], port: int, scheme: str) -> None:
        self.routes = dict(routes)
        self.port = port
        self.scheme = scheme
        self.requests: list[str] = []
        self.names: list[str | None] = []
        self.open = 0
        self._changed = anyio.Event()

    def url(self, path: str = "/", *, host: str = "127.0.0.1") -> str:
        """The address of a page of it."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    def is_local(self, target: str) -> bool:
        """As a rule that names this server's address and port, and nothing else."""
        return target == f"127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        """What was asked for."""
        return [head.split(" ")[1] for head in self.requests]

    async def until(self, condition: Callable[[Site], bool]) -> None:
        """Waits until it is so; looked at whenever a request comes or a connection ends."""
        while not condition(self):
            await self._changed.wait()

    async def serve(self, stream: ByteStream) -> None:
        """Answers one connection."""
        self.open += 1
        try:
            async with stream:
                head = b""
                with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                    while b"\r\n\r\n" not in head:
                        head += await stream.receive()
                    self._note(head.decode("latin-1"))
                    served = self.routes.get(self.paths[-1], answer(b"nothing here", status="404 Not Found"))
                    if isinstance(served, bytes):
                        await stream.send(served)
                    else:
                        await served(stream)
        finally:
            self.open -= 1
            self._tell()

    def _note(self, head: str) -> None:
        self.requests.append(head)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


@asynccontextmanager
async def open_site(
    routes: Mapping[str, bytes | Served], *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Site]:
    """A site with these pages, at a port of its own."""
    listener = await anyio.create_tcp_listener(local_host=host)
    port = listener.extra(SocketAttribute.local_port)
    site = Site(routes, port, "http" if tls is None else "https")
    async with listener, anyio.create_task_group() as tasks:
        if tls is None:
            tasks.start_soon(listener.serve, site.serve)
        else:
            tls.sni_callback = lambda _, name, __: site.names.append(name)
            tasks.start_soon(TLSListener(listener, tls, standard_compatible=False).serve, site.serve)
        failure: BaseException | None = None
        try:
            yield site
        except (AssertionError, OSError, ToolFailure, pytest.fail.Exception) as error:
            failure = error  # raised outside, so that a test's own failure comes as itself and not in a group
        tasks.cancel_scope.cancel("the test is over")
    if failure is not None:
        raise failure


class Names:
    """A resolver with its own idea of names; several answers for a name are given one after the other.

    Attributes:
        asked: The names that were looked up.
    """

    def __init__(self, **known: list[list[str]]) -> None:
        self._known = {name.replace("_", "."): answers for name, answers in known.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        await anyio.lowlevel.checkpoint()
        answers = self._known.get(host)
        if not answers:
            raise OSError("Name or service not known")
        return answers.pop(0) if len(answers) > 1 else answers[0]


class Streets(httpcore2.AnyIOBackend):
    """Leads public addresses, which tests must not reach, to sites on loopback.

    Attributes:
        walked: The addresses that were connected to, in order.
    """

    def __init__(self, **sites: Site) -> None:
        self._sites = {address.strip("_").replace("_", "."): site for address, site in sites.items()}
        self.walked: list[str] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.walked.append(host)
        if host not in self._sites:
            raise httpcore2.ConnectError("Connection refused")
        return await super().connect_tcp("127.0.0.1", self._sites[host].port, timeout)
