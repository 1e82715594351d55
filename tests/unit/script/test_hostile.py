"""Scripts that are made to be slow, deep or odd are read, or refused, in bounded time (CONTRACT S08)."""

from __future__ import annotations

import time

import pytest

from callsheet.errors import ScriptRefusedError
from callsheet.model.sandbox import SyntaxFault
from callsheet.model.script import MAX_SCRIPT_BYTES, Script
from callsheet.model.values import Place
from callsheet.script import grammar
from callsheet.script.checker import check_script
from callsheet.script.literals import literal_uses
from callsheet.script.reader import read_script
from callsheet.script.syntax import syntax_finding
from tests.unit.script.samples import HEAD, script

ROOM = 40_000
"""Enough to pass the limits on depth and time; the whole 512 KiB take the same time at the limits, and more to scan."""
FULL = MAX_SCRIPT_BYTES - len(HEAD)
EACH_S = 10.0
"""Of CPU, on a busy machine; what these shapes cost without bounds is minutes."""


HEAD_WITH_PHASES = HEAD.replace("};", ", phases: [{ title: 'a', model: 'opus' }] };")


def nested(before: str, middle: str, after: str) -> str:
    count = (ROOM - len(middle)) // (len(before) + len(after))
    return before * count + middle + after * count


@pytest.mark.contract("S08")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param("[" * FULL, id="brackets that are never closed"),
        pytest.param(nested("[", "", "]"), id="lists in lists"),
        pytest.param(nested("(", "a", ")"), id="parentheses"),
        pytest.param(nested("f(", "", ")"), id="calls in calls"),
        pytest.param(nested("()=>{", "", "}"), id="functions in functions"),
        pytest.param(nested("`${", "a", "}`"), id="templates in templates"),
        pytest.param(nested("switch(a){case 1:", "", "}"), id="switches in switches"),
        pytest.param("if(a)b;else " * (ROOM // 12 - 1) + "c", id="a long chain of else"),
        pytest.param("!" * (ROOM - 1) + "a", id="a long chain of negations"),
        pytest.param("a?b:" * (ROOM // 4 - 1) + "c", id="a long chain of choices"),
        pytest.param("x=>" * (ROOM // 3 - 1) + "1", id="a long chain of arrows"),
        pytest.param("[" + "," * (ROOM - 2) + "]", id="a list of empty slots"),
        pytest.param(";" * ROOM, id="empty statements"),
        pytest.param("(a," * (ROOM // 3), id="parameters that never are"),
        pytest.param("({" * (ROOM // 2), id="patterns that never are"),
        pytest.param("<a>" * (ROOM // 3), id="elements that are never closed"),
        pytest.param("0<a>" * (ROOM // 4), id="types that never are"),
        pytest.param("it's not code at all. " * (ROOM // 22), id="prose"),
        pytest.param("agent('a')" + ".then(b)" * (ROOM // 8 - 2), id="a long chain of then"),
        pytest.param("(/[" * ROOM, id="regular expressions that are never closed"),
        pytest.param("a" * FULL, id="one long word"),
        pytest.param("phase('a');agent('b');" * (FULL // 22), id="thousands of calls"),
        pytest.param("for(;;){phase('a');agent('b');" * 300 + "}" * 300, id="loops in loops"),
        pytest.param("const f=a=>{const b=a;return b};" * (ROOM // 32), id="one name declared a thousand times"),
        pytest.param("const a=[...a];parallel(a);" * (ROOM // 27), id="lists that hold themselves"),
        pytest.param("export const meta=1//\n" * (FULL // 21), id="thousands of exports"),
    ],
)
def test_odd_bodies_are_looked_at_in_bounded_time(body: str) -> None:
    start = time.thread_time()
    try:
        read = read_script((HEAD_WITH_PHASES + body)[:MAX_SCRIPT_BYTES].encode(), origin="-", path=None)
    except ScriptRefusedError:
        read = None
    if read is not None:
        check_script(read)
        literal_uses(read)
        syntax_finding(read, SyntaxFault(message="expecting ';'", place=Place(line=2, column=3)))
    assert time.thread_time() - start < EACH_S


@pytest.mark.contract("S02")
@pytest.mark.parametrize(
    "meta",
    [
        pytest.param("[" * 100_000, id="never closed"),
        pytest.param("[" * 100_000 + "]" * 100_000, id="deep"),
        pytest.param("'" * 100_001, id="quotes"),
        pytest.param("{a:" * 60_000 + "1" + "}" * 60_000, id="deep objects"),
        pytest.param("'" + "\\" * 200_001, id="backslashes"),
        pytest.param("/*" * 100_000, id="comments that do not end"),
        pytest.param("`${" * 60_000, id="templates that do not end"),
        pytest.param("1_" * 100_000, id="a long number"),
        pytest.param("0x" + "f" * 200_000, id="a huge number"),
        pytest.param("[" + "é," * 60_000 + "]", id="thousands of names"),
        pytest.param("{ '" + "k" * 90_000 + "': [" + "1," * 50_000 + "x] }", id="a long key"),
        pytest.param("[" + "1" * 60 + "__1]", id="a number with too many separators"),
    ],
)
def test_odd_metas_are_refused_in_bounded_time(meta: str) -> None:
    start = time.thread_time()
    with pytest.raises(ScriptRefusedError):
        read_script(f"export const meta = {{ name: 'n', description: 'd', x: {meta} }}".encode(), origin="-", path=None)
    assert time.thread_time() - start < EACH_S


@pytest.mark.contract("S01")
@pytest.mark.parametrize(
    "before",
    [
        "export const meta;//" * 20_000,
        "0/*\nexport const meta" * 20_000,
        "/*" * 200_000,
        "//" * 200_000,
        "/**/" * 100_000,
        " " * 400_000,
        "\n" * 400_000,
    ],
)
def test_odd_beginnings_are_passed_in_bounded_time(before: str) -> None:
    start = time.thread_time()
    try:
        read_script((before + HEAD).encode(), origin="-", path=None)
    except ScriptRefusedError as refused:
        assert refused.findings[0].code.startswith("meta-")
    assert time.thread_time() - start < EACH_S


def test_what_cannot_be_looked_at_in_time_is_left_to_the_engine() -> None:
    assert grammar.parse(b"a;" * 200_000, grammar.Deadline(0.0)) is None
    deep: Script = script("{" * 50_000 + "}" * 50_000)
    assert check_script(deep) == ()
    assert literal_uses(deep) == ()
