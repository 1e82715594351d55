"""`callsheet check`: findings for people, programs and pull requests."""

from __future__ import annotations

import pytest

from tests.surfaces.command import META, Command

pytestmark = pytest.mark.contract("C01")


def test_a_good_script_has_nothing_against_it(command: Command) -> None:
    done = command("check", command.script("return await agent('x')"))

    assert (done.status, done.out, done.err) == (0, "1 file: 0 errors, 0 warnings\n", "")


def test_a_warning_is_no_error(command: Command) -> None:
    done = command("check", command.script("return Math.random()"))

    assert done.status == 0
    assert "warning: case.js:2:" in done.out
    assert done.out.endswith("1 file: 0 errors, 1 warning\n")


def test_errors_of_every_file_are_shown_with_their_places(command: Command) -> None:
    syntax = command.script("const x = ;", "syntax.js")
    importing = command.script("const fs = require('fs')", "importing.js")
    (command.folder / "bare.js").write_text("return 1", encoding="utf-8")
    (command.folder / "latin.js").write_bytes(META.encode() + b"// \xfc")

    done = command("check", syntax, importing, "bare.js", "latin.js", "missing.js")

    assert done.status == 1
    for start in ("syntax.js:2:11: ", "importing.js:2:", "bare.js", "latin.js", "there is no file missing.js"):
        assert f"error: {start}" in done.out, done.out
    assert "     2 | const x = ;\n       |           ^" in done.out
    assert done.out.splitlines()[-1].startswith("5 files: 5 errors")


@pytest.mark.contract("S06")
def test_a_script_that_kills_its_compiler_does_not_spoil_the_next(command: Command) -> None:
    deep = command.script(f"return {'(' * 200_000}1{')' * 200_000}", "deep.js")
    good = command.script("return 1", "good.js")

    done = command("check", deep, good, "--format", "json")

    files = {file["path"]: file for file in done.json["files"]}
    assert done.status == 1
    assert files["deep.js"]["findings"][0]["severity"] == "error"
    assert files["good.js"]["findings"] == []


def test_json_has_every_finding_with_its_place(command: Command) -> None:
    done = command("check", command.script("const x = ;"), "--format", "json")

    assert done.status == 1
    (file,) = done.json["files"]
    assert (file["path"], file["workflow"], done.json["errors"]) == ("case.js", "case", 1)
    finding = file["findings"][0]
    assert (finding["severity"], finding["contract"], finding["line"], finding["column"]) == ("error", "S06", 2, 11)


def test_github_gets_annotations_that_carry_one_finding_each(command: Command) -> None:
    name = command.script("const x = ;", "a,b:c.js")

    done = command("check", name, "--format", "github", environ={"GITHUB_ACTIONS": "true"})

    assert done.status == 1
    assert done.out.startswith("::error file=a%2Cb%3Ac.js,line=2,col=11,title=")
    assert len(done.out.splitlines()) == 1


def test_portable_makes_errors_of_what_the_reference_lacks(command: Command) -> None:
    name = command.script("return Math.random()")

    assert command("check", name).status == 0
    assert command("check", name, "--portable").status == 1


def test_hostile_text_in_a_script_stays_text(command: Command) -> None:
    name = command.script("const x = '\x1b[2J\u202e' ;;; const y = ;\n")

    done = command("check", name)

    assert done.status == 1
    assert "␛[2J⟨U+202E⟩" in done.out
    assert "\x1b" not in done.out and "\u202e" not in done.out


def test_nothing_is_left_behind(command: Command) -> None:
    command("check", command.script("return 1"))

    assert [path.name for path in command.folder.iterdir()] == ["case.js"]
