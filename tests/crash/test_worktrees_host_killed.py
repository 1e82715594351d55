"""Fifty agents edit one repository in worktrees, and the host is killed: the next command leaves nothing of it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

from callsheet.model.outcome import AGENT_STATUSES
from callsheet.store.reader import read_agents
from tests.support.deadline import within
from tests.support.live_run import LiveRun, live_run
from tests.support.messages_replies import Received, Reply, Say, text, tool_use
from tests.support.messages_service import open_messages_service
from tests.surfaces.command import Command
from tests.unit.workspace.test_git import by_hand
from tests.unit.workspace.test_worktree import state, write

pytestmark = [pytest.mark.anyio, pytest.mark.contract("A07", "A16", "R01")]

AGENTS = 50
MANY = 30
"""So many of them have a worktree with their work in it when the host is killed; of those that share one, one works."""

BODY = f"""
const options = i => i % 5 ? {{ isolation: 'worktree', merge: i % 10 === 1 }} : {{ worktree: 'shared' }}
return await parallel(Array.from({{ length: {AGENTS} }}, (_, i) => () => agent(`agent ${{i}}`, options(i))))
"""
NEXT = "return await agent('p', { label: 'next', worktree: 'shared' })"


def edits(request: Received) -> Reply:
    """Writes a file and runs a command that goes on for a while; the first few end, the others never do."""
    messages = request.messages
    number = int(messages[0]["content"][-1]["text"].split()[-1])
    turn = sum(message["role"] == "assistant" for message in messages)
    if turn == 0:
        return Say([tool_use("write", id="toolu_0", file_path=f"made-{number}.txt", content="by an agent\n")])
    if turn == 1 and number > 7:
        return Say([tool_use("bash", id="toolu_1", command=f"sleep {MARK}")])
    return Say([text("done")])


MARK = 4711


def theirs(root: Path) -> tuple[Any, ...]:
    """A person's work, with what agents merged into it apart: files, index, HEAD, other branches, git's settings."""
    files, *rest = state(root)
    assert isinstance(files, dict)
    index, _, head = rest
    own = {name: said for name, said in files.items() if not name.startswith((".callsheet/", "made-", "answers.json"))}
    refs = [line for line in by_hand(root, "for-each-ref").splitlines() if "refs/heads/callsheet/" not in line]
    return own, index, head, refs, (root / ".git" / "config").read_bytes()


def processes(*words: str, name: str | None = None) -> list[int]:
    """Those on this machine with one of these words in their command lines."""
    found = []
    for each in psutil.process_iter(["cmdline", "name"]):
        line = " ".join(each.info["cmdline"] or ())
        if any(word in line for word in words) and name in {None, each.info["name"]}:
            found.append(each.pid)
    return found


def sleepers() -> list[int]:
    """Agents' commands at work."""
    return processes(f"sleep {MARK}", name="sleep")


def edited(root: Path) -> int:
    """How many worktrees have an agent's work in them."""
    return len({made.parent for made in (root / ".callsheet" / "trees").rglob("made-*.txt")})


async def in_the_middle(run: LiveRun) -> None:
    """Until some agents have ended, and many are in the middle of their work."""

    async def follow() -> None:
        while await run.next() is not None:
            pass

    with within(120):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            while len(await to_thread.run_sync(sleepers)) < MANY:
                pass
            while [event["event"] for event in run.events].count("agent.finished") < 3:
                await checkpoint()
            tasks.cancel_scope.cancel("far enough")


async def test_after_a_host_was_killed_the_next_command_leaves_no_worktree_no_branch_and_no_process(
    command: Command, record: Path
) -> None:
    root = command.folder
    write(root, ".gitignore", "*.json\n")
    command.script(NEXT, "next.js")
    command.script(BODY)
    by_hand(root, "add", ".")
    by_hand(root, "commit", "-q", "-m", "second")
    for n in range(200):
        write(root, f"src/{n}.txt", f"{n}\n")
    by_hand(root, "add", "src/1.txt", "src/2.txt")
    write(root, "src/2.txt", "staged, and changed again\n")
    write(root, "README.md", "in the middle of something\n")
    write(root, "settings.json", "ignored\n")
    (root / "case.js").chmod(0o755)
    by_hand(root, "branch", "callsheet-of-mine")
    before = theirs(root)
    async with open_messages_service(edits) as service:
        environ = {"ANTHROPIC_API_KEY": "k" * 30, "ANTHROPIC_BASE_URL": service.base_url}
        words = ("--max-parallel", str(AGENTS), "--allow", "Bash(sleep:*)")
        async with live_run(command, BODY, "--backend", "anthropic", *words, environ=environ) as run:
            await in_the_middle(run)
            assert edited(root) >= MANY
            run.strike(run.pid, signal.SIGKILL)
            await run.ended()
    ended = [found.agent for found in read_agents(record, run.run_id) if found.agent.status in AGENT_STATUSES]
    assert len(by_hand(root, "worktree", "list").splitlines()) > MANY

    answers = command.answers({"label": "next", "result": "done", "writes": {"made-next.txt": "x"}})
    done = await to_thread.run_sync(lambda: command("run", "next.js", "--backend", answers, "--output", "json"))
    assert done.status == 0, done.err
    assert by_hand(root, "worktree", "list", "--porcelain").count("worktree ") == 1
    named = {f"callsheet/{run.run_id}/{name}" for name in ("shared", *(agent.agent_id for agent in ended))}
    there = set(by_hand(root, "for-each-ref", "--format=%(refname:short)", "refs/heads/callsheet").split())
    assert there - {done.json["agents"][0]["worktree"]["branch"]} <= named
    assert sorted(path.name for path in (root / ".callsheet" / "trees").iterdir()) == ["journals"]
    assert list((root / ".callsheet" / "trees" / "journals").iterdir()) == []
    assert list((root / ".git" / "worktrees").glob("*")) == []
    assert processes(f"sleep {MARK}", str(root), run.run_id) == []
    assert theirs(root) == before
    assert "were taken away" in json.dumps(done.json["logs"]) + done.err
