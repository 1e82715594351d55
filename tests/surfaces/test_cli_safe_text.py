from __future__ import annotations

import sys
import unicodedata

import pytest

from callsheet.views.safe_text import defused, defused_json, one_line, under_github, visible


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J\x1b[31mred", "␛[2J␛[31mred"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("\x9b31m", "⟨U+009B⟩31m"),
        ("a\u202eb\u2066c", "a⟨U+202E⟩b⟨U+2066⟩c"),
        ("zero\u200bwidth\ufeff", "zero⟨U+200B⟩width⟨U+FEFF⟩"),
        ("back\b\b\bspace", "back␈␈␈space"),
        ("over\rwritten", "over␍written"),
        ("nul\x00del\x7f", "nul␀del␡"),
        ("half \ud800", "half ⟨U+D800⟩"),
        ("tag \U000e0041\U000e0100", "tag ⟨U+E0041⟩⟨U+E0100⟩"),
        ("filler \u3164\u115f", "filler ⟨U+3164⟩⟨U+115F⟩"),
        ("hidden \ufe01\ufe02", "hidden ⟨U+FE01⟩⟨U+FE02⟩"),
    ],
)
def test_what_acts_or_hides_is_made_visible(hostile: str, shown: str) -> None:
    assert visible(hostile) == shown
    assert one_line(hostile) == shown


@pytest.mark.parametrize("text", ["plain", "Grüße, 世界, שלום, ✓ ⚠️ e\u0301", "[bold]no markup[/bold]", ""])
def test_ordinary_text_of_any_language_stays_as_it_is(text: str) -> None:
    assert visible(text) == text
    assert one_line(text) == text


def test_line_ends_and_tabs_stay_where_several_lines_are_right_and_are_shown_where_one_is() -> None:
    assert visible("a\r\n\tb\n") == "a\n\tb\n"
    assert one_line("a\r\n\tb\n") == "a␊␉b␊"


def test_a_limit_cuts_a_line_and_says_so() -> None:
    assert one_line("abcdef", 4) == "abc…"
    assert one_line("abcd", 4) == "abcd"


def test_no_character_of_any_format_or_control_category_passes() -> None:
    kept = {"\n", "\t"}
    passed = [
        f"U+{point:04X}"
        for point in range(sys.maxunicode + 1)
        if unicodedata.category(chr(point)) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        and chr(point) not in kept
        and chr(point) in visible(chr(point))
    ]

    assert passed == []


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("::error::gone", ": :error::gone"),
        ("fine\n  ::set-output name=x::y", "fine\n  : :set-output name=x::y"),
        ("text ##[add-path]/evil", "text # #[add-path]/evil"),
        ("std::vector", "std::vector"),
    ],
)
def test_commands_to_a_github_runner_are_broken(line: str, shown: str) -> None:
    assert defused(line) == shown


def test_json_for_a_github_runner_keeps_its_value() -> None:
    assert defused_json('"##[error]"') == '"#\\u0023[error]"'


@pytest.mark.parametrize(("value", "is_there"), [("true", True), ("1", True), ("", False), ("false", False)])
def test_a_runner_is_known_by_its_variable(value: str, is_there: bool) -> None:
    assert under_github({"GITHUB_ACTIONS": value}) is is_there
    assert under_github({}) is False
