"""`callsheet list`, `show NAME`, `save`, `new`, `init`, `/NAME` and the completion of names: workflows by name."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.surfaces.command import LIMIT_S, META, Command

HOSTILE = "\x1b[31mred\x1b[0m \u202egpj.exe"


def workflow(name: str, *, description: str = "does things", body: str = "return args", more: str = "") -> str:
    meta = json.dumps({"name": name, "description": description}, ensure_ascii=True)
    return f"export const meta = {meta[:-1]}{more}}}\n{body}\n"


def saved(command: Command, file: str, text: str, *, folder: Path | None = None) -> Path:
    path = (folder or command.folder) / ".claude" / "workflows" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def home(command: Command) -> Path:
    return Path(command.environ["HOME"])


def run_id(command: Command, body: str = "return 1") -> str:
    return str(command.run(body, "--output", "json").json["run_id"])


# --- list -------------------------------------------------------------------------------------------------------------


def test_a_list_has_names_descriptions_when_to_use_and_where_from(command: Command) -> None:
    saved(
        command, "review.js", workflow("review", description="Reviews a change", more=", whenToUse: 'before a merge'")
    )
    saved(command, "mine.js", workflow("mine"), folder=home(command))

    done = command("list")

    assert done.status == 0
    assert re.search(r"^review +Reviews a change +project\n    before a merge\nmine +does things +user\n", done.out)


def test_a_shadowed_and_a_refused_workflow_are_listed_with_the_reason_and_hide_no_other(command: Command) -> None:
    saved(command, "review.js", workflow("review"))
    saved(command, "broken.js", "import x from 'y'\n")
    saved(command, "review.js", workflow("review"), folder=home(command))

    done = command("list")

    assert re.search(r"^review +does things +project$", done.out, re.MULTILINE)
    assert "shadowed: review of ~/.claude/workflows/review.js by .claude/workflows/review.js" in done.out
    assert re.search(r"^cannot be run: \.claude/workflows/broken\.js: line 1: ", done.out, re.MULTILINE)


def test_a_list_as_json_has_everything(command: Command) -> None:
    path = saved(command, "review.js", workflow("review", more=", whenToUse: 'now'"))

    listed = command("list", "--json").json["workflows"][0]

    assert listed == {
        "name": "review",
        "description": "does things",
        "when_to_use": "now",
        "source": "project",
        "path": str(path),
        "by_file": "review",
        "shadowed_by": None,
        "problem": None,
    }


def test_a_list_follows_a_file_that_changes(command: Command) -> None:
    path = saved(command, "review.js", workflow("review"))
    os.utime(path, ns=(1, 1))
    command("list")
    path.write_text(workflow("review", description="does other things"), encoding="utf-8")
    os.utime(path, ns=(1, 1))

    assert "does other things" in command("list").out


def test_where_nothing_is_saved_those_that_come_with_callsheet_are_listed(command: Command) -> None:
    listed = command("list", "--json").json["workflows"]

    assert {each["source"] for each in listed} == {"bundled"}
    assert "code-review" in {each["name"] for each in listed}


def test_text_of_a_workflow_cannot_act_on_the_terminal(command: Command) -> None:
    saved(command, "review.js", workflow("review", description=HOSTILE, more=f", whenToUse: {json.dumps(HOSTILE)}"))

    for words in (("list",), ("show", "review"), ("list", "--json")):
        done = command(*words)
        assert "\x1b" not in done.out
        assert "\u202e" not in done.out


# --- show -------------------------------------------------------------------------------------------------------------


def test_a_workflow_is_shown_with_its_phases_and_its_script(command: Command) -> None:
    path = saved(command, "review.js", workflow("review", more=", phases: [{ title: 'Find', detail: 'all of it' }]"))

    done = command("show", "review")

    assert done.out.splitlines()[:3] == ["review: does things", f"from: {path} (project)", "phase Find: all of it"]
    assert "return args" in done.out
    assert command("show", "/review", "--json").json["text"] == path.read_text(encoding="utf-8")


def test_a_name_that_is_neither_run_nor_workflow_names_what_looks_alike(command: Command) -> None:
    saved(command, "review.js", workflow("review"))

    done = command("show", "reviw")

    assert done.status == 2
    assert 'there is no workflow "reviw". Did you mean "review"' in done.err


def test_a_workflow_that_cannot_be_run_is_not_shown_and_the_place_in_its_file_is(command: Command) -> None:
    saved(command, "broken.js", "export const meta = { name: 'broken', description: 1 }\n")

    done = command("show", "broken")

    assert done.status == 1
    assert "error: .claude/workflows/broken.js:1:" in done.err
    assert "     1 | export const meta" in done.err


# --- save -------------------------------------------------------------------------------------------------------------


def test_a_run_is_saved_and_runs_by_its_name(command: Command) -> None:
    run_id(command, "return 'again ' + args")

    done = command("save")

    assert done.out.splitlines() == [
        f"saved: {command.folder}/.claude/workflows/case.js",
        "run it: callsheet /case",
    ]
    again = command("/case", "and", "again", "--backend", command.answers())
    assert again.out.strip() == "again and again"


def test_a_run_is_saved_under_another_name_and_nothing_else_of_it_changes(command: Command) -> None:
    run = run_id(command, "return 'case'")

    assert command("save", run, "--as", "it's new").status == 0

    text = (command.folder / ".claude/workflows/it-s-new.js").read_text(encoding="utf-8")
    assert text == META.replace("'case'", '"it\'s new"') + "return 'case'"
    assert command("/it's new", "--backend", command.answers()).out.strip() == "case"


def test_a_saved_workflow_of_the_users_own_lies_in_the_home_folder(command: Command) -> None:
    run_id(command)

    assert command("save", "--user").status == 0

    assert (home(command) / ".claude/workflows/case.js").is_file()
    assert not (command.folder / ".claude").exists()


def test_another_file_is_not_replaced_unless_it_is_forced(command: Command) -> None:
    path = saved(command, "case.js", workflow("case", body="return 'precious'"))
    run_id(command, "return 2")

    done = command("save")

    assert done.status == 2
    assert f"{path} is there already, with other content" in done.err
    assert "precious" in path.read_text(encoding="utf-8")
    assert command("save", "--force").status == 0
    assert "precious" not in path.read_text(encoding="utf-8")


def test_saving_twice_says_that_it_is_there(command: Command) -> None:
    run_id(command)
    command("save")

    assert command("save").out.startswith("there already: ")


@pytest.mark.parametrize("link", [".claude", ".claude/workflows", ".claude/workflows/case.js"])
@pytest.mark.parametrize("force", [(), ("--force",)])
def test_nothing_is_saved_through_a_link(command: Command, tmp_path: Path, link: str, force: tuple[str, ...]) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file.js").write_text("as it was", encoding="utf-8")
    run_id(command)
    place = command.folder / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(outside / "file.js" if link.endswith(".js") else outside)

    done = command("save", *force)

    assert done.status == 2
    assert "link" in done.err
    assert [(path.name, path.read_text(encoding="utf-8")) for path in outside.iterdir()] == [("file.js", "as it was")]


def test_a_name_that_is_taken_nearer_or_farther_is_said(command: Command) -> None:
    saved(command, "other.js", workflow("case"), folder=home(command))
    run_id(command)

    done = command("save")

    assert "other.js has this name too and is no longer the one that runs." in done.err
    assert "is nearer: it is the one that runs" in command("save", "--user", "--as", "case").err


@pytest.mark.parametrize("name", ["../up", "up.js"])
def test_a_name_that_run_would_take_for_a_path_is_refused_and_nothing_is_written(command: Command, name: str) -> None:
    run = run_id(command)

    for done in (command("save", run, f"--as={name}"), command("new", name)):
        assert (done.status, "callsheet run takes it for a path" in done.err) == (2, True), done.err
    assert list(command.folder.parent.rglob("up*.js")) == []


# --- new and init -----------------------------------------------------------------------------------------------------


def test_a_new_workflow_passes_the_check_and_runs(command: Command) -> None:
    assert command("new", "my-look").status == 0

    assert command("check", "--portable").out == "1 file: 0 errors, 0 warnings\n"
    done = command("/my-look", "the", "docs", "--backend", command.answers(), "--output", "json")
    assert done.status == 0
    assert {agent["phase"] for agent in done.json["agents"]} == {"Look", "Doubt", "Report"}


def test_a_repository_is_prepared_once_and_what_a_person_wrote_stays(command: Command) -> None:
    done = command("init")
    assert [line.split(": ")[0] for line in done.out.splitlines()[:3]] == ["made"] * 3
    (command.folder / "callsheet.toml").write_text("max_agents = 7\n", encoding="utf-8")
    (command.folder / ".claude/workflows/workflow.d.ts").write_text("// of an older version\n", encoding="utf-8")

    again = command("init")

    assert [line.split(":")[0] for line in again.out.splitlines()[:3]] == [
        "brought up to date",
        "there already",
        "kept as it is (it is not what would be made)",
    ]
    assert (command.folder / "callsheet.toml").read_text(encoding="utf-8") == "max_agents = 7\n"


def test_the_settings_file_that_is_made_sets_nothing_and_every_line_of_it_can_be_taken_in(command: Command) -> None:
    command("init")
    path = command.folder / "callsheet.toml"
    text = path.read_text(encoding="utf-8")
    assert tomllib.loads(text) == {}
    lines = [line[2:] for line in text.splitlines() if re.match(r"# \w+ = ", line)]
    assert len(lines) >= 4
    path.write_text("\n".join(lines), encoding="utf-8")

    assert command.run("return 1").status == 0


# --- check without files ----------------------------------------------------------------------------------------------


def test_without_files_all_saved_workflows_are_checked(command: Command) -> None:
    saved(command, "good.js", workflow("good"))
    saved(command, "bad.js", workflow("bad", body="return ("))
    saved(command, "mine.js", workflow("mine"), folder=home(command))

    done = command("check")

    assert done.status == 1
    assert ".claude/workflows/bad.js:2" in done.out
    assert done.out.splitlines()[-1].startswith("3 files: 1 error")


@pytest.mark.parametrize("word", ["bad", "/bad", "by-file"])
def test_a_saved_workflow_is_checked_by_its_name(command: Command, word: str) -> None:
    saved(command, "by-file.js", workflow("bad", body="return ("))

    done = command("check", word, "code-review", "--portable")

    assert done.status == 1
    assert "error: .claude/workflows/by-file.js:2" in done.out
    assert done.out.splitlines()[-1] == "2 files: 1 error, 0 warnings"


def test_a_name_that_nothing_has_is_no_error_of_a_script(command: Command) -> None:
    done = command("check", "code-reviw")

    assert done.status == 2
    assert 'there is no workflow "code-reviw". Did you mean "code-review"?' in done.err


def test_without_any_saved_workflow_the_check_says_how_one_is_made(command: Command) -> None:
    done = command("check")

    assert done.status == 2
    assert "callsheet new NAME" in done.err


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_command", [("/echo",), ("run", "echo")])
def test_words_after_a_workflow_are_its_args(command: Command, as_command: tuple[str, ...]) -> None:
    saved(command, "echo.js", workflow("echo", body="return { args }"))

    done = command(*as_command, "where=src", "depth=2", "--backend", command.answers(), "--output", "json")

    assert done.json["result"] == {"args": {"where": "src", "depth": 2}}


def test_words_and_a_flag_for_args_exclude_each_other(command: Command) -> None:
    saved(command, "echo.js", workflow("echo"))

    done = command("/echo", "this", "--args", "that")

    assert done.status == 2
    assert "'this' and --args both give the script's args" in done.err


def test_a_command_that_is_none_names_the_near_one_and_how_a_workflow_is_run(command: Command) -> None:
    done = command("runz")

    assert done.status == 2
    assert "there is no command 'runz'. Did you mean run? A saved workflow is run by callsheet /runz." in done.err


# --- completion -------------------------------------------------------------------------------------------------------

_ASK = """
compopt() { :; }  # works only while somebody presses Tab
eval "$(callsheet completion bash)"
COMP_WORDS=(callsheet "$@"); COMP_CWORD=$#
_callsheet_completion callsheet
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(command: Command, *words: str) -> list[str]:
    """What bash offers after some words."""
    script = command.folder.parent / "ask.sh"
    program = command.folder.parent / "bin" / "callsheet"
    program.parent.mkdir(exist_ok=True)
    python, *module = command.line()
    program.write_text(f'#!/bin/sh\nexec {python} {" ".join(module)} "$@"\n', encoding="utf-8")
    program.chmod(0o700)
    script.write_text(_ASK, encoding="utf-8")
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", str(script), *words],
        cwd=command.folder,
        env=command.environ | {"PATH": f"{program.parent}:{command.environ['PATH']}"},
        capture_output=True,
        timeout=LIMIT_S,
        check=True,
    )
    assert done.stderr == b""
    return done.stdout.decode().split()


@pytest.mark.parametrize("words", [("run", "re"), ("/re",), ("show", "re")])
def test_the_shell_completes_names_of_workflows(command: Command, words: tuple[str, ...]) -> None:
    saved(command, "review.js", workflow("review"))
    saved(command, "other.js", workflow("other"))

    assert completed(command, *words) == ["/review" if words[0].startswith("/") else "review"]


def test_the_shell_completes_commands(command: Command) -> None:
    assert completed(command, "ro") == ["rollback"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_too(command: Command, shell: str) -> None:
    done = command("completion", shell)

    assert done.status == 0
    assert f"_CALLSHEET_COMPLETE={shell}_complete" in done.out
