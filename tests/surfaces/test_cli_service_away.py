"""A service that is not there: what a person sees at once, and what is wrong with an address that is none."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.support.deadline import within
from tests.support.live_run import live_run
from tests.surfaces.command import Command
from tests.surfaces.terminal import Terminal

BODY = "return await parallel([1, 2, 3].map(n => () => agent('task ' + n)))"
KEY = {"ANTHROPIC_API_KEY": "k" * 30}


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.anyio
@pytest.mark.contract("K02")
async def test_without_a_network_the_first_pause_says_where_no_connection_came_about(
    command: Command, nowhere: str
) -> None:
    environ = KEY | {"ANTHROPIC_BASE_URL": nowhere}
    waiting = None
    async with live_run(command, BODY, "--backend", "anthropic", environ=environ) as run:
        with within(60):
            while (event := await run.next()) is not None and waiting is None:
                waiting = event if event["event"] == "agent.waiting" else None
    assert waiting is not None
    assert waiting["why"] == "service"
    assert waiting["reason"].startswith(f"no connection to {nowhere}: Connection refused. Check the network")
    assert waiting["until"] is not None


def test_in_a_terminal_it_is_said_once_above_the_agents_that_wait(command: Command, nowhere: str) -> None:
    command.environ |= KEY | {"ANTHROPIC_BASE_URL": nowhere}
    with Terminal(command, "run", command.script(BODY), "--yes") as terminal:
        terminal.wait_for(f"service: no connection to {nowhere}: Connection refused.", "ANTHROPIC_BASE_URL", "waits")
        terminal.type("\x03")
        assert terminal.end().count("no connection to") == 1
    assert terminal.process.returncode == 130


@pytest.mark.parametrize("address", ["localhost:8080", "http://127.0.0.1:99999", "http://127.0.0.1:80x", "http://[::1"])
def test_an_address_that_is_none_ends_the_run_at_once_and_names_what_to_set(command: Command, address: str) -> None:
    name = command.script(BODY)
    done = command("run", name, "--output", "json", environ=KEY | {"ANTHROPIC_BASE_URL": address})
    assert (done.status, done.json["status"], done.json["result"]) == (6, "interrupted", None), done.err
    message = done.json["error"]["message"]
    assert "the address of the model service cannot be used" in message
    assert "ANTHROPIC_BASE_URL is to be a whole address, such as https://api.anthropic.com" in message


@pytest.mark.parametrize("proxy", ["ftp://proxy.test", "http://proxy.test:31x", "socks5://127.0.0.1:9"])
def test_a_proxy_that_is_none_ends_the_run_at_once_and_names_what_to_check(command: Command, proxy: str) -> None:
    name = command.script(BODY)
    done = command("run", name, "--output", "json", environ=KEY | {"HTTPS_PROXY": proxy})
    assert (done.status, done.json["status"], done.json["result"]) == (6, "interrupted", None), done.err
    message = done.json["error"]["message"]
    assert "the proxy that the environment names cannot be used" in message
    assert "Check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY" in message
    assert ("socksio" in message) == proxy.startswith("socks")
