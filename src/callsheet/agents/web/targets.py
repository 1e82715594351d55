"""Addresses of pages, read strictly: anything that two readers could understand differently is refused."""

from __future__ import annotations

import re
from urllib.parse import quote, urljoin, urlsplit

from callsheet.agents.tools.names import ToolFailure
from callsheet.model.dataclass import dataclass

URL_LIMIT_CHARS = 8000
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_V6 = re.compile(r"[0-9a-f:.]*:[0-9a-f:.]*")
_KEPT = "%/:@!$&'()*+,;=-._~"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a request goes.

    Attributes:
        host: Lower-case ASCII without a final dot; IPv6 addresses without brackets. What permissions are asked about.
        path: With the query, percent-encoded.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def place(self) -> str:
        """Host and port as they stand in an address: `[::1]:8080`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def address(self) -> str:
        """Host and port, the port in every case: what rules about this machine or network name."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole address."""
        return f"{self.scheme}://{self.place}{self.path}"


def read_target(url: str) -> Target:
    """The target that an address names; its fragment is left out.

    Raises:
        ToolFailure: It is no address of the web, or one that could be understood in two ways.
    """
    if len(url) > URL_LIMIT_CHARS:
        raise ToolFailure(f"web_fetch: the address has more than {URL_LIMIT_CHARS} characters")
    shown = url if len(url) <= 200 else f"{url[:199]}…"
    if not url.isprintable() or re.search(r"[\s\\]", url):
        raise ToolFailure(f"web_fetch: {shown!r} holds blanks, backslashes or control characters; percent-encode them")
    try:
        parts = urlsplit(url)
        port, name = parts.port, parts.hostname or ""
    except ValueError as error:
        raise ToolFailure(f"web_fetch: {shown!r} is no address: {error}") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise ToolFailure(f"web_fetch: {shown!r} is not of the form https://host/path; only http and https are fetched")
    if parts.username is not None or parts.password is not None:
        raise ToolFailure("web_fetch: an address with a user or password in it is not fetched")
    if port == 0:
        raise ToolFailure(f"web_fetch: {shown!r} names port 0")
    path = quote(parts.path or "/", safe=_KEPT) + (f"?{quote(parts.query, safe=_KEPT + '?/')}" if parts.query else "")
    return Target(
        scheme=parts.scheme,
        host=_host(name, shown, is_bracketed="[" in parts.netloc),
        port=port if port is not None else _DEFAULT_PORTS[parts.scheme],
        path=path,
    )


def redirected(target: Target, location: str) -> Target:
    """Where a redirect leads.

    Raises:
        ToolFailure: As `read_target`.
    """
    try:
        url = urljoin(target.url, location.strip())
    except ValueError as error:
        raise ToolFailure(f"web_fetch: {target.url} redirects to what is no address: {error}") from None
    return read_target(url)


def _host(name: str, shown: str, *, is_bracketed: bool) -> str:
    host = name.lower().rstrip(".")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ToolFailure(f"web_fetch: the host of {shown!r} is no name of the internet") from None
    if not (_V6 if is_bracketed else _NAME).fullmatch(host):
        raise ToolFailure(f"web_fetch: the host of {shown!r} is no name of the internet")
    return host
