from __future__ import annotations

import pytest

from callsheet.agents.tools.names import ToolFailure
from callsheet.agents.web.targets import read_target, redirected


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("https://Example.COM", "https://example.com/"),
        ("https://example.com./a#part", "https://example.com/a"),
        ("http://example.com:80/a?b=c&d", "http://example.com/a?b=c&d"),
        ("https://example.com:8443/a%20b", "https://example.com:8443/a%20b"),
        ("https://bücher.example/straße?q=ä", "https://xn--bcher-kva.example/stra%C3%9Fe?q=%C3%A4"),
        ("http://[2606:4700::1111]:8080/x", "http://[2606:4700::1111]:8080/x"),
        ("http://127.1/x", "http://127.1/x"),
        ("https://example.com?x", "https://example.com/?x"),
    ],
)
def test_an_address_is_read_into_one_form(url: str, read: str) -> None:
    assert read_target(url).url == read


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/", "file:///etc/passwd", "example.com", "//example.com", "javascript:alert(1)", "https://",
        "https://user@example.com/", "https://user:word@example.com/", "https://@example.com/",
        "https://exam ple.com/", "https://example.com\\@evil.example/", "https://example.com/\r\nX: y",
        "https://example.com\t/", "https://example.com:0/", "https://example.com:99999/", "https://example.com:x/",
        "http://[::1%25eth0]/", "http://[::1", "https://-.example/", "https://ex%61mple.com/", "https://a..b/",
        f"https://example.com/{'a' * 9000}", "https://example.com/\u202e", "http://[v1.x]/",
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(ToolFailure) as refused:
        read_target(url)
    assert refused.value.message.startswith("web_fetch: ")
    assert "\n" not in refused.value.message


def test_a_redirect_is_relative_to_where_it_came_from() -> None:
    target = read_target("https://example.com/a/b?c")
    assert redirected(target, "../d").url == "https://example.com/d"
    assert redirected(target, "//other.example/x").url == "https://other.example/x"
    with pytest.raises(ToolFailure):
        redirected(target, "file:///etc/passwd")


@pytest.mark.parametrize("location", ["http://[", "//[::1", "http://[x]/"])
def test_a_redirect_to_what_is_no_address_is_refused_in_words(location: str) -> None:
    with pytest.raises(ToolFailure) as refused:
        redirected(read_target("https://example.com/a"), location)
    assert refused.value.message.startswith("web_fetch: ")
