"""What is shown before a run, and what is typed at it."""

from __future__ import annotations

import pytest

from callsheet.app.approving import Standing
from callsheet.cli.approval_lines import Offered, Remark, choice_lines, head_lines, meaning, script_lines
from callsheet.permissions.approvals import Approval
from callsheet.script.reader import read_script

HOSTILE = "\\u001b[2J\\u202e\\n  cost      nothing"
SCRIPT = read_script(
    f"export const meta = {{ name: 'a{HOSTILE}', description: 'says {HOSTILE} {'long ' * 40}' }}\n".encode(),
    origin="a.js",
    path="/work/a.js",
)
PLAIN, KEPT_OUT = Offered(), Offered(why_not_always="it lies in the workspace")
EDITED = Offered(saves_to="a.js", is_edited=True)


@pytest.mark.parametrize(
    ("typed", "choice"),
    [
        ("r", "run"), (" Yes ", "run"), ("a", "always"), ("v", "view"), ("\x07", "edit"), ("r\x07", "edit"),
        ("e", "edit"), ("d", "details"), ("n", "no"), ("\x1b", "no"), ("q", "no"),
    ],
)  # fmt: skip
def test_letters_words_and_keys_are_choices(typed: str, choice: str) -> None:
    assert meaning(typed, PLAIN) == choice


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("", PLAIN), ("run it", PLAIN), ("w", PLAIN), ("a", KEPT_OUT), ("a", EDITED), ("w", Offered(is_edited=True))],
)
def test_all_else_runs_nothing_and_is_answered(typed: str, offered: Offered) -> None:
    assert isinstance(meaning(typed, offered), Remark)


def test_an_edited_script_can_be_run_once_or_saved(offered: Offered = EDITED) -> None:
    text = " ".join(line.text for line in choice_lines("a", offered, width=80))
    assert "r run the edited script · w save it to a.js" in text
    assert "do not ask again" not in text
    assert meaning("w", offered) == "save"


def test_text_of_a_script_is_text_and_looks_like_no_line_of_ours() -> None:
    before = Approval(folder="/work", workflow="a", sha256="ab", terms=(), path=None, at="2026-11-21T08:00:00.123Z")
    standing = Standing(before=before, changes=("the script changed",))
    shown = [line.text for line in head_lines(SCRIPT, place="a.js", folder="/work", standing=standing, width=60)]

    assert shown[1] == "? Run a␛[2J⟨U+202E⟩␊  cost      nothing?"
    assert [line for line in shown if line.lstrip().startswith("cost")] == []
    assert all(line.startswith("  │ ") for line in shown[2 : shown.index(next(x for x in shown if "script" in x[:9]))])
    assert "since you approved it, 2026-11-21 08:00 UTC: the script" in " ".join(" ".join(shown).split())
    assert max(map(len, shown)) <= 60


def test_every_line_of_a_script_is_shown_with_its_number() -> None:
    assert list(script_lines("a\r\n\x1b[31mb\n")) == ["    1  a", "    2  ␛[31mb", "    3  "]
