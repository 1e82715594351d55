"""The Anthropic client, opened once for all agents of a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import anthropic
import httpx2

from callsheet.errors import BackendUnavailableError

LANES = 8
"""The HTTP client looks at every connection of its pool at the start and the end of each request, which at 256 agents
costs more than the request. Eight small pools cost next to nothing (measured: 5.7 against 2.6 ms a request)."""

CONNECTIONS_PER_LANE = 64
CONNECT_TIMEOUT_S = 15.0
KEEPALIVE_S = 60.0

ClientFactory: TypeAlias = Callable[[], Sequence[anthropic.AsyncAnthropic]]


def open_clients() -> Sequence[anthropic.AsyncAnthropic]:
    """One client a lane, with whatever credential, base URL and proxy the environment gives.

    They retry nothing by themselves: the conversation does, so that it can say that it waits.

    Raises:
        BackendUnavailableError: There is no credential, or a profile that cannot be read.
    """
    context = httpx2.create_ssl_context()
    limits = httpx2.Limits(
        max_connections=CONNECTIONS_PER_LANE,
        max_keepalive_connections=CONNECTIONS_PER_LANE,
        keepalive_expiry=KEEPALIVE_S,
    )

    def transport() -> httpx2.AsyncClient:
        return anthropic.DefaultAsyncHttpxClient(limits=limits, verify=context)

    try:
        first = anthropic.AsyncAnthropic(max_retries=0, open_telemetry=False, http_client=transport())
    except anthropic.AnthropicError as error:
        raise BackendUnavailableError(f"the credential cannot be used: {error}", cause="authentication") from error
    if first.api_key is None and first.auth_token is None and first.credentials is None:
        raise BackendUnavailableError(
            "there is no credential for the model service. Set ANTHROPIC_API_KEY, or run with --backend offline.",
            cause="authentication",
        )
    return [first, *(first.copy(http_client=transport()) for _ in range(LANES - 1))]


class Lanes:
    """Hands each agent the client with the fewest agents."""

    def __init__(self, clients: Sequence[anthropic.AsyncAnthropic]) -> None:
        self._clients = clients
        self._agents = [0] * len(clients)

    @contextmanager
    def lane(self) -> Iterator[anthropic.AsyncAnthropic]:
        """A client for the length of one agent."""
        index = self._agents.index(min(self._agents))
        self._agents[index] += 1
        try:
            yield self._clients[index]
        finally:
            self._agents[index] -= 1

    async def aclose(self) -> None:
        """Closes all connections."""
        for client in self._clients:
            await client.close()
