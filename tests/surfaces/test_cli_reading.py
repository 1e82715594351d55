"""`callsheet runs`, `show` and `logs`: what was run, read from its record by another process."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.surfaces.command import LIMIT_S, Command, Done

BODY = """
phase('Find')
log('hello')
const found = await pipeline(['a', 'b'],
  f => agent('find ' + f, { label: 'find:' + f }),
  (r, f) => agent('doubt ' + r, { label: 'doubt:' + f, phase: 'Doubt' }))
return found
"""
ANSWERS = ({"label": "doubt:b", "error": "gone wrong"},)
SLOW = """
await agent('wait', { label: 'gate' })
for (const n of [1, 2, 3, 4]) await agent('step ' + n, { label: 's' + n })
return 'slept'
"""
SLOWLY = ({"label": "gate", "result": "", "delay_ms": 600_000}, {"label": "s*", "result": "x", "delay_ms": 200})
"""Begins to end when the agent `gate` is skipped."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, bytecode: Path) -> tuple[str, Path]:
    """A run that is over, and the folder with its record; tests have copies of it."""
    folder = tmp_path_factory.mktemp("finished") / "workspace"
    folder.mkdir()
    done = Command(folder, bytecode=bytecode).run(BODY, "--output", "json", answers=ANSWERS)
    return str(done.json["run_id"]), folder / ".callsheet"


@pytest.fixture
def ran(command: Command, finished: tuple[str, Path]) -> str:
    """The id of a run that is over: four agents, one of which failed."""
    run_id, state = finished
    shutil.copytree(state, command.folder / ".callsheet")
    return run_id


def begun(run: subprocess.Popen[bytes], agent_id: str) -> str:
    """Waits until an agent of a run is at work; gives the run's id."""
    assert run.stdout is not None
    while (event := json.loads(run.stdout.readline()))["event"] != "agent.started" or event["agent_id"] != agent_id:
        pass
    return str(event["run_id"])


def record_of(command: Command) -> Path:
    return command.folder / ".callsheet" / "callsheet.db"


def files(command: Command) -> dict[str, tuple[int, int]]:
    found = (command.folder / ".callsheet").rglob("*")
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in found}


# --- runs -------------------------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first_with_status_agents_tokens_cost_and_time(command: Command, ran: str) -> None:
    command.run("return 1")

    lines = command("runs").out.splitlines()

    assert len(lines) == 2
    assert re.search(r"completed +case +0 agents +0 in, 0 out +\$0 +[\d.]+ s +\d+ s ago$", lines[0])
    assert lines[1].startswith(ran)
    assert re.search(r"degraded +case +4 agents +400 in, 200 out", lines[1])


def test_runs_as_json_have_what_the_lines_have(command: Command, ran: str) -> None:
    said = command("runs", "--json").json

    assert said["record"] == str(record_of(command))
    (run,) = said["runs"]
    assert (run["run_id"], run["status"], run["workflow"]) == (ran, "degraded", "case")
    assert run["usage"] == {
        "agents": 4,
        "input_tokens": 400,
        "output_tokens": 200,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "cost_usd": 0.0,
        "cost_known": True,
    }
    assert run["duration_ms"] > 0


def test_a_folder_in_which_nothing_was_run_says_so_and_stays_empty(command: Command) -> None:
    done = command("runs")

    assert (done.status, done.out, done.err) == (0, "", "No run yet: this folder has no record.\n")
    assert command("runs", "--json").json == {"record": None, "runs": []}
    assert list(command.folder.iterdir()) == []


def test_a_record_that_was_named_and_is_not_there_is_an_error(command: Command) -> None:
    done = command("runs", "--store", "other.db")

    assert done.status == 1
    assert "other.db: there is none yet" in done.err


def test_the_users_settings_say_where_the_record_is_read(command: Command) -> None:
    home = command.folder.parent / "home" / ".config" / "callsheet"
    home.mkdir(parents=True)
    (home / "config.toml").write_text(f'store = "{command.folder.parent}/mine.db"\n', encoding="utf-8")
    run_id = command.run("return 1", "--output", "json").json["run_id"]

    assert command("runs", "--json").json["runs"][0]["run_id"] == run_id
    assert (command.folder.parent / "mine.db").is_file()


