"""The wire: every message survives it, and no bytes make it do anything but refuse."""

from __future__ import annotations

import json
import struct
import tracemalloc
from itertools import pairwise
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.model.sandbox import (
    AgentCalled,
    Clock,
    Delivery,
    EndContext,
    FireTimer,
    RejectCall,
    ResolveCall,
    ScriptMessage,
    StartScript,
)
from callsheet.sandbox import messages, wire
from callsheet.sandbox.wire import FROM_CHILD, MAX_FRAME_BYTES, TO_CHILD, Decoder, WireError, decode, encode

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
numbers = st.integers(0, 2**31)
contexts = st.integers(0, 2**31)
lines = st.none() | st.integers(1, 2**31)
amounts = st.integers(0, 2**53) | st.floats(0, 2**53)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
json_texts = json_values.map(lambda value: json.dumps(value, ensure_ascii=False))
options = st.dictionaries(st.sampled_from(["label", "schema", "model", "timeout"]), json_values).map(json.dumps)
maybe = st.none() | texts

FROM_CHILD_MESSAGES = st.one_of(
    st.tuples(st.just("hello"), numbers, texts, st.booleans(), texts),
    st.tuples(st.just("compiled"), maybe, lines, lines),
    st.tuples(st.just("over"), st.sampled_from(["stretch", "total", "memory", "fault"]), texts),
    st.tuples(
        st.just("agent"), contexts, numbers, maybe, texts, options, maybe, st.lists(texts).map(json.dumps), maybe, lines
    ),
    st.tuples(st.just("workflow"), contexts, numbers, maybe, maybe, maybe, maybe, st.none() | json_texts, maybe, lines),
    st.tuples(st.just("log"), contexts, st.sampled_from(["debug", "info", "warn", "error"]), texts),
    st.tuples(st.just("phase"), contexts, texts),
    st.tuples(st.just("timer"), contexts, numbers, amounts),
    st.tuples(st.just("untimer"), contexts, numbers),
    st.tuples(
        st.just("slot"), contexts, st.sampled_from(["parallel", "pipeline"]), numbers, numbers, texts, texts, lines,
        st.none() | numbers,
    ),
    st.tuples(st.just("warned"), contexts, st.sampled_from(["not-portable"]), texts, lines, lines),
    st.tuples(st.just("dropped"), contexts, st.sampled_from(["logs", "text", "calls"]), texts),
    st.tuples(st.just("returned"), contexts, json_texts),
    st.tuples(st.just("threw"), contexts, st.sampled_from(["script", "limit", "refused"]), texts, texts, lines, lines),
    st.tuples(st.just("idle"), amounts),
)  # fmt: skip

clocks = st.builds(Clock, now_ms=st.integers(0, 2**53), spent_tokens=st.integers(0, 2**53), spent_usd=st.floats(0, 1e6))
deliveries: st.SearchStrategy[Delivery] = st.one_of(
    st.builds(
        StartScript,
        context=contexts,
        body=texts,
        meta=json_values,
        args_json=st.none() | json_texts,
        seed=st.integers(0, 2**64 - 1),
        budget_tokens=st.none() | st.integers(0, 2**53),
        budget_usd=st.none() | st.floats(0, 1e6),
    ),
    st.builds(ResolveCall, context=contexts, call=numbers, value_json=json_texts),
    st.builds(RejectCall, context=contexts, call=numbers, name=texts, message=texts),
    st.builds(FireTimer, context=contexts, timer=numbers),
    st.builds(EndContext, context=contexts),
)
msgpack_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | texts | st.binary(max_size=40)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20))
    | st.builds(msgpack.Timestamp, st.integers(0, 2**34 - 1), st.integers(0, 10**9 - 1)),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts | st.integers(0, 9), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


def decode_all(data: bytes, cuts: list[int], shapes: dict[str, Any]) -> list[wire.Message]:
    """The messages in some bytes that arrive in pieces."""
    decoder = Decoder(shapes)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [message for start, end in pairwise(edges) for message in decoder.feed(data[start:end])]


@given(st.lists(FROM_CHILD_MESSAGES, max_size=6), st.lists(st.integers(0, 10_000), max_size=6))
def test_what_the_child_says_arrives_however_the_pipe_cuts_it(said: list[wire.Message], cuts: list[int]) -> None:
    data = b"".join(encode(message) for message in said)
    assert decode_all(data, cuts, FROM_CHILD) == said


@given(deliveries, clocks)
def test_every_delivery_arrives(delivery: Delivery, clock: Clock) -> None:
    message = messages.to_child(delivery, clock)
    (arrived,) = decode_all(encode(message), [], TO_CHILD)
    assert arrived == message
    assert arrived[-3:] == (clock.now_ms, clock.spent_tokens, clock.spent_usd)


@given(FROM_CHILD_MESSAGES)
def test_every_message_of_a_script_becomes_one_of_the_model_or_is_refused(message: wire.Message) -> None:
    try:
        made: ScriptMessage = messages.from_child(message)
    except WireError:
        assert message[0] in {"hello", "compiled", "over", "workflow"}
        return
    if isinstance(made, AgentCalled):
        assert made.options == ({} if made.options_fault is not None else json.loads(message[5]))
        assert (made.call, made.prompt, made.phase) == (message[2], message[3], message[8])


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=3), st.sampled_from([FROM_CHILD, TO_CHILD]))
def test_any_bytes_are_messages_or_refused(data: bytes, cuts: list[int], shapes: dict[str, Any]) -> None:
    try:
        decode_all(data, cuts, shapes)
    except WireError:
        return


