"""A script's text with its lines and places, and how bytes become it (CONTRACT S08)."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from typing import Literal, NoReturn

from callsheet.errors import ScriptRefusedError
from callsheet.model.dataclass import dataclass
from callsheet.model.script import MAX_SCRIPT_BYTES, Finding
from callsheet.model.values import Place

_LINE_END = re.compile("\n")
_BOM = "\ufeff"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Text in lines. Offsets are in characters from 0, places from 1 (CONTRACT S06).

    A line ends at LF or CRLF, whatever else the engine takes for a line's end.
    """

    text: str

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in _LINE_END.finditer(self.text))]

    @cached_property
    def _bytes(self) -> bytes:
        return self.text.encode()

    @property
    def line_count(self) -> int:
        """How many lines there are; an empty text has one."""
        return len(self._starts)

    def place(self, offset: int) -> Place:
        """The place of a character; that of the end for an offset beyond it."""
        line = bisect_right(self._starts, offset)
        return Place(line=line, column=offset - self._starts[line - 1] + 1)

    def offset(self, place: Place) -> int:
        """Where a place lies in the text, at most its end; a place without a column is the line's first character."""
        if place.line > self.line_count:
            return len(self.text)
        return min(self._starts[place.line - 1] + (place.column or 1) - 1, len(self.text))

    def offset_of_byte(self, byte: int) -> int:
        """The character that begins at a byte of the text's UTF-8."""
        return byte if self.text.isascii() else len(self._bytes[:byte].decode(errors="replace"))

    def byte_of_offset(self, offset: int) -> int:
        """Where a character begins in the text's UTF-8."""
        return offset if self.text.isascii() else len(self.text[:offset].encode())

    def line(self, number: int) -> str:
        """The text of a line, without its end; empty for a line that there is not."""
        if not 1 <= number <= self.line_count:
            return ""
        end = self._starts[number] if number < self.line_count else len(self.text)
        return self.text[self._starts[number - 1] : end].rstrip("\n").removesuffix("\r")

    def finding(
        self,
        code: str,
        contract: str,
        message: str,
        offset: int,
        *,
        severity: Literal["error", "warning"] = "error",
    ) -> Finding:
        """A finding at a character of this text, with the line it stands in."""
        place = self.place(offset)
        return Finding(
            severity=severity,
            code=code,
            contract=contract,
            message=message,
            place=place,
            source_line=self.line(place.line),
        )


def position(finding: Finding) -> tuple[int, int]:
    """Where a finding stands, for sorting; what has no place comes first."""
    return (finding.place.line, finding.place.column or 0) if finding.place else (0, 0)


def decode(data: bytes) -> Source:
    """The text of a script file, without a byte-order mark.

    Raises:
        ScriptRefusedError: Larger than 512 KiB, not UTF-8, or with a NUL character in it (CONTRACT S08).
    """
    if len(data) > MAX_SCRIPT_BYTES:
        _refuse(
            "too-large",
            f"the script is {len(data):,} bytes long; at most {MAX_SCRIPT_BYTES:,} (512 KiB) are read. Move data that "
            "it carries into files that its agents read, or split it with workflow()",
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        _refuse("not-utf8", "the script is not UTF-8 but UTF-16: save the file as UTF-8", Place(line=1, column=1))
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = Source(text=data[: error.start].decode().removeprefix(_BOM))
        place = before.place(len(before.text))
        _refuse(
            "not-utf8",
            f"the script is not UTF-8: byte {error.start} (0x{data[error.start]:02x}) in line {place.line} is no part "
            "of a character. Save the file as UTF-8",
            place,
        )
    source = Source(text=text.removeprefix(_BOM))
    if (nul := source.text.find("\0")) >= 0:
        place = source.place(nul)
        _refuse("nul-character", f"the script has a NUL character in line {place.line}: remove it", place)
    return source


def _refuse(code: str, message: str, place: Place | None = None) -> NoReturn:
    finding = Finding(severity="error", code=code, contract="S08", message=message, place=place)
    raise ScriptRefusedError((finding,))
