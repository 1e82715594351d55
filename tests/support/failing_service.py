"""A model service that fails half of the time, drops connections and stalls streams; and what its client sent when."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import anthropic
import httpx2

from tests.support.messages_replies import Hang, Received, Refuse, Reply, Respond, Say

SENT_S = "x-sent-s"
"""The header that says when a request was handed to the transport."""


@dataclass
class HalfOfTheTime:
    """Answers by `good` until it has done so `window` times, then fails for as long as that took, and so on.

    It fails for no longer than `bad_s` at a time: a busy machine takes long enough for the good times.

    Failures take turns: 429 with a time to wait, 529, a reset connection. While it is well, too, now and then a
    connection is lost in the middle of a reply, and a reply falls silent.

    Attributes:
        failed: Requests that it did not answer to the end, by kind.
    """

    good: Respond
    window: int
    drop_every: int = 0
    stall_every: int = 0
    retry_after_ms: int = 300
    bad_s: float = 4.0
    failed: dict[str, int] = field(default_factory=dict)
    _begun_s: float | None = None
    _bad_until_s: float = 0.0
    _count: int = 0

    def __call__(self, request: Received) -> Reply:
        now_s = time.monotonic()
        if now_s < self._bad_until_s:
            return self._bad()
        if self._begun_s is None:
            self._begun_s = now_s
        self._count += 1
        if self._count % self.window == 0:
            self._bad_until_s, self._begun_s = now_s + min(now_s - self._begun_s, self.bad_s), None
        reply = self.good(request)
        if isinstance(reply, Say):
            if self.drop_every and self._count % self.drop_every == 0:
                self._note("dropped")
                return replace(reply, cut_after=2, cut="close")
            if self.stall_every and self._count % self.stall_every == 0:
                self._note("stalled")
                return replace(reply, cut_after=2, cut="silence")
        return reply

    def _bad(self) -> Reply:
        kind = ("rate limit", "overloaded", "reset")[sum(self.failed.values()) % 3]
        self._note(kind)
        if kind == "rate limit":
            headers = {"retry-after-ms": str(self.retry_after_ms)}
            return Refuse(429, "rate_limit_error", "slow down", headers)
        return Refuse(529, "overloaded_error", "Overloaded") if kind == "overloaded" else Hang(reset=True)

    def _note(self, kind: str) -> None:
        self.failed[kind] = self.failed.get(kind, 0) + 1


class Sending(httpx2.AsyncBaseTransport):
    """The real transport, which remembers when each request was handed to it: what the service sees comes after."""

    def __init__(self) -> None:
        self._inner = httpx2.AsyncHTTPTransport()
        self.sent_s: list[float] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.sent_s.append(time.monotonic())
        request.headers[SENT_S] = str(self.sent_s[-1])
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def client(self, base_url: str) -> anthropic.AsyncAnthropic:
        http_client = anthropic.DefaultAsyncHttpxClient(transport=self)
        return anthropic.AsyncAnthropic(base_url=base_url, api_key="test", max_retries=0, http_client=http_client)
