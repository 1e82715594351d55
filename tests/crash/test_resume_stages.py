"""A run is struck at each stage that is its script's and its record's own, twice each: no agent is asked twice."""

from __future__ import annotations

import signal
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from anyio.lowlevel import checkpoint

from tests.support.deadline import within
from tests.support.live_run import START_S, Json, LiveRun, NewCommand, has_used_cpu, live, live_run
from tests.support.recorded import assert_nothing_is_missing, assert_sound, record_of, recorded

pytestmark = pytest.mark.anyio

FIRST, LAST = ("one", "two", "three", "four"), ("five", "six")

BODY = f"""
const ask = names => parallel(names.map(name => () => agent('do ' + name, {{ label: name }})))
const first = await ask({list(FIRST)})
let sum = 0
for (let i = 0; i < 12_000_000; i++) sum = (sum * 31 + i) % 1_000_003
await new Promise(resolve => setTimeout(resolve, 2))
const last = await ask({list(LAST)})
return [first, sum, last, await agent(`sum up ${{sum}} at ${{Date.now()}}, ${{Math.random()}}`, {{ label: 'sum' }})]
"""
"""Half a second of computing stands between the first agents and the last, long enough to be struck in."""
ANSWERS: tuple[Json, ...] = tuple({"label": name, "result": f"answer {name}"} for name in (*FIRST, *LAST, "sum"))

Strike = Callable[[LiveRun, Path], Awaitable[None]]


async def computes(run: LiveRun) -> int:
    """Waits until the script computes, which comes right after the answers of the first agents; gives its process."""
    await run.until("agent.finished", nth=len(FIRST))
    return await run.sandbox(has_used_cpu(0.1))


async def host_while_the_child_computes(run: LiveRun, record: Path) -> None:
    await computes(run)
    run.kill_all()


async def child_alone(run: LiveRun, record: Path) -> None:
    run.strike(await computes(run), signal.SIGKILL)
    ended = await run.ended()
    assert (ended.status, ended.result["status"], ended.result["error"]["kind"]) == (1, "failed", "sandbox")


async def host_while_it_answers_from_the_record(run: LiveRun, record: Path) -> None:
    await run.until("agent.finished", nth=2, reused=True)
    run.kill_all()


async def host_while_it_waits_to_write_that_it_goes_on(run: LiveRun, record: Path) -> None:
    log = f"{record.name}-wal"
    with within(START_S):
        while not any(Path(file.path).name == log for file in opened_by(run.pid)):
            await checkpoint()
    run.kill_all()


@contextmanager
def locked(record: Path) -> Iterator[None]:
    """Nobody else writes to the record; what they write waits."""
    with closing(sqlite3.connect(record, isolation_level=None, timeout=60)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield


def opened_by(pid: int) -> list[Any]:
    with suppress(psutil.Error):
        return psutil.Process(pid).open_files()
    return []


STRIKES: tuple[Strike, ...] = (
    host_while_the_child_computes,
    child_alone,
    host_while_it_answers_from_the_record,
    host_while_it_waits_to_write_that_it_goes_on,
)


@pytest.mark.contract("R01", "R02", "R04", "R08")
async def test_a_run_that_is_struck_twice_at_each_stage_asks_nobody_twice_and_comes_to_the_same_end(
    new_command: NewCommand,
) -> None:
    async with live_run(new_command("undisturbed"), BODY, answers=ANSWERS) as run:
        undisturbed = (await run.ended()).result

    command = new_command("struck")
    record = record_of(command)
    asked: Counter[str] = Counter()
    async with live_run(command, BODY, answers=ANSWERS) as run:
        await host_while_the_child_computes(run, record)
        await run.ended()
        asked.update(started(run))
    run_id = run.run_id
    for strike in (strike for strike in STRIKES for _ in range(2)):
        try:
            with locked(record) if strike is host_while_it_waits_to_write_that_it_goes_on else nullcontext():
                async with live(command, "resume", run_id) as run:
                    await strike(run, record)
                    await run.ended()
        except (AssertionError, TimeoutError) as error:
            error.add_note(f"struck: {strike.__name__}, {run.err}")
            raise
        asked.update(started(run))
        assert_sound(record)
        assert_nothing_is_missing(recorded(record, run_id), [])
        assert recorded(record, run_id).having("ok") == set(FIRST)

    async with live(command, "resume", run_id) as run:
        ended = await run.ended()
    asked.update(started(run))
    assert (ended.status, ended.result["status"]) == (0, "completed"), ended.err
    assert ended.result["result"] == undisturbed["result"]
    assert ended.result["usage"] == undisturbed["usage"]
    assert asked == Counter((*FIRST, *LAST, "sum"))
    assert {agent["label"] for agent in ended.result["agents"] if agent["reused"]} == set(FIRST)


def started(run: LiveRun) -> list[str]:
    """The labels of the agents that a host asked."""
    labels = {event["agent_id"]: event["label"] for event in run.events if event["event"] == "agent.queued"}
    return [labels[event["agent_id"]] for event in run.events if event["event"] == "agent.started"]
