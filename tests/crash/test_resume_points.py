"""Hosts are killed, twice in a row, in the middle of everything; the resumed run pays nobody twice who had ended."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from anyio.lowlevel import checkpoint

from callsheet.agents.tools.locks import FileLocks
from callsheet.store.reader import list_runs, read_agents, read_tool_calls
from tests.support.deadline import within
from tests.support.held_git import HeldGit
from tests.support.live_run import START_S, LiveRun, NewCommand, live
from tests.support.messages_replies import Block, Hang, Received, Reply, Say, text, tool_use
from tests.support.messages_service import MessagesService, open_messages_service
from tests.support.recorded import assert_nothing_is_missing, assert_sound, record_of, recorded
from tests.surfaces.command import Command

pytestmark = pytest.mark.anyio

QUICK = ("quick 1", "quick 2", "quick 3", "quick 4")
"""Two of them end before the first kill, two before the second; neither time does the script get to know."""
HELD = ("streams", "reserved", "commands", "edits")
"""In the middle of something both times: a reply, a request without one, a command, an edit."""

BODY = f"""
const order = []
const ask = name => agent('task: ' + name, {{ label: name }}).then(said => {{ order.push(name); return said }})
const found = await parallel({json.dumps(QUICK + HELD)}.map(name => () => ask(name)))
const known = `${{order.slice().sort()}} and ${{found}}`
return [found, await agent('task: sum up\\n' + known, {{ label: 'sum up' }})]
"""
RESULT = [[f"{name} is done" for name in QUICK + HELD], "sum up is done"]

TURNS: dict[str, tuple[Block, ...]] = {
    "streams": (tool_use("read", id="toolu_1", file_path="README.md"),),
    "commands": (tool_use("bash", id="toolu_1", command="./work.sh"),),
    "edits": (
        tool_use("read", id="toolu_1", file_path="edited.txt"),
        tool_use("edit", id="toolu_2", file_path="edited.txt", old_string="alpha", new_string="beta"),
    ),
}
"""What agents do before they end; what was cut off they do again."""
WORK = "#!/bin/sh\necho worked >> worked.txt\nif [ -e hold ]; then exec sleep 86398; fi\n"
MAY_HAVE_HAPPENED = "it may or may not have happened"


class Model:
    """Agents that do their turns and then say that they are done.

    Attributes:
        held: Whose last reply stops half way; of "reserved", whose request gets none.
        silent: Who gets no reply at all.
        asked: How many requests each agent made.
        words: What each agent was told last, as JSON.
    """

    def __init__(self) -> None:
        self.held: frozenset[str] = frozenset()
        self.silent: frozenset[str] = frozenset()
        self.go = anyio.Event()
        self.go.set()
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.words: dict[str, list[dict[str, Any]]] = {}

    def __call__(self, request: Received) -> Reply:
        found = re.search(r"task: ([\w ]+)", json.dumps(request.messages[0]))
        assert found is not None
        name = found[1]
        self.asked[name] += 1
        self.words[name] = request.messages
        if name in self.silent:
            return Hang()
        turns = TURNS.get(name, ())
        done = sum(_asks_for_tool(message) for message in request.messages) - _cut_off(request.messages)
        if done < len(turns):
            self.answered[name] += 1
            return Say([turns[done]])
        if name in self.held:
            return Say([text(f"{name} is"), text(" done")], hold=anyio.Event(), hold_after=4)
        self.answered[name] += 1
        return Say([text(f"{name} is done")], hold=self.go, hold_after=0)

    def environ(self, service: MessagesService) -> dict[str, str]:
        return {"ANTHROPIC_API_KEY": "k" * 30, "ANTHROPIC_BASE_URL": service.base_url}


def _asks_for_tool(message: dict[str, Any]) -> bool:
    return any(block["type"] == "tool_use" for block in message["content"] if isinstance(block, dict))


def _cut_off(messages: list[dict[str, Any]]) -> int:
    """How many calls the agent was told of that they may or may not have happened."""
    blocks = [block for message in messages for block in message["content"] if isinstance(block, dict)]
    return sum(block["type"] == "tool_result" and MAY_HAVE_HAPPENED in str(block["content"]) for block in blocks)


BOUNDS = ("--max-parallel", "16", "--no-cache-warmup", "--budget", "9M $900", "--checkpoint-interval", "2")
ALLOWED = ("--allow", "Bash(./work.sh)", "--unconfined")


def prepared(command: Command) -> tuple[str, ...]:
    """A workspace for the script; gives the words that run it."""
    (command.folder / "edited.txt").write_text("alpha\n", encoding="utf-8")
    (command.folder / "work.sh").write_text(WORK, encoding="utf-8")
    (command.folder / "work.sh").chmod(0o755)
    return ("run", command.script(BODY), *BOUNDS, *ALLOWED)


async def until(is_so: Callable[[], bool]) -> None:
    """Looks again and again until something is so."""
    with within(START_S):
        while not is_so():
            await checkpoint()


async def begun(run: LiveRun, *, agents: int) -> None:
    """Reads until so many agents have started, and the first checkpoint was taken, for which those wait who change."""
    with within(START_S):
        while True:
            names = Counter(event["event"] for event in run.events)
            if names["agent.started"] >= agents and names["checkpoint.taken"]:
                return
            assert await run.next() is not None, run.err


@asynccontextmanager
async def locked(record: Path) -> AsyncIterator[None]:
    """Nobody else writes to the record; what they write waits."""
    with closing(sqlite3.connect(record, isolation_level=None, timeout=60)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


class Scene:
    """A host at work, brought to the moment at which it is killed."""

    def __init__(self, command: Command, git: HeldGit, model: Model, service: MessagesService) -> None:
        self.command = command
        self.git = git
        self.model = model
        self.service = service
        self.record = record_of(command)

    async def kill_in_the_middle(
        self, run: LiveRun, *, ending: tuple[str, ...], unanswered: tuple[str, ...], when: str, edit_done: bool
    ) -> str:
        """Kills the host's process group when all agents stand where they are to stand.

        Args:
            run: The host.
            ending: The agents that end, without the script's getting to know.
            unanswered: Those that get no answer.
            when: Where in a checkpoint git stops.
            edit_done: The file is changed before the kill, and only the record of that is missing; else it is not.
        """
        model, folder = self.model, self.command.folder
        (folder / "hold").touch()
        model.held, model.silent, model.go = frozenset({"streams"}), frozenset({"reserved", *unanswered}), anyio.Event()
        worked = count_lines(folder / "worked.txt")
        locks = FileLocks(folder / ".callsheet" / "locks")
        async with locks.hold(folder / "edited.txt"):
            before = model.asked.copy()
            await begun(run, agents=len(ending) + len(unanswered) + len(HELD))
            psutil.Process(await run.sandbox()).suspend()
            self.git.hold(when)
            await until(lambda: all(model.asked[name] > before[name] for name in (*ending, *unanswered, "reserved")))
            await until(lambda: count_lines(folder / "worked.txt") > worked)  # there is something to keep
            model.go.set()
            await run.until("agent.finished", nth=len(ending), reused=False)
            await until(lambda: model.asked["streams"] >= before["streams"] + (2 if before["streams"] == 0 else 1))
            await until(lambda: self.git.is_held)
            await until(lambda: self.states(run.run_id, "edits")[-1:] == ["intent"])
            if not edit_done:
                run.kill_all()
                await run.ended()
        if edit_done:
            async with locked(self.record):
                # Let go of, the file is changed at once; that it was cannot be recorded.
                await until(lambda: "beta" in (folder / "edited.txt").read_text(encoding="utf-8"))
                run.kill_all()
            await run.ended()
        self.git.let_go()
        return run.run_id

    def states(self, run_id: str, label: str) -> list[str]:
        agents = {found.agent.label: found.agent.agent_id for found in read_agents(self.record, run_id)}
        return [call.state for call in read_tool_calls(self.record, run_id, agents[label])]

    def undelivered(self, run_id: str) -> set[str]:
        """Who has ended without the script's getting to know."""
        return {
            found.agent.label
            for found in read_agents(self.record, run_id)
            if found.agent.status == "ok" and found.delivered is None
        }

    def reserved(self, run_id: str) -> list[int]:
        """The output tokens of requests that were reserved and never settled."""
        with closing(sqlite3.connect(self.record)) as db:
            sql = "SELECT reserved_tokens FROM spending WHERE run_id = ? AND state = 'reserved'"
            return [tokens for (tokens,) in db.execute(sql, (run_id,))]


