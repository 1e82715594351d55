"""Real runs in worktrees of their own: what they leave in the workspace (nothing), and on a branch (all of it)."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.deadline import BUSY_S
from tests.support.live_run import live_run
from tests.surfaces.command import Command
from tests.surfaces.test_cli_bounds import bash, run
from tests.unit.workspace.test_git import by_hand
from tests.unit.workspace.test_worktree import state, write

pytestmark = pytest.mark.anyio

BODY = "return await agent('p', { label: 'writer' })"
TWO_STEPS = "await agent('p', { label: 'writer' }); return await agent('p', { label: 'for ever' })"


@pytest.fixture
def checkout(command: Command) -> Path:
    """The command's folder as a checkout with uncommitted work."""
    root = command.folder
    by_hand(root, "init", "-q", "-b", "main")
    write(root, "a.txt", "one\n")
    write(root, ".gitignore", "*.json\n")
    command.script(BODY)
    by_hand(root, "add", ".")
    by_hand(root, "commit", "-q", "-m", "first")
    write(root, "a.txt", "one\nmine\n")
    write(root, "untracked.txt", "mine\n")
    return root


def writer(files: dict[str, str], delay_ms: int = 0) -> dict[str, Any]:
    return {"label": "writer", "result": "done", "delay_ms": delay_ms, "writes": files}


def kept(root: Path) -> tuple[object, ...]:
    """What a run must leave as it is; its own state folder apart."""
    content, *rest = state(root)
    assert isinstance(content, dict)
    return {name: said for name, said in content.items() if not name.startswith((".callsheet/", "answers.json"))}, *rest


def test_the_workspace_is_left_alone_and_the_changes_are_on_a_branch(command: Command, checkout: Path) -> None:
    before = kept(checkout)
    done = command.run(BODY, "--worktree", "--output", "json", answers=(writer({"a.txt": "one\nmine\nagent\n"}),))
    assert done.status == 0, done.err
    run_id, worktree = done.json["run_id"], done.json["worktree"]
    branch = f"callsheet/{run_id}"
    assert worktree == {"changed": True, "branch": branch, "base": worktree["base"], "path": None, "note": None}
    assert kept(checkout) == before
    assert by_hand(checkout, "show", f"{branch}:a.txt") == "one\nmine\nagent\n"
    assert by_hand(checkout, "diff", "--name-only", worktree["base"], branch) == "a.txt\n"
    assert done.json["agents"][0]["files_changed"] == ["a.txt"]
    assert f"git diff --binary {worktree['base'][:12]} {branch} | git apply" in done.err
    assert list((checkout / ".callsheet" / "worktrees").glob("run_*")) == []


def test_a_run_that_changed_nothing_leaves_nothing(command: Command, checkout: Path) -> None:
    before = kept(checkout)
    done = command.run(BODY, "--worktree", answers=(writer({"a.txt": "one\nmine\n"}),))
    assert done.status == 0
    assert "worktree: nothing was changed in it, it is removed" in done.err
    assert kept(checkout) == before
    assert by_hand(checkout, "branch", "--list", "callsheet/*") == ""


async def test_it_needs_no_lease_and_everybody_is_told_where_agents_work(command: Command, checkout: Path) -> None:
    before = kept(checkout)
    async with live_run(command, BODY, answers=(writer({"x": "1"}, 600_000),)) as first:
        await first.until("agent.started")
        async with live_run(command, BODY, "--worktree", answers=(writer({"x": "2"}),)) as second:
            ended = await second.ended()
        started = ended.events[0]
        assert started["workspace"] == str(checkout / ".callsheet" / "worktrees" / second.run_id)
        assert any(started["workspace"] in note for note in started["notes"])
        assert (ended.status, ended.result["worktree"]["branch"]) == (0, f"callsheet/{second.run_id}")
        first.strike(first.pid, signal.SIGINT)
        await first.ended()
    assert kept(checkout) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_what_was_done_before_a_stop_is_kept(command: Command, checkout: Path, number: signal.Signals) -> None:
    command.script(TWO_STEPS, "steps.js")
    before = kept(checkout)
    answers = (writer({"x": "1"}), {"label": "for ever", "result": "x", "delay_ms": 600_000})
    async with live_run(command, TWO_STEPS, "--worktree", answers=answers, name="steps.js") as run:
        await run.until("agent.started", nth=2)
        run.strike(run.pid, number)
        ended = await run.ended()
    assert ended.took_s < BUSY_S
    assert by_hand(checkout, "show", f"{ended.result['worktree']['branch']}:x") == "1"
    assert kept(checkout) == before