def test_reading_makes_changes_and_leaves_nothing(command: Command, ran: str) -> None:
    before = files(command)

    for words in (["runs"], ["show"], ["show", ran, "1"], ["logs"]):
        assert command(*words).status == 0

    assert files(command) == before


# --- show -------------------------------------------------------------------------------------------------------------


def test_a_run_is_shown_with_its_agents_its_problems_and_what_reruns_them(command: Command, ran: str) -> None:
    shown = command("show", ran).out

    assert re.search(r"^Find\n  a0001  ok +find:a ", shown, re.MULTILINE)
    assert re.search(r"^Doubt\n(.*\n)*  a000\d  failed  doubt:b .*gone wrong$", shown, re.MULTILINE)
    assert "result:\n  [\n" in shown
    assert "degraded: 1 problem" in shown
    assert f"callsheet resume {ran} --rerun a000" in shown


@pytest.mark.parametrize("name", ["last", "{}", "run_"])
def test_a_run_is_found_by_its_id_its_beginning_or_as_the_last(command: Command, ran: str, name: str) -> None:
    assert command("show", name.format(ran), "--json").json["run_id"] == ran


@pytest.mark.contract("O04")
def test_a_run_shown_as_json_is_the_object_that_it_ended_with(command: Command) -> None:
    ended = command.run(BODY, "--output", "json", answers=ANSWERS).json

    assert command("show", "--json").json == ended


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("run_9", "has no run run_9"),
        ("reviw", 'there is no workflow "reviw"'),
        ("run_%", "is no run"),
    ],
)
def test_a_run_that_is_not_there_is_wrong_usage(command: Command, ran: str, name: str, says: str) -> None:
    done = command("show", name)

    assert done.status == 2
    assert says in done.err


def test_the_beginning_of_two_runs_names_both(command: Command, ran: str) -> None:
    other = command.run("return 1", "--output", "json").json["run_id"]

    done = command("show", "run_0")

    assert done.status == 2
    assert ran in done.err and other in done.err


@pytest.mark.parametrize("name", ["a0001", "1", "find:a"])
def test_an_agent_is_found_by_id_number_or_label(command: Command, ran: str, name: str) -> None:
    shown = command("show", ran, name).out

    assert shown.startswith(f"a0001 find:a · ok · {ran}\n")
    assert "prompt:\n  find a\n" in shown
    assert "answer:\n  synthetic answer to: find:a" in shown
    assert "usage: 100 in, 50 out" in shown


def test_a_label_of_several_agents_names_them(command: Command, ran: str) -> None:
    done = command("show", ran, "find:")

    assert done.status == 2
    assert "a0001 (find:a), a0002 (find:b)" in done.err


def test_an_agent_that_is_not_there_names_one_that_is_like_it(command: Command, ran: str) -> None:
    assert "Did you mean 'doubt:a'?" in command("show", ran, "doubt:aa").err


def test_all_of_an_agent_is_shown_with_its_tool_calls_and_its_conversation(command: Command) -> None:
    (command.folder / "notes.md").write_text("# Notes\nTODO: look\n", encoding="utf-8")
    command(
        "run", command.script("return await agent('List TODO comments', { label: 'todo' })"), "--backend", "offline"
    )

    shown = command("show", "last", "todo").out
    said = command("show", "last", "todo", "--json").json

    assert "tool calls: " in shown and "messages: " in shown
    assert said["tool_calls"] and all(call["state"] in ("done", "failed") for call in said["tool_calls"])
    assert [message["message"]["role"] for message in said["messages"]][:2] == ["user", "assistant"]
    assert said["prompt"] == "List TODO comments"


def test_long_texts_are_cut_and_shown_whole_with_full(command: Command) -> None:
    command.run("return await agent('p'.repeat(9000), { label: 'long' })")

    cut, full = command("show", "last", "long").out, command("show", "last", "long", "--full").out

    assert "… (--full shows all of it)" in cut and len(cut) < 6_000
    assert "p" * 9_000 in full


