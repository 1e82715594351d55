"""`callsheet resume`: the same run, in another process."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.support.live_run import live_run
from tests.surfaces.command import Command, Done

BODY = """
const found = await parallel(['one', 'two', 'three'].map(name => () => agent('do ' + name, { label: name })))
await new Promise(resolve => setTimeout(resolve, 5))
const state = `at ${Date.now()}, spent ${budget.spent()}, ${Math.random()}`
const last = await agent(`sum up ${found} ${state}`, { label: 'last' })
return [found, last, args ?? null]
"""
FAILS = {"label": "two", "error": "no", "status": "failed"}


def started(done: Done) -> list[str]:
    """The labels of the agents that were asked."""
    labels = {event["agent_id"]: event["label"] for event in done.events if event["event"] == "agent.queued"}
    return [labels[event["agent_id"]] for event in done.events if event["event"] == "agent.started"]


def result(done: Done) -> Any:
    return done.events[-1]


@pytest.mark.contract("R01", "R04", "R05", "R07")
def test_the_last_run_goes_on_and_asks_only_what_has_no_answer(command: Command) -> None:
    first = command.run(BODY, "--output", "json", "--args", "[1]", answers=(FAILS,))
    assert first.status == 3
    command.answers()
    again = command("resume", "--output", "jsonl", "--explain")

    assert again.status == 0, again.err
    assert started(again) == ["two", "last"]
    assert result(again)["run_id"] == first.json["run_id"]
    assert result(again)["result"][0] == [f"synthetic answer to: {name}" for name in ("one", "two", "three")]
    assert result(again)["result"][2] == [1]
    assert "reused  a0001 one" in again.err
    assert "anew    a0002 two: it ended failed, which is no result" in again.err
    assert "prompt changed since a0004" in again.err
    resumed = result(again)["resumed"]
    assert (resumed["attempt"], resumed["reused"], resumed["live"], resumed["gone"]) == (2, 2, 2, ["a0004"])
    third = command("resume", first.json["run_id"], "--output", "jsonl")
    assert started(third) == []
    assert result(third)["result"] == result(again)["result"]


@pytest.mark.contract("R02")
def test_an_edited_script_is_named_and_only_what_changed_is_asked(command: Command) -> None:
    first = command.run(BODY, "--output", "json")
    command.script(BODY.replace("'do ' + name", "(name === 'one' ? 'try ' : 'do ') + name"))
    same = command("resume", first.json["run_id"])
    assert "its file has changed since" in same.err and "--script" in same.err
    edited = command("resume", first.json["run_id"], "--script", "case.js", "--output", "jsonl")
    assert started(edited) == ["one", "last"]  # the last one is told what was spent
    anew = [call for call in result(edited)["resumed"]["calls"] if not call["reused"]]
    assert [(call["before"], call["changed"]) for call in anew] == [("a0001", ["prompt"]), ("a0004", ["prompt"])]


@pytest.mark.contract("R04")
def test_what_is_named_runs_again_and_what_is_not_there_is_said(command: Command) -> None:
    first = command.run(BODY, "--output", "json")
    again = command("resume", "--rerun", "one", "--rerun", "a0003", "--output", "jsonl")
    assert started(again)[:2] == ["one", "three"]
    wrong = command("resume", first.json["run_id"], "--rerun", "thre")
    assert wrong.status == 2 and "Did you mean three" in wrong.err


def test_a_run_that_is_not_there_is_said_with_those_that_are(command: Command) -> None:
    run_id = command.run("return 1", "--output", "json").json["run_id"]
    done = command("resume", run_id[:-1] + ("0" if run_id[-1] != "0" else "1"), "--output", "json")
    assert done.status == 2
    assert run_id in done.err
    assert done.json["status"] == "failed" and done.json["error"]["kind"] == "config"


FORTY = """
const files = Array.from({ length: 19 }, (_, i) => `f${i}.py`)
const reviewed = await pipeline(
  files,
  file => agent(`Read ${file}.`, { label: `read:${file}` }),
  (read, file) => agent(`Judge ${file}: ${read}`, { label: `judge:${file}` }),
)
const first = await agent(`Compare ${reviewed.slice(0, 10)}`, { label: 'first half' })
const second = await agent(`Compare ${reviewed.slice(10)}`, { label: 'second half' })
return [first, second]
"""


@pytest.mark.contract("R02", "R05")
def test_of_forty_agents_an_edited_prompt_reruns_its_call_and_only_what_follows_from_it(command: Command) -> None:
    first = command.run(FORTY, "--output", "json")
    assert (first.status, first.json["usage"]["agents"]) == (0, 40), first.err
    command.script(FORTY.replace("`Read ${file}.`", "file === 'f3.py' ? 'Study f3.py.' : `Read ${file}.`"))
    same_answer = {"prompt": "Study f3.py", "result": "synthetic answer to: read:f3.py"}
    command.answers(same_answer)
    again = command("resume", "--script", "case.js", "--output", "jsonl", "--explain")
    assert again.status == 0, again.err
    assert started(again) == ["read:f3.py"]
    assert again.err.count("reused  ") == 39
    (why,) = [line for line in again.err.splitlines() if line.startswith("anew ")]
    assert why.endswith("read:f3.py: prompt changed since a0004")

    other_answer = {"prompt": "Study f3.py", "result": "something new"}
    command.answers(other_answer, {"label": "judge:f3.py", "result": "doubtful"})
    again = command("resume", "--script", "case.js", "--rerun", "read:f3.py", "--output", "jsonl", "--explain")
    assert started(again) == ["read:f3.py", "judge:f3.py", "first half"]
    assert result(again)["resumed"]["reused"] == 37
    anew = [line for line in again.err.splitlines() if line.startswith("anew ")]
    assert len(anew) == 3
    assert "it was to run again" in anew[0]
    assert all("prompt changed since a00" in line for line in anew[1:]), anew


def test_a_run_is_resumed_by_the_beginning_of_its_name_where_that_is_one(command: Command) -> None:
    first = command.run("return 1", "--output", "json").json["run_id"]
    for name in (first[:-2], "last"):
        assert command("resume", name, "--output", "json").json["run_id"] == first
    command.run("return 2", "--output", "json")
    both = command("resume", "run_")
    assert (both.status, "is the beginning of several runs" in both.err, first in both.err) == (2, True, True)
    none = command("resume", "case")
    assert (none.status, "'case' is no run" in none.err) == (2, True)


@pytest.mark.contract("R07", "G03")
def test_limits_are_those_of_the_run_unless_said_otherwise(command: Command) -> None:
    first = command.run(BODY, "--output", "json", "--budget", "150", "--max-parallel", "2")
    assert first.status != 0 and "--budget 300" in first.json["problems"][0]["next"]
    same = command("resume", "--output", "jsonl")
    assert started(same) == [] and result(same)["status"] == first.json["status"]
    more = command(*first.json["problems"][0]["next"].split()[1:], "--output", "jsonl")
    assert started(more) == ["last"]
    assert more.status == 0
    assert next(event for event in more.events if event["event"] == "run.started")["max_parallel"] == 2
    assert result(more)["usage"]["output_tokens"] == 200


def test_what_a_record_allows_must_be_allowed_again_and_what_it_denies_holds(command: Command) -> None:
    run = command.run(
        "return 1", "--output", "json", "--allow", "Bash(npm test)", "--deny", "Read(secret)", "--unconfined"
    )
    run_id = run.json["run_id"]
    done = command("resume", run_id)
    assert "--allow 'Bash(npm test)' --unconfined" in done.err
    with closing(sqlite3.connect(command.folder / ".callsheet" / "callsheet.db")) as db:
        (settings,) = db.execute(
            "SELECT json_extract(settings, '$.permissions.allow', '$.permissions.deny', '$.permissions.unconfined')"
            " FROM runs WHERE run_id = ?",
            (run_id,),
        ).fetchone()
    assert settings == '[[],["Read(secret)"],false]'


@pytest.mark.contract("R06")
@pytest.mark.anyio
async def test_a_run_that_is_still_going_is_not_resumed(command: Command) -> None:
    async with live_run(command, "await agent('for ever', { label: 'for ever' })") as run:
        await run.until("agent.started")
        done = command("resume", run.run_id)
        assert done.status == 2
        assert "is still going" in done.err and f"process {run.pid}" in done.err


@pytest.mark.contract("R02")
def test_what_the_bench_of_prompts_sees_does_not_depend_on_the_day(command: Command) -> None:
    first = command.run(BODY, "--output", "json")
    again = command("resume", "--output", "json")
    assert again.json["result"] == first.json["result"]
    assert all(agent["reused"] for agent in again.json["agents"])


@pytest.mark.contract("R03")
def test_what_was_changed_since_is_announced_and_its_agents_are_asked_anew(command: Command) -> None:
    body = "return [await agent('write', { label: 'writer' }), await agent('look', { label: 'looker' })]"
    writes = {"label": "writer", "result": "written", "writes": {"notes/a.md": "as it was\n"}}
    command.run(body, "--output", "json", answers=(writes,))
    note = command.folder / "notes/a.md"
    later = note.stat().st_mtime + 60
    os.utime(note, (later, later))
    assert started(command("resume", "--output", "jsonl")) == []
    note.write_text("as somebody else has it\n", encoding="utf-8")
    os.utime(note, (later, later))

    assert started(command("resume", "--reuse", "all", "--output", "jsonl")) == []
    done = command("resume", "--output", "jsonl", "--explain")
    assert started(done) == ["writer"]
    assert "changed since the run stopped: notes/a.md. Agents that read or changed it" in done.err
    assert "anew    a0001 writer: of what it read or changed notes/a.md was changed since the run stopped" in done.err
    assert note.read_text(encoding="utf-8") == "as it was\n"


@pytest.mark.contract("R06")
def test_of_a_damaged_record_what_can_be_read_is_used_and_the_rest_is_asked_anew(command: Command) -> None:
    body = """
        const one = i => agent('x'.repeat(3000) + i, { label: 'w' + i })
        return await parallel(Array.from({ length: 60 }, (_, i) => () => one(i)))
    """
    first = command.run(body, "--output", "json")
    record = command.folder / ".callsheet" / "callsheet.db"
    data = bytearray(record.read_bytes())
    whole = bytes(data)
    pages = len(data) // 4096
    for page in range(pages // 2, pages // 2 + 6):  # in the middle, where neither schema nor run stand
        data[page * 4096 : page * 4096 + 200] = os.urandom(200)
    record.write_bytes(data)

    done = command("resume", first.json["run_id"], "--output", "jsonl")

    assert done.status == 0, done.err
    assert result(done)["result"] == first.json["result"]
    assert 0 < result(done)["resumed"]["reused"] <= 60
    notes = next(event for event in done.events if event["event"] == "run.started")["notes"]
    assert any("is damaged" in note and "goes on in a new one" in note for note in notes)
    (aside,) = record.parent.glob("callsheet.db.damaged-*")
    assert aside.read_bytes() == bytes(data) != whole
    with closing(sqlite3.connect(record)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