async def test_a_killed_run_leaves_the_workspace_alone_and_its_changes_in_the_folder(
    command: Command, checkout: Path
) -> None:
    command.script(TWO_STEPS, "steps.js")
    before = kept(checkout)
    answers = (writer({"x": "1"}), {"label": "for ever", "result": "x", "delay_ms": 600_000})
    async with live_run(command, TWO_STEPS, "--worktree", answers=answers, name="steps.js") as run:
        await run.until("agent.started", nth=2)
        run.strike(run.pid, signal.SIGKILL)
        await run.status()
    assert (checkout / ".callsheet" / "worktrees" / run.run_id / "x").read_text(encoding="utf-8") == "1"
    assert kept(checkout) == before
    after = command.run(BODY, "--worktree", answers=(writer({"x": "2"}),))
    assert after.status == 0
    assert f"still there ({checkout}/.callsheet/worktrees/{run.run_id})" in after.err


def test_where_there_is_no_git_the_run_is_refused(command: Command) -> None:
    done = command.run(BODY, "--worktree", "--output", "json", answers=(writer({"x": "1"}),))
    assert (done.status, done.json["error"]["kind"]) == (2, "config")
    assert "the run's worktree cannot be made" in done.err and "not the root of a git working tree" in done.err
    assert not (command.folder / "x").exists()


def test_a_script_that_is_refused_takes_its_worktree_away(command: Command, checkout: Path) -> None:
    (checkout / "bad.js").write_text("export const meta = {name: 'x', description: 'x'}\n}{", encoding="utf-8")
    before = kept(checkout)
    done = command("run", "bad.js", "--backend", command.answers(), "--worktree", "--output", "json")
    assert (done.status, done.json["error"]["kind"], done.json["worktree"]) == (2, "refused", None)
    assert kept(checkout) == before
    assert by_hand(checkout, "branch", "--list", "callsheet/*") == ""


async def test_two_runs_of_fifty_writers_share_and_lose_nothing(command: Command) -> None:
    body = "return (await parallel([...Array(50).keys()].map(n => () => agent('p', { label: `w${n}` })))).length"

    def answers(run: str) -> tuple[dict[str, Any], ...]:
        return tuple(
            {"label": f"w{n}", "result": "x", "delay_ms": n % 7, "writes": {f"out/{run}-{n}.txt": f"{run} {n}"}}
            for n in range(50)
        )

    async with live_run(command, body, "--share", answers=answers("one")) as one:
        await one.until("run.started")
        async with live_run(command, body, "--share", answers=answers("two"), name="two.js") as two:
            ended = [await one.ended(), await two.ended()]
    assert [(each.status, each.result["result"]) for each in ended] == [(0, 50), (0, 50)]
    for which in ("one", "two"):
        for n in range(50):
            assert (command.folder / "out" / f"{which}-{n}.txt").read_text(encoding="utf-8") == f"{which} {n}"


async def test_agents_work_with_all_their_tools_in_the_worktree_and_the_projects_rules_hold_there(
    command: Command, checkout: Path
) -> None:
    for name in ("secret.txt", "hidden/x", "src/a.py"):
        write(checkout, name, "as it was\n")
    rules = {
        "deny": ["Read(/secret.txt)", f"Read(/{checkout}/hidden/**)"],
        "allow": ["Edit(/src/**)", f"Edit(/{checkout}/src/**)"],
    }
    write(checkout, ".claude/settings.json", json.dumps({"permissions": rules}))
    command.script(BODY)
    calls = (
        bash("git status --short"),
        bash("mkdir -p out && touch out/made"),
        ("read", {"file_path": "secret.txt"}),
        ("read", {"file_path": "hidden/x"}),
        bash("cat secret.txt"),
        ("write", {"file_path": "src/b.py", "content": "new\n"}),
        ("write", {"file_path": str(checkout / "src" / "a.py"), "content": "in the workspace\n"}),
    )
    done = await run(command, *calls, words=("--worktree", "--trust"))
    assert done.status in {0, 3}, done.err
    with closing(sqlite3.connect(checkout / ".callsheet" / "callsheet.db")) as record:
        said = "\n".join(record.iterdump())
    assert "?? untracked.txt" in said and "not a git repository" not in said
    assert "as it was" not in said
    assert len(done.json["denials"]) == 4, done.json["denials"]
    assert (checkout / "src" / "a.py").read_text(encoding="utf-8") == "as it was\n"
    worktree = done.json["worktree"]
    changed = by_hand(checkout, "diff", "--name-only", worktree["base"], worktree["branch"]).split()
    assert changed == ["out/made", "src/b.py"]
