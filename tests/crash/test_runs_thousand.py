"""A thousand agents, a hundred at a time."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.live_run import live_run
from tests.support.recorded import Recorded, assert_closed, assert_sound, recorded
from tests.surfaces.command import Command

pytestmark = pytest.mark.anyio

AGENTS = 1_000
AT_A_TIME = 100
HOST_BYTES = 160 * 1024 * 1024
CHANCE = random.Random(1_000)

BODY = f"""
const ask = i => agent('do ' + i, {{ label: 'w' + String(i).padStart(4, '0') }})
const all = await parallel(Array.from({{ length: {AGENTS} }}, (_, i) => () => ask(i)))
return all.filter(answer => answer === 'done').length
"""
ANSWERS = tuple(
    {"label": f"w??{last:02}", "result": "done", "delay_ms": CHANCE.randint(20, 120)} for last in range(100)
)


@pytest.mark.contract("A12", "L01", "R01")
async def test_a_thousand_agents_all_answer_a_hundred_at_a_time_and_each_answer_is_recorded(
    command: Command, record: Path
) -> None:
    async with live_run(command, BODY, "--max-parallel", str(AT_A_TIME), answers=ANSWERS, is_new=True) as run:
        memory_bytes = await run.memory_to_the_end()
        ended = await run.ended()

    assert (ended.status, ended.result["status"], ended.result["result"]) == (0, "completed", AGENTS)
    found = recorded(record, run.run_id)
    assert_closed(found, ended.events, "completed")
    assert len(found.having("ok")) == AGENTS
    assert most_at_work(found) == AT_A_TIME
    assert 0 < memory_bytes < HOST_BYTES
    assert_sound(record)


def most_at_work(found: Recorded) -> int:
    """The most agents that were at work at a time, by the record's own times. One's end frees the place first."""
    steps = sorted(
        step
        for agent in found.agents.values()
        for step in ((agent.timestamp_start, 1), (agent.timestamp_end, -1))
        if step[0] is not None
    )
    most = now = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most
