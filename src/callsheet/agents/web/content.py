"""What a server sent, as text: encodings, character sets, kinds of content; everything capped."""

from __future__ import annotations

import codecs
import re
import zlib
from typing import Literal

from callsheet.agents.tools.names import ToolFailure
from callsheet.model.dataclass import dataclass

Kind = Literal["html", "text"]

_READABLE = re.compile(
    r"text/.+|application/(?:.+\+)?(?:json|xml|yaml|toml|javascript|ecmascript|graphql|sql|x-ndjson|x-sh|x-tex|x-yaml)"
    r"|application/(?:json-seq|jsonl|ld\+json|x-javascript|x-subrip)|image/svg\+xml|message/.+"
)
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_UNKNOWN_TYPES = ("", "application/octet-stream", "binary/octet-stream", "unknown/unknown")
_HTML_START = re.compile(
    rb"\s*(?:<!--.{0,500}?-->\s*)?<(?:!doctype\s+html|html|head|body)[\s>]", re.IGNORECASE | re.DOTALL
)
_SAYS_CHARSET = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_SAID_WITHIN_BYTES = 1024

# Those of the web, by Python's names; on the right what browsers take the name to mean. Python has others, some of
# which are no character sets or take quadratic time.
_CHARSETS = {
    **{name: name for name in ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "koi8-r", "koi8-u", "gb18030", "big5")},
    **{name: name for name in ("euc_jp", "shift_jis", "iso2022_jp", "euc_kr", "mac-roman", "mac-cyrillic", "cp866")},
    **{f"cp{number}": f"cp{number}" for number in (874, 932, 949, *range(1250, 1259))},
    **{f"iso8859-{number}": f"iso8859-{number}" for number in (*range(2, 9), 10, 13, 14, 15, 16)},
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentType:
    """What a `Content-Type` header says.

    Attributes:
        name: Lower case, without parameters; empty where there is none.
        charset: As written; None where it names none.
    """

    name: str
    charset: str | None

    @classmethod
    def read(cls, header: str) -> ContentType:
        """The type that a header names; never fails."""
        name, _, parameters = header.partition(";")
        found = re.search(r"""charset\s*=\s*["']?([A-Za-z0-9_.:-]{1,40})""", parameters, re.IGNORECASE)
        return cls(name=name.strip().lower()[:200], charset=found[1] if found else None)


class Unpacker:
    """Takes a body piece by piece, unpacks it, and stops at a limit however small the pieces were packed.

    Args:
        encoding: The `Content-Encoding` header.
        limit_bytes: Of what is kept.

    Raises:
        ToolFailure: It is packed in a way that was not asked for.
    """

    def __init__(self, encoding: str, *, limit_bytes: int) -> None:
        self._room_bytes = limit_bytes
        self._pieces: list[bytes] = []
        match encoding.strip().lower():
            case "" | "identity":
                self._unpack = None
            case "gzip" | "x-gzip" | "deflate":
                self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
            case other:
                raise ToolFailure(f"web_fetch: the server packed the page as {other[:40]!r}, which is not read")

    @property
    def is_full(self) -> bool:
        """Whether the limit is reached; what comes after is not looked at."""
        return self._room_bytes <= 0

    @property
    def body(self) -> bytes:
        """What was kept."""
        return b"".join(self._pieces)

    def take(self, piece: bytes) -> None:
        """Takes one piece.

        Raises:
            ToolFailure: It cannot be unpacked.
        """
        while piece and not self.is_full:
            try:
                data, piece = self._unpacked(piece)
            except zlib.error:
                if not self._pieces:
                    raise ToolFailure("web_fetch: the page's data cannot be unpacked") from None
                self._room_bytes = 0
                return
            self._pieces.append(data[: self._room_bytes])
            self._room_bytes -= len(data)

    def _unpacked(self, piece: bytes) -> tuple[bytes, bytes]:
        """What a piece holds as far as there is room, and what is left of it: what is packed may have several parts."""
        if self._unpack is None:
            return piece, b""
        if self._unpack.eof:
            self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
        data = self._unpack.decompress(piece, self._room_bytes)
        return data, self._unpack.unused_data


def kind_of(given: ContentType, body: bytes) -> Kind:
    """How a body is to be read.

    Raises:
        ToolFailure: It is not text; says what it is.
    """
    if given.name in _HTML_TYPES:
        return "html"
    if given.name == "application/pdf" or body.startswith(b"%PDF-"):
        raise ToolFailure(
            "web_fetch: this is a PDF, which is not readable here. Look for the same as a web page, or download it "
            "with a command and read the file."
        )
    is_unknown = given.name in _UNKNOWN_TYPES
    if not is_unknown and not _READABLE.fullmatch(given.name):
        raise ToolFailure(f"web_fetch: this is {given.name}, not text; it is not shown")
    if is_unknown and _HTML_START.match(body[:2048]):
        return "html"
    is_wide = any(body.startswith(bom) for bom, _ in _BOMS) or (given.charset or "").lower().startswith("utf-16")
    if b"\0" in body[:4096] and not is_wide:
        raise ToolFailure(f"web_fetch: this is {given.name or 'of no named type'} and not text; it is not shown")
    return "text"


def decoded(body: bytes, given: ContentType, *, is_markup: bool) -> str:
    """The body's text. What cannot be decoded is replaced; control characters are left out."""
    text = body.decode(_charset(body, given, is_markup=is_markup), "replace")
    return without_controls(text)


def without_controls(text: str) -> str:
    """The text without what people do not see and models read: control characters, marks of direction, tags."""
    return _UNSEEN.sub("", text)


# Line ends, tabs and the joiners of scripts and emoji stay.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ue000-\uf8ff\U000e0000-\U000e0fff\U000f0000-\U0010ffff]+"
)


def _charset(body: bytes, given: ContentType, *, is_markup: bool) -> str:
    for bom, name in _BOMS:
        if body.startswith(bom):
            return name
    said = _SAYS_CHARSET.search(body[:_SAID_WITHIN_BYTES]) if is_markup else None
    # A page that says UTF-16 of itself in bytes that can be read as ASCII is mistaken.
    inner = _known(said[1].decode("ascii")) if said is not None else None
    return _known(given.charset or "") or (inner if inner and not inner.startswith("utf-16") else None) or "utf-8"


def _known(name: str) -> str | None:
    try:
        return _CHARSETS.get(codecs.lookup(name).name)
    except (LookupError, ValueError):
        return None
