from __future__ import annotations

import anthropic
import pytest

from callsheet.agents.anthropic.client import LANES, Lanes, open_clients

pytestmark = pytest.mark.anyio


async def test_agents_are_spread_evenly_over_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    clients = open_clients()
    lanes = Lanes(clients)
    taken = [lanes.lane() for _ in range(2 * LANES)]
    chosen = [lane.__enter__() for lane in taken]
    assert all(chosen.count(client) == 2 for client in clients)
    taken[3].__exit__(None, None, None)
    with lanes.lane() as client:
        assert client is chosen[3], "the one with the fewest agents"
    for lane in taken[:3] + taken[4:]:
        lane.__exit__(None, None, None)
    await lanes.aclose()


async def test_clients_share_the_credential_and_retry_nothing_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://gateway.test/api")
    clients = open_clients()
    assert len(clients) == LANES
    assert {client.api_key for client in clients if isinstance(client, anthropic.AsyncAnthropic)} == {"k"}
    assert {client.max_retries for client in clients} == {0}
    assert {str(client.base_url) for client in clients} == {"http://gateway.test/api/"}
    assert len({id(client._client) for client in clients}) == LANES
    assert isinstance(clients[0], anthropic.AsyncAnthropic)
    await Lanes(clients).aclose()
