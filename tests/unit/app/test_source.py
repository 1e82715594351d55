from __future__ import annotations

from pathlib import Path

import pytest

from callsheet.app.source import find_script
from callsheet.errors import NotFoundError, ScriptRefusedError, UsageError
from callsheet.model.script import MAX_SCRIPT_BYTES, Script
from tests.unit.app.library import FewThings, read

pytestmark = pytest.mark.contract("S08", "S09")


def find(name_or_path: str, start: Path, stdin: bytes | None = None) -> Script:
    return find_script(name_or_path, start=start, stdin=stdin, library=FewThings(), read=read)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "review-all.js").write_text("all", encoding="utf-8")
    (tmp_path / "other.mjs").write_text("other", encoding="utf-8")
    (tmp_path / "plain").write_text("plain", encoding="utf-8")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "inner.js").write_text("inner", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("review-all.js", "all"),
        ("other.mjs", "other"),
        ("./plain", "plain"),
        ("plain", "plain"),
        ("sub/inner.js", "inner"),
    ],
)
def test_a_path_is_read_from_the_current_folder(folder: Path, given: str, text: str) -> None:
    found = find(given, folder)

    assert (found.text, found.origin, found.path) == (text, given, str(folder / given))


def test_a_name_is_looked_up(folder: Path) -> None:
    assert find("review", folder).meta.name == "review"


def test_a_dash_is_standard_input(folder: Path) -> None:
    found = find("-", folder, b"piped")

    assert (found.text, found.origin, found.path) == ("piped", "-", None)


def test_a_file_that_is_not_there_is_refused_with_what_looks_alike(folder: Path) -> None:
    with pytest.raises(ScriptRefusedError, match=r"no file revew-all\.js\. Did you mean review-all\.js or review\?"):
        find("revew-all.js", folder)


def test_a_link_that_leads_nowhere_is_called_that_and_not_taken_for_what_looks_alike(folder: Path) -> None:
    (folder / "link.js").symlink_to("gone.js")
    with pytest.raises(ScriptRefusedError, match=r"^link\.js is a link to gone\.js, which is not there\.$"):
        find("link.js", folder)


def test_a_saved_name_that_was_written_as_a_file_is_named(folder: Path) -> None:
    with pytest.raises(ScriptRefusedError, match=r"no file review\.js\. Did you mean .*review\?"):
        find("review.js", folder)


def test_a_file_in_a_folder_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(ScriptRefusedError, match=r"no file nowhere/x\.js"):
        find("nowhere/x.js", folder)


def test_a_directory_is_refused_with_the_scripts_in_it(folder: Path) -> None:
    with pytest.raises(ScriptRefusedError, match=r"\./sub is a directory\. Scripts there: inner\.js\."):
        find("./sub", folder)
    with pytest.raises(ScriptRefusedError, match=r"\. is a directory\. Scripts there: other\.mjs, review-all\.js\."):
        find(".", folder)


def test_a_file_that_may_not_be_read_is_refused_with_the_reason(folder: Path) -> None:
    (folder / "loop.js").symlink_to("loop.js")

    with pytest.raises(ScriptRefusedError, match=r"loop\.js cannot be read: Too many levels of symbolic links"):
        find("loop.js", folder)


def test_of_a_huge_file_only_so_much_is_read_that_the_reader_refuses_it(folder: Path) -> None:
    with (folder / "huge.js").open("wb") as file:
        file.truncate(100 * MAX_SCRIPT_BYTES)

    assert len(find("huge.js", folder).text) == MAX_SCRIPT_BYTES + 1


def test_a_scripts_text_in_place_of_its_name_is_an_error_that_says_how_to_pipe_it(folder: Path) -> None:
    for text in ("export const meta = {}\nreturn 1", "x" * 5_000):
        with pytest.raises(UsageError, match=r"callsheet run - < FILE"):
            find(text, folder)


def test_a_name_longer_than_any_file_is_looked_up_all_the_same(folder: Path) -> None:
    with pytest.raises(NotFoundError):
        find("x" * 300, folder)


def test_a_home_that_does_not_exist_is_part_of_the_path(folder: Path) -> None:
    with pytest.raises(ScriptRefusedError, match=r"no file ~nobody-at-all/x\.js"):
        find("~nobody-at-all/x.js", folder)


def test_a_name_that_is_not_there_is_an_error_with_a_file_that_looks_alike(folder: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no workflow 'revew-all'\. There is a file review-all\.js here"):
        find("revew-all", folder)


def test_a_name_that_is_a_directory_here_says_so(folder: Path) -> None:
    with pytest.raises(NotFoundError, match=r"sub is a directory here; did you mean sub/inner\.js\?"):
        find("sub", folder)
