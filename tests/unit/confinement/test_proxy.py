from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute, SocketStream

from callsheet.confinement.proxy import FilterProxy, is_public
from tests.support.deadline import within

pytestmark = pytest.mark.anyio

_PUBLIC = "93.184.216.34"


class Net:
    """Names and addresses as a test wants them; every connection ends at one server on loopback."""

    def __init__(self, names: dict[str, list[str]], port: int) -> None:
        self._names = names
        self._port = port
        self.connected: list[tuple[str, int]] = []

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        if host not in self._names:
            raise socket.gaierror(-2, "unknown")
        return self._names[host]

    async def connect(self, address: str, port: int) -> ByteStream:
        self.connected.append((address, port))
        return await anyio.connect_tcp("127.0.0.1", self._port)


@asynccontextmanager
async def world(names: dict[str, list[str]], hosts: Sequence[str]) -> AsyncIterator[tuple[Net, int, list[bytes]]]:
    """A proxy on a port, and an origin that answers each connection with what it was sent."""
    heard: list[bytes] = []

    async def origin(stream: SocketStream) -> None:
        async with stream:
            piece = await stream.receive()
            heard.append(piece)
            await stream.send(b"HTTP/1.1 200 OK\r\n\r\nhello " + piece[:4])

    back = await anyio.create_tcp_listener(local_host="127.0.0.1")
    front = await anyio.create_tcp_listener(local_host="127.0.0.1")
    net = Net(names, back.extra(SocketAttribute.local_port))
    proxy = FilterProxy(hosts, resolve=net.resolve, connect=net.connect)

    async def serve(stream: SocketStream) -> None:
        async with stream:
            await proxy.serve(stream)

    async with back, front, anyio.create_task_group() as tasks:
        tasks.start_soon(back.serve, origin)
        tasks.start_soon(front.serve, serve)
        yield net, front.extra(SocketAttribute.local_port), heard
        tasks.cancel_scope.cancel()


async def ask(port: int, request: bytes) -> bytes:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(request)
        found = b""
        while True:
            try:
                found += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return found


async def test_a_plain_request_reaches_an_allowed_host_at_the_address_that_was_judged() -> None:
    with within():
        async with world({"example.com": [_PUBLIC]}, ["example.com"]) as (net, port, heard):
            answer = await ask(
                port,
                b"GET http://example.com/a?b=c HTTP/1.1\r\nHost: evil.test\r\nX-A: 1\r\nProxy-Authorization: x\r\n\r\n",
            )
    assert answer.endswith(b"hello GET ")
    assert net.connected == [(_PUBLIC, 80)]
    assert heard == [b"GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nX-A: 1\r\nConnection: close\r\n\r\n"]


async def test_a_tunnel_carries_bytes_both_ways() -> None:
    with within():
        async with world({"a.example.com": [_PUBLIC]}, ["*.example.com"]) as (net, port, heard):
            answer = await ask(port, b"CONNECT a.example.com:443 HTTP/1.1\r\n\r\n\x16\x03data")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert heard == [b"\x16\x03data"]
    assert net.connected == [(_PUBLIC, 443)]


@pytest.mark.parametrize(
    "request_line",
    [
        "CONNECT evil.test:443", "CONNECT example.com:22", "CONNECT example.com.evil.test:443",
        "CONNECT other.example.com:443",
        "CONNECT xexample.com:443", "CONNECT 93.184.216.34:443", "CONNECT [::1]:443",
        "CONNECT example.com@evil.test:443",
        "CONNECT evil.test#example.com:443", "GET http://evil.test/?http://example.com/", "GET http://example.com:8080/",
        "GET http://user@evil.test/", "GET /relative", "GET https://example.com/", "GET file:///etc/passwd", "CONNECT",
        "CONNECT inside.example.org:443", "CONNECT mixed.example.org:443", "CONNECT meta.example.org:443",
        "CONNECT missing.example.org:443", "GET http://example.com /x", "CONNECT ex\u00e4mple.com:443",
    ],
)  # fmt: skip
async def test_everything_else_is_refused_without_a_connection(request_line: str) -> None:
    names = {
        "example.com": [_PUBLIC],
        "evil.test": [_PUBLIC],
        "inside.example.org": ["10.0.0.1"],
        "mixed.example.org": [_PUBLIC, "127.0.0.1"],
        "meta.example.org": ["169.254.169.254"],
    }
    with within():
        async with world(names, ["example.com", "*.example.org"]) as (net, port, heard):
            answer = await ask(port, f"{request_line} HTTP/1.1\r\nHost: example.com\r\n\r\n".encode())
    assert answer.split(b" ")[1] in (b"400", b"403", b"502"), answer
    assert (net.connected, heard) == ([], [])


@pytest.mark.parametrize("header", ["Host : x", " folded: x", "no colon", "A: b\nHost: evil.test"])
async def test_headers_that_could_be_read_in_two_ways_are_refused(header: str) -> None:
    with within():
        async with world({"example.com": [_PUBLIC]}, ["example.com"]) as (net, port, _):
            answer = await ask(port, f"GET http://example.com/ HTTP/1.1\r\n{header}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert net.connected == []


async def test_a_head_without_end_is_refused() -> None:
    with within():
        async with world({}, []) as (_, port, _heard):
            answer = await ask(port, b"GET http://example.com/ HTTP/1.1\r\nA: " + b"x" * 70_000)
    assert answer[:12] in (b"HTTP/1.1 431", b"")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "100.100.100.200", "168.63.129.16", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1",
        "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254",
        "ff02::1", "fec0::1", "192.88.99.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:1::1", "2001:db8::1",
        "not an address", "",
    ],
)  # fmt: skip
def test_addresses_of_this_machine_and_network_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", [_PUBLIC, "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:8.8.8.8"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


def test_patterns_name_hosts_and_ports() -> None:
    proxy = FilterProxy(["Example.com", "*.example.org:8443"])
    assert proxy.allows("EXAMPLE.com.", 443) and proxy.allows("example.com", 80)
    assert not proxy.allows("example.com", 8443) and not proxy.allows("a.example.com", 443)
    assert proxy.allows("a.b.example.org", 8443) and not proxy.allows("a.example.org", 443)
    assert not proxy.allows("example.org", 8443)
