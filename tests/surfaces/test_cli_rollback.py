"""Checkpoints of a run and `callsheet rollback`, by the real command."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.surfaces.command import Command, Done
from tests.surfaces.test_cli_bounds import bash, run
from tests.unit.workspace.test_git import by_hand
from tests.unit.workspace.test_worktree import content

BODY = """
const done = []
for (const name of ['one', 'two', 'three']) done.push(await agent('do ' + name, { label: name }))
return done
"""
ANSWERS = (
    {"label": "one", "result": 1, "writes": {"mine.txt": "agent\n", "made/by.txt": "agent\n"}},
    {"label": "three", "result": 3, "writes": {"made/later.txt": "agent\n"}},
)


def workspace(folder: Path) -> dict[str, tuple[int, bytes]]:
    """The user's files."""
    return {path: said for path, said in content(folder).items() if not path.startswith(".callsheet")}


def rows(command: Command, sql: str) -> list[Any]:
    with closing(sqlite3.connect(command.folder / ".callsheet" / "callsheet.db")) as record:
        return record.execute(sql).fetchall()


def ran(command: Command, *words: str) -> Done:
    (command.folder / "mine.txt").write_text("uncommitted\n", encoding="utf-8")
    (command.folder / "mine.txt").chmod(0o600)
    return command.run(BODY, "--output", "jsonl", "--checkpoint-interval", "2", *words, answers=ANSWERS)


@pytest.mark.parametrize("is_git", [True, False])
@pytest.mark.contract("R04")
def test_the_workspace_comes_back_and_what_was_undone_runs_again(command: Command, *, is_git: bool) -> None:
    if is_git:
        by_hand(command.folder, "init", "-q")
    command.script(BODY)
    command.answers(*ANSWERS)
    done = ran(command)
    assert done.status == 0, done.err
    run_id = done.events[-1]["run_id"]
    taken = [event for event in done.events if event["event"] == "checkpoint.taken"]
    assert [each["n"] for each in taken] == [0, 1, 2]
    assert taken[0]["seq"] < next(event["seq"] for event in done.events if event["event"] == "agent.finished")
    assert rows(command, "SELECT n, commit_id FROM checkpoints") == [(each["n"], each["commit_id"]) for each in taken]
    after = workspace(command.folder)

    back = command("rollback", run_id)
    assert back.status == 0, back.err
    assert (command.folder / "mine.txt").read_text(encoding="utf-8") == "uncommitted\n"
    assert (command.folder / "mine.txt").stat().st_mode & 0o777 == 0o600
    assert not (command.folder / "made").exists()
    assert f"run again on callsheet resume {run_id}: a0001, a0003" in back.out
    assert rows(command, "SELECT agent_id, status FROM agent_runs ORDER BY agent_id") == [
        ("a0001", "reverted"), ("a0002", "ok"), ("a0003", "reverted"),
    ]  # fmt: skip
    events = rows(command, "SELECT event FROM events ORDER BY seq DESC LIMIT 2")
    assert events == [("checkpoint.restored",), ("checkpoint.taken",)]

    again = command("resume", run_id, "--output", "jsonl")
    started = [event["agent_id"] for event in again.events if event["event"] == "agent.started"]
    assert again.status == 0, again.err
    assert started == ["a0001", "a0003"]
    assert workspace(command.folder) == after


def test_a_later_checkpoint_keeps_what_was_done_before_it(command: Command) -> None:
    done = ran(command)
    run_id = done.events[-1]["run_id"]
    last = max(event["n"] for event in done.events if event["event"] == "checkpoint.taken")
    after = workspace(command.folder)
    assert command("rollback", run_id).status == 0
    back = command("rollback", run_id, "--to", str(last))
    assert back.status == 0, back.err
    assert workspace(command.folder) == after


def test_what_somebody_changed_since_is_refused_and_on_demand_kept_first(command: Command) -> None:
    run_id = ran(command).events[-1]["run_id"]
    (command.folder / "mine.txt").write_text("by hand\n", encoding="utf-8")
    before = workspace(command.folder)
    refused = command("rollback", run_id)
    assert refused.status == 1
    assert "mine.txt changed since the last checkpoint" in refused.err and "--even-changed" in refused.err
    assert workspace(command.folder) == before
    done = command("rollback", run_id, "--even-changed", "--output", "json")
    assert done.status == 0, done.err
    assert (command.folder / "mine.txt").read_text(encoding="utf-8") == "uncommitted\n"
    assert done.json["reverted"] == ["a0001", "a0003"]
    assert command("rollback", run_id, "--to", str(done.json["before"])).status == 0
    assert workspace(command.folder) == before


