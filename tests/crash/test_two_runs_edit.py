"""Two real runs of fifty agents each on one checkout, with `--share`: both end right, and no edit is lost."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import to_thread

from tests.support.deadline import within
from tests.support.messages_replies import Received, Reply, Say, text, tool_use
from tests.support.messages_service import open_messages_service
from tests.support.planned import results
from tests.surfaces.command import Command, Done

pytestmark = pytest.mark.anyio

AGENTS = 50
FILES = 5


def edits(request: Received) -> Reply:
    """Adds the agent's own line to its file by `edit`; told that the text is no longer there, reads and tries again."""
    messages = request.messages
    line, file = request.messages[0]["content"][-1]["text"].split()
    so_far = results(messages)
    last = so_far[-1] if so_far else ""
    if "edited" in last:
        return Say([text(line)])
    turn = sum(message["role"] == "assistant" for message in messages)
    if turn % 2 == 0:
        return Say([tool_use("read", id=f"toolu_{turn}", file_path=file)])
    return Say(
        [tool_use("edit", id=f"toolu_{turn}", file_path=file, old_string="# end\n", new_string=f"{line}\n# end\n")]
    )


async def test_two_runs_of_fifty_agents_share_a_checkout_and_lose_no_edit(command: Command) -> None:
    for file in range(FILES):
        (command.folder / f"f{file}.txt").write_text("# end\n", encoding="utf-8")
    body = (
        "return (await parallel(Array.from({ length: args.n }, (_, i) => () => "
        "agent(`${args.name}${i} f${i % args.files}.txt`, { label: 'editor' })))).filter(Boolean).length"
    )
    script = command.script(body)
    done: dict[str, Done] = {}

    async def one(name: str, environ: dict[str, str]) -> None:
        args: dict[str, Any] = {"n": AGENTS, "name": name, "files": FILES}
        words = ("run", script, "--share", "--output", "json", "--args", json.dumps(args))
        done[name] = await to_thread.run_sync(partial(command, *words, environ=environ))

    async with open_messages_service(edits, latency_s=0.01) as service:
        environ = {"ANTHROPIC_API_KEY": "k" * 30, "ANTHROPIC_BASE_URL": service.base_url}
        with within(180):
            async with anyio.create_task_group() as both:
                both.start_soon(one, "a", environ)
                both.start_soon(one, "b", environ)

    for name in "ab":
        assert (done[name].status, done[name].json["result"]) == (0, AGENTS), done[name].err
        assert {agent["status"] for agent in done[name].json["agents"]} == {"ok"}
    for file in range(FILES):
        *lines, end = (command.folder / f"f{file}.txt").read_text(encoding="utf-8").splitlines()
        assert end == "# end"
        assert sorted(lines) == sorted(f"{name}{n}" for name in "ab" for n in range(file, AGENTS, FILES))
