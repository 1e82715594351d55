from __future__ import annotations

import gzip
import json
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream

from callsheet.agents.mcp.limits import McpLimits
from callsheet.agents.mcp.pool import open_mcp
from callsheet.agents.tools.names import ToolFailure
from tests.support.deadline import within
from tests.support.mcp_http import mcp_over_http
from tests.support.mcp_stage import Person, everything, http_server, noted
from tests.support.web_site import Site, answer, open_site, redirect

pytestmark = pytest.mark.anyio


async def test_a_server_over_http_is_offered_and_called_like_any_other(tmp_path: Path) -> None:
    with within(30):
        async with mcp_over_http(tmp_path) as url:
            person = Person()
            async with open_mcp([http_server(url, Authorization="Bearer t0ken")], environ={}) as pool:
                offer = await pool.offer(everything)
                assert await pool.call("mcp__s__add", {"a": 1, "b": 2}, ask=person) == "3"
                with pytest.raises(ToolFailure, match="Error executing tool"):
                    await pool.call("mcp__s__fails", {}, ask=person)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(lambda: pool.call("mcp__s__hang", {}, ask=person))
                    await noted(tmp_path, "hanging")
                    tasks.cancel_scope.cancel("enough")
                await noted(tmp_path, "cancelled")
                await pool.call("mcp__s__change", {}, ask=person)
                await anyio.wait_all_tasks_blocked()
                while not person.asked:
                    await pool.call("mcp__s__add", {"a": 1, "b": 2}, ask=person)
            async with open_mcp([http_server(url)], environ={}) as pool:
                refused = await pool.offer(everything)
    assert len(offer.tools) == 10
    assert len(refused.notes) == 1
    assert "401" in refused.notes[0]


async def test_an_address_where_nobody_listens_is_told() -> None:
    async with open_site({}) as site:
        url = site.url("/mcp")
    with within():
        async with open_mcp([http_server(url)], environ={}) as pool:
            offer = await pool.offer(everything)
    assert offer.notes[0].startswith("MCP server s is not available: ")


@pytest.mark.parametrize(
    "sent",
    [
        answer(b"<html>", "text/html"),
        answer(b"{", "application/json"),
        answer(gzip.compress(b"{}"), "application/json", content_encoding="gzip"),
        redirect("http://127.0.0.1:1/mcp"),
        answer(b"", "application/json", status="500 Internal Server Error"),
        b"nonsense\r\n\r\n",
    ],
)
async def test_an_answer_that_is_none_is_told_and_ends_nothing_else(sent: bytes) -> None:
    with within():
        async with open_site({"/mcp": sent}) as site, open_mcp([http_server(site.url("/mcp"))], environ={}) as pool:
            offer = await pool.offer(everything)
    assert offer.tools == ()
    assert offer.notes[0].startswith("MCP server s is not available: ")


async def test_a_body_without_end_is_read_up_to_a_bound() -> None:
    async def endless(stream: ByteStream) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            await stream.send(b" " * 65536)

    with within():
        async with open_site({"/mcp": endless}) as site:
            async with open_mcp([http_server(site.url("/mcp"))], environ={}) as pool:
                offer = await pool.offer(everything)
            await site.until(lambda site: site.open == 0)
    assert "more than 16777216 bytes" in offer.notes[0]


class Older:
    """A server of the older protocol, by hand, which never answers some of what it is sent.

    Attributes:
        heard: Methods, of the protocol or of HTTP, in order.
    """

    def __init__(self, *silent_on: str) -> None:
        self._silent_on = silent_on
        self.heard: list[str] = []
        self.site: Site | None = None

    async def __call__(self, stream: ByteStream) -> None:
        assert self.site is not None
        head, _, body = self.site.requests[-1].partition("\r\n\r\n")
        method, asked = head.split(" ")[0], {}
        if method == "POST":
            while not body:
                body = (await stream.receive()).decode()
            asked = json.loads(body)
            method = asked["method"]
        self.heard.append(method)
        if method in self._silent_on:
            await anyio.sleep_forever()
        results: dict[str, object] = {
            "initialize": {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "older", "version": "1"},
            },
            "tools/list": {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]},
        }
        if method in results:
            said = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": results[method]}).encode()
            await stream.send(answer(said, "application/json", mcp_session_id="abc"))
        else:
            await stream.send(answer(b"", status="202 Accepted" if method != "GET" else "405 Method Not Allowed"))


async def test_a_server_that_does_not_let_go_is_left_in_time() -> None:
    older = Older("DELETE")
    with within():
        async with open_site({"/mcp": older}) as site:
            older.site = site
            async with open_mcp([http_server(site.url("/mcp"))], environ={}) as pool:
                offer = await pool.offer(everything)
                began = anyio.current_time()
            assert anyio.current_time() - began < 5
    assert "DELETE" in older.heard
    assert [tool.name for tool in offer.tools] == ["mcp__s__t"]


async def test_calls_to_a_server_that_takes_nothing_any_more_can_be_cancelled_at_once() -> None:
    older = Older("tools/call", "notifications/cancelled")
    with within():
        async with open_site({"/mcp": older}) as site:
            older.site = site
            async with open_mcp([http_server(site.url("/mcp"))], environ={}) as pool:
                for _ in range(3):
                    with within(2), anyio.move_on_after(0.2):
                        await pool.call("mcp__s__t", {}, ask=Person())
    assert "notifications/cancelled" in older.heard


async def test_a_flood_of_events_makes_the_server_wait() -> None:
    sent = 0

    async def flood(stream: ByteStream) -> None:
        nonlocal sent
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        event = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x" * 1000}}
        line = f"event: message\ndata: {json.dumps(event)}\n\n".encode()
        while True:
            await stream.send(line)
            sent += 1

    with within():
        async with (
            open_site({"/mcp": flood}) as site,
            open_mcp([http_server(site.url("/mcp"))], environ={}, limits=McpLimits(start_s=1)) as pool,
        ):
            await pool.offer(everything)
    assert sent < 10_000


async def test_a_server_over_http_that_never_answers_is_given_up() -> None:
    async def silent(stream: ByteStream) -> None:
        await stream.receive()
        await anyio.sleep_forever()

    with within():
        async with (
            open_site({"/mcp": silent}) as site,
            open_mcp([http_server(site.url("/mcp"))], environ={}, limits=McpLimits(start_s=0.3)) as pool,
        ):
            offer = await pool.offer(everything)
    assert "it did not start within 0.3 s" in offer.notes[0]


async def test_headers_of_the_configuration_are_sent_to_no_other_origin() -> None:
    async with open_site({"/mcp": answer(json.dumps({}).encode())}) as other, open_site({}) as site:
        site.routes["/mcp"] = redirect(other.url("/mcp"), "307 Temporary Redirect")
        with within():
            async with open_mcp([http_server(site.url("/mcp"), X_Secret="s")], environ={}) as pool:
                await pool.offer(everything)
    assert site.requests
    assert other.requests == []
