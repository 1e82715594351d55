"""Edits made once more: to the byte what was there, or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.workspace.marks import marks_of
from callsheet.workspace.patching import FileEdit, put, rebuilt

pytestmark = pytest.mark.contract("R03")

WORDS = st.sampled_from(["one", "two", "three", "ünï", "\r\n", "x", ""])
TEXTS = st.lists(WORDS, max_size=8).map("\n".join)
EDITS = st.lists(st.builds(FileEdit, old=WORDS.filter(bool), text=WORDS, is_everywhere=st.booleans()), max_size=4)


def applied(text: str, edits: list[FileEdit]) -> tuple[str, list[FileEdit]]:
    """What an agent leaves that makes these edits, and those of them that could be made."""
    done = []
    for edit in edits:
        assert edit.old is not None
        if text.count(edit.old) == 1 or (edit.is_everywhere and edit.old in text):
            text = text.replace(edit.old, edit.text)
            done.append(edit)
    return text, done


def mark(folder: Path, text: str) -> str:
    (folder / "mark").write_bytes(text.encode())
    return marks_of(folder, ["mark"])["mark"]


@given(before=TEXTS, edits=EDITS, other=TEXTS)
def test_edits_lead_back_to_what_an_agent_had_left_and_never_over_what_another_wrote(
    before: str, edits: list[FileEdit], other: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="callsheet-test-") as name:
        folder = Path(name)
        left, done = applied(before, edits)
        wanted = mark(folder, left)
        (folder / "a").write_bytes(before.encode())
        assert rebuilt(folder, "a", done, mark=wanted) == left.encode()

        (folder / "a").write_bytes(other.encode())
        found = rebuilt(folder, "a", done, mark=wanted)
        assert found is None or found == left.encode() == applied(other, done)[0].encode()


def test_a_whole_text_comes_back_only_where_no_file_is(tmp_path: Path) -> None:
    edits = [FileEdit(text="first"), FileEdit(old="fir", text="la")]
    wanted = mark(tmp_path, "last")
    assert rebuilt(tmp_path, "new/a", edits, mark=wanted) == b"last"
    assert put(tmp_path, "new/a", b"last")
    assert (tmp_path / "new" / "a").read_bytes() == b"last"
    (tmp_path / "new" / "a").write_bytes(b"mine")
    assert rebuilt(tmp_path, "new/a", edits, mark=wanted) is None
    assert rebuilt(tmp_path, "b", [], mark=wanted) is None
    assert rebuilt(tmp_path, "b", [FileEdit(text="other")], mark=wanted) is None


def test_what_is_no_plain_text_beneath_the_workspace_is_left_alone(tmp_path: Path) -> None:
    edits, wanted = [FileEdit(old="x", text="y")], mark(tmp_path, "y")
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "bytes").write_bytes(b"\xff")
    (tmp_path / "folder").mkdir()
    for path in ("link", "bytes", "folder", "../out", "/etc/passwd"):
        assert rebuilt(tmp_path, path, edits, mark=wanted) is None
    assert not put(tmp_path, "../out", b"")
    assert rebuilt(tmp_path, "real", edits, mark=wanted) == b"y"
