"""`callsheet apply`: branches of worktrees come into the workspace after the run, and what lies there stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.surfaces.command import Command
from tests.surfaces.test_cli_agents_worktrees import writer
from tests.surfaces.test_cli_rollback import rows
from tests.surfaces.test_cli_worktree import checkout
from tests.unit.workspace.test_git import by_hand
from tests.unit.workspace.test_worktree import write

pytestmark = pytest.mark.contract("A07", "A16")

__all__ = ["checkout"]

BODY = """
const labels = ['one', 'two', 'three']
return await parallel(labels.map(label => () => agent('p', { label, isolation: 'worktree' })))
"""
ANSWERS = (
    writer("one", {"made/one.txt": "1\n"}),
    writer("two", {"a.txt": "two\n"}),
    writer("three", {"a.txt": "three\n"}),
)


def ran(command: Command) -> Any:
    done = command.run(BODY, "--output", "json", answers=ANSWERS)
    assert done.status == 0, done.err
    return done.json


def branches(done: Any) -> list[tuple[list[str], str]]:
    return [(one["agents"], one["status"]) for one in done.json["branches"]]


def test_what_fits_is_applied_and_what_does_not_stays_on_its_branch_and_is_named(
    command: Command, checkout: Path
) -> None:
    command.script(BODY)
    write(checkout, "mine.txt", "uncommitted\n")
    run_id = ran(command)["run_id"]
    index = by_hand(checkout, "ls-files", "-s")

    done = command("apply", run_id, "--output", "json")
    assert done.status == 1, done.err
    assert branches(done) == [(["a0001"], "applied"), (["a0002"], "applied"), (["a0003"], "conflict")]
    assert done.json["branches"][0]["files"] == ["made/one.txt"]
    assert done.json["branches"][2]["why"] == "both sides changed a.txt"
    assert (checkout / "a.txt").read_text() == "two\n" and (checkout / "made/one.txt").read_text() == "1\n"
    assert (checkout / "mine.txt").read_text() == "uncommitted\n"
    assert by_hand(checkout, "ls-files", "-s") == index
    assert by_hand(checkout, "for-each-ref", "refs/heads/callsheet").count("\n") == 3

    again = command("apply", run_id, "one", "2")
    assert again.status == 0, again.err
    assert again.out.count("nothing to do for") == 2 and "it was applied 20" in again.out
    files = command("diff", run_id, "--json").json["files"]
    assert {one["path"]: [by["branch"] is None for by in one["agents"]] for one in files} == {
        "a.txt": [True, False], "made/one.txt": [True],
    }  # fmt: skip

    back = command("rollback", run_id, "--to", str(done.json["before"]))
    assert back.status == 0, back.err
    assert not (checkout / "made").exists() and (checkout / "mine.txt").read_text() == "uncommitted\n"


def test_only_the_named_agents_are_applied_and_their_answers_hold_on_resume(command: Command, checkout: Path) -> None:
    run_id = ran(command)["run_id"]
    done = command("apply", "last", "a0003")
    assert done.status == 0, done.err
    assert f"back to what was there: callsheet rollback {run_id} --to 0" in done.out
    assert (checkout / "a.txt").read_text() == "three\n" and not (checkout / "made").exists()
    again = command("resume", run_id, "--output", "json")
    assert again.status == 0, again.err
    assert [agent["reused"] for agent in again.json["agents"]] == [True] * 3
    assert [status for (status,) in rows(command, "SELECT status FROM agent_runs")] == ["ok"] * 3


def test_what_is_uncommitted_in_the_workspace_is_never_written_over(command: Command, checkout: Path) -> None:
    run_id = ran(command)["run_id"]
    write(checkout, "a.txt", "by hand\n")
    write(checkout, "made/one.txt", "by hand\n")
    done = command("apply", run_id, "--output", "json")
    assert done.status == 1
    assert {status for _, status in branches(done)} == {"conflict"}
    assert (checkout / "a.txt").read_text() == (checkout / "made/one.txt").read_text() == "by hand\n"
    assert (done.json["before"], done.json["after"]) == (None, None)


def test_a_branch_that_is_gone_and_one_whose_changes_are_there_already_are_told(
    command: Command, checkout: Path
) -> None:
    result = ran(command)
    by_hand(checkout, "branch", "-D", result["agents"][2]["worktree"]["branch"])
    write(checkout, "a.txt", "two\n")
    done = command("apply", result["run_id"], "two", "three", "--output", "json")
    assert branches(done) == [(["a0002"], "already"), (["a0003"], "gone")]
    assert done.status == 1


def test_the_branch_of_a_whole_run_is_applied_too(command: Command, checkout: Path) -> None:
    done = command.run(
        "return await agent('p', { label: 'w' })", "--worktree", "--output", "json",
        answers=(writer("w", {"a.txt": "agent\n"}),),
    )  # fmt: skip
    assert done.status == 0, done.err
    assert f"callsheet apply {done.json['run_id']}" in done.err
    applied = command("apply", "last")
    assert applied.status == 0, applied.err
    assert (checkout / "a.txt").read_text() == "agent\n"
    assert "nothing to do for the run" in command("apply", "last").out


def test_a_run_without_branches_an_agent_without_one_and_an_unknown_run_are_refused_with_the_reason(
    command: Command, checkout: Path
) -> None:
    command.run("await agent('p', { label: 'plain' })", answers=())
    assert "left nothing on a branch" in command("apply", "last").err
    body = "await agent('p', { label: 'plain' }); await agent('p', { label: 'one', isolation: 'worktree' })"
    command.run(body, answers=(writer("one", {"b.txt": "1\n"}),))
    named = command("apply", "last", "plain")
    assert named.status == 2 and "a0001" in named.err and "left nothing on a branch" in named.err
    assert command("apply", "last", "nobody").status == 2
    assert command("apply", "run_none").status == 2


def test_a_run_that_goes_on_is_not_applied(command: Command, checkout: Path) -> None:
    body = "await agent('p', { label: 'one', isolation: 'worktree' }); await agent('p', { label: 'slow' })"
    slow = {"label": "slow", "result": "x", "delay_ms": 60_000}
    name, backend = command.script(body), command.answers(writer("one", {"a.txt": "agent\n"}), slow)
    before = (checkout / "a.txt").read_text()
    with command.start("run", name, "--backend", backend, "--output", "jsonl") as started:
        assert started.stdout is not None
        try:
            next(line for line in started.stdout if b'"agent.started"' in line and b"a0002" in line)
            refused = command("apply", "last")
            assert refused.status != 0 and "still going" in refused.err, refused.err
        finally:
            started.kill()
    assert (checkout / "a.txt").read_text() == before
