"""What is completed while a person types, what the arrows bring back, and how text is broken into rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from callsheet.tui.session_typing import History, completion
from callsheet.tui.wrapping import wrapped
from tests.support.session_fake import COMMANDS


@pytest.mark.parametrize(
    ("line", "choices", "completed"),
    [
        ("/", ("/help", "/effort", "/workflows", "/save", "/quit", "/review"), "/"),
        ("/e", ("/effort",), "/effort "),
        ("/effort ", ("high", "low", "ultracode"), ""),
        ("/effort u", ("ultracode",), "ultracode "),
        ("/save r", ("run_ab", "run_ac"), "run_a"),
    ],
)
def test_commands_saved_names_and_their_values_are_completed(
    line: str, choices: tuple[str, ...], completed: str
) -> None:
    found = completion(line, COMMANDS, ("last", "run_ab", "run_ac"))

    assert found is not None
    assert found.choices == choices
    assert found.completed(line[found.start :]) == completed


@pytest.mark.parametrize("line", ["", "hello", "/effort ultracode", "/nothing", "/help x", " /e"])
def test_where_nothing_can_follow_nothing_is_offered(line: str) -> None:
    assert completion(line, COMMANDS) is None


def test_the_arrows_go_back_through_what_was_said_and_forth_to_what_is_being_typed() -> None:
    said = History()
    for text in ("one", "two", "two"):
        said.add(text)

    assert said.moved(1, "draft") is None
    assert [said.moved(-1, "draft"), said.moved(-1, "two"), said.moved(-1, "one")] == ["two", "one", None]
    assert [said.moved(1, "one"), said.moved(1, "two"), said.moved(1, "draft")] == ["two", "draft", None]


@given(st.text(alphabet="ab -*日é  .1)\n\t😀\x1b\u202e", max_size=80), st.integers(4, 40), st.booleans())
def test_no_row_is_too_wide_and_nothing_but_spaces_is_lost(text: str, width: int, is_table: bool) -> None:
    rows = wrapped(text, width, is_table=is_table)

    assert all(cell_len(row) <= width for row in rows)
    shown = "".join("".join(rows).split())
    plain = "".join(text.replace("\x1b", "␛").replace("\u202e", "⟨U+202E⟩").split())
    assert shown == plain


def test_rows_that_go_on_stand_below_the_first_word_of_their_item_or_their_column() -> None:
    assert wrapped("- one two three four", 14) == ["- one two", "  three four"]
    assert wrapped("/a [X]  does one thing or two", 26, is_table=True) == ["/a [X]  does one thing or", "        two"]
