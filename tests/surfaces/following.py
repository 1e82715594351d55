"""A run in another process, followed by `callsheet logs -f`."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.surfaces.command import LIMIT_S, Command


class Following:
    """What `callsheet logs RUN -f --json` prints."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []

    def until(self, name: str, **fields: Any) -> dict[str, Any]:
        """Reads until an event of this name with these fields.

        Raises:
            AssertionError: The run ended without it, or the time is up.
        """
        assert self.process.stdout is not None
        for line in iter(self.process.stdout.readline, b""):
            self.events.append(event := json.loads(line))
            if event["event"] == name and fields.items() <= event.items():
                return dict(event)
        raise AssertionError(f"{name} {fields} was never said: {[event['event'] for event in self.events]}")


@contextmanager
def following(command: Command, run_id: str) -> Iterator[Following]:
    """Follows a run; leaving it ends the following alone."""
    process = command.start("logs", run_id, "-f", "--json")
    limit = threading.Timer(LIMIT_S, process.kill)
    limit.start()
    try:
        yield Following(process)
    finally:
        limit.cancel()
        process.kill()
        process.communicate(timeout=120)
