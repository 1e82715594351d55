"""Runs with the model's backend that ended early and are resumed in another process: who is asked, by its requests."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import to_thread

from callsheet.agents.prompt import RESUMED
from callsheet.store.reader import read_messages
from tests.support.deadline import within
from tests.support.live_run import live
from tests.support.messages_replies import Hang, Received, Refuse, Reply, Say, text, tool_use
from tests.support.messages_service import MessagesService, open_messages_service
from tests.support.recorded import record_of
from tests.surfaces.command import Command, Done

pytestmark = pytest.mark.anyio

EDITORS, UNFINISHED = 40, 10
EDIT = f"""
const one = i => agent("edit file " + i, {{ label: "e" + i }})
return await parallel(Array.from({{ length: {EDITORS} }}, (_, i) => () => one(i)))
"""


def task_of(request: Received) -> int:
    """The number in the prompt of the agent that asks."""
    found = re.search(r"(?:edit file|task) (\d+)", json.dumps(request.messages))
    assert found is not None
    return int(found[1])


class Model:
    """Agents that answer, but those that are told not to."""

    def __init__(self, instead: Reply, *unanswered: int) -> None:
        self.instead = instead
        self.unanswered = frozenset(unanswered)
        self.asked: Counter[int] = Counter()
        self.answered: set[int] = set()

    def __call__(self, request: Received) -> Reply:
        number = task_of(request)
        self.asked[number] += 1
        if number in self.unanswered:
            return self.instead
        if "edit file" in str(request.messages[0]) and len(request.messages) == 1:
            return Say([tool_use("write", file_path=f"out/{number}.txt", content=f"text {number}\n")])
        self.answered.add(number)
        return Say([text(f"done {number}")])

    def mend(self) -> None:
        """From now on everybody answers; counts begin anew."""
        self.unanswered = frozenset()
        self.asked.clear()


def environ(service: MessagesService) -> dict[str, str]:
    return {"ANTHROPIC_API_KEY": "sk-ant-of-this-test", "ANTHROPIC_BASE_URL": service.base_url}


async def called(command: Command, service: MessagesService, *words: str) -> Done:
    with within(60):
        return await to_thread.run_sync(partial(command, *words, "--output", "json", environ=environ(service)))


@pytest.mark.contract("R01", "R02", "R07")
async def test_of_forty_editors_that_were_killed_only_those_who_had_not_ended_are_asked(command: Command) -> None:
    model = Model(Hang(), *range(3, EDITORS, 4))
    assert len(model.unanswered) == UNFINISHED
    async with open_messages_service(model) as service:
        words = ("run", command.script(EDIT), "--max-parallel", "40", "--no-cache-warmup")
        async with live(command, *words, environ=environ(service)) as run:
            await run.until("agent.started", nth=EDITORS)
            with within(90):  # the client is loaded with the first request, which takes its time on a busy machine
                await service.until(lambda _: len(model.answered) == EDITORS - UNFINISHED)
            await run.until("agent.finished", nth=EDITORS - UNFINISHED)
            run.kill_all()
            await run.ended()
        files = {path: path.stat().st_mtime_ns for path in (command.folder / "out").iterdir()}
        assert len(files) == EDITORS - UNFINISHED
        model.mend()
        done = await called(command, service, "resume", run.run_id)

    assert done.status == 0, done.err
    assert done.json["result"] == [f"done {number}" for number in range(EDITORS)]
    assert model.asked == dict.fromkeys(range(3, EDITORS, 4), 2)
    assert sum(not agent["reused"] for agent in done.json["agents"]) == UNFINISHED
    assert all(path.stat().st_mtime_ns == at for path, at in files.items())
    assert all(
        (command.folder / f"out/{number}.txt").read_text(encoding="utf-8") == f"text {number}\n"
        for number in range(EDITORS)
    )


SIX = "return await parallel(Array.from({ length: 6 }, (_, i) => () => agent('task ' + i)))"


@pytest.mark.contract("K05", "R01")
@pytest.mark.parametrize(
    "refusal",
    [
        Refuse(401, "authentication_error", "invalid x-api-key"),
        Refuse(400, "invalid_request_error", "Your credit balance is too low to access the API"),
        Refuse(429, "rate_limit_error", "weekly limit", {"retry-after": "7200"}),
    ],
    ids=["key", "credit", "weekly limit"],
)
async def test_a_run_that_its_service_interrupted_is_resumed_and_pays_nobody_twice(
    command: Command, refusal: Refuse
) -> None:
    model = Model(refusal, 4, 5)
    async with open_messages_service(model) as service:
        words = ("run", command.script(SIX), "--max-parallel", "2", "--max-wait", "1h", "--no-cache-warmup")
        first = await called(command, service, *words)
        assert (first.status, first.json["status"], first.json["result"]) == (6, "interrupted", None), first.err
        ended = set(model.answered)
        assert ended
        model.mend()
        (resume,) = re.findall(r"`callsheet (resume [^`]*)`", first.json["error"]["message"])
        done = await called(command, service, *resume.split())

    assert (done.status, done.json["status"]) == (0, "completed"), done.err
    assert done.json["result"] == [f"done {number}" for number in range(6)]
    assert set(model.asked) == set(range(6)) - {int(agent["label"].split()[1]) for agent in reused(first)}
    assert max(model.asked.values()) == 1


def reused(first: Done) -> list[dict[str, str]]:
    """The agents that had ended well."""
    return [agent for agent in first.json["agents"] if agent["status"] == "ok"]


@pytest.mark.contract("R01", "R07", "K05")
async def test_an_agent_that_was_in_the_middle_goes_on_with_its_conversation(command: Command) -> None:
    """It has read a file, and its host is killed while the model thinks: the read is not done again.

    The request that was cut off counts as it was reserved.
    """
    (command.folder / "a.txt").write_text("alpha", encoding="utf-8")
    replies: Iterator[Reply] = iter(
        [
            Say([tool_use("read", file_path="a.txt")], output_tokens=7),
            Hang(),
            Say([text("It says alpha.")], output_tokens=3),
        ]
    )
    async with open_messages_service(lambda request: next(replies)) as service:
        words = ("run", command.script("return await agent('What is in a.txt?', { label: 'reads' })"), "--budget", "9M")
        async with live(command, *words, environ=environ(service)) as run:
            await run.until("agent.started")
            record = record_of(command)
            with within(60):
                await service.until(lambda one: one.count == 2)
                while len(read_messages(record, run.run_id, "a0001")) < 3:
                    await anyio.lowlevel.checkpoint()
            run.kill_all()
            await run.ended()
        done = await called(command, service, "resume", run.run_id)

    assert (done.status, done.json["result"]) == (0, "It says alpha."), done.err
    assert service.count == 3
    last = service.requests[2].messages
    assert [message["role"] for message in last] == ["user", "assistant", "user", "user"]
    assert "alpha" in str(last[2]) and RESUMED in str(last[3])
    assert last[:3] == [*service.requests[1].messages[:2], without_marks(service.requests[1].messages[2])]
    (agent,) = done.json["agents"]
    assert (agent["agent_id"], agent["reused"]) == ("a0001", False)
    usage = agent["usage"]
    assert usage["output_tokens"] == 10 + reserved_tokens(command) > 1_000
    assert usage["cost_usd"] > done.json["usage"]["estimated_usd"] > 0


def reserved_tokens(command: Command) -> int:
    """What requests that were cut off had reserved."""
    with closing(sqlite3.connect(record_of(command))) as db:
        (tokens,) = db.execute("SELECT sum(reserved_tokens) FROM spending WHERE state = 'reserved'").fetchone()
    return int(tokens)


def without_marks(message: dict[str, Any]) -> dict[str, Any]:
    """A message as it is sent once it is not the newest."""
    blocks = [{key: value for key, value in block.items() if key != "cache_control"} for block in message["content"]]
    return {**message, "content": blocks}
