"""`callsheet replay`: a recorded run again from its record alone."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import callsheet
from tests.support.deadline import within
from tests.support.live_run import live_run
from tests.support.recorded import record_of
from tests.surfaces.command import Command, Done

SUB = """export const meta = { name: 'sub', description: 'below' }
log('below ' + args.from)
return await agent('look below', { label: 'below', phase: 'Below' })
"""
BODY = """
phase('Look')
log(`begun at ${Date.now()} with ${Math.random()}`)
const found = await parallel(['one', 'two', 'three'].map(name => () => agent('do ' + name, { label: name })))
await new Promise(resolve => setTimeout(resolve, 5))
const below = await workflow('sub', { from: 'here' })
const none = await agent('x', { agentType: 'nobody' }).catch(error => error.message)
const last = await agent(`sum up ${found} at ${Date.now()}, spent ${budget.spent()}`, { label: 'last', settle: true })
return [found, below, none, last, args ?? null]
"""
FAILS = {"label": "two", "error": "no", "status": "failed"}


def recorded(command: Command, body: str = BODY, *words: str, answers: tuple[dict[str, Any], ...] = (FAILS,)) -> Done:
    folder = command.folder / ".claude" / "workflows"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sub.js").write_text(SUB, encoding="utf-8")
    return command.run(body, "--output", "json", *words, answers=answers)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.contract("R08", "D04")
def test_a_run_is_replayed_from_its_record_with_nothing_but_that(command: Command, tmp_path: Path) -> None:
    live = recorded(command, BODY, "--args", "[1]")
    assert live.status == 3, live.err
    before = files_of(command.folder)
    again = command("replay", "--output", "json")
    assert again.status == 0, again.out + again.err
    assert files_of(command.folder) == before
    assert again.json["status"] == "same"
    assert again.json["result"] == live.json["result"]
    assert again.json["recorded"] == {"status": "degraded", "calls": 5}
    assert again.json["calls"] == 5

    record = shutil.copy(record_of(command), tmp_path / "brought.db")
    shutil.rmtree(command.folder / ".claude")
    (command.folder / "case.js").unlink()
    shutil.rmtree(command.folder / ".callsheet")
    elsewhere = command("replay", live.json["run_id"][:12], "--store", str(record))
    assert elsewhere.status == 0, elsewhere.out + elsewhere.err
    assert "as recorded, 5 of 5 calls" in elsewhere.out
    assert not (command.folder / ".callsheet").exists()


def test_a_run_is_replayed_from_the_one_file_that_export_writes(command: Command) -> None:
    live = recorded(command)
    assert command("export", "--output", "run.json").status == 0
    shutil.rmtree(command.folder / ".callsheet")
    again = command("replay", "run.json", "--output", "json")
    assert again.status == 0, again.out + again.err
    assert again.json["result"] == live.json["result"]
    (command.folder / "other.json").write_text('{"format": "other"}', encoding="utf-8")
    none = command("replay", "other.json")
    assert (none.status, "is no run" in none.err) == (2, True)
    broken = json.loads((command.folder / "run.json").read_text(encoding="utf-8"))
    broken["agents"] = [{"usage": 1}]
    (command.folder / "broken.json").write_text(json.dumps(broken), encoding="utf-8")
    assert command("replay", "broken.json").status == 2


EDITS: list[tuple[str, str, str, int, list[str]]] = [
    ("'do ' + name", "'try ' + name", "call", 5, ["call 1 (line 5)", "a0001", "its prompt differs", "try one"]),
    ("{ label: name }", "{ label: name, model: 'opus' }", "call", 5, ["its model differs", "(nothing)", '"opus"']),
    ("{ label: name }", "{ label: 'a ' + name }", "label", 5, ["has another label", "a one"]),
    ("phase('Look')", "phase('See')", "phase", 5, ["is in another phase", "Look", "See"]),
    ("settle: true }", "settle: true, maxTurns: 3 }", "limits", 9, ["has another `maxTurns`", "3"]),
    ("begun at", "began at", "log", 0, ["log line 1 of the script differs", "begun at", "began at"]),
    ("return [found", "return [1, found", "result", 0, ["the result differs"]),
    ("return [found", "throw new Error('oh'); return [found", "error", 0, ["it returned", "Error: oh"]),
    ("workflow('sub'", "workflow('sab'", "workflow", 7, ["workflow('sab') (line 7) is not on record", "sub"]),
    ("resolve, 5", "resolve, 7", "waiting", 0, ["waits for a timer that had not fired"]),
    ("'three'].map", "'three', 'four'].map", "call", 5, ["call 4 (line 5) is on record nowhere", '"four"', "Look"]),
    ("['one', 'two'", "['one', 'one'", "call", 5, ["call 2 (line 5)"]),
    (", 'three'].map", "].map", "call", 9, ["call 6 (line 9)", "sum up"]),
]  # fmt: skip


@pytest.mark.anyio
@pytest.mark.contract("R02", "R05")
async def test_what_an_edited_script_does_otherwise_is_named_with_both_sides(command: Command) -> None:
    assert recorded(command).status == 3
    for before, after, kind, line, words in EDITS:
        edited = command.folder / command.script(BODY.replace(before, after), "edited.js")
        with within(20):
            found = await callsheet.replay(script=edited, workspace=command.folder)
        assert found.status == "differs"
        first = found.differences[0]
        assert (first.kind, first.line or 0) == (kind, line), (after, first)
        said = f"{first.message} {first.recorded or '(nothing)'} {first.now}"
        assert all(word in said for word in words), (after, said)


def test_both_sides_are_shown_and_what_is_to_be_ignored_is_no_difference(command: Command) -> None:
    recorded(command)
    edited = BODY.replace("{ label: name }", "{ label: 'a ' + name }").replace("begun at", "began at")
    command.script(edited, "edited.js")
    shown = command("replay", "--script", "edited.js")
    assert shown.status == 3
    assert "differs from its record in 4 places, 5 of 5 calls compared" in shown.out
    assert 'call 1 (line 5) "one" (a0001) has another label\n      recorded: one\n      now:      a one' in shown.out
    same = command("replay", "--script", "edited.js", "--ignore", "labels", "--ignore", "logs")
    assert (same.status, "as recorded" in same.out) == (0, True)


def test_a_call_that_is_not_made_any_more_is_named(command: Command) -> None:
    body = "await parallel([() => agent('a'), () => agent('b')])\nreturn 1"
    command.run(body, "--output", "json")
    command.script("await parallel([() => agent('b')])\nreturn 1", "edited.js")
    found = command("replay", "--script", "edited.js")
    assert found.status == 3
    assert 'call 1 "a" (a0001) is not made' in found.out


@pytest.mark.anyio
@pytest.mark.contract("R01")
async def test_a_run_that_was_killed_is_replayed_as_far_as_its_record_goes(command: Command) -> None:
    slow = {"label": "last", "result": "late", "delay_ms": 60_000}
    async with live_run(command, BODY.replace("workflow('sub', { from: 'here' })", "null"), answers=(slow,)) as run:
        await run.until("agent.started", agent_id="a0004")
        going = command("replay")
        run.kill_all()
        await run.ended()
    for found in (going, command("replay", "last")):
        assert found.status == 6, found.out + found.err
        assert "as recorded so far as the record goes, 4 of 4 calls" in found.out
        assert 'the script waits for a0004 "last"' in found.out
    command.script(BODY.replace("'do '", "'try '"), "edited.js")
    assert command("replay", "--script", "edited.js").status == 3


@pytest.mark.contract("G03", "R04")
def test_what_a_budget_refused_is_refused_again_and_a_resumed_run_is_replayed_as_it_was_told_at_last(
    command: Command,
) -> None:
    body = """
