from __future__ import annotations

import gzip
import json

import anyio
import pytest
from anyio.abc import ByteStream

from callsheet.agents.tools.names import ToolFailure
from callsheet.agents.web.fetch import FetchLimits, Page, WebFetcher
from tests.support.deadline import within
from tests.support.web_site import Names, Streets, answer, html, open_site, redirect

pytestmark = pytest.mark.anyio


def never(_: str) -> bool:
    return False


async def test_a_page_comes_as_markdown_with_its_title_and_absolute_links() -> None:
    page = "<title>The &amp; title</title><h1>Head</h1><p>See <a href='../x?y=1'>this</a>.<script>evil()</script>"
    async with open_site({"/a/b": html(page)}) as site:
        with within():
            found = await WebFetcher().fetch(site.url("/a/b"), allowed=site.is_local)
    assert found == Page(
        url=site.url("/a/b"),
        status=200,
        title="The & title",
        text=f"# Head\n\nSee [this]({site.url('/x?y=1')}).",
        content_type="text/html",
        notes=(),
    )
    assert found.shown() == f"URL: {found.url}\nTitle: The & title\n\n{found.text}"


async def test_json_and_plain_text_come_as_they_are() -> None:
    data = json.dumps({"a": [1, 2]}, indent=2)
    async with open_site({"/j": answer(data.encode(), "application/json"), "/t": answer(b"a <b> c")}) as site:
        with within():
            assert (await WebFetcher().fetch(site.url("/j"), allowed=site.is_local)).text == data
            assert (await WebFetcher().fetch(site.url("/t"), allowed=site.is_local)).text == "a <b> c"


async def test_a_request_says_who_asks_and_carries_no_credentials() -> None:
    async with open_site({"/?q=1": answer(b"x", set_cookie="a=b")}) as site:
        with within():
            fetcher = WebFetcher(environ={"ANTHROPIC_API_KEY": "sk-secret"})
            await fetcher.fetch(site.url("?q=1#part"), allowed=site.is_local)
            await fetcher.fetch(site.url("?q=1"), allowed=site.is_local)
    head = site.requests[1].lower()
    assert head.startswith("get /?q=1 http/1.1\r\n")
    assert f"host: 127.0.0.1:{site.port}\r\n" in head
    assert "user-agent: callsheet\r\n" in head
    assert "cookie" not in head
    assert "authorization" not in head


async def test_the_text_of_an_error_page_is_given_with_its_status() -> None:
    async with open_site({}) as site:
        with within():
            found = await WebFetcher().fetch(site.url("/no"), allowed=site.is_local)
    assert (found.status, found.text) == (404, "nothing here")
    assert found.notes == ("the server answered 404 Not Found",)


async def test_a_long_page_comes_in_parts_that_say_where_the_next_begins() -> None:
    limits = FetchLimits(text_chars=10)
    async with open_site({"/": answer(b"abcdefghijklmnopqrstuvwxyz")}) as site:
        with within():
            fetcher = WebFetcher(limits=limits)
            first = await fetcher.fetch(site.url(), allowed=site.is_local)
            last = await fetcher.fetch(site.url(), allowed=site.is_local, start=20)
    assert (first.text, first.notes) == ("abcdefghij", ("characters 0 to 10 of 26; for more ask again with start=10",))
    assert (last.text, last.notes) == ("uvwxyz", ("characters 20 to 26 of 26",))


async def test_a_page_without_text_says_so() -> None:
    async with open_site({"/": html("<script>app()</script>")}) as site:
        with within():
            found = await WebFetcher().fetch(site.url(), allowed=site.is_local)
    assert found.notes == ("the page has no text of its own; it may be made by its scripts, which are not run",)


async def test_a_packed_page_is_unpacked_and_a_bomb_cut() -> None:
    bomb = gzip.compress(b"x" * 20_000_000)
    routes = {
        "/": answer(gzip.compress(b"hello"), content_encoding="gzip"),
        "/bomb": answer(bomb, content_encoding="gzip"),
    }
    async with open_site(routes) as site:
        with within():
            fetcher = WebFetcher(limits=FetchLimits(body_bytes=100_000))
            assert (await fetcher.fetch(site.url(), allowed=site.is_local)).text == "hello"
            found = await fetcher.fetch(site.url("/bomb"), allowed=site.is_local)
    assert len(found.text) == 100_000
    assert found.notes == ("the page has more than 100000 bytes; the rest was not read",)


