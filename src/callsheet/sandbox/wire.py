"""The pipe between host and child: length-prefixed msgpack of small, flat, tagged tuples. Both ends.

A message is a tag and a few scalars, never a nested thing, so that what a frame decodes to is bounded by its own bytes.
Larger values travel as JSON text in a field; a message over one frame is cut into several. Every field is checked
against `SHAPES` before anything is made of it; whatever does not fit is a `WireError` and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgpack

from callsheet.model.counts import MAX_LOG_LINE_BYTES, MAX_PROMPT_BYTES, MAX_RESULT_BYTES, MAX_SCRIPT_BYTES

VERSION = 2
MAX_FRAME_BYTES = 4 * 1024 * 1024
MAX_MESSAGE_BYTES = MAX_RESULT_BYTES + MAX_FRAME_BYTES
"""One value of the largest size and what stands beside it."""

_HEADER = struct.Struct(">I")
_MORE = 0x8000_0000
_FLAT = 0x90  # msgpack's array of up to 15 elements
_MAX_NATURAL = 2**53

Scalar = str | int | float | bool | None
Message = tuple[Any, ...]
"""A tag and scalars; which ones, say the tables of shapes."""
Check = Callable[[Any], bool]


class WireError(Exception):
    """What came is not what the other end may say."""


# --- fields -----------------------------------------------------------------------------------------------------------


def _natural(most: int = _MAX_NATURAL) -> Check:
    return lambda value: type(value) is int and 0 <= value <= most


def _text(most_bytes: int = MAX_RESULT_BYTES) -> Check:
    # In characters: the frame bounds the bytes, this bounds what is kept.
    return lambda value: type(value) is str and len(value) <= most_bytes


def _choice(*names: str) -> Check:
    return lambda value: value in names and type(value) is str


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _amount(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= _MAX_NATURAL


def _flag(value: Any) -> bool:
    return type(value) is bool


_NAME = _text(1024)
_LINE = _text(MAX_LOG_LINE_BYTES)
_LONG = _text(MAX_PROMPT_BYTES)
_VALUE = _text()
_CONTEXT = _natural(2**31)
_NUMBER = _natural(2**31)
_PLACE = (_optional(_natural(2**31)), _optional(_natural(2**31)))
_AT_LINE = _optional(_natural(2**31))
_CLOCK = (_natural(), _natural(), _amount)
_LEVEL = _choice("debug", "info", "warn", "error")
_SORT = _choice("logs", "timers", "phases", "text", "prompts", "calls")
_LIMIT = _choice("stretch", "total", "memory", "fault")
_COMBINATOR = _choice("parallel", "pipeline")
_CODE = _choice("not-portable", "unhandled-rejection")
_END = _choice("script", "limit", "refused")
_MAYBE_NAME, _MAYBE_LINE, _MAYBE_LONG, _MAYBE_VALUE = map(_optional, (_NAME, _LINE, _LONG, _VALUE))

FROM_CHILD: dict[str, tuple[Check, ...]] = {
    "hello": (_NUMBER, _NAME, _flag, _NAME),
    "compiled": (_MAYBE_LINE, *_PLACE),
    "over": (_LIMIT, _LINE),
    "agent": (_CONTEXT, _NUMBER, _MAYBE_LONG, _NAME, _LONG, _MAYBE_LINE, _text(64 * 1024), _MAYBE_NAME, _AT_LINE),
    "workflow": (
        _CONTEXT, _NUMBER, _MAYBE_VALUE, _MAYBE_VALUE, _optional(_text(MAX_SCRIPT_BYTES)), _MAYBE_LINE, _MAYBE_VALUE,
        _MAYBE_NAME, _AT_LINE,
    ),
    "log": (_CONTEXT, _LEVEL, _LINE),
    "phase": (_CONTEXT, _NAME),
    "timer": (_CONTEXT, _NUMBER, _amount),
    "untimer": (_CONTEXT, _NUMBER),
    "slot": (_CONTEXT, _COMBINATOR, _NUMBER, _NUMBER, _NAME, _LINE, _AT_LINE, _optional(_NUMBER)),
    "warned": (_CONTEXT, _CODE, _LINE, *_PLACE),
    "dropped": (_CONTEXT, _SORT, _LINE),
    "returned": (_CONTEXT, _VALUE),
    "threw": (_CONTEXT, _END, _NAME, _LINE, *_PLACE),
    "idle": (_amount,),
}  # fmt: skip
"""What the child may say: a tag and what follows it."""

TO_CHILD: dict[str, tuple[Check, ...]] = {
    "compile": (_VALUE,),
    "start": (
        _CONTEXT, _VALUE, _VALUE, _MAYBE_VALUE, _natural(2**64 - 1), _optional(_natural()), _optional(_amount), *_CLOCK
    ),
    "resolve": (_CONTEXT, _NUMBER, _VALUE, *_CLOCK),
    "reject": (_CONTEXT, _NUMBER, _VALUE, _VALUE, *_CLOCK),
    "fire": (_CONTEXT, _NUMBER, *_CLOCK),
    "end": (_CONTEXT, *_CLOCK),
    "ahead": (_NUMBER,),
}  # fmt: skip
"""What the host may say. Every delivery ends with the clock: now in ms, tokens spent, USD spent.