def test_many_agents_are_cut_and_those_that_failed_are_not(command: Command) -> None:
    body = "return (await parallel(Array.from({length: 80}, (_, i) => () => agent('x', {label: 'n' + i})))).length"
    command.run(body, answers=({"label": "n70", "error": "gone"},))

    cut, full = command("show").out, command("show", "--full").out

    assert " n70 " in cut and " n69 " not in cut and "29 more agents (--full shows them)" in cut
    assert " n69 " in full


def test_nothing_that_agents_wrote_acts_on_the_terminal(command: Command) -> None:
    evil = "\\u001b[31mred\\u202e\\r\\u0007"
    body = f"log('{evil}')\nreturn await agent('{evil}', {{ label: '{evil}', phase: '{evil}' }})"
    command.run(body, answers=({"result": "\x1b]0;title\x07\u202eend"},))

    for words in (["runs"], ["show"], ["show", "last", "1"], ["logs"], ["logs", "--json"], ["show", "--json"]):
        out = command(*words).out
        assert out
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", out)


READERS = (
    "show",
    "show --json",
    "logs",
    "logs --json",
    "graph",
    "graph --format dot",
    "graph --format mermaid",
    "diff",
)


def test_what_was_no_secret_when_it_was_recorded_and_is_one_now_is_hidden_by_every_command(command: Command) -> None:
    secret = "t0p-s3cret-of-later"
    answer = {"label": "*", "result": f"it is {secret}", "writes": {f"{secret}.md": "x"}}
    command.run(f"log('{secret}'); return await agent('x', {{ label: 'use {secret}' }})", "--yes", answers=(answer,))
    assert secret in command("show").out

    for words in (*READERS, "diff", "diff --json"):
        name, *more = words.split()
        said = command(name, "last", *more, environ={"LATE_TOKEN": secret}).out
        assert (secret in said, "LATE_TOKEN" in said) == (False, True), words


def test_secrets_in_prompts_and_answers_are_not_shown(command: Command) -> None:
    command.run("return await agent('use tok-en-9f8e7d6c5b', { label: 'x' })", "--args", '{"key": "tok-en-9f8e7d6c5b"}')

    run, done = (command("show", *words, environ={"MY_TOKEN": "tok-en-9f8e7d6c5b"}) for words in ((), ("last", "x")))

    assert "use ‹secret MY_TOKEN›" in done.out
    assert 'args: {"key": "‹secret MY_TOKEN›"}' in run.out
    assert "9f8e7d6c5b" not in run.out + done.out


def test_a_secret_that_was_not_known_when_a_run_was_recorded_is_hidden_by_whatever_reads_it(command: Command) -> None:
    secret = "tok-en-9f8e7d6c5b"
    command.run(
        f"""phase('Use {secret}')
        log('now {secret}')
        const bad = agent('fail {secret}', {{ label: 'bad {secret}' }})
        return [await agent('use {secret}', {{ label: 'good {secret}' }}), await bad]""",
        answers=(
            {"prompt": f"use {secret}", "result": {"key": secret}},
            {"prompt": f"fail {secret}", "error": f"no {secret}", "status": "failed"},
        ),
    )
    names = {
        *("show", "show --json", "show last 1", "show last 2 --json", "graph", "graph --format dot", "logs"),
        *(
            "graph --format mermaid",
            "logs --json",
            "cost --by label",
            "cost --by phase --json",
            "export last -o -",
        ),
        *("report last -o -", "replay last --output json", "resume last --backend scripted:answers.json"),
    }
    for words in sorted(names):
        done = command(*words.split(), environ={"MY_TOKEN": secret})
        assert "secret MY_TOKEN" in done.out + done.err, words
        assert secret not in done.out + done.err, words
    assert secret in (command.folder / "case.js").read_text(encoding="utf-8")
    saved = command("save", "last", "--as", "kept", environ={"MY_TOKEN": secret})
    assert saved.status == 0, saved.err
    assert secret in (command.folder / ".claude" / "workflows" / "kept.js").read_text(encoding="utf-8")


# --- logs -------------------------------------------------------------------------------------------------------------


def without_times(text: str) -> list[str]:
    return [re.sub(r"^\[ *[\d.]+ s\] ", "", line) for line in text.splitlines()]


