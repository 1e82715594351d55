"""`callsheet run` as people and programs use it: every form of output, every exit status."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.surfaces.command import META, Command
from tests.surfaces.events import HOSTILE

TWO_AGENTS = """
phase('Find')
log('hello', 'there')
const [a, b] = await parallel([() => agent('one', { label: 'first' }), () => agent('two', { label: 'second' })])
return { a, b }
"""


# --- forms of output --------------------------------------------------------------------------------------------------


def test_text_output_gives_the_result_on_standard_output_and_all_else_on_standard_error(command: Command) -> None:
    done = command.run(TWO_AGENTS)

    assert done.status == 0
    assert json.loads(done.out) == {"a": "synthetic answer to: first", "b": "synthetic answer to: second"}
    assert "phase Find" in done.err
    assert "log: hello there" in done.err
    assert "ok        a0001 first" in done.err
    assert "completed · " in done.err and "2 agents" in done.err
    assert "backend: scripted (the answers come from a file; no model was asked)" in done.err
    assert f"record: {command.folder}/.callsheet/callsheet.db" in done.err
    assert done.err.splitlines()[-1].startswith("run: run_")


def test_a_text_that_a_script_returns_is_printed_as_it_is(command: Command) -> None:
    assert command.run("return 'two\\nlines'").out == "two\nlines\n"


def test_a_script_that_returns_nothing_prints_nothing(command: Command) -> None:
    done = command.run("await agent('x')")

    assert (done.status, done.out) == (0, "")


@pytest.mark.contract("O04")
def test_json_output_is_one_object_and_nothing_else(command: Command) -> None:
    done = command.run(TWO_AGENTS, "--output", "json")

    assert done.status == 0
    assert len(done.out.splitlines()) == 1
    assert done.json["status"] == "completed"
    assert done.json["workflow"] == "case"
    assert done.json["script"] == "case.js"
    assert done.json["backend"] == "scripted"
    assert done.json["result"] == {"a": "synthetic answer to: first", "b": "synthetic answer to: second"}
    assert [agent["label"] for agent in done.json["agents"]] == ["first", "second"]
    assert done.json["phases"] == [{"title": "Find", "agents": 2}]
    assert [line["message"] for line in done.json["logs"]] == ["hello there"]


def test_jsonl_output_is_every_event_in_order_and_the_object_last(command: Command) -> None:
    done = command.run(TWO_AGENTS, "--output", "jsonl")

    events = done.events
    assert done.status == 0
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["event"] == "run.started"
    assert events[-1]["event"] == "run.finished"
    assert events[-1]["result"]["a"] == "synthetic answer to: first"
    assert {event["run_id"] for event in events} == {events[-1]["run_id"]}
    assert sum(event["event"] == "agent.finished" for event in events) == 2


def test_quiet_output_is_the_result_and_who_gave_it(command: Command) -> None:
    done = command.run(TWO_AGENTS, "--quiet")

    assert json.loads(done.out)["a"] == "synthetic answer to: first"
    assert done.err.splitlines() == ["backend: scripted (the answers come from a file; no model was asked)"]


def test_quiet_output_hides_no_bad_end(command: Command) -> None:
    done = command.run("return await agent('x', { label: 'x' })", "--quiet", answers=({"label": "x", "error": "gone"},))

    assert done.status == 3
    assert done.err.splitlines()[-1].startswith("degraded. run: run_")


@pytest.mark.parametrize("output", ["text", "json", "jsonl"])
def test_every_form_of_output_names_the_backend_offline(command: Command, output: str) -> None:
    name = command.script("return 1")

    done = command("run", name, "--backend", "offline", "--output", output)

    assert done.status == 0
    if output == "text":
        assert "backend: offline (" in done.err and "no model was asked" in done.err
    else:
        assert done.events[-1]["backend"] == "offline"


def test_without_a_credential_the_run_says_so_in_one_line(command: Command) -> None:
    done = command("run", command.script("return 1"))

    assert done.status == 0
    assert sum("no credential for a model was found" in line for line in done.err.splitlines()) == 1
    assert "ANTHROPIC_API_KEY" in done.err


def test_without_a_credential_a_run_under_ci_is_an_error(command: Command) -> None:
    done = command("run", command.script("return 1"), "--output", "json", environ={"CI": "true"})

    assert done.status == 2
    assert (done.json["status"], done.json["error"]["kind"]) == ("failed", "config")
    assert "error: no credential for a model was found" in done.err


# --- exit statuses ----------------------------------------------------------------------------------------------------


@pytest.mark.contract("O01")
def test_a_script_that_throws_exits_with_1_and_says_where(command: Command) -> None:
    done = command.run("const x = 1\nnull.x", "--output", "json")

    assert done.status == 1
    assert done.json["error"]["kind"] == "script"
    assert done.json["error"]["line"] == 3
    assert "error: case.js:3:" in done.err


@pytest.mark.contract("S06")
def test_a_refused_script_exits_with_2_and_shows_the_place(command: Command) -> None:
    done = command.run("const y = 1\nconst x = ;", "--output", "json")

    assert done.status == 2
    assert (done.json["status"], done.json["error"]["kind"]) == ("failed", "refused")
    assert (done.json["error"]["line"], done.json["workflow"]) == (3, "case")
    assert "error: case.js:3:11: " in done.err
    assert "     3 | const x = ;" in done.err
    assert "       |           ^" in done.err


def test_a_degraded_run_exits_with_3_and_shows_what_went_wrong(command: Command) -> None:
    done = command.run("return await agent('x', { label: 'x' })", answers=({"label": "x", "error": "gone"},))

    assert done.status == 3
    assert done.out == ""
    assert "degraded: 1 problem" in done.err
    assert "x · failed: gone" in done.err


def test_a_degraded_run_may_be_told_to_exit_with_0(command: Command) -> None:
    body = "return await agent('x', { label: 'x' })"

    assert command.run(body, "--fail-on", "failed", answers=({"label": "x", "error": "gone"},)).status == 0


def test_an_agent_over_its_budget_exits_with_4(command: Command) -> None:
    answers = ({"label": "x", "error": "too dear", "status": "over_budget"},)

    assert command.run("return await agent('x', { label: 'x' })", answers=answers).status == 4


# --- what goes in -----------------------------------------------------------------------------------------------------


@pytest.mark.contract("G01")
@pytest.mark.parametrize(
    ("words", "result"),
    [
        ((), '["undefined",null]'),
        (("--args", '{"a": [1, "ü"]}'), '["object",{"a":[1,"ü"]}]'),
        (("--args", "plain words"), '["string","plain words"]'),
        (("--args", "null"), '["object",null]'),
        (("--arg", "n=3", "--arg", "t=x y"), '["object",{"n":3,"t":"x y"}]'),
    ],
)
def test_args_reach_the_script_as_they_were_given(command: Command, words: tuple[str, ...], result: str) -> None:
    done = command.run("return [typeof args, args === undefined ? null : args]", "--output", "json", *words)

    assert done.json["result"] == json.loads(result)


def test_a_script_may_come_from_standard_input(command: Command) -> None:
    done = command("run", "-", "--backend", command.answers(), stdin=(META + "return 'piped'").encode())

    assert (done.status, done.out) == (0, "piped\n")


def test_a_saved_workflow_is_found_by_name_from_a_folder_below(command: Command) -> None:
    command.script("return 'saved'", ".claude/workflows/some-file.js")
    command.answers()
    subprocess.run(["git", "init", "-q"], cwd=command.folder, check=True)
    below = Command(command.folder / "deep" / "down", bytecode=Path(command.environ["PYTHONPYCACHEPREFIX"]))
    below.folder.mkdir(parents=True)
    below.environ = command.environ

    for name in ("case", "some-file"):
        done = below("run", name, "--backend", f"scripted:{command.folder}/answers.json")
        assert (done.status, done.out) == (0, "saved\n"), done.err


def test_settings_are_taken_from_the_environment_and_flags_win(command: Command) -> None:
    body = "return [budget.total, budget.cost.total]"

    assert json.loads(command.run(body, environ={"CALLSHEET_BUDGET": "1k $3"}).out) == [1_000, 3]
    assert json.loads(
        command.run(body, "--budget", "2k", "--budget", "$5", environ={"CALLSHEET_BUDGET": "1k"}).out
    ) == [2_000, 5]


def test_what_the_workspace_may_not_set_is_ignored_and_said(command: Command) -> None:
    (command.folder / "callsheet.toml").write_text("backend = 'anthropic'\nmax_agents = 1", encoding="utf-8")

    done = command.run("await agent('x'); return await agent('y').catch((error) => error.name)")

    assert done.out == "AgentCapError\n"
    assert "note: callsheet.toml: backend is ignored" in done.err


def test_the_record_goes_where_it_is_told_to(command: Command, tmp_path: Path) -> None:
    done = command.run("return 1", "--store", str(tmp_path / "elsewhere.db"))

    assert done.status == 0
    assert (tmp_path / "elsewhere.db").is_file()
    assert not (command.folder / ".callsheet" / "callsheet.db").exists()


# --- before any agent -------------------------------------------------------------------------------------------------


def test_what_a_script_says_literally_and_cannot_have_is_a_warning_before_any_agent_starts(command: Command) -> None:
    done = command.run("await agent('x', { effort: 'huge' }).catch(() => 0)\nreturn 'ran'")

    assert done.out == "ran\n"
    assert "warning: case.js:2:" in done.err and "effort 'huge' does not exist" in done.err
    assert done.err.count("effort 'huge' does not exist") == 1


def test_preflight_may_refuse_it(command: Command) -> None:
    done = command.run("return await agent('x', { agentType: 'Nobody' })", "--preflight", "refuse", "--output", "json")

    assert done.status == 2
    assert (done.json["error"]["kind"], done.json["error"]["line"], done.json["agents"]) == ("refused", 2, [])
    assert "Nobody" in done.json["error"]["message"]


@pytest.mark.contract("C01")
def test_the_checkers_warnings_are_shown_once(command: Command) -> None:
    done = command.run("phase('Undeclared')\nreturn Math.random() < 2")

    assert done.status == 0
    assert sum(line.startswith("warning: case.js:3:") for line in done.err.splitlines()) == 1


# --- hostile text -----------------------------------------------------------------------------------------------------


def test_hostile_text_from_script_and_agents_stays_text(command: Command) -> None:
    text = json.dumps(HOSTILE)
    body = f"phase({text}); log({text}); await agent('p', {{ label: {text} }}); return {text}"

    done = command.run(body, answers=({"result": HOSTILE},), environ={"GITHUB_ACTIONS": "true"})

    both = done.out + done.err
    assert not [character for character in "\x1b\x07\u202e" if character in both]
    assert not [line for line in both.splitlines() if line.lstrip().startswith("::")]
    assert "␛[2J␛]0;owned␇ [bold]x[/bold] ⟨U+202E⟩gnp.exe" in done.out


def test_json_output_keeps_hostile_text_and_acts_on_nothing(command: Command) -> None:
    done = command.run(
        "return args",
        "--args",
        json.dumps(HOSTILE + "##[add-path]x"),
        "--output",
        "json",
        environ={"GITHUB_ACTIONS": "1"},
    )

    assert done.json["result"] == HOSTILE + "##[add-path]x"
    assert done.out.isascii() and "\x1b" not in done.out and "##[" not in done.out


# --- streams that go away ---------------------------------------------------------------------------------------------


def test_a_reader_that_goes_away_is_no_error(command: Command) -> None:
    name = command.script("for (let i = 0; i < 2000; i++) log('line ' + i)\nreturn 'x'.repeat(100000)")
    process = command.start("run", name, "--backend", command.answers(), "--output", "jsonl", "--quiet")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()

    _, err = process.communicate(timeout=120)

    assert process.returncode == 0
    assert err.decode().splitlines() == ["backend: scripted (the answers come from a file; no model was asked)"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_are_no_error_and_nothing_else_is_written_to(command: Command, closed: str) -> None:
    name = command.script("log('x'); await agent('p'); return 'y'.repeat(10000)")
    line = [*command.line("run", name, "--backend", command.answers(), "--output", "json")]

    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *line],
        cwd=command.folder,
        env=command.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(command.folder / ".callsheet" / "callsheet.db")) as db:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert db.execute("select status from runs").fetchall() == [("completed",)]


def test_a_result_that_cannot_be_written_is_an_error_that_names_the_run(command: Command) -> None:
    name = command.script("return 1")
    with Path("/dev/full").open("wb") as full:
        process = command.start("run", name, "--backend", command.answers(), "--output", "json", stdout=full)
        _, err = process.communicate(timeout=120)

    assert process.returncode == 1
    assert (
        "error: the result could not be written: No space left on device. It is in the record of run_" in err.decode()
    )


# --- start-up ---------------------------------------------------------------------------------------------------------


def test_version_and_help_load_nothing_heavy(command: Command) -> None:
    code = (
        "import sys; from callsheet.cli.commands import run_command_line as run; run([sys.argv[1]]); "
        "print(*sorted({'anthropic', 'anyio', 'pydantic', 'rich', 'sqlite3', 'tree_sitter'} & set(sys.modules)))"
    )
    for flag in ("--version", "--help"):
        line = [*command.line()[:1], "-c", code, flag]
        done = subprocess.run(line, env=command.environ, capture_output=True, text=True, timeout=120, check=True)
        assert done.stdout.splitlines()[-1] == ""


UNUSED = """
    anthropic boto3 fractions jsonschema_rs mcp pydantic rich tree_sitter_bash yaml
    callsheet.agents.anthropic callsheet.agents.claude_code callsheet.agents.offline callsheet.agents.tools.workbench
    callsheet.answers.judge callsheet.answers.synthetic callsheet.app.config_from callsheet.app.doctor
    callsheet.app.graph callsheet.cli.doctor_command callsheet.cli.live callsheet.cli.trust_command
    callsheet.confinement.probe callsheet.library.memory callsheet.library.skills callsheet.permissions.decide
    callsheet.pricing.prices callsheet.store.past callsheet.workspace.checkpoints
    callsheet.workspace.git callsheet.workspace.journal callsheet.workspace.trees callsheet.workspace.worktree
