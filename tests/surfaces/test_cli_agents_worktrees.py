"""Real runs whose agents have worktrees: what comes into the workspace, what lies on branches, what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.surfaces.command import Command
from tests.surfaces.test_cli_bounds import bash, run
from tests.surfaces.test_cli_worktree import checkout, kept
from tests.unit.workspace.test_git import by_hand
from tests.unit.workspace.test_worktree import write

pytestmark = pytest.mark.contract("A07", "A16")

__all__ = ["checkout"]

TWO = """
await agent('p', { label: 'one', worktree: 'fix' })
return await agent('p', { label: 'two', worktree: 'fix', merge: args, settle: true })
"""


def writer(label: str, files: dict[str, str]) -> dict[str, Any]:
    return {"label": label, "result": "done", "writes": files}


@pytest.mark.parametrize("words", [(), ("--worktree",)])
def test_changes_of_an_isolated_agent_are_on_a_branch_and_the_end_says_how_to_take_them(
    command: Command, checkout: Path, words: tuple[str, ...]
) -> None:
    body = "return await agent('p', { label: 'writer', isolation: 'worktree' })"
    command.script(body)
    before = kept(checkout)
    done = command.run(body, "--output", "json", *words, answers=(writer("writer", {"a.txt": "agent\n"}),))
    assert done.status == 0, done.err
    worktree = done.json["agents"][0]["worktree"]
    separator = "-" if words else "/"
    assert worktree["branch"] == f"callsheet/{done.json['run_id']}{separator}a0001"
    assert (worktree["merged"], worktree["path"], worktree["note"]) == (False, None, None)
    assert kept(checkout) == before
    assert by_hand(checkout, "show", f"{worktree['branch']}:a.txt") == "agent\n"
    assert f"git diff --binary {worktree['base'][:12]} {worktree['branch']} | git apply" in done.err
    assert by_hand(checkout, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert Path(worktree["patch"]).is_file()


def test_a_shared_worktree_is_merged_into_the_workspace(command: Command, checkout: Path) -> None:
    answers = (writer("one", {"made.txt": "1\n"}), writer("two", {"tested.txt": "2\n"}))
    done = command.run(TWO, "--output", "json", "--args", "true", answers=answers)
    assert done.status == 0, done.err
    assert done.json["result"]["status"] == "ok"
    assert (checkout / "made.txt").read_text() == "1\n" and (checkout / "tested.txt").read_text() == "2\n"
    assert [agent["worktree"]["merged"] for agent in done.json["agents"]] == [True, True]
    assert by_hand(checkout, "for-each-ref", "refs/heads/callsheet") == ""
    assert "worktrees:" not in done.err


def test_a_merge_that_does_not_fit_is_a_conflict_and_the_workspace_stays(command: Command, checkout: Path) -> None:
    body = """
    const [one, two] = await Promise.all([
      agent('p', { label: 'one', isolation: 'worktree', merge: true, settle: true }),
      agent('p', { label: 'two', isolation: 'worktree', merge: true, settle: true })])
    return [one.status, two.status].sort()
    """
    answers = (
        writer("one", {"a.txt": "1\n"}) | {"delay_ms": 3000},
        writer("two", {"a.txt": "2\n"}) | {"delay_ms": 3000},
    )
    done = command.run(body, "--output", "json", answers=answers)
    assert done.json["result"] == ["conflict", "ok"], done.err
    assert done.json["status"] == "degraded"
    assert (checkout / "a.txt").read_text() in {"1\n", "2\n"}
    (conflict,) = (agent for agent in done.json["agents"] if agent["status"] == "conflict")
    assert conflict["worktree"]["branch"] in conflict["error"]


@pytest.mark.anyio
async def test_commands_of_an_isolated_agent_run_confined_in_its_worktree_with_git_and_linked_folders(
    command: Command, checkout: Path
) -> None:
    write(checkout, ".gitignore", "*.json\nnode_modules/\n")
    write(checkout, "node_modules/left.js", "pad\n")
    write(
        Path(command.environ["HOME"]),
        ".config/callsheet/config.toml",
        '[worktree]\nlink = ["node_modules"]\nsetup = "echo by setup > set.txt"\n',
    )
    tries = "import sys\ntry: open(sys.argv[1], 'w')\nexcept OSError as e: print('no', e.errno)"
    line = (
        f'cat node_modules/left.js set.txt; git rev-parse --abbrev-ref HEAD; python3 -c "{tries}" node_modules/evil.js'
    )
    line += "; touch own.txt"
    options = ", isolation: 'worktree'"
    calls = (
        ("read", {"file_path": "node_modules/left.js"}),
        ("write", {"file_path": "node_modules/evil.js", "content": "x"}),
        bash(line),
    )
    done = await run(command, *calls, words=("--allow", "Bash"), options=options)
    assert done.status == 0, done.err
    said = done.json["result"]
    assert "pad" in said and "by setup" in said and "callsheet/run_" in said and "no 30" in said, said
    assert sorted(path.name for path in (checkout / "node_modules").iterdir()) == ["left.js"]
    assert (checkout / "a.txt").read_text() == "one\nmine\n"
    (denial,) = done.json["denials"]
    assert denial["tool"] == "write"
    (agent,) = done.json["agents"]
    assert agent["files_changed"] == ["own.txt"]
    worktree = agent["worktree"]
    assert by_hand(checkout, "diff", "--name-only", worktree["base"], worktree["branch"]).split() == ["own.txt"]


def test_a_setup_that_fails_fails_the_call_with_what_it_said(command: Command, checkout: Path) -> None:
    home = Path(command.environ["HOME"])
    write(home, ".config/callsheet/config.toml", '[worktree]\nsetup = "echo no such thing; exit 3"\n')
    body = "return await agent('p', { label: 'writer', isolation: 'worktree', settle: true })"
    done = command.run(body, "--output", "json", answers=(writer("writer", {"a.txt": "x"}),))
    outcome = done.json["result"]
    assert outcome["status"] == "failed" and "exit status 3" in outcome["error"] and "no such thing" in outcome["error"]
    assert by_hand(checkout, "for-each-ref", "refs/heads/callsheet") == ""


def test_a_workspaces_own_file_has_no_setup_run_until_it_is_trusted(command: Command, checkout: Path) -> None:
    write(checkout, "callsheet.toml", '[worktree]\nsetup = "echo s > set.txt"\n')
    body = "return await agent('p', { label: 'writer', isolation: 'worktree', merge: true })"
    for words, is_there in (((), False), (("--trust",), True)):
        done = command.run(body, "--output", "json", *words, answers=(writer("writer", {"w.txt": f"{words}"}),))
        assert done.status == 0, done.err
        assert ("worktree is ignored" in done.err) is not is_there
        base = done.json["agents"][0]["worktree"]["base"]
        assert ("set.txt" in by_hand(checkout, "ls-tree", "--name-only", base).split()) is is_there


def test_what_an_agent_changed_on_a_branch_is_told_line_by_line_and_exported(command: Command, checkout: Path) -> None:
    body = "return await agent('p', { label: 'writer', isolation: 'worktree', scope: { write: ['*.txt'] } })"
    files = {"a.txt": "agent\nwas here\n", "new.txt": "1\n2\n3\n"}
    ran = command.run(body, "--output", "json", answers=(writer("writer", files),)).json
    before = len((checkout / "a.txt").read_text(encoding="utf-8").splitlines())

    diff = command("diff", "--json").json
    exported = json.loads(command("export", "-o", "-").out)

    tree = ran["agents"][0]["worktree"]
    assert {file["path"]: (file["added"], file["removed"]) for file in diff["files"]} == {
        "a.txt": (2, before),
        "new.txt": (3, 0),
    }
    assert [file["agents"][0]["branch"] for file in diff["files"]] == [tree["branch"]] * 2
    assert exported["patches"] == {tree["patch"]: Path(tree["patch"]).read_text(encoding="utf-8")}
    assert f"a0001 writer (on branch {tree['branch']})" in command("diff").out