def test_checkpoints_go_with_their_run(command: Command) -> None:
    ran(command)
    (folder,) = (command.folder / ".callsheet" / "checkpoints").iterdir()
    assert command("prune", "--older-than", "30d").status == 0
    assert folder.is_dir()
    assert command("prune", "--older-than", "0s").status == 0
    assert not folder.exists()


def test_a_run_that_could_change_nothing_and_an_unknown_one_are_refused_with_the_reason(command: Command) -> None:
    run_id = command.run(BODY, "--output", "json").json["run_id"]
    none = command("rollback", run_id)
    assert none.status == 2 and "has no checkpoints" in none.err and "about to change something" in none.err
    unknown = command("rollback", "run_none")
    assert unknown.status == 2 and run_id in unknown.err
    assert not list((command.folder / ".callsheet").glob("checkpoints/*"))


def test_without_git_on_the_machine_the_run_says_so_and_goes_on(command: Command, tmp_path: Path) -> None:
    done = command.run(BODY, answers=ANSWERS, environ={"PATH": str(tmp_path)})
    assert done.status == 0, done.err
    assert "no checkpoints are taken: git is not installed" in done.err


@pytest.mark.parametrize("is_git", [True, False])
def test_nobody_has_to_ask_for_checkpoint_0(command: Command, *, is_git: bool) -> None:
    if is_git:
        by_hand(command.folder, "init", "-q")
    command.script(BODY)
    command.answers(*ANSWERS)
    (command.folder / "mine.txt").write_text("uncommitted\n", encoding="utf-8")
    before = workspace(command.folder)
    done = command.run(BODY, "--output", "jsonl", answers=ANSWERS)
    run_id = done.events[-1]["run_id"]
    assert [event["n"] for event in done.events if event["event"] == "checkpoint.taken"] == [0, 1]
    back = command("rollback", run_id)
    assert back.status == 0, back.err
    assert workspace(command.folder) == before


def test_a_folder_without_git_that_holds_too_much_has_none_and_the_run_says_what_to_do(command: Command) -> None:
    folder = command.folder / "many"
    folder.mkdir()
    for number in range(10_001):
        (folder / str(number)).touch()
    done = command.run(BODY, answers=ANSWERS)
    assert done.status == 0, done.err
    assert "no checkpoints are taken: there are more than 10,000 files that no repository has" in done.err
    assert "git init" in done.err and "--checkpoint-interval" in done.err
    asked = command.run(BODY, "--checkpoint-interval", "5", "--output", "jsonl", answers=ANSWERS)
    assert [event["n"] for event in asked.events if event["event"] == "checkpoint.taken"] == [0, 1]


# --- one agent

FAILING = """
const done = []
for (const name of ['one', 'two', 'three']) done.push(await agent('do ' + name, { label: name, settle: true }))
return done
"""
FAILS = (
    {"label": "one", "result": "1", "writes": {"mine.txt": "one\n", "both.txt": "one\n"}},
    {"label": "two", "error": "it broke", "status": "failed", "writes": {"both.txt": "two\n", "new/two.txt": "two\n"}},
    {"label": "three", "result": "3", "writes": {"three.txt": "three\n"}},
)


def test_what_a_failed_agent_changed_is_taken_back_and_nothing_else(command: Command) -> None:
    (command.folder / "mine.txt").write_text("uncommitted\n", encoding="utf-8")
    done = command.run(FAILING, "--rollback-on-failure", "--output", "jsonl", answers=FAILS)
    assert done.status == 3, done.err
    last = done.events[-1]
    (_, failed, _) = last["agents"]
    assert failed["error"] == "it broke; its changes were taken back (both.txt, new/two.txt)"
    assert failed["files_changed"] == []
    (restored,) = (event for event in done.events if event["event"] == "checkpoint.restored")
    assert (restored["agent_id"], restored["written"], restored["removed"]) == ("a0002", ["both.txt"], ["new/two.txt"])
    assert (command.folder / "both.txt").read_text() == "one\n"
    assert not (command.folder / "new").exists()
    assert (command.folder / "mine.txt").read_text() == "one\n" and (command.folder / "three.txt").is_file()
    assert command("rollback", last["run_id"]).status == 0
    assert (command.folder / "mine.txt").read_text() == "uncommitted\n" and not (command.folder / "both.txt").exists()


