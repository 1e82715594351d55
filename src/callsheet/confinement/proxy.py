"""A proxy for HTTP and HTTPS that lets through to named hosts, at public addresses, and to nothing else.

What a name resolves to is looked up once, judged, and connected to as it was judged: a name that changes its mind in
between leads nowhere else. One request a connection, so that no second one travels under the first one's permission.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

import anyio
from anyio.abc import ByteStream

from callsheet.model.dataclass import dataclass

_HEAD_BYTES = 64 * 1024
_HEAD_WITHIN_S = 15.0
_CONNECT_WITHIN_S = 20.0
_IDLE_S = 600.0
_PIECE_BYTES = 64 * 1024
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_USUAL_PORTS = frozenset({80, 443})
_ODD_NETWORKS = tuple(
    ipaddress.ip_network(each)
    # Addresses within which others hide (NAT64, 6to4 and its relays, Teredo), those of a site, which Python takes for
    # global, and Azure's metadata service, which is a public one.
    for each in (
        *("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "192.88.99.0/24", "2001::/32"),
        *("fec0::/10", "168.63.129.16/32"),
    )
)

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
Connect = Callable[[str, int], Awaitable[ByteStream]]


class _RefusedError(Exception):
    """What the command is told, with its status."""

    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    host: str
    port: int
    forwarded: bytes


async def _resolve(host: str, port: int) -> Sequence[str]:
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def _connect(address: str, port: int) -> ByteStream:
    return await anyio.connect_tcp(address, port)


class FilterProxy:
    """Answers connections of one command.

    Args:
        hosts: Patterns as in `NetworkHosts`.
        resolve: Finds the addresses of a name.
        connect: Connects to one of them.
    """

    def __init__(self, hosts: Sequence[str], *, resolve: Resolve = _resolve, connect: Connect = _connect) -> None:
        self._hosts = tuple(each.lower().rstrip(".") for each in hosts)
        self._resolve = resolve
        self._connect = connect

    def allows(self, host: str, port: int) -> bool:
        """Whether a pattern names this host and port."""
        return any(_matches(pattern, host.lower().rstrip("."), port) for pattern in self._hosts)

    async def serve(self, client: ByteStream) -> None:
        """Answers one connection to its end, or the end of a long silence. Never raises for what a peer does."""
        try:
            with anyio.fail_after(_HEAD_WITHIN_S):
                head, rest = await _read_head(client)
                request = _parse(head)
            with anyio.fail_after(_CONNECT_WITHIN_S):
                upstream = await self._open(request)
        except _RefusedError as refused:
            await _refuse(client, refused)
            return
        except TimeoutError:
            await _refuse(client, _RefusedError("504 Gateway Timeout", "no answer in time"))
            return
        except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
            return
        async with upstream:
            try:
                if request.method == "CONNECT":
                    await client.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    await _join(client, upstream, rest)
                else:
                    await _join(client, upstream, request.forwarded + rest)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return

    async def _open(self, request: _Request) -> ByteStream:
        if not self.allows(request.host, request.port):
            raise _RefusedError("403 Forbidden", f"{request.host}:{request.port} is not among the allowed hosts")
        try:
            addresses = await self._resolve(request.host, request.port)
        except OSError as error:
            raise _RefusedError("502 Bad Gateway", f"{request.host} cannot be resolved: {error}") from None
        if not addresses or not all(map(is_public, addresses)):
            raise _RefusedError("403 Forbidden", f"{request.host} leads to an address that is not public")
        try:
            return await self._connect(addresses[0], request.port)
        except OSError as error:
            raise _RefusedError("502 Bad Gateway", f"{request.host} cannot be reached: {error}") from None


def is_public(address: str) -> bool:
    """Whether an address is one of the internet at large: not this machine, this network, or a metadata service."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if any(found.version == odd.version and found in odd for odd in _ODD_NETWORKS):
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved


def _matches(pattern: str, host: str, port: int) -> bool:
    name, _, asked = pattern.partition(":")
    if port not in ({int(asked)} if asked.isdigit() else _USUAL_PORTS):
        return False
    if name.startswith("*."):
        return host.endswith(name[1:]) and host != name[2:]
    return host == name


async def _read_head(client: ByteStream) -> tuple[bytes, bytes]:
    found = b""
    while b"\r\n\r\n" not in found:
        if len(found) > _HEAD_BYTES:
            raise _RefusedError("431 Request Header Fields Too Large", "the request's head is too large")
        found += await client.receive(_PIECE_BYTES)
    head, _, rest = found.partition(b"\r\n\r\n")
    return head, rest


def _parse(head: bytes) -> _Request:
    try:
        first, *lines = head.decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        raise _RefusedError("400 Bad Request", "the request's head is not plain text") from None
    method, _, more = first.partition(" ")
    target, _, version = more.rpartition(" ")
    if not _TOKEN.fullmatch(method) or version not in ("HTTP/1.1", "HTTP/1.0") or not target.isprintable():
        raise _RefusedError("400 Bad Request", "the request line is not understood")
    try:
        if method == "CONNECT":
            place = urlsplit(f"//{target}")
            return _Request(method, _host(place.hostname), place.port or 443, b"")
        place = urlsplit(target)
        if place.scheme != "http" or " " in target:
            raise ValueError
        host, port = _host(place.hostname), place.port or 80
    except ValueError:
        raise _RefusedError("400 Bad Request", "the request names no host that is understood") from None
    path = (place.path or "/") + (f"?{place.query}" if place.query else "")
    return _Request(method, host, port, _rewritten(method, path, host, port, lines))


def _host(name: str | None) -> str:
    name = (name or "").rstrip(".").lower()
    if not _NAME.fullmatch(name):
        raise ValueError
    return name


def _rewritten(method: str, path: str, host: str, port: int, lines: list[str]) -> bytes:
    dropped = {"host", "connection", "proxy-connection", "proxy-authorization", "keep-alive", "upgrade", "te"}
    kept = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or "\n" in value or "\r" in value:
            raise _RefusedError("400 Bad Request", "a header is not understood")
        if name.lower() not in dropped:
            kept.append(line)
    where = host if port == 80 else f"{host}:{port}"
    head = [f"{method} {path} HTTP/1.1", f"Host: {where}", *kept, "Connection: close", "", ""]
    return "\r\n".join(head).encode("ascii")


async def _refuse(client: ByteStream, refused: _RefusedError) -> None:
    body = f"callsheet: {refused.why}\n".encode()
    head = f"HTTP/1.1 {refused.status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    with anyio.move_on_after(_HEAD_WITHIN_S):
        try:
            await client.send(head.encode("ascii") + b"Connection: close\r\n\r\n" + body)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return


async def _join(client: ByteStream, upstream: ByteStream, first: bytes) -> None:
    """Carries bytes both ways until both have ended, or nothing has moved for long."""
    if first:
        await upstream.send(first)
    with anyio.CancelScope(deadline=anyio.current_time() + _IDLE_S) as idle:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_carry, client, upstream, idle)
            tasks.start_soon(_carry, upstream, client, idle)


async def _carry(source: ByteStream, sink: ByteStream, idle: anyio.CancelScope) -> None:
    try:
        while True:
            piece = await source.receive(_PIECE_BYTES)
            await sink.send(piece)
            idle.deadline = anyio.current_time() + _IDLE_S
    except anyio.EndOfStream:
        try:
            await sink.send_eof()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            idle.cancel("the other side is gone")
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        idle.cancel("the connection broke")
