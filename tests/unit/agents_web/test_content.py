from __future__ import annotations

import gzip
import zlib

import pytest

from callsheet.agents.tools.names import ToolFailure
from callsheet.agents.web.content import ContentType, Unpacker, decoded, kind_of


def text_of(body: bytes, header: str, *, is_markup: bool = True) -> str:
    return decoded(body, ContentType.read(header), is_markup=is_markup)


@pytest.mark.parametrize(
    ("body", "header", "text"),
    [
        ("grün".encode(), "text/html", "grün"),
        ("grün".encode("latin-1"), "text/html; charset=ISO-8859-1", "grün"),
        (b"\x93quoted\x94", "text/html; charset=iso-8859-1", "“quoted”"),
        ("<meta charset='windows-1251'>да".encode("cp1251"), "text/html", "<meta charset='windows-1251'>да"),
        ("<?xml encoding='koi8-r'?>да".encode("koi8-r"), "text/xml", "<?xml encoding='koi8-r'?>да"),
        ("日本".encode("shift_jis"), 'text/html;charset="Shift_JIS"', "日本"),
        ("汉字".encode("gbk"), "text/plain; charset=gb2312", "汉字"),
        (b"\xef\xbb\xbfx", "text/html; charset=latin1", "x"),
        ("x".encode("utf-16"), "text/plain", "x"),
        (b"a\xffb", "text/plain", "a\ufffdb"),
        (b"a\0b\x1b[31mc\x7f\r\n\td", "text/plain", "ab[31mc\r\n\td"),
        ("see\U000e006f\U000e0062n\u200bothing\u202e!".encode(), "text/plain", "seenothing!"),
        (b"<meta charset=utf-16>x", "text/html", "<meta charset=utf-16>x"),
    ],
)  # fmt: skip
def test_the_character_set_is_found_as_browsers_find_it(body: bytes, header: str, text: str) -> None:
    assert text_of(body, header) == text


@pytest.mark.parametrize("name", ["punycode", "idna", "zip", "rot13", "unicode_escape", "undefined", "no-such", "../x"])
def test_a_character_set_that_is_none_counts_as_utf8(name: str) -> None:
    assert text_of("grün".encode(), f"text/plain; charset={name}") == "grün"


@pytest.mark.parametrize(
    ("header", "body", "kind"),
    [
        ("text/html; charset=x", b"", "html"),
        ("application/xhtml+xml", b"", "html"),
        ("application/json", b"{}", "text"),
        ("application/vnd.api+json", b"{}", "text"),
        ("application/rss+xml", b"<rss/>", "text"),
        ("text/markdown", b"# x", "text"),
        ("", b"  <!DOCTYPE html><p>", "html"),
        ("application/octet-stream", b"plain words", "text"),
    ],
)
def test_text_in_its_many_kinds_is_read(header: str, body: bytes, kind: str) -> None:
    assert kind_of(ContentType.read(header), body) == kind


@pytest.mark.parametrize(
    ("header", "body", "why"),
    [
        ("application/pdf", b"", "PDF"),
        ("", b"%PDF-1.7", "PDF"),
        ("image/png", b"", "image/png, not text"),
        ("application/zip", b"", "application/zip, not text"),
        ("text/plain", b"\x7fELF\0\0", "not text"),
        ("", b"ab\0c", "of no named type"),
    ],
)
def test_what_is_not_text_is_named_and_not_shown(header: str, body: bytes, why: str) -> None:
    with pytest.raises(ToolFailure, match=why):
        kind_of(ContentType.read(header), body)


@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_bomb_is_unpacked_up_to_the_limit_and_no_further(name: str, pack: object) -> None:
    assert callable(pack)
    unpacker = Unpacker(name, limit_bytes=1000)
    packed = pack(b"x" * 20_000_000)
    assert isinstance(packed, bytes)
    unpacker.take(packed[:15_000])
    assert unpacker.is_full
    assert unpacker.body == b"x" * 1000


def test_pieces_of_one_byte_are_unpacked_like_one_of_all() -> None:
    unpacker = Unpacker("gzip", limit_bytes=1000)
    for byte in gzip.compress(b"hello"):
        unpacker.take(bytes([byte]))
    assert unpacker.body == b"hello"
    assert not unpacker.is_full


def test_several_packed_parts_are_one_page() -> None:
    unpacker = Unpacker("gzip", limit_bytes=1000)
    unpacker.take(gzip.compress(b"hello ") + gzip.compress(b"world"))
    unpacker.take(gzip.compress(b"!"))
    assert unpacker.body == b"hello world!"


def test_a_packing_that_was_not_asked_for_is_refused() -> None:
    for name in ("br", "gzip, gzip", "zstd"):
        with pytest.raises(ToolFailure, match="which is not read"):
            Unpacker(name, limit_bytes=1000)


def test_data_that_cannot_be_unpacked_is_said_and_a_broken_end_keeps_what_came_before() -> None:
    with pytest.raises(ToolFailure, match="cannot be unpacked"):
        Unpacker("gzip", limit_bytes=1000).take(b"no gzip at all")
    unpacker = Unpacker("gzip", limit_bytes=100_000)
    packed = gzip.compress(bytes(range(256)) * 100)
    unpacker.take(packed[:100])
    unpacker.take(b"\xff" * 1000)
    assert unpacker.body.startswith(bytes(range(16)))
