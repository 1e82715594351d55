"""Programs of the person's own: which are taken, and what they leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from callsheet.cli.outside import edit, file_name, page
from callsheet.errors import UsageError


def _program(folder: Path, body: str) -> str:
    folder.mkdir(exist_ok=True)
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o700)
    return str(path)


def test_the_editor_that_was_said_edits_a_copy_with_the_scripts_ending(tmp_path: Path) -> None:
    program = _program(tmp_path / "bin", 'case "$2" in */a.mjs) echo "// more" >> "$2";; esac')
    environ = {"EDITOR": f"{program} --wait", "PATH": "/usr/bin:/bin"}

    assert edit("é\r\n", name="a.mjs", environ=environ, outside=tmp_path / "work") == "é\r\n// more\n"


@pytest.mark.parametrize("body", ["exit 3", "printf '\\377' > \"$1\""], ids=["fails", "no text"])
def test_of_an_editor_that_fails_nothing_is_taken(tmp_path: Path, body: str) -> None:
    environ = {"EDITOR": _program(tmp_path / "bin", body), "PATH": "/usr/bin:/bin"}

    with pytest.raises(UsageError, match="nothing of it was taken"):
        edit("text", name="a.js", environ=environ, outside=tmp_path / "work")


def test_no_program_of_the_workspace_is_taken(tmp_path: Path) -> None:
    work = tmp_path / "work"
    program = _program(work, f"touch {tmp_path}/was-run")
    (work / "less").symlink_to(program)
    environ = {"EDITOR": program, "VISUAL": "program", "PAGER": program, "PATH": str(work), "TERM": "dumb"}

    # The usual folders are looked in where PATH has no other: whichever editor is there refuses without a terminal.
    assert not page("text", environ=environ, outside=work)
    assert not page("text", environ=environ | {"TERM": "xterm", "PAGER": "cat"}, outside=work)
    with pytest.raises(UsageError):
        edit("text", name="a.js", environ=environ | {"VISUAL": "false"}, outside=work)
    assert not (tmp_path / "was-run").exists()


def test_a_copy_is_called_as_its_script(tmp_path: Path) -> None:
    assert (file_name("/a/b.mjs"), file_name("/a/b.txt"), file_name(None)) == ("b.mjs", "workflow.js", "workflow.js")
