"""web_fetch: one page, as text."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

import anyio
import anyio.to_thread
import httpcore2
import httpx2

from callsheet.agents.tools.names import ToolFailure
from callsheet.agents.web.connect import Allowed, GuardedNetwork, Resolve, SystemResolver
from callsheet.agents.web.content import ContentType, Unpacker, decoded, kind_of
from callsheet.agents.web.html import MarkdownMaker
from callsheet.agents.web.targets import Target, read_target, redirected
from callsheet.model.dataclass import dataclass

MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_CLOSE_WITHIN_S = 1.0
_IN_LOOP_BYTES = 256 * 1024
_HEADERS = (
    (b"accept", b"text/markdown, text/html;q=0.9, text/plain;q=0.8, application/json;q=0.8, */*;q=0.5"),
    (b"accept-encoding", b"gzip"),
)
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """What one fetch may use.

    Attributes:
        body_bytes: Read of a page, unpacked.
        text_chars: Given to the agent at a time.
        connect_s: To a connection, name look-up included; again at each redirect.
        silence_s: Between two pieces of an answer.
        total_s: For everything but the conversion of HTML.
        convert_s: For that.
    """

    body_bytes: int = 5 * 1024 * 1024
    text_chars: int = 100_000
    connect_s: float = 10.0
    silence_s: float = 20.0
    total_s: float = 60.0
    convert_s: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What was found at an address.

    Attributes:
        url: Where it was found in the end.
        status: As the server gave it; the text of an error page is shown too.
        title: Of HTML.
        text: HTML as Markdown, everything else as it is.
        content_type: As the server said, without parameters.
        notes: For the agent: what was cut, replaced, or not followed.
    """

    url: str
    status: int
    title: str | None
    text: str
    content_type: str
    notes: tuple[str, ...]

    def shown(self) -> str:
        """What the page says, without our notes."""
        head = [f"URL: {self.url}", *([f"Title: {self.title}"] if self.title else [])]
        return "\n".join([*head, "", self.text]).rstrip()

    @property
    def note(self) -> str:
        """Our notes, as they stand after the page; empty where there are none."""
        return f"[{'; '.join(self.notes)}]" if self.notes else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    target: Target
    status: int
    content_type: ContentType
    body: bytes
    is_cut: bool
    elsewhere: str | None = None


