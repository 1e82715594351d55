"""The sandbox's process is killed at any moment: the run fails at once, and keeps all that agents have answered."""

from __future__ import annotations

import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.support import waves
from tests.support.live_run import (
    Json,
    LiveRun,
    NewCommand,
    has_engine,
    has_used_cpu,
    is_born,
    is_confined,
    live_run,
    play_all,
)
from tests.support.recorded import assert_closed, assert_sound, record_of, recorded
from tests.surfaces.command import Command

pytestmark = pytest.mark.anyio

ENDS_WITHIN_S = 2.0
CHANCE = random.Random(20_261_121)

WAVES = waves.BODY + waves.THEN_REST
STAGES = """
const stage = name => (last, item) => agent(name + item, { label: name + item }).then(a => log('saw ' + name + item))
agent('for ever', { label: 'for ever' })
await pipeline(Array.from({ length: 10 }, (_, i) => i), stage('a'), stage('b'), stage('c'), stage('d'))
await agent('for ever', { label: 'for ever again' })
"""
AFTER_ONE = "agent('for ever', { label: 'for ever' }); await agent('first', { label: 'first' }); log('saw first');"
LINES = AFTER_ONE + "for (let i = 0; ; i++) { log('line ' + i); await 0 }"
CALLS = AFTER_ONE + "for (let i = 0; i < 500; i++) agent('more', { label: 'more ' + i }); await new Promise(() => {})"
PROMPTS = AFTER_ONE + "for (let i = 0; i < 30; i++) agent('x'.repeat(1e6), { label: 'more ' + i }); for (;;) await 0"
TIMERS = AFTER_ONE + "const on = () => { log('tick'); setTimeout(on, 1) }; on(); await new Promise(() => {})"
NESTED = AFTER_ONE + "await workflow({ scriptPath: 'nested.js' })"

ANSWERS = (*waves.answers(CHANCE), waves.FOREVER | {"label": "more *"})

Reached = Callable[[LiveRun, Path], Awaitable[object]]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When the sandbox is killed: the script, and how the moment is waited for."""

    name: str
    body: str
    reached: Reached
    more_answers: tuple[Json, ...] = ()


def once(is_so: Callable[[int], bool]) -> Reached:
    return lambda run, _: run.sandbox(is_so)


def said(event: str, *, nth: int = 1, **fields: str) -> Reached:
    return lambda run, _: run.until(event, nth=nth, **fields)


def written(nth: int) -> Reached:
    return lambda run, record: run.writes(record, nth=nth)


async def at_rest(run: LiveRun, record: Path) -> None:
    last = await run.until("agent.queued", label="for ever again")
    await run.until("agent.started", agent_id=last["agent_id"])


async def spinning(run: LiveRun, record: Path) -> None:
    await run.until("agent.finished", label="first")
    await run.sandbox(has_used_cpu(0.1))


STARTING = [
    Moment(name="as it is started", body=WAVES, reached=once(is_born)),
    Moment(name="as its engine starts", body=WAVES, reached=once(has_engine)),
    Moment(name="as it has confined itself", body=WAVES, reached=once(is_confined)),
    Moment(name="as the run begins", body=WAVES, reached=said("run.started")),
]
WORKING = [
    Moment(name="as agents start", body=WAVES, reached=said("agent.started", nth=10)),
    *(
        Moment(name=f"after answer {nth}", body=WAVES, reached=said("agent.finished", nth=nth))
        for nth in CHANCE.sample(range(1, waves.AGENTS), 2)
    ),
    *(
        Moment(name=f"as write {nth} goes to the disk", body=WAVES, reached=written(nth))
        for nth in CHANCE.sample(range(1, waves.WAVES), 4)
    ),
    Moment(name="in a nested script", body=NESTED, reached=said("agent.finished", label="inner 3")),
]
WAITING = [
    Moment(name="at rest", body=STAGES, reached=at_rest),
    Moment(name="between timers", body=TIMERS, reached=said("log", nth=CHANCE.randint(5, 50), message="tick")),
]
BUSY = [
    Moment(name="in a long stretch", body=AFTER_ONE + "for (;;);", reached=spinning),
    Moment(name="in a built-in", body=AFTER_ONE + "new Array(2**32 - 1).join('')", reached=spinning),
    Moment(name="in a chain of microtasks", body=AFTER_ONE + "for (;;) await 0", reached=spinning),
]
FLOODING = [
    Moment(name="in a flood of lines", body=LINES, reached=said("log", nth=CHANCE.randint(100, 3_000))),
    Moment(name="in a flood of calls", body=CALLS, reached=said("agent.queued", nth=CHANCE.randint(50, 450))),
    Moment(name="as it sends long prompts", body=PROMPTS, reached=said("agent.queued", nth=CHANCE.randint(5, 25))),
    Moment(
        name="as it is handed a long answer",
        body=AFTER_ONE + "await agent('long', { label: 'long' }); await new Promise(() => {})",
        reached=said("agent.finished", label="long"),
        more_answers=({"label": "long", "result": "x" * 10_000_000},),
    ),
]


@pytest.mark.contract("R01")
@pytest.mark.parametrize(
    "moments",
    [STARTING, WORKING, WAITING, BUSY, FLOODING],
    ids=["it starts", "agents work", "it waits", "it is busy", "it floods"],
)
async def test_a_run_fails_at_once_and_nothing_answered_is_missing_when_its_sandbox_is_killed_while(
    new_command: NewCommand, moments: list[Moment]
) -> None:
    await play_all({moment.name: partial(killed, moment) for moment in moments}, new_command)


async def killed(moment: Moment, command: Command) -> None:
    """A run whose sandbox is killed at a moment."""
    record = record_of(command)
    command.script("for (let i = 0; i < 9; i++) { await agent('i', { label: 'inner ' + i }) } for (;;);", "nested.js")
    async with live_run(command, moment.body, answers=(*ANSWERS, *moment.more_answers)) as run:
        await moment.reached(run, record)
        run.strike(await run.sandbox(), signal.SIGKILL)
        ended = await run.ended(ENDS_WITHIN_S)

    assert ended.status == 1
    assert (ended.result["status"], ended.result["error"]["kind"]) == ("failed", "sandbox")
    assert "the script's process died (signal SIGKILL)" in ended.result["error"]["message"]
    found = recorded(record, run.run_id)
    assert_closed(found, ended.events, "failed")
    assert found.having("ok") == {agent["label"] for agent in ended.result["agents"] if agent["status"] == "ok"}
    assert_sound(record)