"""


def test_a_run_with_the_scripted_backend_loads_nothing_that_it_does_not_use(command: Command) -> None:
    name = command.script("return await agent('x')")
    other = command.folder / ".callsheet" / "running" / "leases" / "run_other.lease"  # of a run on another machine
    other.parent.mkdir(parents=True)
    holder = {"run_id": "run_other", "host": "elsewhere", "pid": 1, "boot_id": "b", "process_start": "1"}
    other.write_text(json.dumps(holder | {"started_at": "2026-01-01T00:00:00Z", "mode": "shared"}), encoding="utf-8")
    code = (
        "import sys; from callsheet.cli.commands import run_command_line as run\n"
        f"status = run(sys.argv[1:]); print(status, *sorted(set({UNUSED!r}.split()) & set(sys.modules)))"
    )
    line = [*command.line()[:1], "-c", code, "run", name, "--backend", command.answers(), "--output", "json"]
    done = subprocess.run(
        line, cwd=command.folder, env=command.environ, capture_output=True, text=True, timeout=120, check=True
    )

    assert done.stdout.splitlines()[-1] == "0"


def test_the_modules_of_a_workspace_are_not_ours(command: Command) -> None:
    for name in ("msgpack", "json", "click"):
        (command.folder / f"{name}.py").write_text("raise SystemExit(99)", encoding="utf-8")
    entry = Path(command.line()[0]).with_name("callsheet")
    environ = command.environ | {"PATH": os.environ["PATH"]}
    name = command.script("return 1")

    done = subprocess.run(
        [entry, "run", name, "--backend", command.answers()],
        cwd=command.folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "1\n")
