"""`callsheet export` and `prune`: a run out of the record, into a file or away."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.surfaces.command import Command
from tests.surfaces.test_cli_reading import begun

LONG_AGO = "2020-01-01T00:00:00.000Z"


def record_of(command: Command) -> Path:
    return command.folder / ".callsheet" / "callsheet.db"


def change(command: Command, sql: str, *parameters: Any) -> None:
    with closing(sqlite3.connect(record_of(command))) as record, record:
        record.execute(sql, parameters)


def made_old(command: Command, run_id: str) -> str:
    change(
        command,
        "UPDATE runs SET started_at = ?, ended_at = ?, started_ms = 1 WHERE run_id = ?",
        LONG_AGO,
        LONG_AGO,
        run_id,
    )
    return run_id


def ran(command: Command, body: str = "return await agent('x', { label: 'x' })") -> str:
    return str(command.run(body, "--output", "json").json["run_id"])


def listed(command: Command) -> list[str]:
    return [run["run_id"] for run in command("runs", "--json").json["runs"]]


def counts(command: Command) -> dict[str, int]:
    with closing(sqlite3.connect(record_of(command))) as record:
        tables = ("runs", "agent_runs", "events", "agent_messages", "tool_calls")
        return {table: record.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


# --- export -----------------------------------------------------------------------------------------------------------


def test_a_run_is_exported_whole_into_a_file_of_its_owners_alone(command: Command) -> None:
    (command.folder / "notes.md").write_text("TODO: look\n", encoding="utf-8")
    body = "log('hello')\nreturn await agent('List TODO comments', { label: 'todo' })"
    ended = command("run", command.script(body), "--backend", "offline", "--output", "json").json

    done = command("export")

    path = command.folder / f"{ended['run_id']}.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    assert (done.status, stat.S_IMODE(path.stat().st_mode)) == (0, 0o600)
    assert (said["format"], said["version"]) == ("callsheet.run", 1)
    assert said["result"] == ended
    assert body in said["run"]["script_text"]
    (agent,) = said["agents"]
    assert agent["prompt"] == "List TODO comments" and agent["messages"] and agent["tool_calls"]
    assert [event["seq"] for event in said["events"]] == list(range(1, len(said["events"]) + 1))
    assert [path.name for path in command.folder.iterdir() if path.suffix == ".part"] == []


def test_secrets_are_not_exported(command: Command) -> None:
    ran(command, "return await agent('use tok-en-9f8e7d6c5b', { label: 'x' })")

    out = command("export", "-o", "-", environ={"MY_TOKEN": "tok-en-9f8e7d6c5b"}).out

    assert "9f8e7d6c5b" not in out
    assert json.loads(out)["agents"][0]["prompt"] == "use ‹secret MY_TOKEN›"


def test_a_file_that_is_there_is_replaced_only_when_that_is_said(command: Command) -> None:
    ran(command)
    (command.folder / "mine.json").write_text("mine", encoding="utf-8")

    done = command("export", "last", "-o", "mine.json")

    assert (done.status, (command.folder / "mine.json").read_text(encoding="utf-8")) == (2, "mine")
    assert "mine.json is there already" in done.err
    assert command("export", "last", "-o", "mine.json", "--force").status == 0
    assert json.loads((command.folder / "mine.json").read_text(encoding="utf-8"))["format"] == "callsheet.run"


def test_a_place_where_nothing_can_be_written_is_named(command: Command) -> None:
    ran(command)

    done = command("export", "last", "-o", "not/there.json")

    assert done.status == 2
    assert "not/there.json cannot be made" in done.err


# --- prune ------------------------------------------------------------------------------------------------------------


def test_old_runs_go_with_all_that_belongs_to_them_and_newer_ones_stay(command: Command) -> None:
    old, new = made_old(command, ran(command)), ran(command)
    before = counts(command)

    done = command("prune", "--older-than", "30d")

    assert done.status == 0
    assert done.out.startswith(f"gone: {old}")
    assert listed(command) == [new]
    assert counts(command) == {table: number // 2 for table, number in before.items()}
    assert command("show", new).status == 0


def test_a_dry_run_says_what_would_go_and_changes_nothing(command: Command) -> None:
    old = made_old(command, ran(command))
    before = record_of(command).read_bytes()

    done = command("prune", "--older-than", "30d", "--dry-run")

    assert done.out.startswith(f"would go: {old}")
    assert record_of(command).read_bytes() == before


def test_without_a_limit_only_old_conversations_go(command: Command) -> None:
    (command.folder / "notes.md").write_text("TODO: look\n", encoding="utf-8")
    script = command.script("return await agent('List TODO comments', { label: 'todo' })")
    runs = [command("run", script, "--backend", "offline", "--output", "json").json["run_id"] for _ in range(2)]
    made_old(command, runs[0])
    before = counts(command)

    done = command("prune")

    after = counts(command)
    assert "gone: conversations of 1 run, " in done.out
    assert after == {**before, "agent_messages": before["agent_messages"] // 2}
    assert command("show", runs[0], "todo", "--json").json["messages"] == []
    assert command("show", runs[1], "todo", "--json").json["messages"]


def test_scripts_that_came_as_text_go_with_the_last_run_that_may_want_them(command: Command) -> None:
    kept = command.folder / ".callsheet" / "scripts"
    script = command.script("return 1", "x.js")
    used = command("run", script, "--backend", command.answers(), "--output", "json").json["run_id"]
    kept.mkdir(mode=0o700)
    for name in ("old.js", "resumable.js", "new.js"):
        (kept / name).write_text("x", encoding="utf-8")
        if name != "new.js":
            os.utime(kept / name, (0, 0))
    change(command, "UPDATE runs SET status = 'interrupted', script_path = ?", str(kept / "resumable.js"))

    said = command("prune", "--dry-run")
    assert "would go: 1 script that came as text" in said.out
    assert len(list(kept.iterdir())) == 3
    assert command("prune", "--json").json["scripts"] == [str(kept / "old.js")]

    assert sorted(path.name for path in kept.iterdir()) == ["new.js", "resumable.js"]
    assert listed(command) == [used]


def test_the_oldest_runs_go_until_the_rest_fits(command: Command) -> None:
    runs = [ran(command, f"return await agent('{'x' * 40_000}', {{ label: '{n}' }})") for n in range(3)]

    assert command("prune", "--max-size", "200K", "--json").json["runs"][0]["run_id"] == runs[0]

    assert listed(command) == [runs[2], runs[1]]
    assert record_of(command).stat().st_size < 300_000


def test_a_run_that_could_be_resumed_goes_only_when_that_is_said(command: Command) -> None:
    run_id = made_old(command, ran(command))
    change(command, "UPDATE runs SET status = 'interrupted'")

    done = command("prune", "--older-than", "1d")

    assert f"stays: {run_id} (it could be resumed; --interrupted takes it too)" in done.out
    assert listed(command) == [run_id]
    command("prune", "--older-than", "1d", "--interrupted")
    assert listed(command) == []


def test_a_run_that_goes_on_is_never_pruned(command: Command) -> None:
    backend = command.answers({"label": "s", "result": "x", "delay_ms": 600_000})
    script = command.script("return await agent('step', { label: 's' })")
    with command.start("run", script, "--backend", backend, "--output", "jsonl") as run:
        run_id = begun(run, "a0001")
        done = command("prune", "--older-than", "0", "--max-size", "0", "--interrupted", "--conversations", "0")
        assert command("agent", "skip", run_id, "a0001").status == 0
        out, _ = run.communicate(timeout=120)

    assert f"stays: {run_id} (it goes on)" in done.out
    assert json.loads(out.splitlines()[-1])["agents"][0]["status"] == "skipped"
    assert listed(command) == [run_id]


def test_what_a_pruned_run_left_behind_is_named_and_stays(command: Command) -> None:
    run_id = made_old(command, ran(command))
    tree = {"branch": f"callsheet/{run_id}/a0001", "path": None, "patch": "/p/a0001.patch", "merged": False}
    change(
        command,
        "UPDATE events SET payload = json_set(payload, '$.worktree', json(?)) WHERE event = 'agent.finished'",
        json.dumps(tree),
    )

    done = command("prune", "--older-than", "30d")

    assert f"  still there: branch callsheet/{run_id}/a0001\n  still there: patch /p/a0001.patch\n" in done.out


@pytest.mark.parametrize(("flag", "value"), [("--older-than", "soon"), ("--max-size", "big")])
def test_an_amount_that_is_none_is_wrong_usage(command: Command, flag: str, value: str) -> None:
    ran(command)

    done = command("prune", flag, value)

    assert done.status == 2
    assert f"{flag}: '{value}' is no" in done.err


def test_nothing_is_taken_out_of_a_damaged_record(command: Command) -> None:
    made_old(command, ran(command))
    data = bytearray(record_of(command).read_bytes())
    data[2 * 4096 : 3 * 4096] = b"\xa5" * 4096
    record_of(command).write_bytes(data)

    done = command("prune", "--older-than", "30d")

    assert done.status == 1
    assert "Nothing is taken out of a damaged record" in done.err
    assert record_of(command).read_bytes() == data
