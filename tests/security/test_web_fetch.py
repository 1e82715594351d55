"""web_fetch against names, redirects and pages that mean harm."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import psutil
import pytest
import trustme
from anyio.lowlevel import checkpoint

from callsheet.agents.tools.names import ToolFailure
from callsheet.agents.web.fetch import FetchLimits, WebFetcher
from callsheet.agents.web.html import MarkdownMaker
from callsheet.permissions.decide import Decider
from callsheet.permissions.sources import Flags, read_settings
from tests.support.deadline import within
from tests.support.web_site import Names, Streets, answer, html, open_site, redirect

pytestmark = pytest.mark.anyio


def always(_: str) -> bool:
    return True


def any_host(target: str) -> bool:
    """As the rule `WebFetch`: every host, but no address of this machine."""
    return not target.startswith("[") and target.count(":") != 1


async def test_a_name_that_changes_its_mind_is_connected_to_where_it_was_judged() -> None:
    async with open_site({"/": redirect("/again"), "/again": answer(b"x")}) as site, open_site({}) as inner:
        streets = Streets(_93_184_216_34=site, _127_0_0_1=inner)
        names = Names(rebind_example=[["93.184.216.34"], ["127.0.0.1"]])
        fetcher = WebFetcher(resolve=names, tcp=streets)
        with within(), pytest.raises(ToolFailure) as refused:
            await fetcher.fetch("http://rebind.example/", allowed=any_host)
    # Each connection is judged by its own look-up and goes where that look-up said.
    assert names.asked == ["rebind.example", "rebind.example"]
    assert streets.walked == ["93.184.216.34"]
    assert refused.value.denied
    assert inner.requests == []


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("inner.example", ["10.0.0.7"]),
        ("inner.example", ["127.0.0.1"]),
        ("inner.example", ["::ffff:127.0.0.1"]),
        ("inner.example", ["169.254.169.254"]),
        ("inner.example", ["fd00:ec2::254"]),
        ("inner.example", ["0.0.0.0"]),
        ("inner.example", ["::"]),
        ("127.0.0.1", []),
        ("2130706433", ["127.0.0.1"]),
        ("0x7f.1", ["127.0.0.1"]),
        ("localhost", []),
        ("a.localhost", []),
        ("[::1]", []),
        ("[::ffff:7f00:1]", []),
        ("[64:ff9b::7f00:1]", []),
        ("[2002:7f00:1::]", []),
        ("169.254.169.254", []),
        ("[fd00:ec2::254]", []),
    ],
)
async def test_nothing_of_this_machine_or_network_is_reached_by_a_rule_for_hosts(
    host: str, addresses: list[str]
) -> None:
    async def resolve(_: str, __: int) -> list[str]:
        await anyio.lowlevel.checkpoint()
        return addresses

    streets = Streets()
    with within(), pytest.raises(ToolFailure) as refused:
        await WebFetcher(resolve=resolve, tcp=streets).fetch(f"http://{host}:8080/", allowed=any_host)
    assert refused.value.denied
    assert streets.walked == []


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fd00:ec2::254]", "0.0.0.0", "[fe80::1]", "[::ffff:169.254.169.254]"]
)
async def test_no_rule_opens_metadata_and_link_local_addresses(host: str) -> None:
    streets = Streets()
    with within(), pytest.raises(ToolFailure, match="never fetched"):
        await WebFetcher(tcp=streets).fetch(f"http://{host}/latest/meta-data/", allowed=always)
    assert streets.walked == []


async def test_the_refusal_names_the_rule_that_would_allow_a_local_server() -> None:
    with within(), pytest.raises(ToolFailure, match=r"WebFetch\(domain:127\.0\.0\.1:3000\)"):
        await WebFetcher().fetch("http://localhost:3000/", allowed=any_host)


async def test_a_rule_for_one_port_of_this_machine_opens_no_other() -> None:
    async with open_site({"/": answer(b"one")}) as one, open_site({"/": answer(b"two")}) as two:
        one.routes["/to-two"] = redirect(two.url())
        fetcher = WebFetcher()
        with within():
            assert (await fetcher.fetch(one.url(), allowed=one.is_local)).text == "one"
            by_name = f"http://localhost:{one.port}/"
            assert (await fetcher.fetch(by_name, allowed=one.is_local)).text == "one"
            for url in (two.url(), one.url("/to-two")):
                with pytest.raises(ToolFailure) as refused:
                    await fetcher.fetch(url, allowed=one.is_local)
                assert refused.value.denied
    assert two.requests == []


async def test_a_person_s_rules_decide_about_local_servers_by_address_and_port(tmp_path: Path) -> None:
    async with open_site({"/": answer(b"one")}) as one, open_site({"/": answer(b"two")}) as two:
        rules = Flags(allow=(f"WebFetch(domain:127.0.0.1:{one.port})", "WebFetch"))
        settings = read_settings(workspace=tmp_path, home=tmp_path, flags=rules, managed=tmp_path / "none")
        decider = Decider(settings, root=tmp_path, home=tmp_path)
        one.routes["/to-two"] = redirect(two.url())
        with within():
            assert (await WebFetcher().fetch(one.url(), allowed=decider.allows_place)).text == "one"
            for url in (two.url(), one.url("/to-two")):
                with pytest.raises(ToolFailure) as refused:
                    await WebFetcher().fetch(url, allowed=decider.allows_place)
                assert refused.value.denied
    assert two.requests == []


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1:{port}/secret", "http://inner.example:{port}/secret", "//[::ffff:127.0.0.1]:{port}/secret"],
)
async def test_a_redirect_to_a_private_address_is_refused_even_where_its_host_is_allowed(location: str) -> None:
    async with open_site({"/secret": answer(b"secret")}) as inner, open_site({}) as site:
        site.routes["/"] = redirect(location.format(port=inner.port))
        names = Names(public_example=[["93.184.216.34"]], inner_example=[["127.0.0.1"]])
        fetcher = WebFetcher(resolve=names, tcp=Streets(_93_184_216_34=site, _127_0_0_1=inner))
        with within(), pytest.raises(ToolFailure) as refused:
            await fetcher.fetch("http://public.example/", allowed=any_host)
    assert refused.value.denied
    assert inner.requests == []


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://x/", "http://user:pw@x.example/", "javascript:1", "http://"]
)
async def test_a_redirect_to_something_else_than_a_page_is_refused(location: str) -> None:
    async with open_site({"/": redirect(location)}) as site:
        with within(), pytest.raises(ToolFailure):
            await WebFetcher().fetch(site.url(), allowed=site.is_local)


async def test_of_several_addresses_only_those_that_may_be_reached_are_tried() -> None:
    async with open_site({"/": answer(b"x")}) as site:
        streets = Streets(_93_184_216_34=site)
        names = Names(mixed_example=[["10.0.0.1", "1.1.1.1", "93.184.216.34"]])
        with within():
            found = await WebFetcher(resolve=names, tcp=streets).fetch("http://mixed.example/", allowed=any_host)
    assert found.text == "x"
    assert streets.walked == ["1.1.1.1", "93.184.216.34"]


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> Callable[[str], ssl.SSLContext]:
    def context(name: str) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(made)
        return made

    return context


async def test_server_name_and_host_stay_the_names_although_the_address_is_pinned(
    authority: trustme.CA, server_tls: Callable[[str], ssl.SSLContext]
) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with open_site({"/": answer(b"safe")}, tls=server_tls("safe.example")) as site:
        names = Names(safe_example=[["93.184.216.34"]], other_example=[["93.184.216.34"]])
        fetcher = WebFetcher(resolve=names, tcp=Streets(_93_184_216_34=site), tls=trusting)
        with within():
            found = await fetcher.fetch("https://safe.example/", allowed=any_host)
            with pytest.raises(ToolFailure, match="no connection to other"):
                await fetcher.fetch("https://other.example/", allowed=any_host)
    assert found.text == "safe"
    assert site.names == ["safe.example", "other.example"]
    assert "host: safe.example\r\n" in site.requests[0].lower()
    assert len(site.requests) == 1


async def test_a_redirect_that_gives_up_encryption_is_not_followed(
    authority: trustme.CA, server_tls: Callable[[str], ssl.SSLContext]
) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with open_site({"/": redirect("http://safe.example/")}, tls=server_tls("safe.example")) as site:
        fetcher = WebFetcher(
            resolve=Names(safe_example=[["93.184.216.34"]]), tcp=Streets(_93_184_216_34=site), tls=trusting
        )
        with within():
            found = await fetcher.fetch("https://safe.example/", allowed=always)
    assert "without encryption, which was not followed" in found.notes[0]


# --- pages ------------------------------------------------------------------------------------------------------------

HOSTILE = {
    "deep": "<div>" * 200_000 + "x",
    "deep inline": "<b>" * 100_000 + "x",
    "deep tables": "<table><tr><td>" * 20_000 + "x",
    "deep quotes": "<blockquote>" * 20_000 + "x",
    "misnested": "<a><b>" * 20_000 + "x",
    "wide spans": "<table><tr><td colspan=99999999 rowspan=99999999>x</table>",
    "open comments": "<!--" * 200_000,
    "open titles": "<title" * 200_000,
    "brackets": "<" * 500_000,
    "halves": "\ud800<p>x",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_page_is_converted_or_given_up_and_the_loop_goes_on(name: str) -> None:
    with within(20):
        async with anyio.create_task_group() as tasks:
            beats = 0

            async def beat() -> None:
                nonlocal beats
                while True:
                    await checkpoint()
                    beats += 1

            tasks.start_soon(beat)
            await MarkdownMaker(timeout_s=10).convert(HOSTILE[name], url="https://x.example/")
            tasks.cancel_scope.cancel("done")
    assert beats > 20


async def test_a_page_that_keeps_the_converter_busy_is_given_as_it_is_and_the_converter_ended() -> None:
    attributes = "<p " + " ".join(f"a{n}=1" for n in range(200_000)) + ">x"
    async with open_site({"/": html(attributes)}) as site:
        with within():
            fetcher = WebFetcher(limits=FetchLimits(convert_s=0.5))
            found = await fetcher.fetch(site.url(), allowed=site.is_local)
    assert found.text.startswith("<p a0=1 a1=1")
    assert found.notes[0] == "the page could not be turned into text within its limits; this is its HTML"
    assert not [each for each in psutil.Process().children() if "html_child" in " ".join(each.cmdline())]


@pytest.mark.parametrize(
    "program",
    [
        "import os; os.abort()",
        "import sys; sys.exit(3)",
        "import sys; [sys.stdout.buffer.write(b'x' * 1000000) for _ in range(10**6)]",
        "import time; time.sleep(1000)",
    ],
)
async def test_a_converter_that_crashes_floods_or_hangs_is_given_up(program: str) -> None:
    maker = MarkdownMaker(timeout_s=2, program=(sys.executable, "-I", "-c", program))
    with within():
        assert await maker.convert("<p>x" * 100_000, url="https://x.example/") is None


async def test_cancelling_ends_the_converter() -> None:
    maker = MarkdownMaker(timeout_s=60, program=(sys.executable, "-I", "-c", "import time; time.sleep(1000)"))
    before = {each.pid for each in psutil.Process().children()}
    with within(3):
        with anyio.move_on_after(0.3):
            await maker.convert("<p>x", url="https://x.example/")
    assert {each.pid for each in psutil.Process().children()} <= before
