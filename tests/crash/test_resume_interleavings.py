"""Runs whose agents end in any order, cut off as a crash leaves them, and resumed elsewhere: over seeds.

All of it is real but the agents, which answer from a file: sandbox, engine, record, files. What a crash leaves is what
lies on the disk at a moment; it is copied by another process, and the copy goes on, as on another machine.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio
import pytest

import callsheet
from callsheet.model.events import AgentFinished, Log
from callsheet.model.run import RunResult
from callsheet.store.reader import read_agents, read_tool_calls
from tests.support.deadline import within

pytestmark = pytest.mark.anyio

SEEDS = range(int(os.environ.get("CALLSHEET_CRASH_SEEDS", "10")))
LIMIT_S = 30
META = "export const meta = { name: 'case', description: 'a case' }\n"

EDITORS, UNFINISHED = 40, 10
TICKS = (1, 3, 2, 1)
NOTING = 4
"""Every fourth editor is followed by an agent whose prompt is made of all that has been seen by then."""

EDITING = f"""
const seen = []
const edit = async i => {{
  const said = await agent('edit file ' + i, {{ label: 'e' + i }})
  seen.push(said)
  if (i % {NOTING}) return said
  const state = `${{seen}} at ${{Date.now()}}, spent ${{budget.spent()}}, ${{Math.random()}}`
  return await agent('note ' + state, {{ label: 'n' + i }})
}}
const tick = async () => {{
  for (const ms of {list(TICKS)}) {{
    await new Promise(resolve => setTimeout(resolve, ms))
    seen.push(`tick at ${{Date.now()}}`)
  }}
  log('ticked')
}}
const [found] = await Promise.all([parallel(Array.from({{ length: {EDITORS} }}, (_, i) => () => edit(i))), tick()])
return found
"""
"""Arrival, timers, the clock, chance and what was spent are in prompts, and editors and timers come in any order."""

STAGES = """
const work = async i => {
  const said = await agent('find ' + i, { label: 'f' + i })
  return said && await agent('check ' + said, { label: 'c' + i })
}
return await parallel(Array.from({ length: 8 }, (_, i) => () => work(i)))
"""


class Place:
    """A workspace with a script and the answers of its agents."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, body: str, answers: Iterable[dict[str, Any]]) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "case.js").write_text(META + body, encoding="utf-8")
        self.answer(answers)

    def answer(self, answers: Iterable[dict[str, Any]]) -> None:
        text = json.dumps({"answers": [*answers], "otherwise": "fail"})
        (self.folder / "answers.json").write_text(text, encoding="utf-8")

    @property
    def options(self) -> dict[str, Any]:
        return {"workspace": self.folder, "backend": f"scripted:{self.folder / 'answers.json'}", "max_parallel": 64}

    async def run(self) -> RunResult:
        with within(LIMIT_S):
            return await callsheet.run(self.folder / "case.js", **self.options)

    async def resume(self, run_id: str) -> RunResult:
        with within(LIMIT_S):
            return await callsheet.resume(run_id, **self.options)

    async def crash(self, to: Path, *, ended: int, line: str) -> tuple[Place, str]:
        """Runs it until so many agents have ended and a line was logged, and gives what a crash then leaves."""
        is_logged = False
        with within(LIMIT_S):
            async with callsheet.open_run(self.folder / "case.js", **self.options) as run:
                async for event in run.events():
                    ended -= isinstance(event.body, AgentFinished)
                    is_logged |= isinstance(event.body, Log) and event.body.message == line
                    if ended <= 0 and is_logged:
                        break
                # The log first, which only grows; by another process, since closing a file here drops SQLite's locks.
                await anyio.run_process(["cp", "-a", f"{self.folder}/.", to])
                log = ".callsheet/callsheet.db-wal"
                assert (self.folder / log).read_bytes()[: (to / log).stat().st_size] == (to / log).read_bytes()
                return Place(to), run.run_id