def test_logs_are_the_lines_that_the_run_printed(command: Command) -> None:
    done = command.run(BODY.replace("phase('Find')", "").replace(", phase: 'Doubt'", ""), answers=ANSWERS)

    printed = without_times(done.err)
    assert without_times(command("logs").out) == printed


def test_logs_as_json_are_the_events_that_the_run_printed(command: Command) -> None:
    done = command.run(BODY, "--output", "jsonl", answers=ANSWERS)

    assert command("logs", "--json").events == done.events


def test_a_run_of_another_process_is_followed_to_its_end(command: Command) -> None:
    with command.start("run", command.script(SLOW), "--backend", command.answers(*SLOWLY), "--output", "jsonl") as run:
        run_id = begun(run, "a0001")
        listed = command("runs", "--json").json["runs"][0]
        shown = command("show", run_id, "--json").json
        assert command("agent", "skip", run_id, "a0001").status == 0
        followed = command("logs", run_id, "-f")
        run.communicate(timeout=120)

    assert (listed["run_id"], listed["status"]) == (run_id, "running")
    assert (shown["status"], shown["run_id"]) == ("running", run_id)
    lines = followed.out.splitlines()
    assert sum(" ok        a000" in line for line in lines) == 4
    assert lines[-1] == f"run: {run_id}"


def test_a_run_whose_process_died_is_interrupted_and_no_longer_followed(command: Command) -> None:
    with command.start("run", command.script(SLOW), "--backend", command.answers(*SLOWLY), "--output", "jsonl") as run:
        run_id = begun(run, "a0001")
        while not command("runs", "--json").json["runs"]:
            pass  # what it says is heard before that is on record
        os.kill(run.pid, signal.SIGKILL)
        run.communicate(timeout=120)

    followed = command("logs", run_id, "-f")

    assert followed.out.splitlines()[-1] == f"{run_id}: its process is gone. Go on with: callsheet resume {run_id}"
    assert command("runs", "--json").json["runs"][0]["status"] == "interrupted"
    assert command("show", "--json").json["status"] == "interrupted"


# --- records that are not as they should be ---------------------------------------------------------------------------


