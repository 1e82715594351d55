"""A process that writes to a record until it is done or killed, and says which writes were acknowledged.

Each write is one agent and two events, to be found together or not at all.

Usage: python -m tests.crash.store_writer RECORD RUN_ID WRITES [LARGEST_FILE_BYTES]
"""

from __future__ import annotations

import resource
import sys
from dataclasses import replace
from pathlib import Path

import anyio

from callsheet.errors import StoreError
from callsheet.model.records import Row
from callsheet.store.sqlite import SqliteStore, open_store
from tests.support.store_rows import agent_row, event_row

_AT_ONCE = 8


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _write(store: SqliteStore, run_id: str, numbers: list[int]) -> None:
    for number in numbers:
        rows: list[Row] = [
            event_row(2 * number - 1, run_id=run_id, padding="x" * 500),
            replace(agent_row(number), run_id=run_id),
            event_row(2 * number, run_id=run_id),
        ]
        await store.write(rows, durable=True)
        _say(str(number))


async def _main(record: Path, run_id: str, writes: int) -> None:
    async with open_store(record) as store, anyio.create_task_group() as tasks:
        for first in range(1, _AT_ONCE + 1):
            tasks.start_soon(_write, store, run_id, list(range(first, writes + 1, _AT_ONCE)))


if __name__ == "__main__":
    path, run, count, *largest = sys.argv[1:]
    if largest:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest[0]), int(largest[0])))
    try:
        anyio.run(_main, Path(path), run, int(count))
    except* StoreError as group:
        for message in sorted({error.message for error in group.exceptions if isinstance(error, StoreError)}):
            _say(f"refused: {message}")