@given(st.lists(msgpack_values, max_size=14), st.booleans())
def test_any_msgpack_is_a_message_or_refused(values: list[Any], with_tag: bool) -> None:
    body = msgpack.packb([*(["log"] if with_tag else []), *values])
    try:
        decode(body, FROM_CHILD)
    except WireError:
        return


@given(FROM_CHILD_MESSAGES, st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_makes_another_message_or_is_refused(message: wire.Message, at: int, byte: int) -> None:
    data = bytearray(encode(message))
    data[at % len(data)] = byte
    try:
        for changed in decode_all(bytes(data), [], FROM_CHILD):
            messages.from_child(changed)
    except WireError:
        return


@given(
    FROM_CHILD_MESSAGES,
    st.integers(1, 14),
    st.sampled_from([None, True, -1, 2**60, 1.5, float("nan"), "x", b"x", [], {}]),
)
def test_a_field_of_another_kind_is_taken_only_where_its_shape_allows(
    message: wire.Message, at: int, value: Any
) -> None:
    fields = list(message)
    place = 1 + at % (len(fields) - 1)
    fields[place] = value
    try:
        arrived = decode(msgpack.packb(fields), FROM_CHILD)
    except WireError:
        return
    assert FROM_CHILD[arrived[0]][place - 1](value)


@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_message_with_another_number_of_fields_is_refused(length: int) -> None:
    with pytest.raises(WireError, match="fields, not 2"):
        decode(msgpack.packb(["untimer", *range(length)]), FROM_CHILD)


def test_values_over_one_frame_are_cut_and_put_together() -> None:
    text = "é" * (MAX_FRAME_BYTES + 7)
    data = encode(("returned", 0, text))
    assert max(length & 0x7FFF_FFFF for length in frame_lengths(data)) <= MAX_FRAME_BYTES
    assert decode_all(data, [5, MAX_FRAME_BYTES, MAX_FRAME_BYTES + 4], FROM_CHILD) == [("returned", 0, text)]


def test_a_value_over_the_largest_size_is_neither_sent_nor_taken() -> None:
    with pytest.raises(WireError, match="are the most"):
        encode(("returned", 0, "x" * (wire.MAX_MESSAGE_BYTES + 1)))
    decoder = Decoder(FROM_CHILD)
    part = struct.pack(">I", MAX_FRAME_BYTES | 0x8000_0000) + b"\xff" * MAX_FRAME_BYTES
    with pytest.raises(WireError, match="a message of more than"):
        for _ in range(20):
            list(decoder.feed(part))


def frame_lengths(data: bytes) -> list[int]:
    """The heads of all frames."""
    found, at = [], 0
    while at < len(data):
        (head,) = struct.unpack_from(">I", data, at)
        found.append(head)
        at += 4 + (head & 0x7FFF_FFFF)
    return found


SIZE = 4 * 1024 * 1024 - 100


@pytest.mark.parametrize(
    "body",
    [
        b"\x92\xa3log" + b"\xdc\xff\xff" + b"\x80" * 65535,
        b"\x92\xa3log" + b"\xdd" + struct.pack(">I", SIZE) + b"\x80" * SIZE,
        b"\x92\xa3log" + b"\xdd" + struct.pack(">I", 2**32 - 1),
        b"\x92\xa3log" + b"\xdf" + struct.pack(">I", 2**31),
        b"\x92\xa3log" + b"\xdb" + struct.pack(">I", 2**32 - 1),
        b"\x92\xa3log" + b"\xc6" + struct.pack(">I", 2**32 - 1),
        b"\x92\xa3log" + b"\xc9" + struct.pack(">I", 2**32 - 1) + b"\x01",
        b"\x92\xa3log" + b"\x91" * SIZE,
        b"\x91" * SIZE,
        b"\x90" * SIZE,
        b"\xdd" + struct.pack(">I", SIZE) + b"\x90" * SIZE,
        b"\xde\xff\xff" + b"\xa0\x80" * (SIZE // 2),
    ],
)
def test_no_frame_costs_more_than_its_own_size(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            decode(body, FROM_CHILD)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(body) + 100_000


@pytest.mark.parametrize("length", [MAX_FRAME_BYTES + 1, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_a_frame_that_says_it_is_huge_is_refused_before_it_arrives(length: int) -> None:
    with pytest.raises(WireError, match="are the most"):
        list(Decoder(FROM_CHILD).feed(struct.pack(">I", length)))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[" * 500 + "]" * 500, None),
        ("[" * 501 + "]" * 501, "nested more than 500 levels deep"),
        ("[" + ",".join(["[]"] * 5000) + "]", None),
        ('{"a": "' + "[" * 10_000 + '\\"]"}', None),
        ("[" * 100_000 + "]" * 100_000, "nested more than 500 levels deep"),
        ("[" * 200_001, "more than 200000 objects and arrays"),
        ("é" * 500_001, "larger than 1000000 bytes"),
    ],
)
def test_json_that_is_too_much_is_known_before_it_is_read(text: str, fault: str | None) -> None:
    assert messages.json_fault(text, 1_000_000, 200_000) == fault


@given(json_values)
def test_json_that_is_read_is_what_was_written(value: Any) -> None:
    text = json.dumps(value)
    assert messages.json_fault(text, 10_000_000, 10_000) is None
    assert messages.read_json(text) == value


@pytest.mark.parametrize("text", ["", "{", "NaN", "[Infinity]", "1" * 5000, "[" * 3000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(WireError):
        messages.read_json(text)