class WebFetcher:
    """Fetches pages for all agents of a run. Holds no connections, cookies or credentials from one to the next.

    No proxy of the environment is used: it would look the name up again by itself, elsewhere, and an address that was
    judged here would not be the one that is connected to. Where one is set a failure to connect says so.

    Args:
        limits: Of each fetch.
        resolve: Finds the addresses of a name; None to ask the system.
        environ: The host's environment, in which proxies are looked for.
        tls: How servers prove who they are; None for the system's authorities.
        tcp: Connects to addresses that were judged.
        user_agent: How it calls itself to servers.
    """

    def __init__(
        self,
        *,
        limits: FetchLimits | None = None,
        resolve: Resolve | None = None,
        environ: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        tcp: httpcore2.AsyncNetworkBackend | None = None,
        user_agent: str = "callsheet",
    ) -> None:
        self._limits = limits if limits is not None else FetchLimits()
        self._resolve = resolve if resolve is not None else SystemResolver()
        self._proxy = next((name for name in _PROXIES if {name, name.lower()} & set(environ or ())), None)
        self._tls = tls
        self._making_tls = anyio.Lock()
        self._tcp = tcp if tcp is not None else httpcore2.AnyIOBackend()
        self._user_agent = user_agent.encode("ascii")
        self._markdown = MarkdownMaker(timeout_s=self._limits.convert_s)

    async def fetch(self, url: str, *, allowed: Allowed, start: int = 0) -> Page:
        """Fetches a page. That its host may be fetched from was decided before.

        Cancelling closes the connection at once.

        Args:
            url: Its address.
            allowed: Asked about hosts that it redirects to, and about addresses of this machine or network.
            start: The first character of its text that is given; pages longer than a limit come in parts.

        Raises:
            ToolFailure: It cannot be fetched, or leads where it must not (`denied`).
        """
        target = read_target(url)
        with anyio.move_on_after(self._limits.total_s) as total:
            answer = await self._followed(target, allowed)
        if total.cancelled_caught:
            raise ToolFailure(f"web_fetch: {target.url} did not come within {self._limits.total_s:g} s")
        return await self._page(answer, start)

    # --- HTTP ---------------------------------------------------------------------------------------------------------

    async def _followed(self, target: Target, allowed: Allowed) -> _Answer:
        """The answer at the end of all redirects, or at the first one that is not followed."""
        network = GuardedNetwork(resolve=self._resolve, allowed=allowed, tcp=self._tcp)
        granted = {target.host}
        async with self._pool(network) as pool:
            for _ in range(MAX_REDIRECTS + 1):
                answer = await self._asked(pool, target)
                if answer.elsewhere is None:
                    return answer
                onward = redirected(target, answer.elsewhere)
                is_weaker = target.scheme == "https" and onward.scheme == "http"
                if is_weaker or not (onward.host in granted or allowed(onward.host)):
                    return answer
                granted.add(onward.host)
                target = onward
        raise ToolFailure(f"web_fetch: more than {MAX_REDIRECTS} redirects, the last one to {target.url}")

    @asynccontextmanager
    async def _pool(self, network: GuardedNetwork) -> AsyncIterator[httpcore2.AsyncConnectionPool]:
        async with self._making_tls:
            if self._tls is None:  # 100 ms, once
                self._tls = await anyio.to_thread.run_sync(httpx2.create_ssl_context)
        pool = httpcore2.AsyncConnectionPool(
            ssl_context=self._tls, network_backend=network, max_connections=1, max_keepalive_connections=0
        )
        try:
            yield pool
        finally:
            with anyio.move_on_after(_CLOSE_WITHIN_S, shield=True):
                await pool.aclose()

    async def _asked(self, pool: httpcore2.AsyncConnectionPool, target: Target) -> _Answer:
        """One request and its answer; the body of a redirect is not read.

        Raises:
            ToolFailure: There is no answer, or none that can be read.
        """
        limits = self._limits
        times = {"connect": limits.connect_s, "read": limits.silence_s, "write": limits.silence_s}
        headers = [(b"host", target.place.encode("ascii")), (b"user-agent", self._user_agent), *_HEADERS]
        try:
            async with pool.stream("GET", target.url, headers=headers, extensions={"timeout": times}) as response:
                return await self._answer(target, response)
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
            hint = f" {self._proxy} is set, and is not used for this." if self._proxy is not None else ""
            raise ToolFailure(f"web_fetch: no connection to {target.place}: {_why(error)}.{hint}") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException) as error:
            raise ToolFailure(f"web_fetch: {target.url}: the server's answer broke off: {_why(error)}") from None

    async def _answer(self, target: Target, response: httpcore2.Response) -> _Answer:
        found = {name.lower(): value.decode("latin-1") for name, value in reversed(response.headers)}
        content_type = ContentType.read(found.get(b"content-type", ""))
        elsewhere = found.get(b"location") if response.status in _REDIRECTS else None
        unpacker = Unpacker(found.get(b"content-encoding", ""), limit_bytes=self._limits.body_bytes)
        if elsewhere is None:
            async for piece in response.aiter_stream():
                unpacker.take(piece)
                if unpacker.is_full:
                    break
        return _Answer(
            target=target,
            status=response.status,
            content_type=content_type,
            body=unpacker.body,
            is_cut=unpacker.is_full,
            elsewhere=elsewhere,
        )

    # --- text ---------------------------------------------------------------------------------------------------------

    async def _page(self, answer: _Answer, start: int) -> Page:
        if answer.elsewhere is not None:
            return _not_followed(answer)
        notes = [f"the server answered {_named(answer.status)}"] if not 200 <= answer.status < 300 else []
        if answer.is_cut:
            notes.append(f"the page has more than {self._limits.body_bytes} bytes; the rest was not read")
        title, text = await self._text(answer, notes)
        start = max(0, start)
        part = text[start : start + self._limits.text_chars]
        if len(part) < len(text):
            end = start + len(part)
            more = f"; for more ask again with start={end}" if end < len(text) else ""
            notes.append(f"characters {start} to {end} of {len(text)}{more}")
        elif not text:
            notes.append("the page has no text of its own; it may be made by its scripts, which are not run")
        return Page(
            url=answer.target.url,
            status=answer.status,
            title=title,
            text=part,
            content_type=answer.content_type.name,
            notes=tuple(notes),
        )

    async def _text(self, answer: _Answer, notes: list[str]) -> tuple[str | None, str]:
        """Title and text of the whole page."""
        kind = kind_of(answer.content_type, answer.body)
        is_markup = kind == "html" or answer.content_type.name.endswith("xml")
        if len(answer.body) <= _IN_LOOP_BYTES:
            source = decoded(answer.body, answer.content_type, is_markup=is_markup)
        else:
            source = await anyio.to_thread.run_sync(
                lambda: decoded(answer.body, answer.content_type, is_markup=is_markup), abandon_on_cancel=True
            )
        if kind == "text":
            return None, source
        page = await self._markdown.convert(source, url=answer.target.url)
        if page is None:
            notes.append("the page could not be turned into text within its limits; this is its HTML")
            return None, source
        return page.title, page.text


def _not_followed(answer: _Answer) -> Page:
    assert answer.elsewhere is not None
    onward = redirected(answer.target, answer.elsewhere)
    what = "without encryption" if onward.host == answer.target.host else f"on another host, {onward.host}"
    note = f"it redirects to {onward.url}, {what}, which was not followed; fetch that address itself if you need it"
    return Page(
        url=answer.target.url,
        status=answer.status,
        title=None,
        text="",
        content_type=answer.content_type.name,
        notes=(note,),
    )


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _why(error: Exception) -> str:
    cause = str(error) or type(error).__name__
    return " ".join(cause.split())[:300]
