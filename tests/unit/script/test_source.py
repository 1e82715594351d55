"""Bytes of a script file become text with places (CONTRACT S08)."""

from __future__ import annotations

import pytest

from callsheet.model.script import MAX_SCRIPT_BYTES
from callsheet.model.values import Place
from callsheet.script.reader import is_workflow_file
from callsheet.script.source import Source, decode
from tests.unit.script.samples import HEAD, read, refusal

pytestmark = pytest.mark.contract("S08")


def test_a_byte_order_mark_is_dropped_and_does_not_shift_the_first_column() -> None:
    script = read("\ufeff" + HEAD + "return 1")
    assert script.text == HEAD + "return 1"
    assert read(HEAD + "return 1").sha256 != script.sha256


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_hashbang_line_is_blanked_and_its_line_end_stays(mark: str, end: str) -> None:
    script = read(f"{mark}#!/usr/bin/env -S callsheet run{end}{HEAD}return 1")
    assert script.body.startswith(" " * len("#!/usr/bin/env -S callsheet run") + end)
    assert script.text.startswith("#!/usr/bin/env")


def test_a_hashbang_in_another_line_is_no_hashbang() -> None:
    assert refusal("\n#!/bin/sh\n" + HEAD).findings[0].code == "meta-not-first"


def test_lines_that_end_in_crlf_keep_their_ends_and_their_columns() -> None:
    text = "// é\r\nexport const meta = {\r\n  name: 'n',\r\n  description: 'd',\r\n}\r\nreturn `a\r\nb`\r\n"
    script = read(text)
    assert script.text == text
    assert script.body == "// é\r\n" + " " * 21 + "\r\n" + " " * 12 + "\r\n" + " " * 19 + "\r\n \r\nreturn `a\r\nb`\r\n"


def test_a_nul_character_is_refused_with_its_place() -> None:
    refused = refusal(HEAD + "const a = 'é\0'")
    assert (refused.findings[0].code, refused.place) == ("nul-character", Place(line=2, column=13))


@pytest.mark.parametrize(
    ("data", "byte", "place"),
    [
        (HEAD.encode() + b"// \xc3\xa9 \xff", len(HEAD) + 6, Place(line=2, column=6)),
        (b"\xef\xbb\xbf// \xe9\n", 6, Place(line=1, column=4)),
        (b"// caf\xe9", 6, Place(line=1, column=7)),
        (b"// \xed\xa0\x80", 3, Place(line=1, column=4)),
    ],
)
def test_what_is_not_utf8_is_refused_with_the_byte_and_the_line(data: bytes, byte: int, place: Place) -> None:
    finding = refusal(data).findings[0]
    assert (finding.code, finding.place) == ("not-utf8", place)
    assert f"byte {byte} " in finding.message
    assert f"line {place.line}" in finding.message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_named(encoding: str) -> None:
    marks = {"utf-16": b"", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
    assert "UTF-16" in refusal(marks[encoding] + HEAD.encode(encoding)).message


def test_the_largest_script_is_512_kib() -> None:
    filling = MAX_SCRIPT_BYTES - len(HEAD) - 2
    assert len(read(HEAD + "//" + "x" * filling).text) == MAX_SCRIPT_BYTES
    refused = refusal(HEAD + "//" + "x" * (filling + 1))
    assert refused.findings[0].code == "too-large"
    assert "524,288" in refused.message


@pytest.mark.contract("S09")
@pytest.mark.parametrize(
    ("path", "is_one"), [("a/b.js", True), ("b.mjs", True), ("b.ts", False), ("b.cjs", False), ("js", False)]
)
def test_workflow_files_end_in_js_or_mjs(path: str, is_one: bool) -> None:
    assert is_workflow_file(path) is is_one


def test_places_count_characters_and_lines_end_at_line_feeds_only() -> None:
    source = Source(text="aé😀b\r\nc\u2028d\re\n")
    assert source.place(3) == Place(line=1, column=4)
    assert source.place(source.text.index("e")) == Place(line=2, column=5)
    assert source.place(len(source.text)) == Place(line=3, column=1)
    assert [source.line(number) for number in (0, 1, 2, 3, 4)] == ["", "aé😀b", "c\u2028d\re", "", ""]


def test_offsets_and_places_are_each_others_inverse_and_never_leave_the_text() -> None:
    source = Source(text="aé\n\n😀b")
    for offset in range(len(source.text) + 1):
        assert source.offset(source.place(offset)) == offset
        assert source.offset_of_byte(source.byte_of_offset(offset)) == offset
    assert source.offset(Place(line=9, column=1)) == len(source.text)
    assert source.offset(Place(line=3, column=99)) == len(source.text)
    assert source.offset(Place(line=3)) == 4


def test_an_empty_file_is_read_as_an_empty_text() -> None:
    assert decode(b"").text == ""
    assert refusal(b"").findings[0].code == "meta-missing"