const said = []
for (const name of ['a', 'b', 'c', 'd']) said.push(await agent(name).catch(error => `${error.name} ${budget.spent()}`))
return [said, budget.remaining()]
"""
    first = command.run(body, "--output", "json", "--budget", "120", answers=({"label": "b", "error": "no"},))
    assert first.status == 3
    assert first.json["result"][0][3] == "BudgetExceededError 150"
    again = command("replay", "--output", "json")
    assert (again.status, again.json["result"]) == (0, first.json["result"]), again.out
    command.answers()
    resumed = command("resume", "--output", "json", "--budget", "400")
    assert resumed.status == 0, resumed.err
    again = command("replay", "--output", "json")
    assert (again.status, again.json["result"]) == (0, resumed.json["result"]), again.out


def test_outcomes_that_were_taken_back_are_replayed_as_the_script_had_them(command: Command) -> None:
    live = recorded(command)
    with closing(sqlite3.connect(record_of(command))) as db, db:
        db.execute("UPDATE agent_runs SET status = 'reverted' WHERE agent_id IN ('a0001', 'a0002')")
    again = command("replay", "--output", "json")
    assert (again.status, again.json["result"]) == (0, live.json["result"]), again.out


def test_an_older_record_is_replayed_as_far_as_it_says(command: Command) -> None:
    body = "log('hello')\nreturn [await agent('a'), await workflow('sub', { from: 'here' })]"
    recorded(command, body)
    with closing(sqlite3.connect(record_of(command))) as db, db:
        db.executescript("DROP TABLE refusals; DROP TABLE nested_scripts; PRAGMA user_version = 5")
        db.execute("UPDATE events SET payload = json_remove(payload, '$.by') WHERE event = 'log'")
    again = command("replay")
    assert again.status == 0, again.out + again.err
    assert "workflow 'sub' is not in the record" in again.out


def test_a_secret_in_what_a_script_said_is_no_difference_where_it_is_not_known(command: Command) -> None:
    body = "log('it is ' + args.key + '.')\nreturn { key: args.key, x: await agent('a') }"
    secret = "correct-horse-battery-staple"
    live = command.run(body, "--output", "json", "--args", json.dumps({"key": secret}), environ={"MY_API_KEY": secret})
    assert secret not in live.out
    again = command("replay")
    assert again.status == 0, again.out


def test_a_run_that_is_not_there_and_a_script_that_is_refused_are_said(command: Command) -> None:
    assert command("replay").status == 1
    recorded(command)
    none = command("replay", "run_nothing")
    assert (none.status, "has no run run_nothing" in none.err) == (2, True)
    command.script("return (", "broken.js")
    refused = command("replay", "--script", "broken.js")
    assert (refused.status, "broken.js:" in refused.err) == (2, True)
    piped = command("replay", "--script", "-", stdin=(command.folder / "case.js").read_bytes())
    assert piped.status == 0, piped.out + piped.err


def test_no_key_and_no_network_are_needed(command: Command) -> None:
    recorded(command)
    again = command(
        "replay", environ={"ANTHROPIC_API_KEY": "", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "PATH": os.defpath}
    )
    assert again.status == 0, again.out + again.err
