"""Scripts without measure, each to its end: what is too much is refused, counted once, and costs the host little."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pytest
from anyio import to_thread

from tests.support import waves
from tests.support.live_run import Case, NewCommand, live_run, play_all
from tests.support.recorded import assert_closed, record_of, recorded, runs_in
from tests.surfaces.command import Command, Done

pytestmark = pytest.mark.anyio

ANSWERS = ({"label": "first", "result": "at once"}, waves.FOREVER)
FIRST = "agent('for ever', { label: 'for ever' }); await agent('first', { label: 'first' });"
ENDS_WITHIN_S = 5.0
HOST_BYTES = 160 * 1024 * 1024


ENDLESS = (
    "while (true) {}",
    "for (;;) await 0",
    "const again = () => Promise.resolve().then(again); await again()",
    "new Array(2**32 - 1).join('')",
    "for (;;) log('x'.repeat(100))",
    "for (;;) try { setTimeout(() => {}, 0) } catch {}",
    "/(x+x+)+y/.test('x'.repeat(40))",
)


@pytest.mark.contract("D07")
async def test_what_never_ends_fails_the_run_with_the_limit_and_keeps_what_agents_answered(
    new_command: NewCommand,
) -> None:
    await play_all({f"endless {n}": partial(never_ends, body) for n, body in enumerate(ENDLESS)}, new_command)


async def never_ends(body: str, command: Command) -> None:
    """A run that its CPU limit has to end."""
    async with live_run(command, FIRST + body, "--cpu-limit", "0.5", answers=ANSWERS) as run:
        await run.until("agent.finished", label="first")
        ended = await run.ended(ENDS_WITHIN_S)

    assert (ended.status, ended.result["error"]["kind"]) == (1, "limit"), body
    assert "0.5 s of CPU" in ended.result["error"]["message"] and "--cpu-limit" in ended.result["error"]["message"]
    found = recorded(record_of(command), run.run_id)
    assert_closed(found, ended.events, "failed")
    assert (found.having("ok"), found.having("cancelled")) == ({"first"}, {"for ever"})


@dataclass(frozen=True, kw_only=True)
class Flood:
    """What a script has too much of, and what is kept of it.

    Attributes:
        kept: How many events of the name there are, the warning not among them.
        warning: Said once.
    """

    name: str
    body: str
    event: str
    kept: int
    warning: str
    result: int
    status: str = "completed"


FLOODS = [
    Flood(
        name="a million log lines",
        body=FIRST + "for (let i = 0; i < 1e6; i++) log('line ' + i); return 7",
        event="log",
        kept=10_000,
        warning="more than 10,000 lines",
        result=7,
    ),
    Flood(
        name="ten thousand timers",
        body=FIRST
        + """
        let [fired, refused] = [0, 0]
        await new Promise(done => {
          const fire = () => { log('fired'); if (++fired === 1_000) done() }
          for (let i = 0; i < 10_000; i++) try { setTimeout(fire, 1) } catch { refused++ }
        })
        return refused
        """,
        event="log",
        kept=1_000,
        warning="more than 1000 timers pending",
        result=9_000,
    ),
    Flood(
        name="three thousand phases",
        body=FIRST + "for (let i = 0; i < 3_000; i++) phase('phase ' + i); return 7",
        event="phase.started",
        kept=1_000,
        warning="more than 1000 phases",
        result=7,
    ),
    Flood(
        name="20,001 calls",
        body="for (let i = 0; i < 20_001; i++) agent('do ' + i, { label: 'for ever ' + i }).catch(() => 0); return 7",
        event="agent.queued",
        kept=1_000,
        warning="more than 20000 calls",
        result=7,
        status="degraded",
    ),
]


@pytest.mark.contract("L03")
async def test_of_a_flood_what_counts_is_kept_and_the_rest_is_said_once(new_command: NewCommand) -> None:
    await play_all({flood.name: partial(flooded, flood) for flood in FLOODS}, new_command)


async def flooded(flood: Flood, command: Command) -> None:
    """A run of a script that has too much of something."""
    async with live_run(command, flood.body, answers=ANSWERS, is_new=True) as run:
        memory_bytes = await run.memory_to_the_end()
        ended = await run.ended()

    assert (ended.result["status"], ended.result["result"]) == (flood.status, flood.result)
    kept = [event for event in ended.events if event["event"] == flood.event and event.get("level") != "warn"]
    assert len(kept) == flood.kept
    assert len([line for line in ended.result["logs"] if flood.warning in line["message"]]) == 1
    assert 0 < memory_bytes < HOST_BYTES
    assert_closed(recorded(record_of(command), run.run_id), ended.events, flood.status)


@pytest.mark.contract("D07", "O02")
async def test_values_without_measure_are_handed_over_or_refused_and_what_agents_answered_stays(
    new_command: NewCommand,
) -> None:
    sizes: dict[str, Case] = {
        "a result of 60 MiB": result_of_60_mib,
        "a result of 70 MiB": result_of_70_mib,
        "a heap that grows": heap_that_grows,
    }
    await play_all(sizes, new_command)


async def result_of_60_mib(command: Command) -> None:
    done = await to_its_end(command, "await agent('first'); return 'x'.repeat(60 * 2 ** 20)")

    assert (done.status, len(done.json["result"])) == (0, 60 * 2**20)
    ((run_id, status),) = runs_in(record_of(command)).items()
    end = recorded(record_of(command), run_id).end
    assert status == "completed" and end is not None
    assert len(end.result or "") == 60 * 2**20 + 2


async def result_of_70_mib(command: Command) -> None:
    done = await to_its_end(command, "await agent('first'); return ['x'.repeat(70 * 2 ** 20)]")

    assert (done.status, done.json["status"], done.json["result"]) == (1, "failed", None)
    assert "the result is larger than" in done.json["error"]["message"]
    assert_failed_with_its_answer(command)


async def heap_that_grows(command: Command) -> None:
    body = "await agent('first'); const all = []; for (;;) all.push(new Array(100_000).fill(0))"
    done = await to_its_end(command, body, "--memory-limit", "32MiB")

    assert (done.status, done.json["error"]["kind"]) == (1, "limit")
    assert "--memory-limit" in done.json["error"]["message"]
    assert_failed_with_its_answer(command)


async def to_its_end(command: Command, body: str, *words: str) -> Done:
    """A run with its whole result on standard output."""
    return await to_thread.run_sync(partial(command.run, body, "--output", "json", "--quiet", *words))


def assert_failed_with_its_answer(command: Command) -> None:
    """The one run of the record has failed, and the answer of its agent is there."""
    ((run_id, status),) = runs_in(record_of(command)).items()
    assert (status, recorded(record_of(command), run_id).having("ok")) == ("failed", {"first"})
