"""Connections that lead only where they may: a name is looked up once, judged, and connected to as it was judged."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

import anyio
import anyio.to_thread
import httpcore2

from callsheet.agents.tools.names import ToolFailure
from callsheet.agents.web.addresses import Reach, reach_of

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Finds the addresses of a name, best first. Raises `OSError` where there are none."""

Allowed: TypeAlias = Callable[[str], bool]
"""Whether a person's rules allow something, which is one of two things.

`example.com`: a host, to which a page redirects. `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`: an address of this
machine or network with its port; to be allowed only by a rule that names exactly this, never by one for all hosts.
"""

MAX_ADDRESSES = 4
LOOKUPS_AT_ONCE = 32


class SystemResolver:
    """What the system's resolver says, looked up in threads of its own.

    A name whose servers are slow on purpose holds a thread for as long as the system is patient; those of the event
    loop are few, and every other connection of this process needs them.
    """

    def __init__(self) -> None:
        self._room = anyio.CapacityLimiter(LOOKUPS_AT_ONCE)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a name. Cancelling returns at once.

        Raises:
            OSError: There are none.
        """
        found = await anyio.to_thread.run_sync(_look_up, host, port, abandon_on_cancel=True, limiter=self._room)
        return list(dict.fromkeys(found))


def _look_up(host: str, port: int) -> list[str]:
    return [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class GuardedNetwork(httpcore2.AsyncNetworkBackend):
    """The only way out of a fetch. TLS and the request keep the name; the connection goes to a judged address.

    Args:
        resolve: Finds the addresses of a name.
        allowed: As `Allowed` says.
        tcp: Connects to an address.
    """

    def __init__(self, *, resolve: Resolve, allowed: Allowed, tcp: httpcore2.AsyncNetworkBackend) -> None:
        self._resolve = resolve
        self._allowed = allowed
        self._tcp = tcp

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connects to the first judged address that answers.

        Raises:
            ToolFailure: There is no such name, or it leads to nothing that may be reached.
            httpcore2.ConnectError, httpcore2.ConnectTimeout: Nobody answers.
        """
        try:
            with anyio.fail_after(timeout):
                addresses = await self._judged(host, port)
                for address in addresses[:-1]:
                    try:
                        return await self._tcp.connect_tcp(address, port, (timeout or 0) / len(addresses) or None)
                    except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                        continue
                return await self._tcp.connect_tcp(addresses[-1], port)
        except TimeoutError:
            raise httpcore2.ConnectTimeout(f"no connection within {timeout:g} s") from None

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Never."""
        raise ToolFailure("web_fetch: sockets of this machine are not reached", denied=True)

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await anyio.sleep(seconds)

    async def _judged(self, host: str, port: int) -> list[str]:
        """The addresses of a host that may be connected to, at least one."""
        found = await self._addresses(host, port)
        usable = [address for address in found if self._may_reach(host, address, port)]
        if usable:
            return usable[:MAX_ADDRESSES]
        local = next((address for address in found if reach_of(address) is Reach.LOCAL), None)
        if local is None:
            reason = f"web_fetch: {host} leads to {found[0]}, an address that is never fetched"
            raise ToolFailure(reason, denied=True, rule="address")
        rule = f"WebFetch(domain:{_place(local, port)})"
        raise ToolFailure(
            f"web_fetch: {host} leads to {local}, an address of this machine or network. Only a person's rule {rule} "
            "allows that.",
            denied=True,
            rule="local address",
            would_allow=(rule,),
        )

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        if _is_address(host):
            return [host]
        if _is_localhost(host):
            return ["127.0.0.1", "::1"]  # by definition, whatever a resolver says (RFC 6761)
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError):
            found = []
        if not found:
            raise ToolFailure(f"web_fetch: there is no host {host}, or its name cannot be looked up from here")
        return found

    def _may_reach(self, host: str, address: str, port: int) -> bool:
        match reach_of(address):
            case Reach.PUBLIC:
                return True
            case Reach.LOCAL:
                names = [address, *([host] if _is_localhost(host) else [])]
                return any(self._allowed(_place(name, port)) for name in names)
            case Reach.NEVER:
                return False


def _place(name: str, port: int) -> str:
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False


def _is_localhost(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")