`ahead` stands before a delivery: so many that follow it are each worked off only if the script said nothing in the turn
before, and are all dropped from the first turn on in which it said something.
"""


# --- frames -----------------------------------------------------------------------------------------------------------


def encode(message: Message) -> bytes:
    """The frames of one message. Lone surrogates, which UTF-8 does not have, become question marks.

    Raises:
        WireError: The message is larger than `MAX_MESSAGE_BYTES`.
    """
    body: bytes = msgpack.packb(message, unicode_errors="replace")
    if len(body) <= MAX_FRAME_BYTES:
        return _HEADER.pack(len(body)) + body
    if len(body) > MAX_MESSAGE_BYTES:
        raise WireError(f"a message of {len(body)} bytes; {MAX_MESSAGE_BYTES} are the most")
    parts = [body[start : start + MAX_FRAME_BYTES] for start in range(0, len(body), MAX_FRAME_BYTES)]
    heads = [_HEADER.pack(len(part) | _MORE) for part in parts[:-1]] + [_HEADER.pack(len(parts[-1]))]
    return b"".join(piece for pair in zip(heads, parts, strict=True) for piece in pair)


def decode(body: bytes | bytearray, shapes: dict[str, tuple[Check, ...]]) -> Message:
    """The message in the bytes of its frames.

    Raises:
        WireError: It is not one of `shapes`.
    """
    if not body or body[0] & 0xF0 != _FLAT or body[0] == _FLAT:
        raise WireError("not a message")
    unpacker = msgpack.Unpacker(
        raw=False,
        strict_map_key=True,
        read_size=1024,
        max_buffer_size=MAX_MESSAGE_BYTES,
        max_str_len=MAX_RESULT_BYTES,
        max_bin_len=0,
        max_array_len=0,
        max_map_len=0,
        max_ext_len=0,
    )
    fields: list[Scalar] = []
    try:
        unpacker.feed(memoryview(body)[1:])
        for _ in range(body[0] & 0x0F):
            fields.append(unpacker.unpack())
    except (ValueError, msgpack.UnpackException) as fault:
        raise WireError(f"not msgpack of scalars: {type(fault).__name__}") from None
    if unpacker.tell() != len(body) - 1:
        raise WireError("something follows the message")
    return _check(fields, shapes)


def _check(fields: list[Scalar], shapes: dict[str, tuple[Check, ...]]) -> Message:
    tag = fields[0]
    shape = shapes.get(tag) if type(tag) is str else None
    if shape is None:
        raise WireError("a message of no known sort")
    if len(fields) != len(shape) + 1:
        raise WireError(f"{tag}: {len(fields) - 1} fields, not {len(shape)}")
    for number, check in enumerate(shape, 1):
        if not check(fields[number]):
            raise WireError(f"{tag}: field {number} is not what it may be")
    return tuple(fields)


class Decoder:
    """Turns the bytes of a pipe, cut anywhere, into messages.

    Args:
        shapes: `FROM_CHILD` in the host, `TO_CHILD` in the child.
    """

    def __init__(self, shapes: dict[str, tuple[Check, ...]]) -> None:
        self._shapes = shapes
        self._buffer = bytearray()
        self._parts = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are complete with these bytes.

        Raises:
            WireError: While iterating; nothing further can be read.
        """
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= _HEADER.size:
                (head,) = _HEADER.unpack_from(self._buffer, start)
                size = head & ~_MORE
                if size > MAX_FRAME_BYTES:
                    raise WireError(f"a frame of {size} bytes; {MAX_FRAME_BYTES} are the most")
                end = start + _HEADER.size + size
                if len(self._buffer) < end:
                    break
                body = self._buffer[start + _HEADER.size : end]
                start = end
                if head & _MORE or self._parts:
                    if len(self._parts) + size > MAX_MESSAGE_BYTES:
                        raise WireError(f"a message of more than {MAX_MESSAGE_BYTES} bytes")
                    self._parts += body
                    if head & _MORE:
                        continue
                    body, self._parts = self._parts, bytearray()
                yield decode(body, self._shapes)
        finally:
            del self._buffer[:start]
