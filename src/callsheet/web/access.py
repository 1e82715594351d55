"""Who may see what is served: the token, the cookie it is exchanged for, and the names this server answers to. Pure."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from callsheet.model.dataclass import dataclass

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
SHORTEST_TOKEN = 32
_BEARER = "bearer "
_WITH_PORT = re.compile(r"(?:\[[^\]]*\]|[^:]*):[0-9]+")


def new_token() -> str:
    """A token that nobody guesses: 256 bits."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who is let in.

    Attributes:
        token: What a program shows, and a browser exchanges for a cookie.
        address: Where the server listens: an address, or the name that was given for it.
        port: Where the server listens: other servers on this machine have cookies of their own.
        hosts: Names that it answers to, besides its own address, as they stand in a `Host` header, in small letters.
        is_control: Runs may be acted upon, not only looked at.
    """

    token: str
    address: str
    port: int
    hosts: frozenset[str]
    is_control: bool = False

    def __post_init__(self) -> None:
        if len(self.token) < SHORTEST_TOKEN or not self.token.isascii():
            raise ValueError(f"a token has {SHORTEST_TOKEN} ASCII characters or more")

    @property
    def url(self) -> str:
        """The address to open in a browser. It holds the token."""
        address = "127.0.0.1" if self.address in ("0.0.0.0", "::", "") else self.address
        return f"http://{authority(address, self.port)}/?token={self.token}"

    # --- who --------------------------------------------------------------------------------------------------------

    @property
    def cookie_name(self) -> str:
        """Of the cookie; browsers do not keep ports apart."""
        return f"callsheet_{self.port}"

    @property
    def cookie(self) -> str:
        """What the cookie holds. The token cannot be found from it."""
        return hmac.new(self.token.encode("ascii"), b"callsheet browser cookie 1", hashlib.sha256).hexdigest()

    def set_cookie(self) -> str:
        """The `Set-Cookie` that lets a browser in, until it is closed: not for scripts, not for other sites."""
        return f"{self.cookie_name}={self.cookie}; Path=/; HttpOnly; SameSite=Strict"

    def is_token(self, shown: str) -> bool:
        """Whether it is the token; takes as long for any other of its length."""
        return hmac.compare_digest(shown.encode("utf-8", "replace"), self.token.encode("ascii"))

    def is_bearer(self, header: str | None) -> bool:
        """Whether an `Authorization` header shows the token."""
        return (
            header is not None
            and header[: len(_BEARER)].lower() == _BEARER
            and self.is_token(header[len(_BEARER) :].strip())
        )

    def is_cookie(self, header: str | None) -> bool:
        """Whether a `Cookie` header has ours."""
        if header is None:
            return False
        # Other servers of this machine may have set what they like beside it, and under its name too.
        said = [part.strip().partition("=") for part in header.split(";")]
        ours = self.cookie.encode("ascii")
        return any(
            hmac.compare_digest(value.encode("utf-8", "replace"), ours)
            for name, _, value in said
            if name == self.cookie_name
        )

    # --- where ------------------------------------------------------------------------------------------------------

    def is_host(self, header: str | None, address: str | None) -> bool:
        """Whether a `Host` header names this server.

        A page of another site can have a name of its own lead to this address (DNS rebinding); then the browser says
        that name. The address itself, which no name service can give away, is always ours.

        Args:
            header: As it came.
            address: That the connection came in at.
        """
        if header is None:
            return False
        said = header.lower()
        return said in self.hosts or (address is not None and said == authority(address, self.port))

    def is_origin(self, origin: str | None, host: str | None) -> bool:
        """Whether an `Origin` header is the page that this server gave out under that `Host`."""
        if origin is None or host is None:
            return False
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and origin.lower() == f"{parts.scheme}://{host.lower()}"


def access_for(
    *, token: str | None, address: str, port: int, allowed: Sequence[str] = (), is_control: bool = False
) -> Access:
    """Who is let in to a server at an address.

    Args:
        token: The token; None for a new one.
        address: Where it listens: an address, or the name that was given for it.
        port: The port.
        allowed: Further names that it answers to: with a port for just that one, without for its own or none at all.
        is_control: As `Access` has it.
    """
    names = {f"{name}:{port}" for name in LOOPBACK_NAMES}
    names.add(authority(address, port))
    if port == 80:  # browsers leave it out
        names |= {*LOOPBACK_NAMES, authority(address, port).rpartition(":")[0]}
    for name in allowed:
        names |= {name.lower()} if _WITH_PORT.fullmatch(name) else {name.lower(), f"{name.lower()}:{port}"}
    return Access(token=token or new_token(), address=address, port=port, hosts=frozenset(names), is_control=is_control)


def authority(address: str, port: int) -> str:
    """An address and a port as they stand in a URL and in a `Host` header."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}".lower()


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def header_of(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The one header of that name; None where there is none, or, since nobody can say which counts, several."""
    found = [value for key, value in headers if key == name]
    return found[0].decode("latin-1") if len(found) == 1 else None


HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""On every answer, where it does not say otherwise itself: nothing from elsewhere, shown nowhere else, told nobody."""
