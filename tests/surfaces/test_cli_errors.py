"""Bad input gets a clear error that names the place and the remedy, in words and as an object."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from callsheet.cli.boundary import guarded
from callsheet.errors import CallsheetError, ConfigError, SandboxError
from tests.surfaces.command import META, Command


def refused(command: Command, *words: str, says: str, kind: str) -> None:
    """Sees that the command is refused with these words, on standard error and in the object."""
    done = command("run", *words, "--output", "json")
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert done.status == 2, done.err
    assert len(errors) == 1 and says in errors[0], done.err
    assert "Traceback" not in done.err
    assert (done.json["status"], done.json["error"]["kind"], done.json["agents"]) == ("failed", kind, [])
    assert says in done.json["error"]["message"]


def test_a_refusal_is_said_alike_in_every_form_of_output(command: Command) -> None:
    text, lines = command("run", "none.js"), command("run", "none.js", "--output", "jsonl")

    assert (text.status, text.out) == (lines.status, "") == (2, "")
    assert text.err == lines.err
    (last,) = lines.events
    assert (last["event"], last["seq"], last["status"], last["error"]["kind"]) == (
        "run.finished",
        1,
        "failed",
        "refused",
    )


@pytest.mark.contract("S08")
def test_a_script_that_is_not_utf8(command: Command) -> None:
    (command.folder / "latin.js").write_bytes(META.encode() + "return 'ü'".encode("latin-1"))

    refused(command, "latin.js", says="UTF-8", kind="refused")


@pytest.mark.contract("S08")
def test_a_script_that_is_a_directory(command: Command) -> None:
    (command.folder / "dir.js").mkdir()

    refused(command, "dir.js", says="dir.js is a directory", kind="refused")


@pytest.mark.contract("S08")
def test_a_script_that_does_not_exist(command: Command) -> None:
    command.script("return 1", "review.js")

    refused(command, "revew.js", says="there is no file revew.js. Did you mean review.js", kind="refused")


@pytest.mark.contract("S08")
def test_a_script_that_is_too_large(command: Command) -> None:
    command.script("/*" + "x" * 600_000 + "*/")

    refused(command, "case.js", says="512", kind="refused")


def test_a_name_that_does_not_exist(command: Command) -> None:
    command.script("return 1", ".claude/workflows/review.js")

    refused(command, "cas", says="case", kind="config")


@pytest.mark.contract("G01")
def test_args_that_are_broken_json(command: Command) -> None:
    name = command.script("return 1")

    refused(command, name, "--args", '{"a": 1,', says="--args is not JSON at line 1, column", kind="config")


def test_an_answers_file_that_does_not_exist(command: Command) -> None:
    refused(command, command.script("return 1"), "--backend", "scripted:none.json", says="none.json", kind="config")


@pytest.mark.parametrize("text", ["{", "[]", '{"answers": [{"labl": "x"}]}', '{"answers": 3}'])
def test_an_answers_file_that_is_wrong(command: Command, text: str) -> None:
    (command.folder / "bad.json").write_text(text, encoding="utf-8")

    refused(command, command.script("return 1"), "--backend", "scripted:bad.json", says="bad.json", kind="config")


def test_a_store_that_cannot_be_written(command: Command) -> None:
    name = command.script("return 1")
    (command.folder / "file").write_text("", encoding="utf-8")

    refused(command, name, "--backend", command.answers(), "--store", "file/x.db", says="file", kind="config")


def test_a_store_that_is_no_database(command: Command) -> None:
    name = command.script("return 1")
    (command.folder / "other.db").write_text("something of somebody else, and long enough " * 9, encoding="utf-8")

    refused(command, name, "--backend", command.answers(), "--store", "other.db", says="other.db", kind="config")


def test_a_workspace_that_does_not_exist(command: Command) -> None:
    refused(command, command.script("return 1"), "--workspace", "nowhere", says="nowhere", kind="config")


def test_a_workspace_without_git_works_and_says_what_is_missing(command: Command) -> None:
    done = command.run("return 1")

    assert done.status == 0
    assert any("note: " in line and "git" in line for line in done.err.splitlines()), done.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--max-parallel", "0"), "--max-parallel is 0; it is between 1 and 256"),
        (("--max-parallel", "many"), "--max-parallel"),
        (("--budget", "lots"), "--budget: 'lots' is no budget"),
        (("--memory-limit", "lots"), "--memory-limit: 'lots' is no size"),
        (("--cpu-limit", "soon"), "--cpu-limit: 'soon' is no number of seconds"),
        (("--backend", "gpt"), "there is no backend 'gpt'"),
        (("--preflight", "maybe"), "--preflight"),
        (("--arg", "x"), "'x' is not key=value"),
    ],
)
def test_a_flag_with_a_value_that_cannot_hold(command: Command, words: tuple[str, ...], says: str) -> None:
    refused(command, command.script("return 1"), *words, says=says, kind="config")


def test_a_flag_that_does_not_exist_is_named_with_one_that_does(command: Command) -> None:
    done = command("run", "x.js", "--max-paralel", "3", "--output=json")

    assert done.status == 2
    assert "error: No such option" in done.err and "--max-parallel" in done.err
    assert (done.json["status"], done.json["error"]["kind"]) == ("failed", "config")


@pytest.mark.parametrize("words", [(), ("run",), ("runn",)])
def test_words_that_are_no_command_are_wrong_usage(command: Command, words: tuple[str, ...]) -> None:
    done = command(*words)

    assert done.status == 2
    assert "Usage: callsheet" in done.err
    assert "Traceback" not in done.err


def test_without_a_word_the_help_is_shown_once_and_nothing_is_called_an_error(command: Command) -> None:
    done = command()

    assert (done.status, done.out) == (2, "")
    assert done.err.count("Usage:") == 1
    assert "error" not in done.err
    assert "run " in done.err


@pytest.mark.contract("G01")
def test_a_script_that_reads_args_where_none_were_given_is_told_how_they_are_given(command: Command) -> None:
    body = "const files = args.files\nreturn files"
    without = command.run(body)
    assert without.status == 1
    assert "case.js:2:" in without.err
    assert "`args` is undefined: none were given. Give them with --arg NAME=VALUE, or --args JSON" in without.err
    assert command.run(body, "--arg", "files=a").out == "a\n"
    other = command.run("return nothing.at.all", "--output", "json")
    assert "--arg" not in other.json["error"]["message"]
    given = command.run("return args.files.at.all", "--args", "{}", "--output", "json")
    assert "--arg" not in given.json["error"]["message"]


def test_a_setting_in_the_environment_that_cannot_hold(command: Command) -> None:
    done = command.run("return 1", "--output", "json", environ={"CALLSHEET_MAX_PARALEL": "3"})

    assert done.status == 2
    assert "Did you mean CALLSHEET_MAX_PARALLEL?" in done.json["error"]["message"]


# --- the outermost edge -----------------------------------------------------------------------------------------------


def broken() -> int:
    raise ValueError("unforeseen \x1b[2J")


def test_a_fault_of_ours_is_said_and_written_down_and_exits_with_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    told: list[CallsheetError] = []

    status = guarded(broken, tell=told.append)

    (file,) = tmp_path.iterdir()
    said = capsys.readouterr().err
    assert status == 1
    assert said.startswith(f"error: callsheet itself broke (ValueError: unforeseen ␛[2J); its traceback is in {file}.")
    assert "in broken" in file.read_text(encoding="utf-8")
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(told) == 1


def raising(fault: Exception) -> Callable[[], int]:
    def work() -> int:
        raise fault

    return work


@pytest.mark.parametrize(
    ("fault", "status"),
    [(ConfigError("wrong"), 2), (SandboxError("gone", kind="sandbox"), 1), (CallsheetError("x"), 1)],
)
def test_an_error_on_purpose_is_said_without_a_traceback(
    capsys: pytest.CaptureFixture[str], fault: CallsheetError, status: int
) -> None:
    assert guarded(raising(fault)) == status
    assert capsys.readouterr().err == f"error: {fault.message}\n"


def test_an_object_is_valid_json_whatever_the_error_quotes(command: Command) -> None:
    done = command("run", "no\u202esuch\x1b[2J.js", "--output", "json")

    assert done.status == 2
    assert json.loads(done.out)["script"] == "no\u202esuch\x1b[2J.js"
    assert "\x1b" not in done.err and "\u202e" not in done.err


def test_where_nothing_was_run_there_is_nothing_to_resume(command: Command) -> None:
    done = command("resume", "run_01ABC", "--rerun", "a0001")

    assert done.status == 2
    assert "there is none yet" in done.err and ".callsheet/callsheet.db" in done.err