@pytest.mark.contract("R04")
def test_one_agents_changes_are_undone_and_it_runs_again_on_resume(command: Command) -> None:
    (command.folder / "mine.txt").write_text("uncommitted\n", encoding="utf-8")
    run_id = command.run(FAILING, "--output", "json", answers=FAILS).json["run_id"]
    after = workspace(command.folder)

    refused = command("rollback", run_id, "--agent", "a0001")
    assert refused.status == 1
    assert "nothing was undone" in refused.err and "both.txt (a0002 changed it since)" in refused.err
    assert workspace(command.folder) == after

    undone = command("rollback", run_id, "--agent", "a0002", "--output", "json")
    assert undone.status == 0, undone.err
    assert (undone.json["agent"], undone.json["to"], undone.json["reverted"]) == ("a0002", None, ["a0002"])
    assert (undone.json["written"], undone.json["removed"]) == (["both.txt"], ["new/two.txt"])
    assert (command.folder / "both.txt").read_text() == "one\n"
    assert command("rollback", run_id, "--agent", "a0001").status == 0
    assert (command.folder / "mine.txt").read_text() == "uncommitted\n"
    assert rows(command, "SELECT agent_id, status FROM agent_runs ORDER BY agent_id") == [
        ("a0001", "reverted"), ("a0002", "reverted"), ("a0003", "ok"),
    ]  # fmt: skip
    assert command("rollback", run_id, "--to", str(undone.json["before"])).status == 0
    assert workspace(command.folder) == after

    again = command("resume", run_id, "--output", "jsonl")
    assert [event["agent_id"] for event in again.events if event["event"] == "agent.started"] == ["a0001", "a0002"]


def test_what_a_person_changed_since_is_not_undone_with_an_agent(command: Command) -> None:
    run_id = command.run(FAILING, "--output", "json", answers=FAILS).json["run_id"]
    (command.folder / "three.txt").write_text("by hand\n", encoding="utf-8")
    refused = command("rollback", run_id, "--agent", "a0003")
    assert refused.status == 1 and "three.txt (changed since)" in refused.err
    assert (command.folder / "three.txt").read_text() == "by hand\n"
    assert command("rollback", run_id, "--agent", "a0009").status == 2
    assert command("rollback", run_id, "--agent", "a0003", "--even-changed").status == 2


# --- what changed


def test_the_end_and_diff_say_who_changed_what_outside_of_which_scope_and_what_nobody_known_did(
    command: Command,
) -> None:
    body = """
    await agent('do', { label: 'one', scope: { write: ['src/**'] } })
    await agent('do', { label: 'two' })
    return 1
    """
    (command.folder / "mine.txt").write_text("1\n2\n3\n", encoding="utf-8")
    (command.folder / "mine.txt").chmod(0o644)
    slow = {"label": "two", "result": "2", "writes": {"src/b.txt": "1\n2\n"}, "delay_ms": 2500}
    answers = ({"label": "one", "result": "1", "writes": {"src/a.txt": "1\n", "src/b.txt": "1\n"}}, slow)
    name, backend = command.script(body), command.answers(*answers)
    last = b""
    with command.start("run", name, "--backend", backend, "--output", "jsonl") as started:
        assert started.stdout is not None
        for line in started.stdout:
            if b'"agent.started"' in line and b"a0002" in line:
                (command.folder / "mine.txt").write_text("1\n3\n4\n5\n", encoding="utf-8")
            last = line
        err = started.stderr.read().decode() if started.stderr is not None else ""
    done = json.loads(last)
    assert started.wait(120) == 0, err
    assert done["changes"] == [
        {"path": "mine.txt", "added": 2, "removed": 1, "agents": [], "outside": []},
        {"path": "src/a.txt", "added": 1, "removed": 0, "agents": ["a0001"], "outside": []},
        {"path": "src/b.txt", "added": 2, "removed": 0, "agents": ["a0001", "a0002"], "outside": []},
    ]
    shown = command("show", "last")
    assert "changed by nobody known: mine.txt" in shown.out
    assert "  src/b.txt  +2 -0  a0001, a0002" in shown.out
    diff = command("diff", "last")
    assert diff.status == 0, diff.err
    assert "changed by nobody known" in diff.out and "  mine.txt" in diff.out
    said = command("diff", "last", "--json").json
    assert said["unreported"] == ["mine.txt"]
    assert [(one["path"], one["added"], one["removed"]) for one in said["files"]] == [
        ("src/a.txt", 1, 0), ("src/b.txt", 2, 0),
    ]  # fmt: skip


# --- a run that was killed


