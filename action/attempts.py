"""The events of each attempt of a workflow run, beside the record: `attempts/RUN-ATTEMPT.jsonl`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from joblog import github_run

TAIL_BYTES = 256 * 1024 * 1024
"""The most that is read of a last line; the result in it has 64 MiB at most."""


class Attempt(NamedTuple):
    """What is known of an attempt that began a run.

    Attributes:
        number: From 1.
        status: As the run ended; `interrupted` where its end is not on record.
        result: The object of `--output json`; None where there is none.
    """

    number: int
    run_id: str
    status: str
    result: dict[str, Any] | None


def events_file(folder: Path, number: int) -> Path:
    """Where an attempt's events are."""
    return folder / "attempts" / f"{github_run()}-{number}.jsonl"


def attempts(folder: Path) -> list[Attempt]:
    """The attempts of this workflow run that began a run, in their order."""
    numbers = sorted(
        int(path.stem.rpartition("-")[2])
        for path in (folder / "attempts").glob(f"{github_run()}-*.jsonl")
        if path.stem.rpartition("-")[2].isdigit()
    )
    read = [attempt_of(folder, number) for number in numbers]
    return [each for each in read if each is not None]


def attempt_of(folder: Path, number: int) -> Attempt | None:
    """What is known of an attempt; None where it began no run."""
    path = events_file(folder, number)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        first = _object(file.readline())
    if first.get("event") != "run.started":
        return None
    last = _object(_last_line(path))
    if last.get("event") != "run.finished":
        return Attempt(number, str(first["run_id"]), "interrupted", None)
    result = {name: value for name, value in last.items() if name not in ("event", "seq", "at")}
    return Attempt(number, str(first["run_id"]), str(last.get("status")), result)


def _last_line(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        kept = 64 * 1024
        while True:
            file.seek(max(0, size - kept))
            tail = file.read().rstrip(b"\n")
            start = tail.rfind(b"\n")
            if start >= 0 or kept >= min(size, TAIL_BYTES):
                return tail[start + 1 :]
            kept *= 4


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:  # cut off where its writer was ended
        return {}
    return found if isinstance(found, dict) else {}