async def test_a_body_without_end_is_read_up_to_the_limit() -> None:
    async def endless(stream: ByteStream) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            await stream.send(b"y" * 65536)

    async with open_site({"/": endless}) as site:
        with within():
            found = await WebFetcher().fetch(site.url(), allowed=site.is_local)
            await site.until(lambda site: site.open == 0)
    assert (found.status, len(found.text)) == (200, 100_000)
    assert "more than 5242880 bytes" in found.notes[0]


async def test_a_server_that_says_nothing_or_too_little_is_given_up() -> None:
    async def silent(stream: ByteStream) -> None:
        await stream.receive()

    async def drip(stream: ByteStream) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            await stream.send(b"y")
            await anyio.lowlevel.checkpoint()

    async with open_site({"/silent": silent, "/drip": drip}) as site:
        with within():
            fetcher = WebFetcher(limits=FetchLimits(silence_s=0.05))
            with pytest.raises(ToolFailure, match="the server's answer broke off"):
                await fetcher.fetch(site.url("/silent"), allowed=site.is_local)
            fetcher = WebFetcher(limits=FetchLimits(total_s=0.1, body_bytes=10**9))
            with pytest.raises(ToolFailure, match=r"did not come within 0\.1 s"):
                await fetcher.fetch(site.url("/drip"), allowed=site.is_local)
            await site.until(lambda site: site.open == 0)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,
    ],
)
async def test_an_answer_that_is_none_is_told_as_a_failure(sent: bytes) -> None:
    async with open_site({"/": sent}) as site:
        with within(), pytest.raises(ToolFailure, match="broke off"):
            await WebFetcher().fetch(site.url(), allowed=site.is_local)


async def test_cancelling_closes_the_connection() -> None:
    async def silent(stream: ByteStream) -> None:
        await stream.receive()

    async with open_site({"/": silent}) as site:
        with within(2):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: WebFetcher().fetch(site.url(), allowed=site.is_local))
                await site.until(lambda site: len(site.requests) == 1)
                tasks.cancel_scope.cancel("enough")
            await site.until(lambda site: site.open == 0)


async def test_a_refused_connection_names_the_proxy_that_is_not_used() -> None:
    async with open_site({}) as site:
        port = site.port
    with within():
        fetcher = WebFetcher(environ={"https_proxy": "http://proxy.example:3128"})
        with pytest.raises(ToolFailure, match=r"no connection to .*HTTPS_PROXY is set, and is not used"):
            await fetcher.fetch(f"http://127.0.0.1:{port}/", allowed=site.is_local)


async def test_a_redirect_within_the_host_is_followed_and_the_last_address_is_named() -> None:
    async with open_site(
        {"/": redirect("/a"), "/a": redirect("b/", "308 Permanent Redirect"), "/b/": answer(b"x")}
    ) as site:
        with within():
            found = await WebFetcher().fetch(site.url(), allowed=site.is_local)
    assert (found.url, found.text) == (site.url("/b/"), "x")


async def test_more_than_five_redirects_are_not_followed() -> None:
    routes = {f"/{n}": redirect(f"/{n + 1}") for n in range(9)}
    async with open_site(routes) as site:
        with within(), pytest.raises(ToolFailure, match="more than 5 redirects"):
            await WebFetcher().fetch(site.url("/0"), allowed=site.is_local)
    assert site.paths == ["/0", "/1", "/2", "/3", "/4", "/5"]


async def test_a_redirect_to_another_host_is_given_back_unless_that_host_is_allowed() -> None:
    async with open_site({"/": redirect("http://other.example/x"), "/x": answer(b"there")}) as site:
        streets = Streets(_93_184_216_34=site, _1_1_1_1=site)
        names = Names(here_example=[["93.184.216.34"]], other_example=[["1.1.1.1"]])
        fetcher = WebFetcher(resolve=names, tcp=streets)
        with within():
            kept = await fetcher.fetch("http://here.example/", allowed=never)
            followed = await fetcher.fetch("http://here.example/", allowed=lambda host: host == "other.example")
    assert (kept.text, kept.url) == ("", "http://here.example/")
    assert kept.notes == (
        "it redirects to http://other.example/x, on another host, other.example, which was not followed; "
        "fetch that address itself if you need it",
    )
    assert (followed.text, followed.url) == ("there", "http://other.example/x")
    assert streets.walked == ["93.184.216.34", "93.184.216.34", "1.1.1.1"]


async def test_many_fetches_at_once_do_not_wait_for_each_other() -> None:
    gate = anyio.Event()
    waiting = 0

    async def gated(stream: ByteStream) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 20:
            gate.set()
        await gate.wait()
        await stream.send(answer(b"x"))

    async with open_site({"/": gated}) as site:
        fetcher = WebFetcher()
        with within():
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(lambda: fetcher.fetch(site.url(), allowed=site.is_local))
    assert waiting == 20
