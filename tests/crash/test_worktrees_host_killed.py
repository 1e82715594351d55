"""Fifty agents edit one repository in worktrees, and the host is killed: the next command leaves nothing of it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from anyio import to_thread

from callsheet.model.outcome import AGENT_STATUSES
from callsheet.store.reader import read_agents
from tests.support.deadline import within
from tests.support.live_run import live_run
from tests.support.messages_replies import Received, Reply, Say, text, tool_use
from tests.support.messages_service import open_messages_service
from tests.surfaces.command import Command
from tests.unit.workspace.test_git import by_hand
from tests.unit.workspace.test_worktree import state, write

pytestmark = [pytest.mark.anyio, pytest.mark.contract("A07", "A16", "R01")]

AGENTS = 50
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
    """A person's work, with what agents merged into it apart."""
    files, *rest = state(root)
    assert isinstance(files, dict)
    index, _, head = rest
    own = {name: said for name, said in files.items() if not name.startswith((".callsheet/", "made-", "answers.json"))}
    return own, index, head


def sleepers() -> list[int]:
    """Processes of agents' commands."""
    return [
        found.pid
        for found in psutil.process_iter(["cmdline"])
        if f"sleep {MARK}" in " ".join(found.info["cmdline"] or ())
    ]


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
    by_hand(root, "add", "src/1.txt")
    write(root, "README.md", "in the middle of something\n")
    before = theirs(root)
    async with open_messages_service(edits) as service:
        environ = {"ANTHROPIC_API_KEY": "k" * 30, "ANTHROPIC_BASE_URL": service.base_url}
        words = ("--max-parallel", str(AGENTS), "--allow", "Bash(sleep:*)")
        async with live_run(command, BODY, "--backend", "anthropic", *words, environ=environ) as run:
            with within(120):
                while [event["event"] for event in run.events].count("agent.finished") < 3 or len(sleepers()) < 3:
                    await run.next()
            run.strike(run.pid, signal.SIGKILL)
            await run.ended()
    ended = [found.agent for found in read_agents(record, run.run_id) if found.agent.status in AGENT_STATUSES]
    assert len(by_hand(root, "worktree", "list").splitlines()) > 3, "there was something to take away"

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
    assert sleepers() == []
    assert theirs(root) == before
    assert "were taken away" in json.dumps(done.json["logs"]) + done.err