@pytest.mark.contract("R01", "R04")
def test_a_run_that_was_killed_is_rolled_back_and_what_a_person_did_since_is_not(command: Command) -> None:
    (command.folder / "mine.txt").write_text("uncommitted\n", encoding="utf-8")
    answers = (
        {"label": "one", "result": "1", "writes": {"mine.txt": "agent\n", "made/one.txt": "1\n"}},
        {"label": "two", "result": "2", "writes": {"two.txt": "2\n"}, "delay_ms": 60_000},
    )
    body = "await agent('x', { label: 'one' }); await agent('x', { label: 'two' })"
    name, backend = command.script(body), command.answers(*answers)
    run_id = ""
    with command.start("run", name, "--backend", backend, "--output", "jsonl") as started:
        assert started.stdout is not None
        for line in started.stdout:
            if b'"agent.started"' in line and b"a0002" in line:
                run_id = json.loads(line)["run_id"]
                started.kill()
    (command.folder / "hers.txt").write_text("by hand\n", encoding="utf-8")
    refused = command("rollback", run_id)
    assert refused.status == 1 and "hers.txt changed since" in refused.err and "made/one.txt" not in refused.err
    (command.folder / "hers.txt").unlink()
    done = command("rollback", run_id)
    assert done.status == 0, done.err
    assert (command.folder / "mine.txt").read_text() == "uncommitted\n" and not (command.folder / "made").exists()
    assert rows(command, "SELECT status FROM agent_runs WHERE agent_id = 'a0001'") == [("reverted",)]


@pytest.mark.anyio
async def test_edits_and_commands_of_a_models_agent_that_failed_are_taken_back(command: Command) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        (command.folder / name).write_text(f"{name}, uncommitted\n", encoding="utf-8")
    calls = (
        ("write", {"file_path": "made/new.txt", "content": "x"}),
        ("read", {"file_path": "a.txt"}),
        ("edit", {"file_path": "a.txt", "old_string": "uncommitted", "new_string": "by an agent"}),
        bash("sed -i s/txt/agent/ b.txt && rm c.txt && touch own.txt"),
        bash("ls"),
        bash("ls"),
    )
    options = ", maxTurns: 5, settle: true"
    done = await run(command, *calls, words=("--rollback-on-failure",), options=options)
    assert done.status == 3, done.err
    (agent,) = done.json["agents"]
    assert agent["status"] == "failed" and agent["files_changed"] == [], agent
    assert done.json["denials"] == [], done.json["denials"]
    assert "its changes were taken back (a.txt, b.txt, c.txt, made/new.txt, own.txt)" in agent["error"]
    for name in ("a.txt", "b.txt", "c.txt"):
        assert (command.folder / name).read_text(encoding="utf-8") == f"{name}, uncommitted\n"
    assert not (command.folder / "made").exists() and not (command.folder / "own.txt").exists()
    assert done.json["changes"] == []


# --- beside others

SLOW = """
await agent('x', { label: 'one' })
await agent('x', { label: 'slow' })
"""
SLOWLY = (
    {"label": "one", "result": "1", "writes": {"own.txt": "agent\n"}},
    {"label": "slow", "result": "2", "writes": {"late.txt": "agent\n"}, "delay_ms": 2500},
)


def test_a_run_that_shared_the_workspace_brings_back_only_what_its_own_agents_changed(command: Command) -> None:
    name, backend = command.script(SLOW), command.answers(*SLOWLY)
    run_id = ""
    with command.start("run", name, "--backend", backend, "--share", "--output", "jsonl") as started:
        assert started.stdout is not None
        for line in started.stdout:
            if b'"agent.started"' in line and b"a0002" in line:
                run_id = json.loads(line)["run_id"]
                (command.folder / "others.txt").write_text("another run's\n", encoding="utf-8")
    back = command("rollback", run_id)
    assert back.status == 0, back.err
    assert not (command.folder / "own.txt").exists() and not (command.folder / "late.txt").exists()
    assert (command.folder / "others.txt").read_text() == "another run's\n"


def test_a_run_that_goes_on_is_not_rolled_back(command: Command) -> None:
    name = command.script(SLOW)
    backend = command.answers(SLOWLY[0], SLOWLY[1] | {"delay_ms": 60_000})
    with command.start("run", name, "--backend", backend, "--output", "jsonl") as started:
        assert started.stdout is not None
        try:
            line = next(line for line in started.stdout if b'"agent.started"' in line and b"a0002" in line)
            run_id = json.loads(line)["run_id"]
            for words in (("rollback", run_id), ("rollback", run_id, "--agent", "a0001")):
                refused = command(*words)
                assert refused.status != 0 and "still going" in refused.err, refused.err
            assert (command.folder / "own.txt").is_file()
        finally:
            started.kill()


@pytest.mark.parametrize("name", ["last", "run_0"])
def test_the_last_run_is_rolled_back_by_that_name_and_by_the_beginning_of_its_id(command: Command, name: str) -> None:
    assert ran(command).status == 0

    done = command("rollback", name)

    assert done.status == 0, done.err
    assert (command.folder / "mine.txt").read_text(encoding="utf-8") == "uncommitted\n"
    assert "made/by.txt" not in workspace(command.folder)
