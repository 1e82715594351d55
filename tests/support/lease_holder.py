"""A process that holds a lease until its standard input closes. Arguments: folder, run id, mode, seconds to wait."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import anyio.to_thread

from callsheet.errors import LeaseHeldError
from callsheet.workspace.lease import LeaseMode, open_lease


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(folder: str, run_id: str, mode: str, wait_s: str) -> None:
    kind: LeaseMode = "shared" if mode == "shared" else "exclusive"
    try:
        async with open_lease(Path(folder), run_id=run_id, mode=kind, wait_s=float(wait_s)):
            say("held")
            await anyio.to_thread.run_sync(sys.stdin.read)
        say("given back")
    except LeaseHeldError as error:
        say(f"refused {len(error.holders)}")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4])
