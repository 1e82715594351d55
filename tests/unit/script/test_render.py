"""A finding as text and as JSON (CONTRACT S06, C01)."""

from __future__ import annotations

import pytest

from callsheet.model.script import Finding
from callsheet.model.values import Place
from callsheet.script.render import SHOWN_CHARACTERS, finding_json, render_finding

pytestmark = pytest.mark.contract("S06")


def finding(line: str | None, column: int | None, message: str = "wrong") -> Finding:
    return Finding(
        severity="error",
        code="syntax",
        contract="S06",
        message=message,
        place=Place(line=3, column=column),
        source_line=line,
    )


def test_the_line_stands_below_the_message_and_a_caret_below_the_column() -> None:
    shown = render_finding(finding("const a = ;", 11), origin="a/b.js")
    assert shown == "a/b.js:3:11: error: wrong\n  const a = ;\n            ^"


@pytest.mark.parametrize(
    ("line", "column", "below"),
    [
        ("\tx y", 4, "      x y\n        ^"),
        ("a\tx", 3, "  a    x\n       ^"),
        ("'日本' x", 6, "  '日本' x\n         ^"),
        ("'e\u0301' x", 6, "  'e\u0301' x\n      ^"),
        ("a\x1b[31mb", 7, "  a⟨U+001B⟩[31mb\n               ^"),
        ("a\u202eb", 3, "  a⟨U+202E⟩b\n           ^"),
        ("ab", 3, "  ab\n    ^"),
        ("ab", 99, "  ab\n    ^"),
        ("", 1, "  \n  ^"),
    ],
)
def test_the_caret_stands_right_below_tabs_wide_and_invisible_characters(line: str, column: int, below: str) -> None:
    assert render_finding(finding(line, column), origin="s").split("\n", 1)[1] == below


@pytest.mark.parametrize("column", [1, 500, 999, 1000])
def test_of_a_long_line_the_surroundings_of_the_column_are_shown(column: int) -> None:
    line = "x" * (column - 1) + "!" + "y" * (1000 - column)
    _, shown, caret = render_finding(finding(line, column), origin="s").split("\n")
    assert len(shown) <= SHOWN_CHARACTERS + 4
    assert shown[caret.index("^")] == "!"


def test_messages_and_origins_cannot_act_on_a_terminal() -> None:
    shown = render_finding(finding(None, 1, "evil \x1b]0;title\x07 name\nsecond"), origin="a\rb.js")
    assert shown == "a⟨U+000D⟩b.js:3:1: error: evil ⟨U+001B⟩]0;title⟨U+0007⟩ name⟨U+000A⟩second"


def test_a_finding_without_a_place_is_shown_without_one() -> None:
    bare = Finding(severity="warning", code="too-large", contract="S08", message="large")
    assert render_finding(bare, origin="s.js") == "s.js: warning: large"
    assert finding_json(bare)["line"] is None


def test_a_finding_as_json_has_all_that_it_says() -> None:
    assert finding_json(finding("const a = ;", 11)) == {
        "severity": "error",
        "code": "syntax",
        "contract": "S06",
        "message": "wrong",
        "line": 3,
        "column": 11,
        "source_line": "const a = ;",
    }
