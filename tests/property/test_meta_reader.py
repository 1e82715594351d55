"""Whatever a meta says, and however it is spelled, it is read as the engine would evaluate it (CONTRACT S02, S06)."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callsheet.errors import ScriptRefusedError
from callsheet.model.values import JsonValue
from callsheet.script.reader import read_script
from callsheet.script.values import FORBIDDEN_KEYS, property_name
from tests.support.examples import times
from tests.unit.script.samples import evaluated

pytestmark = pytest.mark.contract("S02")

SCALARS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
KEYS = SCALARS.filter(lambda key: key not in FORBIDDEN_KEYS)
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
NAMED_ESCAPES = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f", "\v": "v"}
LINE_ENDS = "\n\r\u2028\u2029"
IDENTIFIER = st.from_regex(r"[A-Za-z_$][\w$]{0,6}", fullmatch=True).filter(str.isascii)


@st.composite
def trivia(draw: st.DrawFn) -> str:
    """White space and comments, as they may stand between any two tokens."""
    return "".join(
        draw(
            st.lists(
                st.sampled_from([" ", "\t", "\n", "\r\n", "\u00a0", "/* , } */", "/**/", "// ' \" ` {\n", "\u2028"]),
                max_size=2,
            )
        )
    )


@st.composite
def character(draw: st.DrawFn, one: str, quote: str) -> str:
    """One character of a string in one of its spellings."""
    point = ord(one)
    units = [int.from_bytes(pair, "big") for pair in _pairs(one.encode("utf-16-be"))]
    spellings = [f"\\u{{{point:x}}}", f"\\u{{0{point:X}}}", "".join(f"\\u{unit:04x}" for unit in units)]
    if point < 0x100:
        spellings.append(f"\\x{point:02X}")
    if one in NAMED_ESCAPES:
        spellings.append("\\" + NAMED_ESCAPES[one])
    is_raw_line_end = one in "\n\r" and quote != "`"
    if one not in {quote, "\\", "\0"} and not is_raw_line_end and not (quote == "`" and one in "$\r"):
        spellings.append(one)
    if one not in LINE_ENDS and not one.isdigit() and one not in "bfnrtvux\0":
        spellings.append("\\" + one)
    return draw(st.sampled_from(spellings))


def _pairs(data: bytes) -> list[bytes]:
    return [data[at : at + 2] for at in range(0, len(data), 2)]


@st.composite
def string(draw: st.DrawFn, text: str, quotes: str = "'\"`") -> str:
    """A string in one of its spellings, with line continuations here and there."""
    quote = draw(st.sampled_from(quotes))
    parts = [
        draw(character(one, quote)) + draw(st.sampled_from(["", "", "", "", "\\\n", "\\\r\n", "\\\u2029"]))
        for one in text
    ]
    return quote + "".join(parts) + quote


@st.composite
def number(draw: st.DrawFn, value: int | float) -> str:
    """A number in one of its spellings."""
    spellings = [json.dumps(abs(value)), f"{abs(value)!r}", f"{abs(float(value)):e}"]
    if isinstance(value, int):
        digits = f"{abs(value):_}"
        spellings += [digits, f"0x{abs(value):x}", f"0X{abs(value):X}", f"0o{abs(value):o}", f"0b{abs(value):b}"]
        spellings += [f"{abs(value)}.", f"{abs(value)}.0", f"{abs(value)}e0", f"{abs(value)}E+0"]
    elif abs(value) < 1 and "e" not in repr(value):
        spellings.append(repr(abs(value)).removeprefix("0"))
    text = draw(st.sampled_from(spellings))
    if float(text.replace("_", "") if text[:2].lower() not in {"0x", "0o", "0b"} else int(text, 0)) != abs(value):
        text = repr(abs(value))
    is_negative = value < 0 or (value == 0 and str(value).startswith("-"))
    return ("-" + draw(st.sampled_from(["", " ", "/**/"])) if is_negative else "") + text


@st.composite
def key(draw: st.DrawFn, name: str) -> str:
    """The name of a property in one of its spellings."""
    is_index = name.isascii() and name.isdigit() and (name == "0" or name[0] != "0") and int(name) < 2**32
    if is_index and draw(st.booleans()):
        return draw(st.sampled_from([name, f"{int(name):#x}", f"{name}.0"]))
    is_plain = name.isascii() and name.replace("$", "_").isidentifier()
    if is_plain and draw(st.booleans()):
        at = draw(st.integers(0, len(name) - 1))
        return draw(st.sampled_from([name, f"{name[:at]}\\u{{{ord(name[at]):x}}}{name[at + 1 :]}"]))
    return draw(string(name, quotes="'\""))


@st.composite
def literal(draw: st.DrawFn, value: JsonValue) -> str:
    """A value in one of its spellings."""
    if isinstance(value, str):
        return draw(string(value))
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return draw(number(value))
    if isinstance(value, list):
        parts, brackets = [draw(literal(element)) for element in value], "[]"
    else:
        parts, brackets = (
            [
                f"{draw(key(name))}{draw(trivia())}:{draw(trivia())}{draw(literal(held))}"
                for name, held in value.items()
            ],
            "{}",
        )
    spaced = [f"{draw(trivia())}{part}{draw(trivia())}" for part in parts]
    comma = draw(st.sampled_from(["", ","])) if spaced else ""
    return brackets[0] + ",".join(spaced) + comma + draw(trivia()) + brackets[1]


@st.composite
def metas(draw: st.DrawFn) -> tuple[dict[str, JsonValue], str]:
    """What a meta says, and a spelling of it."""
    value: dict[str, JsonValue] = {
        "name": draw(SCALARS.filter(str.strip)),
        "description": draw(SCALARS.filter(str.strip)),
        "value": draw(VALUES),
    }
    return value, draw(literal(value))


QUICK = settings(max_examples=times(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(metas())
def test_a_meta_in_any_spelling_is_read_back_equal_and_as_the_engine_reads_it(
    meta: tuple[dict[str, JsonValue], str],
) -> None:
    value, text = meta
    read = read_script(f"export const meta = {text};".encode(), origin="-", path=None).meta
    assert read.value == value
    assert read.value == evaluated(text)
    assert (read.name, read.description) == (value["name"], value["description"])


@pytest.mark.contract("S06")
@QUICK
@given(metas(), trivia(), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60))
def test_the_body_keeps_every_place_of_the_text_whatever_it_says(
    meta: tuple[dict[str, JsonValue], str], before: str, after: str
) -> None:
    statement = f"export const meta = {meta[1]};"
    text = f"{before}{statement}{after}"
    try:
        script = read_script(text.encode(), origin="-", path=None)
    except ScriptRefusedError as refused:
        assert {finding.contract for finding in refused.findings} == {"S05"}
        return
    assert script.text == text
    assert script.body == before + re.sub(f"[^{LINE_ENDS}]", " ", statement) + after


@given(st.floats(min_value=0, allow_infinity=False))
@settings(max_examples=times(100), deadline=None)
def test_a_number_names_the_property_that_the_engine_says(value: float) -> None:
    assert evaluated(f"Number({property_name(value)!r}) === {value!r}") is True
    short = float(f"{value:.12e}")  # with all its digits the engine does not always find the shortest spelling
    assert [property_name(short)] == evaluated(f"Object.keys({{ [{short!r}]: 1 }})")


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")), IDENTIFIER)
@settings(max_examples=times(100), deadline=None)
def test_no_text_makes_the_reader_fail_in_another_way_than_by_refusing(text: str, name: str) -> None:
    for whole in (text, f"export const meta = {text}", f"export const meta = {{ {name}: {text} }}\n{text}"):
        data = whole.encode("utf-8", "surrogatepass")
        try:
            read_script(data, origin="-", path=None)
        except ScriptRefusedError as refused:
            assert refused.findings
            assert all(finding.message for finding in refused.findings)