def live(result: RunResult) -> set[str]:
    """The labels of the agents that were asked, and not answered from the record."""
    return {agent.label for agent in result.agents if not agent.reused}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A new workspace, in the environment of nobody."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in {
        "XDG_CONFIG_HOME",
        "CLAUDE_CONFIG_DIR",
        *(name for name in os.environ if name.startswith("CALLSHEET_")),
    }:
        monkeypatch.delenv(name, raising=False)
    return Place(tmp_path / "before")


def editors(chance: random.Random, unfinished: set[int]) -> tuple[dict[str, Any], ...]:
    """Each takes a time of its own, and leaves a file; some of them never end."""
    return (
        *(
            {
                "label": f"e{i}",
                "result": f"edited {i}",
                "writes": {f"out/{i}.txt": f"text {i}\n"},
                "delay_ms": 600_000 if i in unfinished else chance.randint(0, 6),
                "usage": {"input_tokens": 1, "output_tokens": chance.randint(1, 99)},
            }
            for i in range(EDITORS)
        ),
        {"label": "n*", "result": "noted", "delay_ms": chance.randint(0, 3)},
    )


@pytest.mark.contract("R01", "R02", "R08", "D04")
@pytest.mark.parametrize("seed", SEEDS)
async def test_of_forty_parallel_editors_the_ten_that_had_not_ended_are_asked_and_every_file_is_changed_once(
    place: Place, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    unfinished = set(chance.sample([i for i in range(EDITORS) if i % NOTING], UNFINISHED))
    place.write(EDITING, editors(chance, unfinished))
    ended = EDITORS - UNFINISHED + EDITORS // NOTING

    there, run_id = await place.crash(tmp_path / "after", ended=ended, line="ticked")
    files = {path: path.stat().st_mtime_ns for path in (there.folder / "out").iterdir()}
    assert len(files) == EDITORS - UNFINISHED
    there.answer(editors(chance, set()))
    resumed = await there.resume(run_id)

    assert (resumed.status, resumed.error) == ("completed", None)
    assert live(resumed) == {f"e{i}" for i in unfinished}
    assert resumed.result == [f"edited {i}" if i % NOTING else "noted" for i in range(EDITORS)]
    assert all(path.stat().st_mtime_ns == at for path, at in files.items())
    assert {path.name: path.read_text(encoding="utf-8") for path in (there.folder / "out").iterdir()} == {
        f"{i}.txt": f"text {i}\n" for i in range(EDITORS)
    }
    record = there.folder / ".callsheet" / "callsheet.db"
    for found in read_agents(record, run_id):
        calls = [call.state for call in read_tool_calls(record, run_id, found.agent.agent_id)]
        assert calls == (["done"] if found.agent.label.startswith("e") else [])

    again = await there.resume(run_id)
    assert (again.result, live(again)) == (resumed.result, set())
    assert again.usage == resumed.usage


@pytest.mark.contract("R02", "R04", "R08")
@pytest.mark.parametrize("seed", SEEDS)
async def test_where_one_of_several_failed_early_and_the_others_ended_in_another_order_they_are_all_reused(
    place: Place, seed: int
) -> None:
    """The weak case of a rule that goes by position: what comes after the first that failed is asked and paid again."""
    chance = random.Random(seed)
    failed = chance.randrange(8)

    def answers(*, fails: bool) -> list[dict[str, Any]]:
        found = [{"label": f"f{i}", "result": f"found {i}", "delay_ms": chance.randint(1, 12)} for i in range(8)]
        checked = [{"label": f"c{i}", "result": f"checked {i}", "delay_ms": chance.randint(0, 12)} for i in range(8)]
        if fails:
            found[failed] = {"label": f"f{failed}", "error": "it broke", "status": "failed"}
        return [*found, *checked]

    place.write(STAGES, answers(fails=True))
    first = await place.run()
    assert first.status == "degraded"
    ended = [agent.label for agent in first.agents if agent.status == "ok"]
    assert len(ended) == 14

    place.answer(answers(fails=False))
    resumed = await place.resume(first.run_id)
    assert (resumed.status, live(resumed)) == ("completed", {f"f{failed}", f"c{failed}"})
    assert resumed.result == [f"checked {i}" for i in range(8)]
    assert live(await place.resume(first.run_id)) == set()