def damaged(command: Command, change: str) -> Done:
    record = record_of(command)
    data = bytearray(record.read_bytes())
    if change == "truncated":
        data = data[: len(data) // 2]
    else:
        page = {"beginning": 0, "middle": 2}[change] * 4096
        data[page : page + 4096] = b"\xa5" * 4096
    record.write_bytes(data)
    return command("runs")


@pytest.mark.contract("R06")
@pytest.mark.parametrize("change", ["truncated", "middle"])
def test_of_a_damaged_record_what_can_be_read_is_shown_and_the_damage_is_said(
    command: Command, ran: str, change: str
) -> None:
    done = damaged(command, change)

    assert done.status == 0
    assert "is damaged (" in done.err and "What can be read of it is used" in done.err
    assert done.out.startswith(ran)
    assert command("show", ran).status == 0


@pytest.mark.contract("R06")
def test_a_record_of_which_nothing_can_be_read_is_explained(command: Command, ran: str) -> None:
    done = damaged(command, "beginning")

    assert (done.status, done.out) == (1, "")
    assert "callsheet.db: it is not a record" in done.err


def test_a_record_of_a_newer_version_is_explained(command: Command, ran: str) -> None:
    with closing(sqlite3.connect(record_of(command))) as record:
        record.execute("PRAGMA user_version = 99")

    done = command("runs")

    assert done.status == 1
    assert "a newer Callsheet wrote it (format 99;" in done.err


# --- plain sqlite3 ----------------------------------------------------------------------------------------------------

QUERIES = {
    "SELECT run_id, workflow, script_text, script_path, args, seed, parent_run_id, status, result, error, started_at, "
    "ended_at, settings, version FROM runs": 1,
    "SELECT run_id, agent_id, call, key, occurrence, label, phase, task_description, options, files_accessed, "
    "files_changed, tools_called, status, result, error, model, backend, mode, attempts, input_tokens, output_tokens, "
    "cache_read_tokens, cache_write_tokens, token_count, cost_usd, timestamp_start, timestamp_end, delivered_seq, "
    "delivered_at, spent_after FROM agent_runs": 4,
    "SELECT run_id, seq, at, event, payload FROM events WHERE event = 'agent.finished'": 4,
    "SELECT workflow, path, decision, at FROM approvals": 0,
    "SELECT run_id, n, commit_id, at FROM checkpoints": 0,
    "SELECT run_id, agent_id, n, payload FROM agent_messages": 0,
    "SELECT run_id, n, delivered_seq FROM timers": 0,
    "SELECT run_id, agent_id, n, tool, input, state, at FROM tool_calls": 0,
}


@pytest.mark.parametrize("query", QUERIES)
def test_the_columns_that_are_promised_can_be_queried_with_plain_sqlite(command: Command, ran: str, query: str) -> None:
    with closing(sqlite3.connect(f"{record_of(command).as_uri()}?mode=ro", uri=True)) as record:
        assert len(record.execute(query).fetchall()) == QUERIES[query]


def test_questions_that_people_ask_of_the_record_are_one_query_each(command: Command, ran: str) -> None:
    with closing(sqlite3.connect(f"{record_of(command).as_uri()}?mode=ro", uri=True)) as record:
        by_phase = record.execute("SELECT phase, count(*), sum(token_count) FROM agent_runs GROUP BY phase").fetchall()
        failed = record.execute("SELECT label, error FROM agent_runs WHERE status = 'failed'").fetchall()
        label = record.execute("SELECT json_extract(options, '$.label') FROM agent_runs ORDER BY call").fetchone()
        lists = record.execute("SELECT json_array_length(files_changed) FROM agent_runs").fetchall()

    assert sorted(by_phase) == [("Doubt", 2, 300), ("Find", 2, 300)]
    assert failed == [("doubt:b", "gone wrong")]
    assert label == ("find:a",)
    assert lists == [(0,)] * 4


# --- graph ------------------------------------------------------------------------------------------------------------


def test_the_graph_of_a_run_tells_what_led_to_each_call(command: Command, ran: str) -> None:
    said = command("graph", ran).json

    labels = {node["id"]: node["label"] for node in said["nodes"]}
    led = {(labels[edge["from"]], labels[edge["to"]]) for edge in said["edges"] if edge["kind"] == "led_to"}
    assert led == {("find:a", "doubt:a"), ("find:b", "doubt:b")}
    assert {node["status"] for node in said["nodes"]} == {"ok", "failed"}
    assert all(node["usage"]["output_tokens"] == 50 and node["duration_ms"] >= 0 for node in said["nodes"])
    assert {node["phase"] for node in said["nodes"]} == {"Find", "Doubt"}


def test_the_graph_tells_nested_scripts_apart(command: Command) -> None:
    command.script("return await agent('in ' + args, { label: 'in:' + args })", "inner.js")
    body = """
const first = await agent('x', { label: 'first' })
const both = await parallel(['a', 'b'].map(one => () => workflow({ scriptPath: 'inner.js' }, one)))
return await agent('y', { label: 'last' })
"""
    command.run(body)

    said = command("graph").json
    labels = {node["id"]: node["label"] for node in said["nodes"]}
    pairs = {(labels[edge["from"]], labels[edge["to"]]) for edge in said["edges"]}
    assert pairs == {("first", "in:a"), ("first", "in:b"), ("in:a", "last"), ("in:b", "last")}
    assert [node["workflow"] for node in said["nodes"]] == [None, "case", "case", None]
    assert "subgraph g1[" in command("graph", "--format", "mermaid").out
    assert "subgraph cluster_2 {" in command("graph", "--format", "dot").out


# --- diff -------------------------------------------------------------------------------------------------------------

WRITERS = """
const scope = { write: ['notes/**'] }
await parallel(['one', 'two'].map(name => () => agent('write ' + name, { label: name, scope })))
await agent('wait', { label: 'wait' })
"""
WRITES = (
    {"label": "one", "result": "x", "writes": {"notes/one.md": "a\nb\n"}},
    {"label": "two", "result": "x", "writes": {"notes/two.md": "c\n"}},
    {"label": "wait", "result": "x", "delay_ms": 600_000},
)


def test_a_diff_names_each_changed_file_its_agent_and_what_nobody_reported(command: Command) -> None:
    (command.folder / "old.txt").write_text("from before", encoding="utf-8")
    os.utime(command.folder / "old.txt", (1, 1))
    with command.start(
        "run", command.script(WRITERS), "--backend", command.answers(*WRITES), "--output", "jsonl"
    ) as run:
        run_id = begun(run, "a0003")
        (command.folder / "mine.txt").write_text("by a person", encoding="utf-8")
        assert command("agent", "skip", run_id, "a0003").status == 0
        run.communicate(timeout=120)

    done, said = command("diff"), command("diff", "--json").json

    assert done.status == 0
    assert re.search(r"^notes/one\.md +\S+ \S+ +a0001 one$", done.out, re.MULTILINE)
    assert done.out.endswith("changed by nobody known, while the run was going on:\n  mine.txt\n")
    assert [file["path"] for file in said["files"]] == ["notes/one.md", "notes/two.md"]
    assert [one["label"] for one in said["files"][1]["agents"]] == ["two"]
    assert (said["unreported"], said["outside"]) == (["mine.txt"], [])


def test_a_change_outside_of_a_scope_is_an_error_line_and_an_exit_status(command: Command) -> None:
    command.run(WRITERS, answers=WRITES[:2])
    with closing(sqlite3.connect(record_of(command))) as record, record:
        options = json.dumps({"label": "two", "scope": {"write": ["src/**"]}})
        record.execute("UPDATE agent_runs SET options = ? WHERE label = 'two'", (options,))

    done = command("diff")

    assert done.status == 3
    assert "error: a0002 two changed notes/two.md, outside of its declared scope (src/**)\n" in done.out
    assert command("diff", "--json").json["outside"] == [
        {"path": "notes/two.md", "agent_id": "a0002", "label": "two", "scope": ["src/**"]}
    ]


def test_a_run_that_changed_nothing_says_so(command: Command, ran: str) -> None:
    assert command("diff", ran).out.splitlines()[0] == "No agent changed a file."


# --- the last lines of a run ------------------------------------------------------------------------------------------


def test_the_last_lines_of_a_degraded_run_name_each_empty_slot_its_cause_and_what_reruns_just_those(
    command: Command,
) -> None:
    body = """
const schema = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] }
return await parallel([
  () => agent('a', { label: 'fails' }),
  () => agent('b', { label: 'invalid', schema }),
  () => { throw new Error('own') },
  () => agent('d', { label: 'fine' }),
])
"""
    answers = ({"label": "fails", "error": "gone wrong"}, {"label": "invalid", "result": {"ok": "maybe"}})

    done = command.run(body, answers=answers)

    assert done.status == 3
    run_id = done.err.splitlines()[-1].removeprefix("run: ")
    last = done.err[done.err.index("degraded: 3 problems") :]
    assert re.search(rf"a0001 fails · failed: gone wrong\n +callsheet resume {run_id} --rerun a0001\n", last)
    assert re.search(
        rf"parallel 1 \[1\].*a0002 invalid · invalid: .*\n +callsheet resume {run_id} --rerun a0002\n", last
    )
    assert re.search(r"parallel 1 \[2\].* · threw: (Error: )?own\n", last)
    assert f"to run just these again: callsheet resume {run_id}\n" in last
    assert "fine" not in last


def test_all_problems_of_many_are_shown_with_full(command: Command) -> None:
    body = "return await parallel(Array.from({length: 30}, (_, i) => () => agent('x', {label: 'n' + i})))"
    command.run(body, answers=({"label": "n*", "error": "gone"},))

    assert " … 10 more problems: callsheet show run_" in command("show").out
    assert command("show", "--full").out.count("--rerun a00") == 30


@pytest.mark.parametrize("words", ["runs", "show", "show last 1", "logs", "graph", "diff", "export -o -", "prune"])
def test_reading_loads_nothing_that_takes_long_to_load(command: Command, ran: str, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "callsheet", *words.split()],
        cwd=command.folder,
        env=command.environ,
        capture_output=True,
        timeout=LIMIT_S,
        check=True,
    )

    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.decode().splitlines()}
    assert "callsheet" in loaded
    assert not loaded & {"anthropic", "pydantic", "tree_sitter", "rich", "httpx2", "quickjs", "mcp"}
