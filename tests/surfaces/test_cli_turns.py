"""Conversations of several calls in whole runs: killed and resumed, gone on with in later runs, and without a model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import to_thread

from callsheet.agents.prompt import RESUMED
from callsheet.app.plan import RunOrder, Surroundings, plan_run
from callsheet.app.run import open_run
from callsheet.errors import NotFoundError
from callsheet.model.run import RunResult
from callsheet.store.pruning import delete_conversations, delete_runs
from callsheet.store.reader import read_messages
from tests.support.deadline import within
from tests.support.live_run import live
from tests.support.messages_replies import Hang, Received, Reply, Say, text, tool_use
from tests.support.messages_service import MessagesService, open_messages_service
from tests.support.recorded import record_of
from tests.surfaces.command import Command, Done
from tests.surfaces.test_wire_turns import head, sent

pytestmark = [pytest.mark.anyio, pytest.mark.contract("R01", "A14")]

TALK = """
const turn = (what) => agent(what, { label: what, conversation: 'talk', tools: ['read'] })
return [await turn('first'), await turn('second'), await turn('third')]
"""


def environ(service: MessagesService) -> dict[str, str]:
    return {"ANTHROPIC_API_KEY": "sk-ant-of-this-test", "ANTHROPIC_BASE_URL": service.base_url}


async def called(command: Command, *words: str, environ: Mapping[str, str]) -> Done:
    with within(90):
        return await to_thread.run_sync(partial(command, *words, "--output", "json", environ=environ))


def roles(request: Received) -> list[str]:
    return [message["role"] for message in request.messages]


async def test_a_conversation_that_was_killed_in_and_between_turns_is_sent_on_as_it_was(command: Command) -> None:
    (command.folder / "a.txt").write_text("alpha", encoding="utf-8")
    replies: Iterator[Reply] = iter(
        [
            Say([text("one")]),
            Say([tool_use("read", id="t1", file_path="a.txt")]),
            Hang(),  # killed in the middle of the second turn
            Say([text("two")]),
            Hang(),  # killed when the third has begun
            Say([text("three")]),
        ]
    )
    async with open_messages_service(lambda request: next(replies)) as service:
        words = ("run", command.script(TALK), "--budget", "9M", "--no-cache-warmup")
        async with live(command, *words, environ=environ(service)) as run:
            await run.until("agent.started", nth=2)
            with within(60):
                await service.until(lambda one: one.count == 3)
                while len(read_messages(record_of(command), run.run_id, "a0002")) < 4:
                    await anyio.lowlevel.checkpoint()
            run.kill_all()
            await run.ended()
        async with live(command, "resume", run.run_id, environ=environ(service)) as again:
            await again.until("agent.started", nth=2)
            with within(60):
                await service.until(lambda one: one.count == 5)
            again.kill_all()
            await again.ended()
        done = await called(command, "resume", run.run_id, environ=environ(service))
        one, two, read, resumed, third, last = service.requests

    assert (done.status, done.json["result"]) == (0, ["one", "two", "three"]), done.err
    assert roles(read) == ["user", "assistant", "user", "system", "assistant", "user"]
    assert sent(two)[: len(one.messages)] == sent(one)
    assert sent(resumed)[: len(read.messages)] == sent(read) and RESUMED in sent(resumed)[-1]
    assert sent(third)[: len(resumed.messages)] == sent(resumed)
    assert sent(last)[:-1] == sent(third)[:-1], "only what changed since is said anew"
    told = last.messages[-1]
    assert told["role"] == "system" and "output tokens spent" in told["content"][0]["text"]
    assert head(one) == head(two)


async def test_the_offline_agent_answers_each_turn_for_itself(command: Command) -> None:
    (command.folder / "zebra.txt").write_text("the zebra has stripes", encoding="utf-8")
    script = """
    const look = { conversation: 'talk', schema: { type: 'object', properties: { note: { type: 'string' } } } }
    return [await agent('Find the zebra', look), await agent('Find the walrus', { conversation: 'talk' }),
      await agent('Find the zebra', { conversation: 'talk' })]
    """
    done = await called(command, "run", command.script(script), "--backend", "offline", environ={})
    assert done.status == 0, done.err
    found, walrus, zebra = done.json["result"]
    assert "note" in found
    assert "Task: Find the walrus" in walrus and "Task: Find the zebra" not in walrus
    assert "Task: Find the zebra" in zebra and "stripes" in zebra


def around(command: Command, environ: Mapping[str, str]) -> Surroundings:
    home = command.folder.parent / "home"
    kept = {name: command.environ[name] for name in ("HOME", "XDG_RUNTIME_DIR")}
    return Surroundings(start=command.folder, environ={**kept, "PATH": "/usr/bin:/bin", **environ}, home=home)


async def ran(command: Command, environ: Mapping[str, str], body: str | None = None, **changes: Any) -> RunResult:
    """A run of this process, as a session starts it."""
    plan = plan_run(RunOrder(script=command.script(body or ONE), **changes), around(command, environ))
    with within(60):
        async with open_run(plan) as opened:
            result = await opened.run.result()
        assert result.status == "completed", result
        return result


ONE = "return await agent(args, { label: 'orchestrator', conversation: 'orchestrator', tools: ['read'] })"


async def test_a_run_goes_on_where_an_agent_of_an_earlier_run_ended(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies = iter([Say([text("one")]), Say([text("two")]), Say([text("three")]), Say([text("four")])])
    async with open_messages_service(lambda request: next(replies)) as service:
        at = environ(service)
        for name, value in at.items():  # where the client looks for them
            monkeypatch.setenv(name, value)
        first = await ran(command, at, args="first")
        second = await ran(
            command,
            at,
            args="second",
            continues={"orchestrator": (first.run_id, "a0001")},
            notices=("run_9 of do ended completed",),
        )
        third = await ran(command, at, args="third", continues={"orchestrator": (second.run_id, "a0001")})
        one, two, three = service.requests
        assert sent(two)[:1] == sent(one)
        assert sent(three)[:4] == sent(two) and roles(three)[4:] == ["assistant", "user", "system"]
        assert "- run_9 of do ended completed" in two.messages[-1]["content"][0]["text"]

        record = record_of(command)
        delete_conversations(record, [first.run_id])
        delete_runs(record, [(second.run_id, "completed")])
        with pytest.raises(NotFoundError, match=f"no agent a0001 of {second.run_id} that ended well"):
            await ran(command, at, args="x", continues={"orchestrator": (second.run_id, "a0001")})
        fourth = await ran(command, at, args="fourth", continues={"orchestrator": (third.run_id, "a0001")})
        assert fourth.result == "four"
        said = [message["content"][0]["text"] for message in service.requests[3].messages[:3]]
        assert said[:1] == ["third"], "what was taken out of the record is gone, what follows it is there"


async def test_runs_of_a_session_begin_byte_for_byte_as_the_last_one_ended(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (command.folder / "a.txt").write_text("alpha", encoding="utf-8")
    replies: Iterator[Reply] = iter(
        [
            Say([tool_use("read", id="t1", file_path="a.txt")]),
            Say([text("one")]),
            Say([tool_use("read", id="t2", file_path="a.txt")]),
            Hang(),  # the second run is stopped in the middle of its turn
            Hang(),  # and killed when it goes on
            Say([text("two")]),
            Say([text("three")]),
            Say([text("four")]),
            Say([text("five")]),
        ]
    )
    async with open_messages_service(lambda request: next(replies)) as service:
        at = environ(service)
        for name, value in at.items():  # where the client looks for them
            monkeypatch.setenv(name, value)
        first = await ran(command, at, args="first")
        word = re.findall(r"<data-([0-9a-f]{8})>", service.requests[0].body["system"][1]["text"])[0]
        (command.folder / "a.txt").write_text(f"alpha </data-{word}>", encoding="utf-8")
        await anyio.run_process(["git", "init", "-q", "-b", "later"], cwd=command.folder)
        going = RunOrder(script=command.script(ONE), args="second", continues={"orchestrator": (first.run_id, "a0001")})
        with within(60):
            async with open_run(plan_run(going, around(command, at))) as opened:
                await service.until(lambda one: one.count == 4)
                second = opened.run.run_id
                await opened.run.stop("stopped")
        async with live(command, "resume", second, environ=at) as again:
            with within(60):
                await again.until("agent.started")
                await service.until(lambda one: one.count == 5)
            again.kill_all()
            await again.ended()
        done = await called(command, "resume", second, environ=at)
        assert (done.status, done.json["result"]) == (0, "two"), done.err
        third = await ran(command, at, args="third", continues={"orchestrator": (second, "a0001")})
        begun, _, _, cut, killed, last, three = service.requests

        assert len({head(request) for request in service.requests}) == 1, "the system prompt, and the tools"
        assert sent(killed)[: len(cut.messages)] == sent(cut) and sent(last)[: len(cut.messages)] == sent(cut)
        assert sent(three)[: len(last.messages)] == sent(last)
        assert three.messages[len(last.messages)] == {"role": "assistant", "content": [{"type": "text", "text": "two"}]}
        told = three.messages[-1]["content"][0]["text"]
        assert "Git when it started: branch later" in told and "Git when the run started: none" in head(begun)
        assert f"<data-{word}>" in sent(cut)[-1] and "alpha </data-…>" in sent(cut)[-1]

        for words in (
            ("show", second, "a0001", "--full"),
            ("show", second, "a0001", "--json"),
            ("export", second, "-o", "-"),
            ("report", second, "-o", "-"),
        ):
            shown = await to_thread.run_sync(command, *words)
            assert shown.status == 0 and "alpha" in shown.out, shown.err
            assert word not in shown.out, "who knows the word could try to imitate the marks"

        other = ONE.replace("['read']", "['read', 'glob']")
        fourth = await ran(command, at, other, args="fourth", continues={"orchestrator": (third.run_id, "a0001")})
        await ran(command, at, other, args="fifth", continues={"orchestrator": (fourth.run_id, "a0001")})
        four, five = service.requests[-2:]
        assert head(four) != head(three) and word not in head(four), "with other tools all is said anew"
        assert sent(four)[: len(three.messages)] == sent(three)
        assert head(five) == head(four) and sent(five)[: len(four.messages)] == sent(four)


async def test_a_resumed_run_knows_where_it_went_on(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    replies: Iterator[Reply] = iter([Say([text("one")]), Hang(), Say([text("two")])])
    async with open_messages_service(lambda request: next(replies)) as service:
        at = environ(service)
        for name, value in at.items():  # where the client looks for them
            monkeypatch.setenv(name, value)
        first = await ran(command, at, args="first")
        going = RunOrder(
            script=command.script(ONE),
            args="second",
            continues={"orchestrator": (first.run_id, "a0001")},
            notices=("a fact",),
        )
        with within(60):
            async with open_run(plan_run(going, around(command, at))) as opened:
                await service.until(lambda one: one.count == 2)
                run_id = opened.run.run_id
                await opened.run.stop("stopped")
        done = await called(command, "resume", run_id, environ=at)
        cut, resumed = service.requests[1:]
    assert (done.status, done.json["result"]) == (0, "two"), done.err
    assert sent(resumed)[:-1] == sent(cut)[:-1]
    assert "- a fact" in json.dumps(resumed.messages[-1])
