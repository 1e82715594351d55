"""The Anthropic client, opened once for all agents of a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias, cast

import anthropic
import httpx2
from anthropic.resources.beta import AsyncMessages

from callsheet.agents.anthropic.faults import BAD_ADDRESS
from callsheet.agents.services import address_remedy
from callsheet.errors import BackendUnavailableError
from callsheet.model.call import ServiceName

LANES = 8
"""The HTTP client looks at every connection of its pool at the start and the end of each request, which at 256 agents
costs more than the request. Eight small pools cost next to nothing (measured: 5.7 against 2.6 ms a request)."""

CONNECTIONS_PER_LANE = 64
CONNECT_TIMEOUT_S = 15.0
KEEPALIVE_S = 60.0
_LAST_PORT = 65_535

Client: TypeAlias = (
    anthropic.AsyncAnthropic
    | anthropic.AsyncAnthropicBedrock
    | anthropic.AsyncAnthropicBedrockMantle
    | anthropic.AsyncAnthropicVertex
)
"""The SDK's own clients; that for Microsoft Foundry is an `AsyncAnthropic`."""


def messages_of(client: Client) -> AsyncMessages:
    """The client's messages. All clients have the same function there, which the SDK's types do not say."""
    return cast(AsyncMessages, client.beta.messages)


ClientFactory: TypeAlias = Callable[[], Sequence[Client]]


def open_clients(service: ServiceName = "anthropic") -> Sequence[Client]:
    """One client a lane, with whatever credential, base URL and proxy the environment gives.

    They retry nothing by themselves: the conversation does, so that it can say that it waits.

    Args:
        service: Where models are had.

    Raises:
        BackendUnavailableError: There is no credential, or one that cannot be read; or an address is none.
    """
    context = httpx2.create_ssl_context()
    limits = httpx2.Limits(
        max_connections=CONNECTIONS_PER_LANE,
        max_keepalive_connections=CONNECTIONS_PER_LANE,
        keepalive_expiry=KEEPALIVE_S,
    )

    def transport() -> httpx2.AsyncClient:
        try:
            return anthropic.DefaultAsyncHttpxClient(limits=limits, verify=context)
        except (httpx2.InvalidURL, ValueError, ImportError) as error:
            raise BackendUnavailableError(_bad_proxy(error), cause="address") from error

    try:
        first = _open(service, transport())
        _check_port(first.base_url)
    except httpx2.InvalidURL as error:
        raise BackendUnavailableError(f"{BAD_ADDRESS}: {error}. {address_remedy(service)}", cause="address") from error
    return [first, *(first.copy(http_client=transport()) for _ in range(LANES - 1))]


def _bad_proxy(error: Exception) -> str:
    """The client reads the environment for proxies when it is made, and knows no error of its own for them."""
    reason = "a SOCKS proxy needs the package `socksio`" if isinstance(error, ImportError) else error
    remedy = "Check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY"
    return f"the proxy that the environment names cannot be used: {reason}. {remedy}"


def _check_port(url: httpx2.URL) -> None:
    """Finds before a request what connecting would only report as a fault of the system's call."""
    if url.port is not None and not 0 < url.port <= _LAST_PORT:
        raise httpx2.InvalidURL(f"Invalid port: '{url.port}'")


def _open(service: ServiceName, http_client: httpx2.AsyncClient) -> Client:
    if service == "anthropic":
        return _open_anthropic(http_client)
    from callsheet.agents.anthropic import platforms

    match service:
        case "bedrock":
            return platforms.open_bedrock(http_client)
        case "bedrock-mantle":
            return platforms.open_mantle(http_client)
        case "vertex":
            return platforms.open_vertex(http_client)
        case "foundry":
            return platforms.open_foundry(http_client)


def _open_anthropic(http_client: httpx2.AsyncClient) -> anthropic.AsyncAnthropic:
    try:
        client = anthropic.AsyncAnthropic(max_retries=0, open_telemetry=False, http_client=http_client)
    except anthropic.AnthropicError as error:
        raise BackendUnavailableError(f"the credential cannot be used: {error}", cause="authentication") from error
    if client.api_key is None and client.auth_token is None and client.credentials is None:
        raise BackendUnavailableError(
            "there is no credential for the model service. Set ANTHROPIC_API_KEY, or run with --backend offline.",
            cause="authentication",
        )
    return client


class Lanes:
    """Hands each agent the client with the fewest agents."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self._clients = clients
        self._agents = [0] * len(clients)

    @contextmanager
    def lane(self) -> Iterator[Client]:
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
