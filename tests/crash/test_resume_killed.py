"""Hosts are killed with all they started, twice in a row: nobody who had ended is asked again, the end is the same."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support import waves
from tests.support.live_run import Json, LiveRun, live, live_run
from tests.support.recorded import assert_nothing_is_missing, assert_sound, recorded, runs_in
from tests.surfaces.command import Command

pytestmark = pytest.mark.anyio

RUNS = int(os.environ.get("CALLSHEET_CRASH_KILLS", "12")) // 2
"""Each of so many runs is killed twice."""

WAVES, IN_A_WAVE = 6, 5

BODY = f"""
const seen = [], out = []
const ask = async i => {{ const answer = await agent('do ' + i, {{ label: 'w' + i }}); seen.push(i); return answer }}
for (let wave = 0; wave < {WAVES}; wave++) {{
  out.push(...await parallel(Array.from({{ length: {IN_A_WAVE} }}, (_, i) => () => ask(wave * {IN_A_WAVE} + i))))
  await new Promise(resolve => setTimeout(resolve, 3))
  const state = `${{seen}} at ${{Date.now()}} spent ${{budget.spent()}} chance ${{Math.random()}}`
  out.push(await agent('sum up ' + state, {{ label: 's' + wave }}))
}}
return out
"""
"""What is asked depends on the order of arrival, a timer, the clock, what was spent and chance."""

RESULT = [
    text
    for wave in range(WAVES)
    for text in (*(f"answer {wave * IN_A_WAVE + i}" for i in range(IN_A_WAVE)), f"sum {wave}")
]


def answers(chance: random.Random) -> tuple[dict[str, Any], ...]:
    return (
        *(
            {"label": f"w{i}", "result": f"answer {i}", "delay_ms": chance.randint(0, 25)}
            | ({"writes": {f"notes/w{i}.md": f"note {i}\n"}} if i % 3 == 0 else {})
            for i in range(WAVES * IN_A_WAVE)
        ),
        *({"label": f"s{wave}", "result": f"sum {wave}", "delay_ms": chance.randint(0, 10)} for wave in range(WAVES)),
    )


async def strike(run: LiveRun, record: Path, chance: random.Random) -> None:
    """Kills the whole process group at a moment that events, or writes to the record, mark."""
    if chance.random() < 0.5:
        await run.read(chance.randint(1, 4 * WAVES * (IN_A_WAVE + 1)))
    else:
        with anyio.move_on_after(2):  # it may end before
            await run.writes(record, nth=chance.randint(1, 2 * WAVES))
    run.kill_all()
    await run.ended()


def asked_in(events: list[Json]) -> list[str]:
    """The labels of the agents that were started."""
    labels = {event["agent_id"]: event["label"] for event in events if event["event"] == "agent.queued"}
    return [labels[event["agent_id"]] for event in events if event["event"] == "agent.started"]


@pytest.mark.contract("R01", "R02", "R04", "R08")
@pytest.mark.parametrize("seed", range(RUNS))
async def test_a_run_that_is_killed_twice_comes_to_the_same_end_and_asks_nobody_twice_who_had_ended(
    command: Command, record: Path, seed: int
) -> None:
    chance = random.Random(seed)
    checkpoints = ("--checkpoint-interval", "6") if seed % 3 == 1 else ()
    async with live_run(command, BODY, *checkpoints, answers=answers(chance)) as run:
        await strike(run, record, chance)
    printed, run_id = run.events, next(iter(runs_in(record)), None)
    if run_id is None:
        assert "agent.finished" not in {event["event"] for event in printed}
        return
    assert_sound(record)
    had_ended = recorded(record, run_id).having("ok")
    command.answers(*answers(chance))
    async with live(command, "resume", run_id) as run:
        await strike(run, record, chance)
    assert not had_ended & set(asked_in(run.events)), run.err
    assert had_ended <= recorded(record, run_id).having("ok")
    assert_sound(record)
    had_ended = recorded(record, run_id).having("ok")
    async with live(command, "resume", run_id) as run:
        ended = await run.ended()
    assert not had_ended & set(asked_in(run.events)), run.err
    assert_sound(record)
    assert (ended.status, ended.result["status"], ended.result["result"]) == (0, "completed", RESULT)
    assert all(
        (command.folder / f"notes/w{i}.md").read_text(encoding="utf-8") == f"note {i}\n"
        for i in range(0, WAVES * IN_A_WAVE, 3)
    )
    assert_nothing_is_missing(recorded(record, run_id), [])


@pytest.mark.contract("R01")
async def test_a_run_that_ended_with_its_process_is_offered_at_the_next_start(command: Command, record: Path) -> None:
    body = "await agent('one', { label: 'one' }); await agent('for ever', { label: 'for ever' })"
    async with live_run(command, body, answers=(waves.FOREVER,)) as run:
        await run.until("agent.finished")
        going = command.run("return 1", "--share")
        assert "ended early" not in going.err
        run.kill_all()
        await run.ended()
    done = command.run("return 1")
    assert f"ended early: callsheet resume {run.run_id}" in done.err
    assert recorded(record, run.run_id).end is None
