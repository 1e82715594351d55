"""What the record and the budgets cost an agent: whole runs of the engine, whose agents ask nobody and pay for it.

python -m tests.bench.recording COUNT KIND FOLDER

KIND is `forgotten` (a store that keeps nothing), `recorded` (SQLite in FOLDER) or `budgeted` (SQLite, and budgets for
the run, its phase and each agent). Sandbox, executor and agents are the same fakes in all three; each agent sends one
request, reserved before and settled after it, and adds two messages. Prints the CPU milliseconds of the run, all
threads together, and the bytes of the record without conversations.
"""

from __future__ import annotations

import gc
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

import anyio

from callsheet.cli import RARELY
from callsheet.model.records import Row
from callsheet.model.run import RunSettings
from callsheet.model.spending import Budget
from callsheet.ports import Store
from callsheet.store.sqlite import open_store
from tests.support.fake_backend import FakeBackend
from tests.support.fake_session import Js
from tests.support.paying import Turn, pays
from tests.unit.engine.stage import on_stage

KINDS = ("forgotten", "recorded", "budgeted")
_PLENTY = Budget(tokens=900_000_000, usd=90_000.0)


class Forgetful(Store):
    """Keeps nothing."""

    @property
    def path(self) -> str:
        return ":none:"

    async def write(self, rows: Sequence[Row], *, durable: bool) -> None:
        if durable:
            await anyio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        return


async def run(count: int, kind: str, folder: Path) -> tuple[float, int]:
    """One run; its CPU in milliseconds and the bytes of its record."""
    settings = RunSettings(backend="fake", max_agents=count, max_parallel=16)
    if kind == "budgeted":
        settings = RunSettings(
            backend="fake", max_agents=count, max_parallel=16, budget_tokens=_PLENTY.tokens, budget_usd=_PLENTY.usd,
            phase_budgets={"Work": _PLENTY}, agent_budget=_PLENTY,
        )  # fmt: skip

    async def main(js: Js) -> Any:
        js.phase("Work")
        asked = [js.agent(f"task {n}", label=f"agent {n}") for n in range(count)]
        return [await each for each in asked][-1]

    act = pays(Turn(usd=0.001, fixed_usd=0.001, output_usd=0.00001))
    backend = FakeBackend(acts={f"agent {n}": act for n in range(count)})
    file = folder / "record.db"
    opened: AbstractAsyncContextManager[Store] = nullcontext(Forgetful()) if kind == "forgotten" else open_store(file)
    begun = time.process_time()
    async with opened as store:
        how: dict[str, Any] = {"backend": backend, "store": store, "run_settings": settings}
        async with on_stage(main, **how) as stage:
            result = await stage.run.result()
    cpu_ms = (time.process_time() - begun) * 1000
    if result.status != "completed" or len(result.agents) != count:
        raise RuntimeError(f"{result.status}: {result.error} {result.problems[:1]}")
    return cpu_ms, 0 if kind == "forgotten" else size_without_conversations(file)


def size_without_conversations(record: Path) -> int:
    """The bytes of a record when its conversations are taken out."""
    with closing(sqlite3.connect(record, isolation_level=None)) as connection:
        connection.execute("DELETE FROM agent_messages")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return record.stat().st_size


if __name__ == "__main__":
    gc.set_threshold(*RARELY)  # as in the command
    print(*anyio.run(run, int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