def count_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def sleepers() -> list[int]:
    """What would outlive a host that was in the middle of a command."""
    lines = {process.pid: process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])}
    return [pid for pid, line in lines.items() if line[-1:] == ["86398"]]


async def undisturbed(command: Command) -> tuple[Model, dict[str, Any]]:
    """The same run without a stop: what it asked, and its end."""
    model = Model()
    words = prepared(command)
    async with (
        open_messages_service(model) as service,
        live(command, *words, environ=model.environ(service)) as run,
    ):
        ended = await run.ended(60)
    assert ended.status == 0, ended.err
    return model, ended.result


@pytest.mark.contract("R01", "R02", "R04", "R07", "R08", "G04")
async def test_a_run_killed_twice_in_the_middle_of_everything_comes_to_the_same_end_and_pays_no_finished_agent_twice(
    new_command: NewCommand, tmp_path: Path
) -> None:
    plain, result = await undisturbed(new_command("undisturbed"))
    command, model = new_command("struck"), Model()
    words = prepared(command)
    with closing(HeldGit(tmp_path / "git", command)) as git:
        await struck(command, words, git, model, plain, result)


async def struck(
    command: Command, words: tuple[str, ...], git: HeldGit, model: Model, plain: Model, result: dict[str, Any]
) -> None:
    """Kills it twice, lets it end, and holds all of it against the run that was not disturbed."""
    async with open_messages_service(model) as service:
        scene, environ = Scene(command, git, model, service), model.environ(service)

        async with live(command, *words, environ=environ) as run:
            run_id = await scene.kill_in_the_middle(
                run, ending=QUICK[:2], unanswered=QUICK[2:], when="before", edit_done=False
            )
        assert_sound(scene.record)
        found = recorded(scene.record, run_id)
        assert_nothing_is_missing(found, run.events)
        assert (found.end, found.having("ok")) == (None, set(QUICK[:2]))
        assert scene.undelivered(run_id)
        assert scene.states(run_id, "commands") == ["intent"]
        assert (command.folder / "edited.txt").read_text(encoding="utf-8") == "alpha\n"
        in_flight = len(scene.reserved(run_id))
        assert in_flight == len(("streams", "reserved", *QUICK[2:]))
        assert model.asked == Counter(dict.fromkeys(QUICK, 1)) + Counter(streams=2, reserved=1, commands=1, edits=2)

        async with live(command, "resume", run_id, *ALLOWED, environ=environ) as run:
            await scene.kill_in_the_middle(run, ending=QUICK[2:], unanswered=(), when="after", edit_done=True)
        assert_sound(scene.record)
        found = recorded(scene.record, run_id)
        assert (found.end, found.having("ok")) == (None, set(QUICK))
        assert scene.undelivered(run_id)
        assert len(scene.reserved(run_id)) == in_flight + len(("streams", "reserved"))

        (command.folder / "hold").unlink()
        model.held = model.silent = frozenset()
        lost_tokens = sum(scene.reserved(run_id))
        async with live(command, "resume", run_id, *ALLOWED, environ=environ) as run:
            ended = await run.ended(60)

    assert ended.status == 0, ended.err
    assert (ended.result["status"], ended.result["result"]) == ("completed", result["result"])
    assert result["result"] == RESULT
    # Whoever had ended asked nothing more; whoever had not asked one request more a kill: the one that was cut off, or
    # that led to what was.
    more = Counter(dict.fromkeys(HELD, 2)) + Counter(dict.fromkeys(QUICK[2:], 1))
    assert model.asked == plain.asked + more
    assert {agent["label"]: agent["reused"] for agent in ended.result["agents"]} == {
        **dict.fromkeys(QUICK, True),
        **dict.fromkeys((*HELD, "sum up"), False),
    }
    assert (command.folder / "edited.txt").read_text(encoding="utf-8") == "beta\n"
    assert count_lines(command.folder / "worked.txt") == 3
    assert ended.result["usage"]["output_tokens"] == 5 * model.answered.total() + lost_tokens
    assert ended.result["usage"]["estimated_usd"] > 0 == result["usage"]["estimated_usd"]
    assert [number_of(task) for task in model.words.values()] == [1] * len(model.words)
    assert_sound(scene.record)
    assert [run.run_id for run in list_runs(scene.record)] == [run_id]
    assert sleepers() == []


def number_of(messages: list[dict[str, Any]]) -> int:
    """How often a conversation has its task."""
    return json.dumps([message for message in messages if message["role"] == "user"]).count("task: ")
